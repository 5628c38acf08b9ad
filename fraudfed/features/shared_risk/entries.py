"""What one bank enters for each day: counts per entity, before they are hashed into a sketch.

A payment of day e is entered for day ``e + delay_days``; a fraud for that day or for the day on
which it was reported, whichever is later. So each payment and each fraud is entered exactly once,
what is entered for a day is known at its end, and windows of days of entry are windows of days of
payment, shifted by the risk delay.

Law: what a bank enters for a day is the same whether it looks at the end of that day or later. So a
report that turns out wrong is never taken out of its day: a correction is entered on the day on
which it is made, and takes back the report from windows that hold the report's day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fraudfed.dtypes import BoolArray, Int64Array, UInt32Array
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.shared_risk.months import months
from fraudfed.features.shared_risk.noise import PAYMENTS_A_DAY, REPORTS_A_MONTH
from fraudfed.features.shared_risk.sketch import (
    columns_of,
    hash_identifiers,
    rotated,
    sketch_of,
)
from fraudfed.features.table import rows_of_direction
from fraudfed.payments.columns import LABEL_COLUMNS, OUTBOUND
from fraudfed.privacy.bounding import at_most
from fraudfed.wire.messages import RiskEntity, RiskSpec

#: Distinct customers are counted over this many days; the day of the payment is the last.
CUSTOMER_DAYS = 30


@dataclass(frozen=True)
class Correction:
    """A report of fraud that this bank takes back.

    Attributes
    ----------
    transaction_id : str
        Of the payment that was reported.
    event_day, report_day : int
        Of the payment and of its report, days since 1970-01-01 UTC.
    day : int
        On which the report is taken back.
    identifiers : mapping of RiskEntity to str
        Where the fraud was counted, in canonical form.
    """

    transaction_id: str
    event_day: int
    report_day: int
    day: int
    identifiers: Mapping[RiskEntity, str]

    def reported_on(self, delay_days: int) -> int:
        """Return the day for which the fraud was entered."""
        return max(self.event_day + delay_days, self.report_day)

    def entered_on(self, delay_days: int) -> int:
        """Return the day for which the correction is entered: never before the report."""
        return max(self.day, self.reported_on(delay_days))


@dataclass(frozen=True, eq=False)
class Entries:
    """Counts per day and identifier, of one bank. They never leave the bank.

    Attributes
    ----------
    days : ndarray of shape (n_entries,), dtype=int64
        Day of entry, days since 1970-01-01 UTC; ascending.
    counts : ndarray of shape (n_entries,), dtype=int64
        At least 1.
    hashes : ndarray of shape (n_entries, depth), dtype=uint32
        Of the identifier that is counted.
    rows : ndarray of shape (n_entries,), dtype=int64, or None
        In a run with privacy the row of a sketch that counts it; None: each row does.
    """

    days: Int64Array
    counts: Int64Array
    hashes: UInt32Array
    rows: Int64Array | None = None

    def totals(self, days: range) -> Int64Array:
        """Return the sum of all counts of each day; shape (len(days),), dtype=int64."""
        inside = self._inside(days)
        totals = np.zeros(len(days), dtype=np.int64)
        np.add.at(totals, self.days[inside] - days.start, self.counts[inside])
        return totals

    def sketch(self, day: int, *, width: int) -> Int64Array:
        """Return the sketch of a day; shape (depth, width), dtype=int64."""
        inside = self._inside(range(day, day + 1))
        return sketch_of(self.hashes[inside], self.counts[inside], width=width)

    def sketch_by_row(self, day: int, *, n_rows: int, width: int) -> Int64Array:
        """Return the sketch of a day in which each entry has one counter, in the row of its kind.

        Returns
        -------
        ndarray of shape (n_rows, width), dtype=int64

        Raises
        ------
        ValueError
            If the entries are not those of a run with privacy.
        """
        if self.rows is None:
            raise ValueError("entries of a run without privacy have a counter in each row")
        inside = self._inside(range(day, day + 1))
        sketch = np.zeros((n_rows, width), dtype=np.int64)
        columns = columns_of(self.hashes[inside], 0, width=width)
        np.add.at(sketch, (self.rows[inside], columns), self.counts[inside])
        return sketch

    def _inside(self, days: range) -> slice:
        first, stop = self.days.searchsorted([days.start, days.stop])
        return slice(int(first), int(stop))


@dataclass(frozen=True, eq=False)
class RiskEntries:
    """All that one bank enters in a risk run.

    Attributes
    ----------
    transactions, frauds : Entries
    corrections : Entries
        Reports that are taken back; their hashes are rotated by the day of the report.
    """

    transactions: Entries
    frauds: Entries
    corrections: Entries


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
    positions = rows_of_direction(transactions, OUTBOUND)
    if positions.size < len(transactions):
        transactions = transactions.iloc[positions]
    event_day = transactions["event_time"].to_numpy(dtype=np.int64) // SECONDS_PER_DAY
    entry_day = event_day + spec.delay_days
    is_fraud = np.zeros(len(transactions), dtype=np.bool_)
    fraud_day = entry_day.copy()
    if all(name in transactions.columns for name in LABEL_COLUMNS):
        known = transactions["is_fraud"].notna().to_numpy(dtype=np.bool_)
        is_fraud[known] = transactions["is_fraud"].to_numpy()[known] == 1
        if corrections and "transaction_id" in transactions.columns:
            corrected = {each.transaction_id for each in corrections}
            is_fraud &= ~transactions["transaction_id"].isin(corrected).to_numpy(dtype=np.bool_)
        reported = transactions["label_time"].to_numpy()[is_fraud].astype(np.int64)
        fraud_day[is_fraud] = np.maximum(entry_day[is_fraud], reported // SECONDS_PER_DAY)
    customers = pd.factorize(transactions["customer_id"])[0].astype(np.int64, copy=False)
    bounds = None
    if spec.privacy is not None:
        corrections = ()
        if draw is not None:
            bounds = _Bounds(customers, entry_day, draw)
            is_fraud &= bounds.reports(is_fraud, fraud_day)
    payments, frauds, taken_back = (_Collected(spec, hash_key) for _ in range(3))
    for entity in spec.entities:
        name = f"{entity.value}_id"
        if name not in transactions.columns:
            continue
        numbers, identifiers = pd.factorize(transactions[name])
        codes = numbers.astype(np.int64, copy=False)
        has_entity = codes >= 0
        rows = np.flatnonzero(has_entity)
        enough = _with_customers(
            codes[rows], event_day[rows], customers[rows], least=spec.min_customers
        )
        texts = np.asarray(identifiers, dtype=object)
        counted = rows[enough] if bounds is None else bounds.payments(rows[enough])
        payments.add(entity.value, texts, codes[counted], entry_day[counted])
        fraud = has_entity & is_fraud
        frauds.add(entity.value, texts, codes[fraud], fraud_day[fraud])
    for each in corrections:
        for entity in spec.entities:
            if entity in each.identifiers:
                identifier, day = each.identifiers[entity], each.reported_on(spec.delay_days)
                frauds.add_one(entity.value, identifier, day)
                entered = each.entered_on(spec.delay_days)
                taken_back.add_one(entity.value, identifier, entered, rotation=day)
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
    """Entries of one kind of entity after the other."""

    def __init__(self, spec: RiskSpec, hash_key: bytes) -> None:
        self._spec = spec
        self._hash_key = hash_key
        self._days: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        self._counts: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        self._hashes: list[UInt32Array] = [np.empty((0, spec.depth), dtype=np.uint32)]
        self._rows: list[Int64Array] = [np.empty(0, dtype=np.int64)]

    def add(
        self, entity: str, identifiers: npt.NDArray[np.object_], codes: Int64Array, days: Int64Array
    ) -> None:
        """Add one count for each element of ``codes`` and ``days`` that lies inside the run."""
        inside = (days >= self._spec.first_day) & (days <= self._spec.last_day)
        codes, days = codes[inside], days[inside] - self._spec.first_day
        if codes.size == 0:
            return
        n_days = self._spec.last_day - self._spec.first_day + 1
        keys, counts = np.unique(codes * n_days + days, return_counts=True)
        used, position = np.unique(keys // n_days, return_inverse=True)
        hashes = hash_identifiers(
            entity, identifiers[used], hash_key=self._hash_key, depth=self._spec.depth
        )
        self._days.append(keys % n_days + self._spec.first_day)
        self._counts.append(counts.astype(np.int64))
        self._hashes.append(hashes[position])
        row = self._spec.entities.index(RiskEntity(entity))
        self._rows.append(np.full(keys.size, row, dtype=np.int64))

    def add_one(self, entity: str, identifier: str, day: int, *, rotation: int = 0) -> None:
        """Add one count of one identifier, unless the day lies outside of the run."""
        if not self._spec.first_day <= day <= self._spec.last_day:
            return
        hashes = hash_identifiers(
            entity, [identifier], hash_key=self._hash_key, depth=self._spec.depth
        )
        self._days.append(np.array([day], dtype=np.int64))
        self._counts.append(np.ones(1, dtype=np.int64))
        self._hashes.append(rotated(hashes, rotation))
        row = self._spec.entities.index(RiskEntity(entity))
        self._rows.append(np.array([row], dtype=np.int64))

    def entries(self) -> Entries:
        """Return everything in the order of days."""
        days = np.concatenate(self._days)
        order = np.argsort(days, kind="stable")
        return Entries(
            days=days[order],
            counts=np.concatenate(self._counts)[order],
            hashes=np.concatenate(self._hashes)[order],
            rows=None if self._spec.privacy is None else np.concatenate(self._rows)[order],
        )
