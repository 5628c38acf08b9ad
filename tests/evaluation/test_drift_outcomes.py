"""Figures of a week divided by what is known so far: by hand, against the truth, both ends."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.evaluation.drift.outcomes import DecidedRows, WeeklyOutcomes, delay_of
from fraudfed.evaluation.drift.rows import DAY, WEEK
from fraudfed.evaluation.reporting_delay import LEAST_FRAUDS, reporting_delay

START = 1_704_067_200


def made_rows(seed: int, n: int, *, weeks: int = 3) -> DecidedRows:
    rng = np.random.default_rng(seed)
    time = rng.integers(START - DAY, START + weeks * WEEK + DAY, n)
    is_alert = rng.random(n) < 0.3
    return DecidedRows(
        event_time=time,
        amount_minor=rng.integers(0, 1 << 40, n),
        is_alert=is_alert,
        is_stopped=is_alert & (rng.random(n) < 0.5),
        report_time=np.where(rng.random(n) < 0.3, time + rng.integers(0, WEEK, n), -1),
    )


def _taken(rows: DecidedRows, order: np.ndarray) -> DecidedRows:
    return DecidedRows(**{name: values[order] for name, values in vars(rows).items()})


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60), m=st.integers(1, 60))
def test_rows_enter_and_leave_without_a_trace(seed: int, n: int, m: int) -> None:
    first, second = made_rows(seed, n), made_rows(seed + 1, m)
    found = WeeklyOutcomes(START, 3)
    found.update(first)
    before = found.counts.copy(), found.payments.copy()
    found.update(second)
    both = found.counts.copy()
    found.revert(first)
    found.update(_taken(first, np.random.default_rng(seed).permutation(n)))
    assert (found.counts == both).all()
    found.revert(second)
    assert (found.counts == before[0]).all()
    assert (found.payments == before[1]).all()
    inside = (second.event_time >= START) & (second.event_time < START + 3 * WEEK)
    if inside.any():
        empty = WeeklyOutcomes(START, 3)
        with pytest.raises(ValueError, match="not entered"):
            empty.revert(second)
        assert not empty.counts.any()


def test_counts_are_those_of_a_loop() -> None:
    rows = made_rows(3, 400)
    found = WeeklyOutcomes(START, 3)
    found.update(rows)
    expected = np.zeros((3, 5), dtype=np.int64)
    for at in range(400):
        week = (int(rows.event_time[at]) - START) // WEEK
        if not 0 <= week < 3:
            continue
        alert, fraud = bool(rows.is_alert[at]), bool(rows.report_time[at] >= 0)
        amount = int(rows.amount_minor[at])
        stopped = fraud and bool(rows.is_stopped[at])
        expected[week] += [alert, fraud, alert and fraud, fraud * amount, stopped * amount]
    assert (found.counts == expected).all()
    for week, outcome in enumerate(found.weeks(None, as_of=START + 9 * WEEK)):
        alerts, frauds, caught, money, saved = expected[week].tolist()
        assert outcome.completeness is None
        assert outcome.is_young is None
        assert outcome.precision == caught / alerts
        assert (outcome.precision_lower, outcome.precision_upper) == (None, None)
        assert outcome.recall == caught / frauds
        assert (outcome.fraud_minor, outcome.saved_minor) == (money, saved)


def test_the_ends_hold_the_truth_as_often_as_they_say() -> None:
    """Delays are truncated by the ages, as in life; 95 % ends hold in at least 90 % of worlds."""
    held, n_worlds = 0, 200
    for seed in range(n_worlds):
        rng = np.random.default_rng([9, seed])
        ages = rng.integers(0, 120 * DAY, 400)
        delays = rng.exponential(15 * DAY, 400).astype(np.int64)
        known = delays <= ages
        found = reporting_delay(-ages[known], (delays - ages)[known], end=0)
        assert found is not None
        truth = (1 - math.exp(-10 / 15)) / (1 - math.exp(-found.window / (15 * DAY)))
        _, lower, upper = found.at(np.array([10 * DAY]))
        held += int(lower[0] <= truth <= upper[0])
    assert held >= 0.9 * n_worlds


@pytest.mark.parametrize("seed", range(3))
def test_a_young_week_divided_by_completeness_is_the_week_that_it_will_be(seed: int) -> None:
    rng = np.random.default_rng([4, seed])
    n, n_weeks = 400_000, 20
    time = START + np.sort(rng.integers(0, n_weeks * WEEK, n))
    is_alert = rng.random(n) < 0.05
    is_fraud = rng.random(n) < np.where(is_alert, 0.4, 0.01)
    report = np.where(is_fraud, time + rng.exponential(8 * DAY, n).astype(np.int64), -1)
    as_of = START + n_weeks * WEEK
    known = np.where(report < as_of, report, -1)

    def weeks(reports: np.ndarray, now: int):  # type: ignore[no-untyped-def]
        rows = DecidedRows(time, np.full(n, 1000), is_alert, is_alert, reports)
        counted = WeeklyOutcomes(START, n_weeks)
        counted.update(rows)
        return counted.weeks(reporting_delay(*delay_of(rows, as_of=now), end=now), as_of=now)

    final = weeks(report, as_of + 400 * DAY)
    young = weeks(known, as_of)
    for at in (-1, -2):
        now, later = young[at], final[at]
        assert now.is_young
        assert not later.is_young
        assert now.frauds_found / now.alerts < 0.9 * later.precision
        # A quarter: of the youngest week some 130 frauds are known.
        assert now.precision == pytest.approx(later.precision, rel=0.25)
        assert now.precision_lower <= now.precision <= now.precision_upper
        assert now.fraud_minor == pytest.approx(later.fraud_minor, rel=0.25)
        assert now.recall == pytest.approx(later.recall, abs=0.1)
    assert not young[0].is_young


def test_a_handful_of_frauds_and_an_hour_that_nobody_reports_in_give_no_estimate() -> None:
    few = np.arange(LEAST_FRAUDS - 1)
    assert reporting_delay(few, few + 1, end=10**6) is None
    # Every fraud is reported after a day: of payments of the last hour nothing is known.
    time = START + np.arange(LEAST_FRAUDS) * 3600
    delay = reporting_delay(time, time + DAY, end=START + WEEK)
    assert delay is not None
    counted = WeeklyOutcomes(START, 1)
    one = np.array([START + WEEK - 60])
    yes = np.array([True])
    counted.update(DecidedRows(one, one, yes, yes, np.array([-1])))
    (week,) = counted.weeks(delay, as_of=START + WEEK)
    assert (week.completeness, week.is_young, week.precision) == (None, None, 0.0)
