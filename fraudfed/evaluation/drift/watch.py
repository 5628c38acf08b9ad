"""All that is counted of a bank's scored payments over some weeks."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.drift.cells import WatchedFeature
from fraudfed.evaluation.drift.metrics import (
    Absences,
    DriftMetric,
    Features,
    ReportedFrauds,
    Scores,
    Totals,
    Traffic,
)
from fraudfed.evaluation.drift.rows import DAY, HOUR, WEEK, MonitoredRows, Weeks

#: Rows that are counted at once: bounds the memory of cells.
_BATCH_ROWS: Final = 1 << 20


class Watch:
    """The metrics of some weeks, which rows enter and leave together.

    Laws: those of ``DriftMetric``.

    Attributes
    ----------
    weeks : Weeks
    features : tuple of WatchedFeature
    slot_seconds : int
        How finely what needs no labels is counted: an hour, or a day for sums over banks. Then
        scores are counted by week: by day too few of a small bank would be in a cell.
    totals, traffic, absences, scores, by_feature, frauds : metrics
    """

    def __init__(
        self, weeks: Weeks, features: Sequence[WatchedFeature], *, slot_seconds: int = HOUR
    ) -> None:
        if slot_seconds not in (HOUR, DAY):
            raise ValueError(f"slot_seconds is {slot_seconds}, expected {HOUR} or {DAY}")
        self.weeks, self.features, self.slot_seconds = weeks, tuple(features), slot_seconds
        self.totals = Totals(weeks)
        self.traffic = Traffic(weeks, slot_seconds=slot_seconds)
        self.absences = Absences(weeks, slot_seconds=slot_seconds, n_features=len(features))
        self.scores = Scores(weeks, slot_seconds=HOUR if slot_seconds == HOUR else WEEK)
        self.by_feature = Features(weeks, features)
        self.frauds = ReportedFrauds(weeks)

    @property
    def metrics(self) -> tuple[DriftMetric, ...]:
        """All metrics; totals and traffic, which bound the others, are the first."""
        return (self.totals, self.traffic, self.absences, self.scores, self.by_feature, self.frauds)

    @property
    def slots_per_week(self) -> int:
        """Slots of a week."""
        return WEEK // self.slot_seconds

    def update(self, rows: MonitoredRows) -> None:
        """Let rows enter."""
        for start in range(0, len(rows), _BATCH_ROWS):
            stop = min(start + _BATCH_ROWS, len(rows))
            part = rows if stop - start == len(rows) else rows.take(np.arange(start, stop))
            for metric in self.metrics:
                metric.update(part)

    def revert(self, rows: MonitoredRows) -> None:
        """Let rows leave; raises ValueError if they have not entered, and changes nothing then."""
        before = [metric.counts for metric in self.metrics]
        try:
            for metric in self.metrics:
                metric.revert(rows)
        except ValueError:
            for metric, counts in zip(self.metrics, before, strict=True):
                metric.counts = counts
            raise

    def by_week(self, counts: Int64Array) -> Int64Array:
        """Return the counts of slots summed over weeks: the first axis becomes ``n_weeks``."""
        parts = counts.reshape(self.weeks.n_weeks, -1, *counts.shape[1:])
        summed: Int64Array = parts.sum(axis=1)
        return summed

    def by_last_day(self, counts: Int64Array) -> Int64Array:
        """Return the counts of each week's last day: the first axis becomes ``n_weeks``."""
        n_slots = DAY // self.slot_seconds
        parts = counts.reshape(self.weeks.n_weeks, self.slots_per_week, *counts.shape[1:])
        summed: Int64Array = parts[:, -n_slots:].sum(axis=1)
        return summed
