"""What one bank enters for each day: counts per entity, before they are hashed into a sketch.

A payment of day e is entered for day ``e + delay_days``; a fraud for that day or for the day on
which it was reported, whichever is later. So each payment and each fraud is entered exactly once,
what is entered for a day is known at its end, and windows of days of entry are windows of days of
payment, shifted by the risk delay.

Law: what a bank enters for a day is the same whether it looks at the end of that day or later. So a
report that turns out wrong is never taken out of its day: a correction is entered on the day on
which it is made, and takes back the report from windows that hold the report's day.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Int64Array, UInt32Array
from fraudfed.features.shared_risk.sketch import (
    columns_of,
    sketch_of,
)
from fraudfed.wire.messages import RiskEntity

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
