"""What monitoring says: alarms first, then the weeks, then the hours that they came from."""

import datetime
from typing import Final, Literal

import numpy as np

from bank_node.data.cutoffs import time_text
from fraudfed.console import Answer
from fraudfed.evaluation.drift.alarms import alarms_of
from fraudfed.evaluation.drift.retraining import suggestion
from fraudfed.evaluation.drift.rows import HOUR, MONITORED_CHANNELS, WEEK
from fraudfed.evaluation.drift.series import high_score
from fraudfed.evaluation.drift.stability import stability
from fraudfed.evaluation.drift.watch import Watch

_HOURS_SHOWN: Final = 24


class DriftAlarm(Answer):
    """Something that differs by more than chance, and by enough to matter.

    Attributes
    ----------
    subject : str
        What drifts (docs/monitoring.md lists them).
    scale : {"week", "day", "hour"}
        Over the week under watch, its last day, or one hour.
    text : str
        The alarm in plain words.
    expected, found : float
    p : float or None
        How often chance is as far off.
    channel, feature, fraud_kind : str or None
    hour : str or None
        Start of the hour, UTC.
    """

    subject: str
    scale: Literal["week", "day", "hour"]
    text: str
    expected: float
    found: float
    p: float | None
    channel: str | None
    feature: str | None
    fraud_kind: str | None
    hour: str | None


class WatchedWeek(Answer):
    """One week.

    Attributes
    ----------
    start : str
        Its first day, UTC.
    is_reference : bool
    payments, alerts, fallbacks : int
    score_psi : float or None
        Of its scores against the other reference weeks.
    high_score : float or None
        99.5th percentile on the logit.
    frauds, frauds_found : int
        Reported by the end of the week, and those of them that were alerted on.
    frauds_now, frauds_found_now : int
        Reported by now.
    """

    start: str
    is_reference: bool
    payments: int
    alerts: int
    fallbacks: int
    score_psi: float | None
    high_score: float | None
    frauds: int
    frauds_found: int
    frauds_now: int
    frauds_found_now: int


class WatchedHour(Answer):
    """One hour of the last day in one channel.

    Attributes
    ----------
    start : str
        UTC.
    channel : str
    payments, alerts, fallbacks, missing, unknown : int
        ``missing`` and ``unknown`` are values over all columns.
    usual_payments : float
        Mean of the same hour of the reference weeks.
    high_score : float or None
    """

    start: str
    channel: str
    payments: int
    alerts: int
    fallbacks: int
    missing: int
    unknown: int
    usual_payments: float
    high_score: float | None


class DriftReport(Answer):
    """``monitor`` and ``monitor-run``.

    Attributes
    ----------
    run_id : str
        Whose model is watched; of ``monitor-run`` the monitor run.
    members : tuple of str
        The banks whose payments were counted together; empty for this bank alone.
    since, until : str
        The week under watch, UTC.
    action : {"nothing", "mend", "look", "retrain"}
        The suggestion.
    causes : tuple of str
    alarms : tuple of DriftAlarm
        What is wrong first.
    alert_score : float or None
        Payments of this score or more count as alerts; None where a log says what was alerted on.
    weeks : tuple of WatchedWeek
        The oldest first, the one under watch last.
    hours : tuple of WatchedHour
        The last day by hour and channel; empty of pooled counts, which are by day.
    """

    run_id: str
    members: tuple[str, ...]
    since: str
    until: str
    action: Literal["nothing", "mend", "look", "retrain"]
    causes: tuple[str, ...]
    alarms: tuple[DriftAlarm, ...]
    alert_score: float | None
    weeks: tuple[WatchedWeek, ...]
    hours: tuple[WatchedHour, ...]


def drift_report(
    watch: Watch,
    *,
    run_id: str,
    members: tuple[str, ...] = (),
    alert_score: float | None,
    fair_from: int | None,
) -> DriftReport:
    """Return what counts say.

    Parameters
    ----------
    watch : Watch
    run_id : str
    members : tuple of str
    alert_score : float or None
    fair_from : int or None
        As ``alarms_of``.
    """
    alarms = alarms_of(watch, fair_from=fair_from)
    advice = suggestion(alarms)
    weeks = watch.weeks
    return DriftReport(
        run_id=run_id,
        members=members,
        since=time_text(weeks.stop - WEEK),
        until=time_text(weeks.stop),
        action=advice.action,
        causes=advice.causes,
        alarms=tuple(
            DriftAlarm(
                subject=alarm.subject.value,
                scale=alarm.scale,
                text=alarm.text,
                expected=alarm.expected,
                found=alarm.found,
                p=alarm.p,
                channel=alarm.channel,
                feature=alarm.feature,
                fraud_kind=alarm.fraud_kind,
                hour=None if alarm.hour is None else _hour_text(alarm.hour),
            )
            for alarm in alarms
        ),
        alert_score=alert_score,
        weeks=_weeks(watch),
        hours=_hours(watch) if watch.slot_seconds == HOUR else (),
    )


def _weeks(watch: Watch) -> tuple[WatchedWeek, ...]:
    weeks = watch.weeks
    traffic = watch.totals.counts[:, -1]
    scores = watch.by_week(watch.scores.counts).sum(axis=1)
    frauds = watch.frauds.counts.sum(axis=1)
    whole = scores[: weeks.n_reference].sum(axis=0)
    found = []
    for at in range(weeks.n_weeks):
        in_reference = at < weeks.n_reference
        others = whole - scores[at] if in_reference else whole
        psi = stability(others, scores[at])
        found.append(
            WatchedWeek(
                start=time_text(weeks.start + at * WEEK),
                is_reference=in_reference,
                payments=int(traffic[at, 0]),
                alerts=int(traffic[at, 1]),
                fallbacks=int(traffic[at, 2]),
                score_psi=None if psi is None else psi.psi,
                high_score=high_score(scores[at]) if scores[at].any() else None,
                frauds=int(frauds[at, 0, 0]),
                frauds_found=int(frauds[at, 0, 1]),
                frauds_now=int(frauds[at, 1, 0]),
                frauds_found_now=int(frauds[at, 1, 1]),
            )
        )
    return tuple(found)


def _hours(watch: Watch) -> tuple[WatchedHour, ...]:
    weeks = watch.weeks
    payments = watch.traffic.counts[..., 0].reshape(weeks.n_weeks, watch.slots_per_week, -1)
    usual = payments[: weeks.n_reference].mean(axis=0)
    absences = watch.absences.counts.sum(axis=2)
    n_slots = len(watch.traffic.counts)
    found = []
    for slot in range(n_slots - _HOURS_SHOWN, n_slots):
        of_week = slot % watch.slots_per_week
        for at, channel in enumerate(MONITORED_CHANNELS):
            traffic, scores = watch.traffic.counts[slot, at], watch.scores.counts[slot, at]
            if not traffic.any() and not usual[of_week, at]:
                continue
            found.append(
                WatchedHour(
                    start=_hour_text(weeks.start + slot * HOUR),
                    channel=channel,
                    payments=int(traffic[0]),
                    alerts=int(traffic[1]),
                    fallbacks=int(traffic[2]),
                    missing=int(absences[slot, at, 0]),
                    unknown=int(absences[slot, at, 1]),
                    usual_payments=float(np.round(usual[of_week, at], 2)),
                    high_score=high_score(scores) if scores.any() else None,
                )
            )
    return tuple(found)


def _hour_text(start: int) -> str:
    return datetime.datetime.fromtimestamp(start, datetime.UTC).strftime("%Y-%m-%d %H:%M")
