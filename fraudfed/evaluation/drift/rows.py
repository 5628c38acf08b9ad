"""Scored payments as monitoring takes them, and the weeks that they are counted in."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.payments.columns import CHANNELS
from fraudfed.payments.fraud_kinds import FRAUD_KINDS

HOUR: Final = 3600
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
#: The channels in which is counted, "none" for payments without one.
MONITORED_CHANNELS: Final = (*CHANNELS, "none")
#: The kinds of fraud in which is counted, the last for frauds whose kind nobody said.
MONITORED_KINDS: Final = (*(kind.name for kind in FRAUD_KINDS), "not said")
#: With fewer weeks there is no telling how much a week differs from the next.
LEAST_REFERENCE_WEEKS: Final = 6
MOST_WEEKS: Final = 120


@dataclass(frozen=True)
class Weeks:
    """Consecutive weeks, the oldest first; the last one is under watch.

    Every week starts on the same weekday at the same second, so that each holds one of every hour.

    Attributes
    ----------
    start : int
        First second of the first week, UTC epoch seconds.
    n_weeks : int
    n_reference : int
        How many of them, from the first on, the last is compared with.
    """

    start: int
    n_weeks: int
    n_reference: int

    def __post_init__(self) -> None:
        if not LEAST_REFERENCE_WEEKS <= self.n_reference < self.n_weeks <= MOST_WEEKS:
            raise ValueError(
                f"{self.n_reference} reference weeks of {self.n_weeks}, expected at least "
                f"{LEAST_REFERENCE_WEEKS} of at most {MOST_WEEKS}, and fewer than all"
            )

    @property
    def stop(self) -> int:
        """The second after the last week."""
        return self.start + self.n_weeks * WEEK

    @property
    def reference_stop(self) -> int:
        """The second after the reference."""
        return self.start + self.n_reference * WEEK

    @classmethod
    def ending(cls, until: int, *, reference_until: int | None, n_reference: int) -> "Weeks":
        """Return the weeks up to a time.

        Parameters
        ----------
        until : int
            The second after the week under watch.
        reference_until : int or None
            The reference ends within the week before this, at a whole number of weeks before
            ``until``. None: where the week under watch begins.
        n_reference : int

        Raises
        ------
        ValueError
            If the reference would reach into the week under watch, or weeks are too many.
        """
        behind = 1 if reference_until is None else -(-(until - reference_until) // WEEK)
        if behind < 1:
            raise ValueError("the reference reaches into the week under watch")
        n_weeks = n_reference + behind
        return cls(until - n_weeks * WEEK, n_weeks, n_reference)

    def slot_of(self, event_time: Int64Array, seconds: int) -> Int64Array:
        """Return in which slot of so many seconds each time lies, from 0; -1 outside the weeks."""
        slots = (event_time - self.start) // seconds
        outside = (event_time < self.start) | (event_time >= self.stop)
        return np.where(outside, -1, slots).astype(np.int64)


@dataclass(frozen=True, eq=False)
class MonitoredRows:
    """Scored payments.

    Attributes
    ----------
    event_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds.
    channel : ndarray of shape (n_rows,), dtype=int64
        Position in ``MONITORED_CHANNELS``.
    margins : ndarray of shape (n_rows,), dtype=float32
        Scores on the logit; NaN for a payment that the model under watch did not score. Neither
        its score nor its features are compared.
    is_alert, is_fallback : ndarray of shape (n_rows,), dtype=bool
        Whether it was alerted on; whether something else than a whole model scored it. Of a
        fallback no value counts as missing.
    features : ndarray of shape (n_rows, n_features), dtype=float32
        NaN is missing; categories are codes.
    is_unknown : ndarray of shape (n_rows, n_features), dtype=bool
        Missing because the value is none of the categories, and not because there is none.
    report_time : ndarray of shape (n_rows,), dtype=int64
        When it was reported as fraud; -1 for a payment that was not.
    fraud_kind : ndarray of shape (n_rows,), dtype=int64
        Position in ``MONITORED_KINDS``; only read of reported frauds.
    """

    event_time: Int64Array
    channel: Int64Array
    margins: Float32Array
    is_alert: BoolArray
    is_fallback: BoolArray
    features: Float32Array
    is_unknown: BoolArray
    report_time: Int64Array
    fraud_kind: Int64Array

    def __post_init__(self) -> None:
        n_rows = len(self.event_time)
        for each in fields(self):
            if len(getattr(self, each.name)) != n_rows:
                raise ValueError(f"{each.name} has another number of rows than event_time")
        if self.features.shape != self.is_unknown.shape:
            raise ValueError("features and is_unknown differ in shape")

    def __len__(self) -> int:
        return len(self.event_time)

    def take(self, rows: BoolArray | Int64Array) -> "MonitoredRows":
        """Return some of the rows, by mask or position."""
        return MonitoredRows(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})
