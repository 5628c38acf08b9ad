"""What is known of judged payments beside their labels: who paid whom, and who was reported before.

Times are UTC epoch seconds. A report counts for a payment if it was made at a strictly earlier
second; which cut-off judges the payment makes no difference to it.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.features.by_key.buckets import key_hashes
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.payments.columns import CHANNELS, LABEL_COLUMNS, MERCHANT_CATEGORIES
from fraudfed.payments.fraud_kinds import FRAUD_KINDS, OTHER, fraud_kind_of
from fraudfed.payments.merchant_categories import CATEGORY_OF

#: Raw columns for analysis that outcomes are made of, where a file has them.
ANALYSIS_COLUMNS: Final = ("card_id", "is_blocked", "fraud_kind")
#: A fraud is the first seen of its kind if none of its names was reported within so many days.
FIRST_SEEN_DAYS: Final = 90

#: Names that mean one thing, whichever column they stand in: an account that is paid here may be
#: the one that pays there.
_NAMES: Final = (("customer_id",), ("payee_id", "payer_id"), ("terminal_id",), ("merchant_id",))


def stopped_payments(rows: pd.DataFrame) -> BoolArray:
    """Tell which payments the bank stopped; shape (n_rows,). None where the file does not say."""
    if "is_blocked" not in rows.columns:
        return np.zeros(len(rows), dtype=np.bool_)
    return (rows["is_blocked"] == 1).fillna(False).to_numpy(dtype=np.bool_)


#: Gives each name of a column a number of its own, -1 where there is none.
Code: TypeAlias = Callable[["pd.Series[str]"], Int64Array]


def by_order(names: "pd.Series[str]") -> Int64Array:
    """Return the place of each name in the order in which they come; for all rows at once."""
    return pd.factorize(names)[0].astype(np.int64, copy=False)


def by_hash(names: "pd.Series[str]") -> Int64Array:
    """Return 63 bits of a hash of each name: the same in every piece of the rows.

    Of 10 million names two have the same number with a probability of 5 in 1 million.
    """
    numbers = (key_hashes(names) >> np.uint64(1)).astype(np.int64)
    numbers[names.isna().to_numpy(dtype=np.bool_)] = -1
    return numbers


def outcomes_of(
    rows: pd.DataFrame, positions: Int64Array, labels: Float32Array, *, code: Code = by_order
) -> Outcomes:
    """Return the outcomes of some payments.

    Parameters
    ----------
    rows : DataFrame
        All raw transactions of the bank.
    positions : ndarray of shape (n_positions,), dtype=int64
        Which of them are judged.
    labels : ndarray of shape (n_positions,), dtype=float32
        As of the cut-off.
    code : callable
        How customers, cards and accounts are numbered.
    """
    judged = rows.iloc[positions]
    return Outcomes(
        labels=labels,
        is_blocked=stopped_payments(judged),
        event_time=judged["event_time"].to_numpy(dtype=np.int64),
        amounts=judged["amount_minor"].to_numpy(dtype=np.int64),
        customers=_codes(judged, "customer_id", code),
        cards=_codes(judged, "card_id", code),
        accounts=_codes(judged, "payee_id", code),
        is_first_seen=first_seen(rows, positions),
        cells=_cells(judged, labels),
    )


def customers_of(rows: pd.DataFrame, positions: Int64Array, *, code: Code = by_order) -> Int64Array:
    """Return whose payments these are, as numbers of this bank's own.

    Returns
    -------
    ndarray of shape (n_positions,), dtype=int64

    Raises
    ------
    DataError
        If a payment has no customer.
    """
    codes = _codes(rows.iloc[positions], "customer_id", code)
    if codes is None or (codes < 0).any():
        raise DataError(
            "the privacy unit is the customer, and a payment has no customer_id; give every "
            "payment one"
        )
    return codes


def outcomes_without_times(labels: Float32Array) -> Outcomes:
    """Return the outcomes of rows of which nothing but the label is known."""
    return Outcomes(labels=labels, is_blocked=np.zeros(labels.size, dtype=np.bool_))


def first_seen(rows: pd.DataFrame, positions: Int64Array) -> BoolArray:
    """Tell whether payer, payee, terminal and merchant of payments were not reported lately.

    Parameters
    ----------
    rows : DataFrame
        Their reports count, whatever direction or population they are of.
    positions : ndarray of shape (n_positions,), dtype=int64

    Returns
    -------
    ndarray of shape (n_positions,), dtype=bool
        False if a fraud with one of their names was reported in the ``FIRST_SEEN_DAYS`` before.
    """
    reports = _Reports(rows)
    lately = FIRST_SEEN_DAYS * SECONDS_PER_DAY
    seen = np.zeros(positions.size, dtype=np.bool_)
    for columns in _NAMES:
        seen |= reports.reported(columns, positions, within=lately)
    return ~seen


def known_compromised(rows: pd.DataFrame, positions: Int64Array) -> BoolArray:
    """Tell which payments are of a card, or to an account, that was reported before them.

    Where the file has no cards, the customer stands for the card.

    Parameters
    ----------
    rows : DataFrame
    positions : ndarray of shape (n_positions,), dtype=int64

    Returns
    -------
    ndarray of shape (n_positions,), dtype=bool
    """
    reports = _Reports(rows)
    card = "card_id" if "card_id" in rows.columns else "customer_id"
    known = reports.reported((card,), positions, within=None)
    return known | reports.reported(("payee_id",), positions, within=None)


class _Reports:
    """The reported frauds of a bank, and when they were reported."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows
        self._frauds = np.empty(0, dtype=np.int64)
        self._times = np.empty(0, dtype=np.int64)
        if all(name in rows.columns for name in LABEL_COLUMNS):
            fraud = (rows["is_fraud"] == 1).fillna(False).to_numpy(dtype=np.bool_)
            self._frauds = np.flatnonzero(fraud).astype(np.int64, copy=False)
            self._times = rows["label_time"].iloc[self._frauds].to_numpy(dtype=np.int64)

    def reported(
        self, columns: tuple[str, ...], positions: Int64Array, *, within: int | None
    ) -> BoolArray:
        """Tell for each payment whether a name of its columns was reported before it.

        Parameters
        ----------
        columns : tuple of str
            Those that are absent name nobody.
        positions : ndarray of shape (n_positions,), dtype=int64
        within : int or None
            Seconds before the payment; None for any time.
        """
        found = np.zeros(positions.size, dtype=np.bool_)
        there = [name for name in columns if name in self._rows.columns]
        if not there or not self._frauds.size or not positions.size:
            return found
        texts = [self._rows[name].iloc[self._frauds] for name in there]
        texts += [self._rows[name].iloc[positions] for name in there]
        codes = pd.factorize(pd.concat(texts, ignore_index=True))[0].astype(np.int64, copy=False)
        n_reports = len(there) * self._frauds.size
        asked = self._rows["event_time"].iloc[positions].to_numpy(dtype=np.int64)
        # All names lie on one axis, further apart than any two times.
        origin = min(int(self._times.min()), int(asked.min()) - (within or 0))
        stride = max(int(self._times.max()), int(asked.max())) - origin + 1
        made = codes[:n_reports]
        at = made * stride + np.tile(self._times, len(there)) - origin
        axis = np.sort(at[made >= 0])
        for index in range(len(there)):
            start = n_reports + index * positions.size
            of = codes[start : start + positions.size]
            now = of * stride + asked - origin
            since = of * stride if within is None else now - within
            count = axis.searchsorted(now) - axis.searchsorted(since)
            found |= (count > 0) & (of >= 0)
        return found


def _codes(judged: pd.DataFrame, name: str, code: Code) -> Int64Array | None:
    """Return a number for each of a column's names, -1 for none."""
    return code(judged[name]) if name in judged.columns else None


def _cells(judged: pd.DataFrame, labels: Float32Array) -> dict[str, Int64Array]:
    cells = {}
    if "channel" in judged.columns:
        cells["channel"] = _places(judged["channel"], CHANNELS, lambda text: text)
    if "merchant_category" in judged.columns:
        cells["merchant_category"] = _places(
            judged["merchant_category"], MERCHANT_CATEGORIES, CATEGORY_OF.get
        )
    if "fraud_kind" in judged.columns:
        names = [kind.name for kind in FRAUD_KINDS]
        kinds = _places(judged["fraud_kind"], names, lambda text: fraud_kind_of(text) or OTHER)
        # Of what is not reported yet nobody knows the kind.
        cells["fraud_kind"] = np.where(labels == 1, kinds, -1)
    return cells


def _places(
    texts: "pd.Series[str]", listed: Iterable[Hashable], named: Callable[[str], str | None]
) -> Int64Array:
    """Return the place in a list of what each text is called there; -1 for none."""
    place = {name: index for index, name in enumerate(listed)}
    numbers, values = pd.factorize(texts)
    places = [place.get(named(str(value)), -1) for value in values]
    # The last entry is what number -1, no value, picks.
    return np.array([*places, -1], dtype=np.int64)[numbers]
