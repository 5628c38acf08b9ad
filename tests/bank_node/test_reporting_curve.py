"""When frauds are reported: the estimate against a slow one, against the truth, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.checking.fraud_kinds import count_fraud_kinds
from bank_node.checking.reporting_curve import (
    HORIZON_DAYS,
    ReportingCurve,
    channel_curves,
    curve_lines,
    reporting_curve,
)
from data_gen.events import KIND_NAMES
from fraudfed.payments.fraud_kinds import FRAUD_KINDS
from fraudfed.wire.messages import LabelHorizon

DAY = 86_400
END = 1_700_000_000


def curve_of(delays: np.ndarray, ages: np.ndarray) -> ReportingCurve:
    """Return the curve of the frauds of which the file knows."""
    known = delays <= ages
    paid = END - ages[known]
    return reporting_curve(paid.astype(np.int64), (paid + delays[known]).astype(np.int64), end=END)


def slow_share(delays: list[int], ages: list[int], days: int, window: int) -> float:
    """Multiply the formula out, one delay after another."""
    frauds = [(delay, age) for delay, age in zip(delays, ages, strict=True) if delay <= window]
    share = 1.0
    for step in sorted({delay for delay, _ in frauds}):
        if step > days * DAY:
            reported = sum(delay == step for delay, _ in frauds)
            at_risk = sum(delay <= step <= age for delay, age in frauds)
            share *= 1 - reported / at_risk
    return share


pairs = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda each: (min(each), max(each))),
    min_size=20,
    max_size=80,
)


@given(frauds=pairs)
@settings(max_examples=60, deadline=None)
def test_the_curve_is_the_product_of_the_formula(frauds: list[tuple[int, int]]) -> None:
    delays = [delay * DAY // 2 for delay, _ in frauds]
    ages = [age * DAY // 2 for _, age in frauds]
    found = curve_of(np.array(delays), np.array(ages))
    window = sorted(ages)[-20]
    assert found.window_days == window / DAY
    last = 0.0
    for point in found.points:
        assert point.frauds_old_enough == sum(age >= point.days * DAY for age in ages)
        assert (point.reported is None) == (point.days * DAY > window)
        if point.reported is not None:
            assert point.reported == pytest.approx(slow_share(delays, ages, point.days, window))
            assert last <= point.reported <= 1
            last = point.reported
    if found.enough_days is not None:
        assert slow_share(delays, ages, found.enough_days, window) >= 0.95 - 1e-9
        assert found.enough_days == 0 or (
            slow_share(delays, ages, found.enough_days - 1, window) < 0.95
        )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_of_old_frauds_it_is_the_plain_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    delays = rng.integers(0, 300 * DAY, 200)
    found = curve_of(delays, np.full(200, 400 * DAY))
    for point in found.points:
        assert point.reported == pytest.approx(np.mean(delays <= point.days * DAY))
        if point.days < 400:
            assert point.complete == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_truth_where_plain_shares_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ages = rng.integers(0, 120 * DAY, 20_000)
    delays = rng.exponential(40 * DAY, 20_000).astype(np.int64)
    found = curve_of(delays, ages)
    known = delays[delays <= ages]
    within = 1 - math.exp(-found.window_days / 40)  # type: ignore[operator]
    for point in found.points[2:7]:
        truth = (1 - math.exp(-point.days / 40)) / within
        assert point.reported == pytest.approx(truth, abs=0.04)
    # Plain shares say that frauds are reported sooner than they are.
    assert np.mean(known <= 14 * DAY) > (1 - math.exp(-14 / 40)) / within + 0.07
    # How much of all there is the file knows, of payments that are at least 30 days old.
    old = ages >= 30 * DAY
    truth = np.mean(delays[old] <= ages[old]) / within
    assert found.points[4].complete == pytest.approx(truth, abs=0.04)


def test_by_hand() -> None:
    # Thirty frauds reported at once, ten after 20 days; all of them a year old.
    delays = np.array([0] * 30 + [20 * DAY] * 10)
    found = curve_of(delays, np.full(40, 365 * DAY))
    shares = {point.days: point.reported for point in found.points}
    assert shares == {1: 0.75, 3: 0.75, 7: 0.75, 14: 0.75, 30: 1, 60: 1, 90: 1, 180: 1, 395: None}
    assert (found.enough_days, found.one_delay_seconds) == (20, None)
    assert tuple(shares) == HORIZON_DAYS
    text = " ".join(curve_lines(found, horizon=LabelHorizon(days=7)))
    assert "A label horizon of 20 days waits for 95% of them." in text
    assert "horizon is 7 days; by then about 75% or more are reported" in text
    assert "frauds labelled as clean" not in " ".join(
        curve_lines(found, horizon=LabelHorizon(days=20))
    )


@pytest.mark.parametrize("count", [0, 1, 19])
def test_a_handful_of_frauds_makes_no_curve(count: int) -> None:
    found = curve_of(np.arange(count) * DAY, np.full(count, 300 * DAY))
    assert (found.points, found.window_days, found.enough_days) == ((), None, None)
    (line,) = curve_lines(found, horizon=LabelHorizon(days=0))
    assert f"{count} known frauds are too few" in line


def test_one_delay_for_all_is_called_an_assumption() -> None:
    found = curve_of(np.full(50, 7 * DAY), np.full(50, 300 * DAY))
    (line,) = curve_lines(found, horizon=LabelHorizon(days=0))
    assert "Every fraud is reported 7 days after its payment: that is an assumption" in line


def test_kinds_of_fraud_are_counted_by_the_list() -> None:
    kinds = ["romance_scam", "Romance scam", "R10", "R10", "R07", None, "other", "lost_stolen"]
    found = count_fraud_kinds(kinds)
    assert found.counts == (("lost_stolen_card", 1), ("romance_scam", 2), ("other", 4))
    assert (found.without, found.n_unknown) == (1, 3)
    assert found.unknown == (("R10", 2), ("R07", 1))
    assert found.warning is not None
    assert "3 frauds have a fraud_kind that is not in the list" in found.warning
    assert "'R10' (2), 'R07' (1)" in found.warning
    generated = count_fraud_kinds(KIND_NAMES)
    assert generated.warning is None
    assert sum(count for _, count in generated.counts) == len(KIND_NAMES)
    assert count_fraud_kinds([f"code {n}" for n in range(12)]).unknown[-1] == ("code 7", 1)
    assert [kind.name for kind in FRAUD_KINDS][-1] == "other"


def test_channels_with_a_horizon_of_their_own_are_compared_with_it() -> None:
    # Card frauds are reported within 5 days, transfers within 100; all of them two years old.
    delays = np.array([5 * DAY] * 30 + [1 * DAY] * 10 + [100 * DAY] * 30 + [10 * DAY] * 10)
    channels = ["pos"] * 30 + [None] * 10 + ["transfer"] * 40
    event_time = np.zeros(80, dtype=np.int64)
    end = 730 * DAY

    def said(horizon: LabelHorizon, known: list[str | None] | None) -> list[str]:
        curves = channel_curves(event_time, delays, known, end=end, horizon=horizon)
        curve = reporting_curve(event_time, delays, end=end)
        return curve_lines(curve, horizon=horizon, by_channel=curves)[2:]

    assert said(LabelHorizon(days=5, by_channel={"transfer": 100}), channels) == []
    (line,) = said(LabelHorizon(days=5, by_channel={"transfer": 30}), channels)
    assert "horizon for transfer is 30 days; by then about 25% or more" in line
    assert "(100 days wait for 95%)" in line
    assert len(said(LabelHorizon(days=1, by_channel={"transfer": 30}), channels)) == 2
    # A file without channels has one horizon.
    (line,) = said(LabelHorizon(days=5, by_channel={"transfer": 100}), None)
    assert "The run's label horizon is 5 days" in line
