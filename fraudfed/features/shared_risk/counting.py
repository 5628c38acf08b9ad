"""Count a bank's payments and reports per entity and day, all at once or part by part.

What a part has to hold together: all payments at an identifier, since a minimum of customers looks
at all of them; with privacy all payments of a customer, since that is whose payments are bounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fraudfed.dtypes import BoolArray, Int64Array, UInt32Array
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.shared_risk.entries import CUSTOMER_DAYS, Correction, Entries, RiskEntries
from fraudfed.features.shared_risk.months import months
from fraudfed.features.shared_risk.noise import PAYMENTS_A_DAY, REPORTS_A_MONTH
from fraudfed.features.shared_risk.sketch import hash_identifiers, rotated
from fraudfed.features.table import rows_of_direction
from fraudfed.payments.columns import LABEL_COLUMNS, OUTBOUND
from fraudfed.privacy.bounding import at_most
from fraudfed.wire.messages import RiskEntity, RiskSpec


def risk_entries(
    transactions: pd.DataFrame,
    spec: RiskSpec,
    *,
    hash_key: bytes,
    corrections: Sequence[Correction] = (),
    draw: np.random.Generator | None = None,
) -> RiskEntries:
    """Count a bank's payments and reported frauds per entity and day of entry.

    Payments at an entity on a day are counted only if ``spec.min_customers`` distinct customers of
    the bank paid there in the ``CUSTOMER_DAYS`` days up to that day. Reported frauds are always
    counted: that an account or a terminal was reported is what is shared.

    Only outbound payments are entered: a payment that two banks of a run see is entered once, by
    the payer's.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions that :func:`fraudfed.features.check.check_transactions` accepts, in any
        order, with or without labels. Columns of entities may be absent.
    spec : RiskSpec
    hash_key : bytes of length 32
    corrections : sequence of Correction
        All that the bank has ever made. The fraud of each is entered for its own day whatever the
        label of the payment says by now.
    draw : Generator or None
        With privacy: the bank's own, from secret entropy; it chooses which rows of a customer
        count. None bounds nothing: only for a digest of what there is.

    Returns
    -------
    RiskEntries
        For days of ``spec`` only.
    """
    rows = RiskRows.of(transactions, spec, corrections=corrections)
    counted = count_rows(rows, spec, draw=draw)
    return counted.entries(spec, hash_key=hash_key, corrections=corrections)


@dataclass(frozen=True, eq=False)
class RiskRows:
    """What is looked at of a bank's outbound payments; they never leave the bank.

    Attributes
    ----------
    places : ndarray of shape (n_rows,), dtype=int64
        Of each among all payments, ascending.
    event_day, fraud_day : ndarray of shape (n_rows,), dtype=int64
        Of the payment; for which its fraud is entered, if it is one.
    is_fraud : ndarray of shape (n_rows,), dtype=bool
        Reported, and not taken back.
    customers : Series of shape (n_rows,)
    identifiers : mapping of RiskEntity to Series of shape (n_rows,)
        Of the entities that the data have.
    """

    places: Int64Array
    event_day: Int64Array
    fraud_day: Int64Array
    is_fraud: BoolArray
    customers: "pd.Series[str]"
    identifiers: "Mapping[RiskEntity, pd.Series[str]]"

    @classmethod
    def of(
        cls,
        transactions: pd.DataFrame,
        spec: RiskSpec,
        *,
        corrections: Sequence[Correction] = (),
        first_place: int = 0,
    ) -> "RiskRows":
        """Pick what is looked at.

        Parameters
        ----------
        transactions, spec, corrections
            As for ``risk_entries``.
        first_place : int
            Of the first of the transactions among all.
        """
        positions = rows_of_direction(transactions, OUTBOUND)
        if positions.size < len(transactions):
            transactions = transactions.iloc[positions]
        event_day = transactions["event_time"].to_numpy(dtype=np.int64) // SECONDS_PER_DAY
        is_fraud = np.zeros(len(transactions), dtype=np.bool_)
        fraud_day = event_day + spec.delay_days
        if all(name in transactions.columns for name in LABEL_COLUMNS):
            known = transactions["is_fraud"].notna().to_numpy(dtype=np.bool_)
            is_fraud[known] = transactions["is_fraud"].to_numpy()[known] == 1
            if corrections and "transaction_id" in transactions.columns:
                corrected = {each.transaction_id for each in corrections}
                is_fraud &= ~transactions["transaction_id"].isin(corrected).to_numpy(dtype=np.bool_)
            reported = transactions["label_time"].to_numpy()[is_fraud].astype(np.int64)
            fraud_day[is_fraud] = np.maximum(fraud_day[is_fraud], reported // SECONDS_PER_DAY)
        names = {entity: f"{entity.value}_id" for entity in spec.entities}
        return cls(
            places=positions.astype(np.int64) + first_place,
            event_day=event_day,
            fraud_day=fraud_day,
            is_fraud=is_fraud,
            customers=transactions["customer_id"],
            identifiers={
                entity: transactions[name]
                for entity, name in names.items()
                if name in transactions.columns
            },
        )


def count_rows(
    rows: RiskRows, spec: RiskSpec, *, draw: np.random.Generator | None = None
) -> "Counted":
    """Count some payments: all of an identifier, or with ``draw`` all of a customer.

    Parameters
    ----------
    rows : RiskRows
    spec : RiskSpec
    draw : Generator or None
        As for ``risk_entries``.
    """
    entry_day, is_fraud = rows.event_day + spec.delay_days, rows.is_fraud
    customers = pd.factorize(rows.customers)[0].astype(np.int64, copy=False)
    bounds = None
    if spec.privacy is not None and draw is not None:
        bounds = _Bounds(customers, entry_day, draw)
        is_fraud = is_fraud & bounds.reports(is_fraud, rows.fraud_day)
    payments, frauds = list[Tally](), list[Tally]()
    for entity, texts in rows.identifiers.items():
        numbers, identifiers = pd.factorize(texts)
        codes = numbers.astype(np.int64, copy=False)
        has_entity = codes >= 0
        chosen = np.flatnonzero(has_entity)
        # Of equal codes the last assignment stays: that of the first payment.
        firsts = np.zeros(len(identifiers), dtype=np.int64)
        firsts[codes[chosen][::-1]] = rows.places[chosen][::-1]
        enough = _with_customers(
            codes[chosen],
            rows.event_day[chosen],
            customers[chosen],
            least=spec.min_customers,
        )
        named = np.asarray(identifiers, dtype=object)
        counted = chosen[enough] if bounds is None else bounds.payments(chosen[enough])
        fraud = has_entity & is_fraud
        for found, days, which in (
            (payments, entry_day, counted),
            (frauds, rows.fraud_day, np.flatnonzero(fraud)),
        ):
            found.append(_tally(entity, named, firsts, codes[which], days[which], spec))
    return Counted(tuple(payments), tuple(frauds))


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of identifiers of one kind on days of a run. Never leaves the bank.

    Attributes
    ----------
    entity : RiskEntity
    names : ndarray of shape (n_names,), dtype=object
        Identifiers.
    firsts : ndarray of shape (n_names,), dtype=int64
        Place of the first payment of each.
    numbers, days, counts : ndarray of shape (n_entries,), dtype=int64
        Which of the names; on which day; how often.
    """

    entity: RiskEntity
    names: npt.NDArray[np.object_]
    firsts: Int64Array
    numbers: Int64Array
    days: Int64Array
    counts: Int64Array


def _tally(
    entity: RiskEntity,
    names: npt.NDArray[np.object_],
    firsts: Int64Array,
    codes: Int64Array,
    days: Int64Array,
    spec: RiskSpec,
) -> Tally:
    """Count each element of ``codes`` and ``days`` that lies inside the run once."""
    inside = (days >= spec.first_day) & (days <= spec.last_day)
    codes, days = codes[inside], days[inside] - spec.first_day
    n_days = spec.last_day - spec.first_day + 1
    keys, counts = np.unique(codes * n_days + days, return_counts=True)
    used, numbers = np.unique(keys // n_days, return_inverse=True)
    return Tally(
        entity=entity,
        names=names[used],
        firsts=firsts[used],
        numbers=numbers.reshape(-1).astype(np.int64, copy=False),
        days=keys % n_days + spec.first_day,
        counts=counts.astype(np.int64),
    )


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted of some payments, before corrections and not yet hashed.

    Attributes
    ----------
    transactions, frauds : tuple of Tally
    """

    transactions: tuple[Tally, ...]
    frauds: tuple[Tally, ...]

    @classmethod
    def together(cls, parts: "Sequence[Counted]") -> "Counted":
        """Put the counts of parts together.

        Law: of parts that have no identifier in common, in any order, the entries are those of all
        their payments at once.
        """
        return cls(
            tuple(tally for each in parts for tally in each.transactions),
            tuple(tally for each in parts for tally in each.frauds),
        )

    def entries(
        self, spec: RiskSpec, *, hash_key: bytes, corrections: Sequence[Correction] = ()
    ) -> RiskEntries:
        """Return what is entered, with what was taken back; see ``risk_entries``."""
        payments, frauds, taken_back = (_Collected(spec, hash_key) for _ in range(3))
        for collected, tallies in ((payments, self.transactions), (frauds, self.frauds)):
            for tally in tallies:
                collected.add(tally)
        for each in corrections if spec.privacy is None else ():
            for entity in spec.entities:
                if entity in each.identifiers:
                    identifier, day = each.identifiers[entity], each.reported_on(spec.delay_days)
                    frauds.add_one(entity, identifier, day)
                    entered = each.entered_on(spec.delay_days)
                    taken_back.add_one(entity, identifier, entered, rotation=day)
        return RiskEntries(payments.entries(), frauds.entries(), taken_back.entries())


def _with_customers(
    codes: Int64Array, days: Int64Array, customers: Int64Array, *, least: int
) -> BoolArray:
    """Tell for each payment whether enough customers paid there in the days up to its day.

    A customer that pays on day d counts on the days from d to ``d + CUSTOMER_DAYS - 1``, or until
    it pays there again. These intervals do not overlap, so the number that cover a day is the
    number of distinct customers.
    """
    if least == 1 or codes.size == 0:
        return np.ones(codes.size, dtype=np.bool_)
    origin = int(days.min())
    # All entities lie on one axis, further apart than any interval reaches.
    stride = int(days.max()) - origin + CUSTOMER_DAYS + 1
    positions = codes * stride + (days - origin)
    pairs = pd.factorize(codes * (int(customers.max()) + 1) + customers)[0]
    order = np.lexsort((positions, pairs))
    pair, starts = pairs[order], positions[order]
    stops = starts + CUSTOMER_DAYS
    again = pair[1:] == pair[:-1]
    stops[:-1] = np.where(again, np.minimum(stops[:-1], starts[1:]), stops[:-1])
    begun = np.sort(starts).searchsorted(positions, side="right")
    ended = np.sort(stops).searchsorted(positions, side="right")
    return begun - ended >= least


@dataclass(frozen=True, eq=False)
class _Bounds:
    """Which payments and reports of each customer are entered.

    Payments without a customer (code -1) count as one customer's.
    """

    customers: Int64Array
    entry_day: Int64Array
    draw: np.random.Generator

    def payments(self, rows: Int64Array) -> Int64Array:
        """Return those of some payments that are counted: one of each customer and day."""
        units = pd.factorize(
            pd.MultiIndex.from_arrays([self.customers[rows], self.entry_day[rows]])
        )[0]
        return rows[at_most(units.astype(np.int64), PAYMENTS_A_DAY, draw=self.draw)]

    def reports(self, is_fraud: BoolArray, fraud_day: Int64Array) -> BoolArray:
        """Tell which reports are entered: of each customer and month those of the first days.

        Not drawn over the month: a bank that enters its days one by one keeps to the bound.
        """
        rows = np.flatnonzero(is_fraud)
        days = fraud_day[rows]
        units = pd.factorize(pd.MultiIndex.from_arrays([self.customers[rows], months(days)]))[0]
        kept = np.zeros(is_fraud.size, dtype=np.bool_)
        kept[rows[at_most(units.astype(np.int64), REPORTS_A_MONTH, draw=self.draw, order=days)]] = (
            True
        )
        return kept


class _Collected:
    """Entries, one tally after the other."""

    def __init__(self, spec: RiskSpec, hash_key: bytes) -> None:
        self._spec = spec
        self._hash_key = hash_key
        self._days: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        self._counts: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        self._hashes: list[UInt32Array] = [np.empty((0, spec.depth), dtype=np.uint32)]
        self._rows: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        self._places: list[Int64Array] = [np.empty(0, dtype=np.int64)]

    def add(self, tally: Tally) -> None:
        """Add what was counted."""
        hashes = self._hashed(tally.entity, tally.names)
        self._days.append(tally.days)
        self._counts.append(tally.counts)
        self._hashes.append(hashes[tally.numbers])
        row = self._spec.entities.index(tally.entity)
        self._rows.append(np.full(tally.days.size, row, dtype=np.int64))
        self._places.append(tally.firsts[tally.numbers])

    def add_one(self, entity: RiskEntity, identifier: str, day: int, *, rotation: int = 0) -> None:
        """Add one count of one identifier, unless the day lies outside of the run."""
        if not self._spec.first_day <= day <= self._spec.last_day:
            return
        self._days.append(np.array([day], dtype=np.int64))
        self._counts.append(np.ones(1, dtype=np.int64))
        self._hashes.append(rotated(self._hashed(entity, [identifier]), rotation))
        # Behind all that payments say, in the order of the corrections.
        self._rows.append(np.array([len(self._spec.entities)], dtype=np.int64))
        self._places.append(np.array([len(self._places)], dtype=np.int64))

    def entries(self) -> Entries:
        """Return everything in the order of days, then of entities, then of first payments."""
        days, rows, places = (
            np.concatenate(each) for each in (self._days, self._rows, self._places)
        )
        order = np.lexsort((places, rows, days))
        return Entries(
            days=days[order],
            counts=np.concatenate(self._counts)[order],
            hashes=np.concatenate(self._hashes)[order],
            rows=None if self._spec.privacy is None else rows[order],
        )

    def _hashed(self, entity: RiskEntity, names: Iterable[str]) -> UInt32Array:
        return hash_identifiers(
            entity.value, names, hash_key=self._hash_key, depth=self._spec.depth
        )
