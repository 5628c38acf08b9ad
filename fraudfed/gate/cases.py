"""What a judge window is resampled by: cases of fraud, and the clean payments of each day."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.cases import case_numbers
from fraudfed.evaluation.outcomes import Outcomes

_SECONDS_A_DAY = 86_400
#: Groups that stand for days where payments have no times: rows in turn.
_GROUPS_WITHOUT_TIMES = 30


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedCases:
    """The payments of a window whose labels are known, by case and by day.

    Censored payments are left out: nobody knows whether an alert on them would have been right.

    Attributes
    ----------
    frauds : ndarray of shape (n_frauds,), dtype=int64
        Rows of the window that are frauds.
    case_of : ndarray of shape (n_frauds,), dtype=int64
        The case of each, from 0.
    clean : ndarray of shape (n_clean,), dtype=int64
        Rows that are not.
    day_of : ndarray of shape (n_clean,), dtype=int64
        The UTC day of each, from 0, days without a known payment left out.
    n_cases, n_days : int
    values : ndarray of shape (n_cases,), dtype=int64, or None
        Minor currency units of each case's frauds; None where payments have no amounts.
    has_times : bool
        Whether days are days. Without times, rows in turn make 30 groups.
    """

    frauds: Int64Array
    case_of: Int64Array
    clean: Int64Array
    day_of: Int64Array
    n_cases: int
    n_days: int
    values: Int64Array | None
    has_times: bool

    @property
    def n_rows(self) -> int:
        """Payments whose labels are known."""
        return int(self.frauds.size + self.clean.size)

    @classmethod
    def of(cls, outcomes: Outcomes) -> "JudgedCases":
        """Arrange a window's outcomes.

        Raises
        ------
        DataError
            If no payment is known to be fraud, or none to be clean.
        """
        frauds = np.flatnonzero(outcomes.labels == 1).astype(np.int64)
        clean = np.flatnonzero(outcomes.labels == 0).astype(np.int64)
        if not frauds.size or not clean.size:
            missing = "a fraud" if not frauds.size else "clean"
            raise DataError(
                f"judge window: none of {outcomes.n_rows} payments is known to be {missing}, "
                "expected both classes",
                what_to_do="wait until more reports have come in, or judge a later window",
            )
        numbers = case_numbers(outcomes)[frauds]
        n_cases = int(numbers.max()) + 1
        values = None
        if outcomes.amounts is not None:
            values = np.zeros(n_cases, np.int64)
            np.add.at(values, numbers, outcomes.amounts[frauds])
        if outcomes.event_time is None:
            known = np.flatnonzero(~outcomes.is_censored)
            groups = np.empty(outcomes.n_rows, np.int64)
            groups[known] = np.arange(known.size) % _GROUPS_WITHOUT_TIMES
            n_days = min(_GROUPS_WITHOUT_TIMES, known.size)
        else:
            known_days = outcomes.event_time // _SECONDS_A_DAY
            days = np.unique(known_days[~outcomes.is_censored])
            groups = np.searchsorted(days, known_days).astype(np.int64)
            n_days = int(days.size)
        return cls(
            frauds=frauds,
            case_of=numbers,
            clean=clean,
            day_of=groups[clean],
            n_cases=n_cases,
            n_days=n_days,
            values=values,
            has_times=outcomes.event_time is not None,
        )
