"""How good decisions were, week by week: precision, recall, value saved, by what is known so far.

Of young payments not all frauds are reported yet. So known frauds and their money are divided by
the week's *completeness*: the share of frauds that is known by the ages of its payments, as the
delays of the same history say (``fraudfed.evaluation.reporting_delay``). That takes frauds to come
as payments do within a week, and alerts to be reported as late as other frauds; where analysts find
them at once, precision is rather too high, so it never exceeds 1. Recall is a ratio of two numbers
that are equally incomplete, and is divided by nothing.

Counts follow the laws of ``drift.metrics``: rows enter and leave without a trace, in any order.
"""

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.evaluation.drift.rows import HOUR, WEEK
from fraudfed.evaluation.reporting_delay import ReportingDelay

#: A week of which less is known by estimate is young: its figures will move.
OLD_ENOUGH: Final = 0.95
_HOURS: Final = WEEK // HOUR


@dataclass(frozen=True, eq=False)
class DecidedRows:
    """Payments that were decided about.

    Attributes
    ----------
    event_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds.
    amount_minor : ndarray of shape (n_rows,), dtype=int64
    is_alert, is_stopped : ndarray of shape (n_rows,), dtype=bool
        Whether it was alerted on; whether it did not go through at once.
    report_time : ndarray of shape (n_rows,), dtype=int64
        When it was reported as fraud; -1 for a payment that was not.
    """

    event_time: Int64Array
    amount_minor: Int64Array
    is_alert: BoolArray
    is_stopped: BoolArray
    report_time: Int64Array

    def __post_init__(self) -> None:
        if len({len(getattr(self, each.name)) for each in fields(self)}) > 1:
            raise ValueError("columns differ in their number of rows")


@dataclass(frozen=True)
class WeekOutcome:
    """One week; all ends are of 95 %, and tell of the estimate of completeness alone.

    Attributes
    ----------
    payments, alerts : int
    frauds, frauds_found : int
        Known, and those of them that were alerted on.
    completeness, completeness_lower, completeness_upper : float or None
        Share of the week's frauds that is known, by estimate; None if there is no estimate: then
        precision and money are as known.
    is_young : bool or None
        Completeness is below ``OLD_ENOUGH``. None if nobody knows.
    precision, precision_lower, precision_upper : float or None
        None without alerts.
    recall : float or None
        None without frauds.
    fraud_minor, saved_minor : int
        Money of all frauds, and of those that were stopped; minor units.
    """

    payments: int
    alerts: int
    frauds: int
    frauds_found: int
    completeness: float | None
    completeness_lower: float | None
    completeness_upper: float | None
    is_young: bool | None
    precision: float | None
    precision_lower: float | None
    precision_upper: float | None
    recall: float | None
    fraud_minor: int
    saved_minor: int


class WeeklyOutcomes:
    """Counts of consecutive weeks that rows enter and leave.

    Attributes
    ----------
    counts : ndarray of shape (n_weeks, 5), dtype=int64
        Alerts, frauds, frauds alerted on, money of frauds, money of frauds that were stopped.
    payments : ndarray of shape (n_weeks * 168,), dtype=int64
        By hour: the ages that completeness is the mean over.
    """

    def __init__(self, start: int, n_weeks: int) -> None:
        self._start = start
        self.counts: Int64Array = np.zeros((n_weeks, 5), dtype=np.int64)
        self.payments: Int64Array = np.zeros(n_weeks * _HOURS, dtype=np.int64)

    def update(self, rows: DecidedRows) -> None:
        """Let rows enter; those outside the weeks are not counted."""
        counts, payments = self._counted(rows)
        self.counts, self.payments = self.counts + counts, self.payments + payments

    def revert(self, rows: DecidedRows) -> None:
        """Let rows leave; raises ValueError if they have not entered, and changes nothing then."""
        counts, payments = self._counted(rows)
        counts, payments = self.counts - counts, self.payments - payments
        if (counts < 0).any() or (payments < 0).any():
            raise ValueError("outcomes: rows leave that have not entered")
        self.counts, self.payments = counts, payments

    def _counted(self, rows: DecidedRows) -> tuple[Int64Array, Int64Array]:
        hour = (rows.event_time - self._start) // HOUR
        inside = (hour >= 0) & (hour < self.payments.size)
        payments = np.zeros_like(self.payments)
        np.add.at(payments, hour[inside], 1)
        fraud = inside & (rows.report_time >= 0)
        counts = np.zeros_like(self.counts)
        for at, (chosen, values) in enumerate(
            (
                (inside & rows.is_alert, None),
                (fraud, None),
                (fraud & rows.is_alert, None),
                (fraud, rows.amount_minor),
                (fraud & rows.is_stopped, rows.amount_minor),
            )
        ):
            added = 1 if values is None else values[chosen]
            np.add.at(counts[:, at], hour[chosen] // _HOURS, added)
        return counts, payments

    def weeks(self, delay: ReportingDelay | None, *, as_of: int) -> tuple[WeekOutcome, ...]:
        """Return what is known of each week.

        Parameters
        ----------
        delay : ReportingDelay or None
            None if nobody knows how late reports come.
        as_of : int
            Time up to which reports are known, UTC epoch seconds.
        """
        return tuple(self._week(at, delay, as_of) for at in range(len(self.counts)))

    def _week(self, at: int, delay: ReportingDelay | None, as_of: int) -> WeekOutcome:
        payments = self.payments[at * _HOURS : (at + 1) * _HOURS]
        alerts, frauds, found, fraud_minor, saved_minor = self.counts[at].tolist()
        share, lower, upper = self._completeness(at, payments, delay, as_of)
        divisor = 1.0 if share is None else share

        def precision(completeness: float | None) -> float | None:
            if not alerts or completeness is None:
                return None
            return min(1.0, found / alerts / completeness) if found else 0.0

        return WeekOutcome(
            payments=int(payments.sum()),
            alerts=alerts,
            frauds=frauds,
            frauds_found=found,
            completeness=share,
            completeness_lower=lower,
            completeness_upper=upper,
            is_young=None if share is None else share < OLD_ENOUGH,
            precision=precision(divisor),
            precision_lower=precision(upper),
            # Of a share that may be 0 there may be any number of frauds.
            precision_upper=1.0 if lower == 0 and alerts else precision(lower),
            recall=found / frauds if frauds else None,
            fraud_minor=round(fraud_minor / divisor),
            saved_minor=round(saved_minor / divisor),
        )

    def _completeness(
        self, at: int, payments: Int64Array, delay: ReportingDelay | None, as_of: int
    ) -> tuple[float | None, float | None, float | None]:
        """Return the mean over payments, and its ends; None if there is no estimate above 0."""
        if delay is None or not payments.any():
            return None, None, None
        hours = np.flatnonzero(payments)
        # The middle of each hour stands for its payments.
        ages = as_of - (self._start + at * WEEK + hours * HOUR + HOUR // 2)
        weights = payments[hours] / payments.sum()
        share, lower, upper = (math.fsum((weights * each).tolist()) for each in delay.at(ages))
        return (share, lower, min(upper, 1.0)) if share > 0 else (None, None, None)


def delay_of(rows: DecidedRows, *, as_of: int) -> Int64Array:
    """Return payment and report of the frauds that a delay can be estimated by.

    Parameters
    ----------
    rows : DecidedRows
    as_of : int
        Later reports are not known.

    Returns
    -------
    ndarray of shape (2, n_frauds), dtype=int64
        What was reported before its own payment says nothing of delays.
    """
    reported = rows.report_time
    chosen = (reported >= 0) & (reported >= rows.event_time) & (reported <= as_of)
    found: Int64Array = np.stack([rows.event_time[chosen], reported[chosen]])
    return found
