"""Cases of fraud, and what a threshold finds and saves of them; within one bank.

A case is a customer's frauds within 30 days of the first of them: one loss to one person, however
many payments it took. It is found if any of its payments is alerted on.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.evaluation.outcomes import Outcomes

#: Frauds of a customer so long after the first are of another case.
CASE_DAYS: Final = 30
_CASE_SECONDS: Final = CASE_DAYS * 86_400
#: What ``Cases.at`` counts.
N_FOUND: Final = 6


def case_numbers(outcomes: Outcomes, labels: Float32Array | None = None) -> Int64Array:
    """Return the number of the case that each fraud belongs to.

    Parameters
    ----------
    outcomes : Outcomes
        A fraud without a customer is a case of its own; without times, all of a customer's are one.
    labels : ndarray of shape (n_rows,), dtype=float32, or None
        Other labels than those of the outcomes.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=int64
        From 0; -1 for what is no fraud.
    """
    labels = outcomes.labels if labels is None else labels
    numbers = np.full(labels.size, -1, dtype=np.int64)
    frauds = np.flatnonzero(labels == 1)
    customers = outcomes.customers if outcomes.customers is not None else numbers
    times = outcomes.event_time if outcomes.event_time is not None else np.zeros_like(numbers)
    order = frauds[np.lexsort((frauds, times[frauds], customers[frauds]))]
    number, customer, first = -1, -1, 0
    for row, of, at in zip(
        order.tolist(), customers[order].tolist(), times[order].tolist(), strict=True
    ):
        if of < 0 or of != customer or at > first + _CASE_SECONDS:
            number, customer, first = number + 1, of, at
        numbers[row] = number
    return numbers


@dataclass(frozen=True, eq=False)
class Cases:
    """The frauds of a bank under some labels, by case and in each case by time.

    Attributes
    ----------
    rows : ndarray of shape (n_frauds,), dtype=int64
        Positions of the frauds, those of a case together.
    starts : ndarray of shape (n_cases,), dtype=int64
        Where each case begins in ``rows``.
    is_first_seen : ndarray of shape (n_cases,), dtype=bool
        Whether nothing of a case's first payment was reported lately.
    amounts : ndarray of shape (n_frauds,), dtype=int64
        Minor currency units; 0 where there are none.
    """

    rows: Int64Array
    starts: Int64Array
    is_first_seen: BoolArray
    amounts: Int64Array

    @classmethod
    def of(cls, outcomes: Outcomes, labels: Float32Array | None = None) -> "Cases":
        """Arrange the frauds of a bank; parameters as ``case_numbers``."""
        numbers = case_numbers(outcomes, labels)
        frauds = np.flatnonzero(numbers >= 0)
        times = np.zeros_like(numbers) if outcomes.event_time is None else outcomes.event_time
        rows = frauds[np.lexsort((frauds, times[frauds], numbers[frauds]))].astype(np.int64)
        starts = np.flatnonzero(np.diff(numbers[rows], prepend=-1)).astype(np.int64)
        first = rows[starts]
        is_first_seen = (
            np.zeros(first.size, dtype=np.bool_)
            if outcomes.is_first_seen is None
            else outcomes.is_first_seen[first]
        )
        amounts = np.zeros_like(rows) if outcomes.amounts is None else outcomes.amounts[rows]
        return cls(rows, starts, is_first_seen, amounts)

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return int(self.starts.size)

    @property
    def n_first_seen(self) -> int:
        """Number of cases that nothing known led to."""
        return int(np.count_nonzero(self.is_first_seen))

    @property
    def value(self) -> int:
        """Amount of all frauds."""
        return int(self.amounts.sum())

    def found(self, is_alerted: BoolArray) -> BoolArray:
        """Tell which cases are found; ``is_alerted`` has shape (n_rows,) of the bank's rows."""
        if not self.n_cases:
            return np.zeros(0, dtype=np.bool_)
        found: BoolArray = np.logical_or.reduceat(is_alerted[self.rows], self.starts)
        return found

    def at(self, is_alerted: BoolArray) -> Int64Array:
        """Count what alerts on some payments find.

        Parameters
        ----------
        is_alerted : ndarray of shape (n_rows,), dtype=bool
            Of the bank's rows.

        Returns
        -------
        ndarray of shape (N_FOUND,), dtype=int64
            Cases found; first seen ones among them; amounts of the frauds alerted on, of the cases
            found, of the found cases' frauds from the first alert on, and of those after it.
        """
        if not self.n_cases:
            return np.zeros(N_FOUND, dtype=np.int64)
        found = self.found(is_alerted)
        alerted = is_alerted[self.rows]
        positions = np.arange(self.rows.size)
        case_of = np.repeat(
            np.arange(self.n_cases), np.diff(np.append(self.starts, self.rows.size))
        )
        first = np.minimum.reduceat(np.where(alerted, positions, self.rows.size), self.starts)[
            case_of
        ]
        return np.array(
            [
                np.count_nonzero(found),
                np.count_nonzero(found & self.is_first_seen),
                self.amounts[alerted].sum(),
                self.amounts[found[case_of]].sum(),
                self.amounts[positions >= first].sum(),
                self.amounts[positions > first].sum(),
            ],
            dtype=np.int64,
        )
