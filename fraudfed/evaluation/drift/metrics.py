"""What monitoring counts: one class for each thing, all of them integers in public cells.

Laws, of every class: ``update`` and then ``revert`` of the same rows changes nothing; the order
of rows and of calls does not matter; counts of two sets of rows add up to those of both. So a week
that leaves and a label that comes late fall out again, and a sum over banks is a secure sum. (River
has metrics of this form: J. Montiel et al., "River: machine learning for streaming data in Python",
Journal of Machine Learning Research 22(110), 2021.)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.evaluation.drift.cells import N_SCORE_CELLS, WatchedFeature, score_cells_of
from fraudfed.evaluation.drift.rows import (
    MONITORED_CHANNELS,
    MONITORED_KINDS,
    WEEK,
    MonitoredRows,
    Weeks,
)

_N_CHANNELS: Final = len(MONITORED_CHANNELS)


class DriftMetric(ABC):
    """Counts that rows enter and leave.

    Attributes
    ----------
    counts : ndarray, dtype=int64
        Its shape depends on nothing but what was given to the constructor.
    """

    #: Names the metric in sums and results.
    name: ClassVar[str]

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.counts: Int64Array = np.zeros(shape, dtype=np.int64)

    @abstractmethod
    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows alone, of the shape of ``counts``."""

    def update(self, rows: MonitoredRows) -> None:
        """Let rows enter; those outside the weeks are not counted."""
        self.counts = self.counts + self.count(rows)

    def revert(self, rows: MonitoredRows) -> None:
        """Let rows leave that have entered.

        Raises
        ------
        ValueError
            If they cannot all have entered; nothing is changed then.
        """
        left = self.counts - self.count(rows)
        if (left < 0).any():
            raise ValueError(f"{self.name}: rows leave that have not entered")
        self.counts = left


class Totals(DriftMetric):
    """Payments, alerts and fallbacks by week and channel; shape (n_weeks, n_channels + 1, 3).

    The last entry of the second axis is over all channels: counted, and not added up, because what
    a bank enters of each channel in a sum is rounded.
    """

    name = "totals"

    def __init__(self, weeks: Weeks) -> None:
        super().__init__((weeks.n_weeks, _N_CHANNELS + 1, 3))
        self._weeks = weeks

    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows."""
        week = self._weeks.slot_of(rows.event_time, WEEK)
        inside = week >= 0
        found = np.zeros_like(self.counts)
        like = self.counts[:, :-1, 0]
        for at, chosen in enumerate((inside, inside & rows.is_alert, inside & rows.is_fallback)):
            found[:, :-1, at] = _tallied((week * _N_CHANNELS + rows.channel)[chosen], like)
        found[:, -1] = found[:, :-1].sum(axis=1)
        return found


class Traffic(DriftMetric):
    """Payments, alerts and fallbacks by slot and channel; shape (n_slots, n_channels, 3)."""

    name = "traffic"

    def __init__(self, weeks: Weeks, *, slot_seconds: int) -> None:
        super().__init__((weeks.n_weeks * WEEK // slot_seconds, _N_CHANNELS, 3))
        self._weeks, self._seconds = weeks, slot_seconds

    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows."""
        cells = self._weeks.slot_of(rows.event_time, self._seconds) * _N_CHANNELS + rows.channel
        inside = cells >= 0
        chosen = (inside, inside & rows.is_alert, inside & rows.is_fallback)
        return np.stack([_tallied(cells[each], self.counts[..., 0]) for each in chosen], axis=-1)


class Absences(DriftMetric):
    """Missing values and unknown categories; shape (n_slots, n_channels, n_features, 2).

    Those of fallbacks do not count: what scored them may have had no features at all.
    """

    name = "absences"

    def __init__(self, weeks: Weeks, *, slot_seconds: int, n_features: int) -> None:
        n_slots = weeks.n_weeks * WEEK // slot_seconds
        super().__init__((n_slots, _N_CHANNELS, n_features, 2))
        self._weeks, self._seconds = weeks, slot_seconds

    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows."""
        cells = self._weeks.slot_of(rows.event_time, self._seconds) * _N_CHANNELS + rows.channel
        like = self.counts[..., 0, 0]
        found = np.zeros_like(self.counts)
        inside = (cells >= 0) & ~rows.is_fallback
        for at in range(self.counts.shape[2]):
            unknown = rows.is_unknown[:, at]
            missing = np.isnan(rows.features[:, at]) & ~unknown
            for kind, chosen in enumerate((missing, unknown)):
                found[..., at, kind] = _tallied(cells[chosen & inside], like)
        return found


class Scores(DriftMetric):
    """Scores by slot, channel and cell; shape (n_slots, n_channels, N_SCORE_CELLS)."""

    name = "scores"

    def __init__(self, weeks: Weeks, *, slot_seconds: int) -> None:
        super().__init__((weeks.n_weeks * WEEK // slot_seconds, _N_CHANNELS, N_SCORE_CELLS))
        self._weeks, self._seconds = weeks, slot_seconds

    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows."""
        slots = self._weeks.slot_of(rows.event_time, self._seconds)
        chosen = (slots >= 0) & ~np.isnan(rows.margins)
        places = (slots * _N_CHANNELS + rows.channel)[chosen] * N_SCORE_CELLS
        return _tallied(places + score_cells_of(rows.margins[chosen]), self.counts)


class Features(DriftMetric):
    """Values of all features by week and public cell; shape (n_weeks, total of cells).

    Those of payments that the model has scored: another one may have seen them more coarsely.
    ``of`` gives the part of one feature.
    """

    name = "features"

    def __init__(self, weeks: Weeks, features: Sequence[WatchedFeature]) -> None:
        self._starts = np.cumsum([0, *(each.n_cells for each in features)]).tolist()
        super().__init__((weeks.n_weeks, self._starts[-1]))
        self._weeks, self._features = weeks, tuple(features)

    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows."""
        week = self._weeks.slot_of(rows.event_time, WEEK)
        found = np.zeros_like(self.counts)
        inside = (week >= 0) & ~np.isnan(rows.margins)
        for at, feature in enumerate(self._features):
            cells = feature.cells_of(rows.features[:, at], rows.is_unknown[:, at])
            part = found[:, self._starts[at] : self._starts[at + 1]]
            part += _tallied((week * feature.n_cells + cells)[inside], part)
        return found

    def of(self, at: int) -> Int64Array:
        """Return the counts of one feature; shape (n_weeks, n_cells)."""
        return self.counts[:, self._starts[at] : self._starts[at + 1]]


class ReportedFrauds(DriftMetric):
    """Reported frauds by week, kind, and what is known of them.

    Shape (n_weeks, n_kinds, 2, 2): the third axis is what was known at the week's own end, then
    today; the fourth all of them, then those that were alerted on. Weeks are compared as each was
    known at its own end. By today more frauds of an old week than of a young one have been
    reported, so a young week would always look better.
    """

    name = "frauds"

    def __init__(self, weeks: Weeks) -> None:
        super().__init__((weeks.n_weeks, len(MONITORED_KINDS), 2, 2))
        self._weeks = weeks

    def count(self, rows: MonitoredRows) -> Int64Array:
        """Return the counts of rows."""
        week = self._weeks.slot_of(rows.event_time, WEEK)
        ends = self._weeks.start + (week + 1) * WEEK
        is_fraud = (week >= 0) & (rows.report_time >= 0)
        in_time = is_fraud & (rows.report_time < ends)
        cells = week * len(MONITORED_KINDS) + rows.fraud_kind
        like = self.counts[..., 0, 0]
        found = np.zeros_like(self.counts)
        for known, reported in enumerate((in_time, is_fraud)):
            for alerted, chosen in enumerate((reported, reported & rows.is_alert)):
                found[..., known, alerted] = _tallied(cells[chosen], like)
        return found


def _tallied(cells: Int64Array, like: Int64Array | BoolArray) -> Int64Array:
    """Count cells of an array that is flattened in C order."""
    counted = np.bincount(cells, minlength=like.size)
    return counted.astype(np.int64).reshape(like.shape)
