"""What monitoring says: alarms first, then the weeks, then the hours that they came from."""

import datetime
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from bank_node.data.cutoffs import time_text
from fraudfed.console import Answer
from fraudfed.evaluation.drift.alarms import alarms_of
from fraudfed.evaluation.drift.outcomes import WeekOutcome
from fraudfed.evaluation.drift.retraining import suggestion
from fraudfed.evaluation.drift.rows import DAY, HOUR, MONITORED_CHANNELS, WEEK
from fraudfed.evaluation.drift.series import high_score
from fraudfed.evaluation.drift.stability import stability
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.evaluation.reporting_delay import ReportingDelay

_HOURS_SHOWN: Final = 24
#: What a week has of ``WeekOutcome``, by the same names.
_FIGURES: Final = (
    "completeness",
    "completeness_lower",
    "completeness_upper",
    "is_young",
    "precision",
    "precision_lower",
    "precision_upper",
    "recall",
    "fraud_minor",
    "saved_minor",
)


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
    completeness, completeness_lower, completeness_upper : float or None
        Share of the week's frauds that is reported by now, by the delays of the same history, and
        ends of 95 %. None if nobody knows: of too few frauds, and of counts of all banks.
    is_young : bool or None
        Less than 95 % of them are reported: the figures below will move.
    precision, precision_lower, precision_upper : float or None
        As known now, divided by completeness and by its ends; as known if there is none.
    recall : float or None
    fraud_minor, saved_minor : int or None
        Money of frauds, and of those held or blocked (of a file: alerted on), divided by
        completeness. None of counts of all banks.
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
    completeness: float | None
    completeness_lower: float | None
    completeness_upper: float | None
    is_young: bool | None
    precision: float | None
    precision_lower: float | None
    precision_upper: float | None
    recall: float | None
    fraud_minor: int | None
    saved_minor: int | None


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
    source : {"decisions", "file", "members"}
        What was counted: what a service decided, a file that was scored now, or the payments of all
        banks of a run.
    run_id : str
        Whose model is watched; of ``monitor-run`` the monitor run.
    model_sha256 : str or None
        Of the model that is watched; None of ``monitor-run``, whose description names it.
    scored_since : str or None
        First payment of these weeks that this model decided about, UTC: scores and features of
        earlier ones are another model's, and are not compared. None of files and runs.
    as_of : int or None
        Time up to which reports are known, UTC epoch seconds; None of ``monitor-run``.
    delay_window_days : float or None
        Completeness is of the frauds that are reported within so many days; None if there is none.
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

    source: Literal["decisions", "file", "members"]
    run_id: str
    model_sha256: str | None
    scored_since: str | None
    as_of: int | None
    delay_window_days: float | None
    members: tuple[str, ...]
    since: str
    until: str
    action: Literal["nothing", "mend", "look", "retrain"]
    causes: tuple[str, ...]
    alarms: tuple[DriftAlarm, ...]
    alert_score: float | None
    weeks: tuple[WatchedWeek, ...]
    hours: tuple[WatchedHour, ...]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What became of the same weeks' payments.

    Attributes
    ----------
    weeks : tuple of WeekOutcome
    as_of : int
        Time up to which reports are known, UTC epoch seconds.
    delay : ReportingDelay or None
        By which completeness was estimated.
    """

    weeks: tuple[WeekOutcome, ...]
    as_of: int
    delay: ReportingDelay | None


def drift_report(
    watch: Watch,
    *,
    source: Literal["decisions", "file", "members"],
    run_id: str,
    model_sha256: str | None = None,
    scored_since: int | None = None,
    members: tuple[str, ...] = (),
    alert_score: float | None,
    fair_from: int | None,
    outcomes: Outcomes | None = None,
) -> DriftReport:
    """Return what counts say.

    Parameters
    ----------
    watch : Watch
    source, run_id, model_sha256, members, alert_score
        As ``DriftReport``.
    scored_since : int or None
        UTC epoch seconds.
    fair_from : int or None
        As ``alarms_of``.
    outcomes : Outcomes or None
    """
    alarms = alarms_of(watch, fair_from=fair_from)
    advice = suggestion(alarms)
    weeks = watch.weeks
    return DriftReport(
        source=source,
        run_id=run_id,
        model_sha256=model_sha256,
        scored_since=None if scored_since is None else _hour_text(scored_since),
        as_of=None if outcomes is None else outcomes.as_of,
        delay_window_days=None
        if outcomes is None or outcomes.delay is None
        else outcomes.delay.window / DAY,
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
        weeks=_weeks(watch, outcomes),
        hours=_hours(watch) if watch.slot_seconds == HOUR else (),
    )


def _weeks(watch: Watch, outcomes: Outcomes | None) -> tuple[WatchedWeek, ...]:
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
                **_figures(
                    int(frauds[at, 1, 0]),
                    int(frauds[at, 1, 1]),
                    int(traffic[at, 1]),
                    None if outcomes is None else outcomes.weeks[at],
                ),
            )
        )
    return tuple(found)


def _figures(
    frauds: int, found: int, alerts: int, outcome: WeekOutcome | None
) -> dict[str, float | None]:
    """Return what is divided by completeness; of all banks, whose delays nobody has summed, not."""
    if outcome is None:
        as_known = {
            "precision": found / alerts if alerts else None,
            "recall": found / frauds if frauds else None,
        }
        return {name: as_known.get(name) for name in _FIGURES}
    return {name: getattr(outcome, name) for name in _FIGURES}


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
