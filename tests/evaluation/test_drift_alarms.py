"""Planted drifts are alarms within their week; generated worlds without drift give none."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from examples.drifting import (
    N_REFERENCE,
    fewer_payments,
    missing_column,
    more_frauds,
    new_code,
    new_kind,
    shifted_amounts,
    watched,
    with_last_week,
    world,
)

from fraudfed.evaluation.drift.alarm import Alarm, Subject
from fraudfed.evaluation.drift.alarms import alarms_of
from fraudfed.evaluation.drift.retraining import suggestion
from fraudfed.evaluation.drift.rows import DAY, HOUR, WEEK, MonitoredRows, Weeks
from fraudfed.evaluation.drift.watch import Watch

Plant = Callable[[MonitoredRows, Weeks], MonitoredRows]
#: What each drift must be called, and what to do about it.
PLANTED: dict[Plant, tuple[Subject, set[str]]] = {
    shifted_amounts: (Subject.FEATURE, {"retrain"}),
    missing_column: (Subject.MISSING, {"mend"}),
    new_code: (Subject.UNKNOWN, {"mend"}),
    fewer_payments: (Subject.VOLUME, {"mend"}),
    more_frauds: (Subject.PREVALENCE, {"look", "retrain"}),
    new_kind: (Subject.KIND, {"retrain"}),
}


@pytest.mark.parametrize("seed", range(1, 21))
def test_nothing_is_an_alarm_without_drift_and_every_planted_drift_is(seed: int) -> None:
    rows, weeks = world(seed)
    assert alarms_of(watched(rows, weeks)) == ()
    # Hours are looked at for silence alone: everything else comes to the same by day.
    by_day = watched(rows, weeks, slot_seconds=DAY)
    assert alarms_of(by_day) == ()
    for plant, (subject, actions) in PLANTED.items():
        found = alarms_of(with_last_week(by_day, rows, plant(rows, weeks)))
        assert subject in {alarm.subject for alarm in found}, plant.__name__
        assert suggestion(found).action in actions, plant.__name__


@pytest.fixture(scope="module")
def stationary() -> tuple[MonitoredRows, Weeks]:
    return world(31, customers=2500)


def test_a_drift_is_told_with_what_is_wrong_first(stationary: tuple[MonitoredRows, Weeks]) -> None:
    rows, weeks = stationary
    broken = missing_column(new_kind(rows, weeks), weeks)
    found = alarms_of(watched(broken, weeks))
    assert found[0].subject is Subject.MISSING
    assert found[0].text.startswith("merchant_category is missing in ")
    assert suggestion(found).action == "mend"
    causes = suggestion(alarms_of(watched(new_kind(rows, weeks), weeks))).causes
    assert any("romance_scam" in cause for cause in causes)


def eightfold(rows: MonitoredRows, weeks: Weeks) -> Watch:
    """Return what is counted of eight of each row."""
    watch = watched(rows, weeks)
    for metric in watch.metrics:
        metric.counts = 8 * metric.counts
    return watch


def test_the_last_week_alone_can_be_exchanged() -> None:
    rows, weeks = world(33, customers=200)
    planted = more_frauds(rows, weeks)
    whole, part = watched(planted, weeks), with_last_week(watched(rows, weeks), rows, planted)
    for one, other in zip(whole.metrics, part.metrics, strict=True):
        assert (one.counts == other.counts).all()
    # Hours and days say the same of everything but silence.
    found = alarms_of(whole)
    assert found == alarms_of(watched(planted, weeks, slot_seconds=DAY))
    assert found


def test_an_hour_without_payments_is_silence(stationary: tuple[MonitoredRows, Weeks]) -> None:
    rows, weeks = stationary
    payments = watched(rows, weeks).traffic.counts[..., 0].reshape(N_REFERENCE + 1, 168, -1)
    hour, channel = np.unravel_index(payments[:-1].min(axis=0).argmax(), payments.shape[1:])
    start = weeks.stop - WEEK + int(hour) * HOUR
    inside = (rows.event_time >= start) & (rows.event_time < start + HOUR)
    quiet = rows.take(~(inside & (rows.channel == channel)))
    assert alarms_of(eightfold(rows, weeks)) == ()
    silent = [a for a in alarms_of(eightfold(quiet, weeks)) if a.subject is Subject.SILENCE]
    assert start in {alarm.hour for alarm in silent}


def test_fallbacks_and_alerts_that_grow_are_told(stationary: tuple[MonitoredRows, Weeks]) -> None:
    rows, weeks = stationary
    last = rows.event_time >= weeks.stop - WEEK
    every_tenth = last & (np.arange(len(rows)) % 10 == 0)
    found = alarms_of(watched(replace(rows, is_fallback=rows.is_fallback | every_tenth), weeks))
    assert {alarm.subject for alarm in found} == {Subject.FALLBACK}
    found = alarms_of(watched(replace(rows, is_alert=rows.is_alert | every_tenth), weeks))
    assert Subject.ALERTS in {alarm.subject for alarm in found}


def test_alerts_that_find_nothing_are_told_and_weeks_of_the_training_do_not_count(
    stationary: tuple[MonitoredRows, Weeks],
) -> None:
    rows, weeks = stationary
    last = rows.event_time >= weeks.stop - WEEK
    missed = replace(rows, is_alert=rows.is_alert & ~(last & (rows.report_time >= 0)))
    watch = watched(missed, weeks)
    assert Subject.FOUND in {alarm.subject for alarm in alarms_of(watch)}
    fair = alarms_of(watch, fair_from=weeks.reference_stop - 2 * WEEK)
    assert not {Subject.FOUND, Subject.PRECISION} & {alarm.subject for alarm in fair}


def test_without_an_alarm_there_is_nothing_to_do() -> None:
    assert suggestion(()).action == "nothing"
    grown = Alarm(Subject.VOLUME, "week", 100, 300, 1e-9)
    assert suggestion((grown,)).action == "look"
    assert grown.text == "payments rose from 100 to 300, this week"
