"""A bank's judged rows as the pooled metrics count them: cells, classes, cases, accounts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from fraudfed.boosting.score_cells import (
    N_CELLS,
    N_COARSE_CELLS,
    cells_of,
    coarse_cells_of,
    count_cells,
)
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.evaluation.accounts import Accounts, account_codes
from fraudfed.evaluation.cards import RankedCards
from fraudfed.evaluation.cases import N_FOUND, Cases
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.plan import CARDS_PER_DAY, JudgingPlan
from fraudfed.evaluation.readings import Reading

#: Classes of rows: clean, censored, and frauds by blocked (+ 2) and first seen (+ 1) from 2 on.
CLEAN, CENSORED, FRAUDS = 0, 1, 2
N_CLASSES: Final = 6
READINGS: Final = tuple(Reading)
#: What ``counts`` holds of each reading.
N_OF_READING: Final = 5
#: What it holds of each cell of a group.
N_OF_CELL: Final = 3


@dataclass(frozen=True, eq=False)
class OwnRows:
    """Rows of one bank with a model's scores.

    Attributes
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
    outcomes : Outcomes
    plan : JudgingPlan
    """

    margins: Float32Array
    outcomes: Outcomes
    plan: JudgingPlan

    @cached_property
    def cells(self) -> Int64Array:
        """Fine cell of each row."""
        return cells_of(self.margins)

    @cached_property
    def coarse(self) -> Int64Array:
        """Coarse cell of each row."""
        return coarse_cells_of(self.margins)

    @cached_property
    def classes(self) -> Int64Array:
        """Class of each row."""
        outcomes = self.outcomes
        first = outcomes.is_first_seen
        seen = (
            np.zeros(outcomes.n_rows, dtype=np.int64) if first is None else first.astype(np.int64)
        )
        of_fraud = FRAUDS + 2 * outcomes.is_blocked + seen
        fraud_or_clean = np.where(outcomes.labels == 1, of_fraud, CLEAN)
        return np.where(outcomes.is_censored, CENSORED, fraud_or_clean).astype(np.int64)

    @cached_property
    def cases(self) -> dict[Reading, Cases]:
        """Cases under each reading."""
        return {each: Cases.of(self.outcomes, each.labels(self.outcomes)) for each in READINGS}

    @cached_property
    def accounts(self) -> dict[Reading, Accounts]:
        """Accounts under each reading, by coarse cells."""
        codes = account_codes(self.outcomes)
        return {
            each: Accounts.of(codes, each.labels(self.outcomes), self.coarse) for each in READINGS
        }

    @cached_property
    def cards(self) -> RankedCards:
        """The cards of each day, by known labels."""
        return RankedCards.of(self.margins, self.outcomes.labels, self.outcomes)

    def card_hits(self) -> Int64Array:
        """Return hits and attainable hits of each length of list; shape (n_lengths, 2)."""
        return np.array([self.cards.hits(k) for k in CARDS_PER_DAY], dtype=np.int64)

    def n_days(self) -> Int64Array:
        """Return the number of days with a list of cards; shape (1,)."""
        return np.array([self.cards.starts.size], dtype=np.int64)

    def of_cell(self, group: str, position: int) -> Int64Array:
        """Return the rows of a cell of a group."""
        places = self.outcomes.cells.get(group)
        if places is None:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(places == position).astype(np.int64)

    def case_cells(self) -> dict[str, Int64Array]:
        """Return the position, in each group, of the first payment of each known case."""
        cases = self.cases[Reading.KNOWN]
        first = cases.rows[cases.starts]
        absent = np.full(first.size, -1, dtype=np.int64)
        return {
            name: self.outcomes.cells[name][first] if name in self.outcomes.cells else absent
            for name in self.plan.groups
        }

    def counts(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Return rows by class; by reading; and by cell of a group.

        Returns
        -------
        classes : ndarray of shape (N_CLASSES,), dtype=int64
        readings : ndarray of shape (n_readings, N_OF_READING), dtype=int64
            Cases, first seen ones, clean accounts, fraudulent accounts, amount of all fraud.
        cells : ndarray of shape (n_cells, N_OF_CELL), dtype=int64
            Clean rows, frauds, and cases by their first payment.
        """
        classes = np.bincount(self.classes, minlength=N_CLASSES).astype(np.int64)
        readings = []
        for each in READINGS:
            cases, accounts = self.cases[each], self.accounts[each]
            readings.append(
                [
                    cases.n_cases,
                    cases.n_first_seen,
                    accounts.n_clean,
                    accounts.n_fraudulent,
                    cases.value,
                ]
            )
        cells = []
        places = self.case_cells()
        for name, values in self.plan.groups.items():
            for position in range(len(values)):
                labels = self.outcomes.labels[self.of_cell(name, position)]
                cells.append(
                    [
                        np.count_nonzero(labels == 0),
                        np.count_nonzero(labels == 1),
                        np.count_nonzero(places[name] == position),
                    ]
                )
        return (
            classes,
            np.array(readings, dtype=np.int64),
            np.array(cells, dtype=np.int64).reshape(-1, N_OF_CELL),
        )

    def class_cells(self) -> Int64Array:
        """Count rows by class and fine cell; shape (N_CLASSES, N_CELLS)."""
        return count_cells(self.cells, self.classes, n_cells=N_CELLS, n_classes=N_CLASSES)

    def account_cells(self, reading: Reading) -> Int64Array:
        """Count clean and fraudulent accounts by coarse cell; shape (2, N_COARSE_CELLS)."""
        accounts = self.accounts[reading]
        return count_cells(
            accounts.cells, accounts.is_fraudulent, n_cells=N_COARSE_CELLS, n_classes=2
        )

    def group_cells(self, group: str, position: int) -> Int64Array:
        """Count clean and fraudulent rows of a group's cell by coarse cell of their score."""
        rows = self.of_cell(group, position)
        labels = self.outcomes.labels[rows]
        known = ~np.isnan(labels)
        return count_cells(
            self.coarse[rows][known],
            (labels[known] == 1).astype(np.int64),
            n_cells=N_COARSE_CELLS,
            n_classes=2,
        )

    def found(self, reading: Reading, edges: list[int]) -> Int64Array:
        """Return ``Cases.at`` with alerts from each edge on; shape (n_edges, N_FOUND)."""
        cases = self.cases[reading]
        # A case holds only rows that the reading has a label for.
        found = [cases.at(self.cells >= edge) for edge in edges]
        return np.array(found, dtype=np.int64).reshape(-1, N_FOUND)

    def group_cases_found(self, cells: list[tuple[str, int]], edge: int) -> Int64Array:
        """Count the known cases of some cells of groups that alerts from an edge on find."""
        found = self.cases[Reading.KNOWN].found(self.cells >= edge)
        places = self.case_cells()
        return np.array(
            [np.count_nonzero(found & (places[name] == position)) for name, position in cells],
            dtype=np.int64,
        )
