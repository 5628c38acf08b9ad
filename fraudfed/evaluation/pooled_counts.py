"""The first two rounds of judging: how many rows there are, and their scores by public cells."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS
from fraudfed.boosting.score_cells import N_CELLS, N_COARSE_CELLS
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.own_rows import (
    CENSORED,
    CLEAN,
    FRAUDS,
    N_OF_READING,
    READINGS,
    OwnRows,
)
from fraudfed.evaluation.plan import LEAST_CASES, JudgingPlan
from fraudfed.evaluation.readings import Reading
from fraudfed.evaluation.score_histogram import ScoreHistogram
from fraudfed.held_sums import hold_judged

#: Public bound of the amounts of all banks' frauds; a sum of int64 stays exact.
MOST_VALUE: Final = 2**61
#: What one bank may bring to it: a thousand banks stay within.
MOST_OWN_VALUE: Final = MOST_VALUE // 1024


@dataclass(frozen=True, eq=False)
class PooledRows:
    """What the first round opens.

    Attributes
    ----------
    classes, readings, cells : ndarray, dtype=int64
        As ``OwnRows.counts``.
    days : int
        Days with a payment, over all banks.
    plan : JudgingPlan
    """

    classes: Int64Array
    readings: Int64Array
    cells: Int64Array
    days: int
    plan: JudgingPlan

    @property
    def n_clean(self) -> int:
        """Clean rows."""
        return int(self.classes[CLEAN])

    @property
    def n_censored(self) -> int:
        """Rows whose label nobody knows."""
        return int(self.classes[CENSORED])

    @property
    def n_frauds(self) -> int:
        """Frauds, the blocked ones among them."""
        return int(self.classes[FRAUDS:].sum())

    @property
    def n_blocked_frauds(self) -> int:
        """Frauds that were blocked."""
        return int(self.classes[FRAUDS + 2 :].sum())

    @property
    def read(self) -> tuple[Reading, ...]:
        """The readings that differ from each other."""
        found = [Reading.KNOWN]
        if self.n_censored or self.n_blocked_frauds:
            found.append(Reading.UNBLOCKED)
        if self.n_censored:
            found += [Reading.CENSORED_CLEAN, Reading.CENSORED_FRAUD]
        return tuple(found)

    @property
    def shown(self) -> tuple[int, ...]:
        """Which cells of groups have enough cases."""
        return tuple(np.flatnonzero(self.cells[:, 2] >= LEAST_CASES).tolist())

    def of(self, reading: Reading) -> tuple[int, int, int, int, int]:
        """Return cases, first seen ones, clean and fraudulent accounts, and amount."""
        cases, first, clean, fraudulent, value = self.readings[READINGS.index(reading)].tolist()
        return cases, first, clean, fraudulent, value

    def cell(self, index: int) -> tuple[str, int]:
        """Return group and position of a cell."""
        name, value = self.plan.cells[index]
        return name, self.plan.groups[name].index(value)


@dataclass(frozen=True, eq=False)
class PooledScores:
    """What the second round opens: counts by cell of the score.

    Attributes
    ----------
    classes : ndarray of shape (N_CLASSES, N_CELLS), dtype=int64
    accounts : dict of Reading to ndarray of shape (2, N_COARSE_CELLS), dtype=int64
        Clean and fraudulent ones, by their highest cell.
    groups : dict of int to ndarray of shape (2, N_COARSE_CELLS), dtype=int64
        Clean and fraudulent rows of the cells of groups that have enough cases.
    """

    classes: Int64Array
    accounts: dict[Reading, Int64Array]
    groups: dict[int, Int64Array]

    def histogram(self, reading: Reading) -> ScoreHistogram:
        """Return clean rows and frauds under a reading."""
        clean, frauds = self.classes[CLEAN], self.classes[FRAUDS:].sum(axis=0)
        censored = self.classes[CENSORED]
        if reading is Reading.UNBLOCKED:
            frauds = self.classes[FRAUDS : FRAUDS + 2].sum(axis=0)
        elif reading is Reading.CENSORED_CLEAN:
            clean = clean + censored
        elif reading is Reading.CENSORED_FRAUD:
            frauds = frauds + censored
        return ScoreHistogram(clean, frauds)

    def first_seen(self) -> ScoreHistogram:
        """Return the frauds that nothing known led to, beside all clean rows."""
        return ScoreHistogram(
            self.classes[CLEAN], self.classes[FRAUDS + 1] + self.classes[FRAUDS + 3]
        )


class SumOfParts:
    """Arrays that are summed as one vector, and split again."""

    def __init__(self) -> None:
        self._values: list[Int64Array] = []
        self._bounds: list[Int64Array] = []

    def add(self, values: Int64Array, bound: int | Int64Array) -> None:
        """Add an array and the bounds of its sum, which are broadcast to it."""
        self._values.append(values)
        self._bounds.append(
            np.broadcast_to(np.asarray(bound, dtype=np.int64), values.shape).ravel()
        )

    def sum(self, communicator: Communicator, *, label: str) -> list[Int64Array]:
        """Return the sum of each array, of its shape."""
        pooled = communicator.sum(
            np.concatenate([each.ravel() for each in self._values]),
            bound=np.concatenate(self._bounds),
            low=0,
            label=label,
        )
        split = np.split(pooled, np.cumsum([each.size for each in self._values])[:-1])
        return [part.reshape(each.shape) for part, each in zip(split, self._values, strict=True)]


def count_rows(own: OwnRows, communicator: Communicator) -> PooledRows:
    """Sum how many rows, cases and accounts there are.

    Raises
    ------
    SumError
        If they are none of rows.
    FraudFedError
        If the sum fails.
    """
    parts = SumOfParts()
    classes, readings, cells = own.counts()
    parts.add(classes, MAX_POOLED_ROWS)
    parts.add(readings, np.array([MAX_POOLED_ROWS] * (N_OF_READING - 1) + [MOST_VALUE]))
    parts.add(cells, MAX_POOLED_ROWS)
    parts.add(own.n_days(), MAX_POOLED_ROWS)
    classes, readings, cells, days = parts.sum(communicator, label="judge:rows")
    counts = PooledRows(classes, readings, cells, int(days[0]), own.plan)
    frauds = {
        Reading.KNOWN: counts.n_frauds,
        Reading.UNBLOCKED: counts.n_frauds - counts.n_blocked_frauds,
        Reading.CENSORED_CLEAN: counts.n_frauds,
        Reading.CENSORED_FRAUD: counts.n_frauds + counts.n_censored,
    }
    for reading, most in frauds.items():
        cases, first, _, fraudulent, value = counts.of(reading)
        hold_judged(min(int(classes.min()), int(readings.min())) >= 0 and first <= cases <= most)
        hold_judged(fraudulent <= most and (value == 0 or most > 0))
    known = counts.of(Reading.KNOWN)[0]
    most_of_cell = np.array([counts.n_clean, counts.n_frauds, known])
    hold_judged(bool(((cells >= 0) & (cells <= most_of_cell)).all()))
    hold_judged(0 <= counts.days <= int(classes.sum()))
    return counts


def count_scores(own: OwnRows, counts: PooledRows, communicator: Communicator) -> PooledScores:
    """Sum the scores by cell; raises as ``count_rows``."""
    parts = SumOfParts()
    parts.add(own.class_cells(), np.repeat(counts.classes[:, None], N_CELLS, axis=1))
    for reading in counts.read:
        accounts = np.array(counts.of(reading)[2:4])
        parts.add(own.account_cells(reading), np.repeat(accounts[:, None], N_COARSE_CELLS, axis=1))
    for index in counts.shown:
        rows = counts.cells[index, :2]
        found = own.group_cells(*counts.cell(index))
        parts.add(found, np.repeat(rows[:, None], N_COARSE_CELLS, axis=1))
    pooled = parts.sum(communicator, label="judge:scores")
    accounts_of = dict(zip(counts.read, pooled[1:], strict=False))
    groups = dict(zip(counts.shown, pooled[1 + len(counts.read) :], strict=True))
    hold_judged(_adds_up(pooled[0], counts.classes))
    for reading, found in accounts_of.items():
        hold_judged(_adds_up(found, np.array(counts.of(reading)[2:4])))
    for index, found in groups.items():
        hold_judged(_adds_up(found, counts.cells[index, :2]))
    return PooledScores(pooled[0], accounts_of, groups)


def _adds_up(cells: Int64Array, whole: Int64Array) -> bool:
    # Every cell is within its whole already, so that their sum stays far inside int64.
    return bool((cells >= 0).all() and (cells.sum(axis=1) == whole).all())
