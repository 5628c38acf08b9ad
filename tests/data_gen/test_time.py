"""Holidays, growth and drift: when the days of a world differ."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from dateutil.easter import easter
from hypothesis import given
from hypothesis import strategies as st

from data_gen.clock import day_cumulative, drift_phase
from data_gen.fraud.campaigns import KINDS
from data_gen.holidays import easter_sunday, holiday_weights
from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.world.making import generate, make_world


def _epoch_day(day: date) -> int:
    return (day - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    "expected",
    # The earliest and the latest date there is, and years that simple rules get wrong.
    [date(1818, 3, 22), date(2038, 4, 25), date(1954, 4, 18), date(2000, 4, 23), date(2025, 4, 20)],
)
def test_easter_of_known_years(expected: date) -> None:
    assert easter_sunday(expected.year) == expected


@given(st.integers(1583, 4099))
def test_easter_is_that_of_dateutil(year: int) -> None:
    assert easter_sunday(year) == easter(year)


def test_holiday_weights_by_hand() -> None:
    days = [
        date(2025, 12, 24),
        date(2025, 12, 25),
        date(2026, 1, 1),
        date(2026, 4, 5),
        date(2026, 6, 3),
        date(2025, 12, 1),
    ]
    weights = holiday_weights(np.array([_epoch_day(day) for day in days]))
    np.testing.assert_allclose(weights, [1.6, 0.30, 0.35, 0.50, 1.0, 1.0])


def test_the_world_keeps_the_holidays() -> None:
    # 2025-12-01T00:00:00Z; no growth, no payday effect within the sums compared.
    config = WorldConfig(banks=2, customers=1_000, days=62, start_time=1_764_547_200)
    world = pd.concat([frame for _, frame in generate(config)], ignore_index=True)
    per_day = (world["event_time"] // DAY_SECONDS).value_counts()
    ordinary = per_day[[_epoch_day(date(2026, 1, day)) for day in range(7, 14)]].mean()
    assert per_day[_epoch_day(date(2025, 12, 23))] > 1.3 * ordinary
    assert per_day[_epoch_day(date(2025, 12, 25))] < 0.7 * ordinary
    assert per_day[_epoch_day(date(2026, 1, 1))] < 0.8 * ordinary


def test_volume_grows_with_the_dial() -> None:
    def last_half(growth: float) -> float:
        config = WorldConfig(days=365, growth_per_year=growth)
        return float(1.0 - day_cumulative(config)[:, 182].mean())

    assert last_half(0.0) < last_half(0.5) < last_half(3.0)


def test_drift_phase_counts_the_days_that_have_come() -> None:
    config = WorldConfig(drift_days=(30, 60))
    np.testing.assert_array_equal(
        drift_phase(config, np.array([0, 29, 30, 59, 60, 119])), [0, 0, 1, 1, 2, 2]
    )
    assert not drift_phase(WorldConfig(), np.arange(120)).any()


def test_drift_changes_the_tactics_of_campaigns() -> None:
    config = WorldConfig(customers=6_000, drift_days=(60,))
    plan = make_world(config).plan
    for kind in KINDS:
        campaigns = plan.campaigns[kind]
        lead = np.where(campaigns.weight > 0, campaigns.window_start, config.end_time).min(axis=1)
        late = lead >= config.start_time + 60 * DAY_SECONDS
        early = lead < config.start_time + 50 * DAY_SECONDS
        assert early.sum() >= 2
        assert late.sum() >= 2
        assert not set(campaigns.categories[early].ravel()) & set(
            campaigns.categories[late].ravel()
        )
        assert campaigns.log_amount[late].mean() < campaigns.log_amount[early].mean()


def test_drift_moves_purchases_online_from_that_day_on() -> None:
    config = WorldConfig(banks=1, customers=800, days=60, drift_days=(30,))
    drifted = dict(generate(config))["bank_a"]
    steady = dict(generate(WorldConfig(banks=1, customers=800, days=60)))["bank_a"]

    def online_share(frame: pd.DataFrame, *, late: bool) -> float:
        bought = frame[frame["channel"].isin(["pos", "ecommerce"]) & frame["fraud_kind"].isna()]
        after = bought["event_time"] >= config.start_time + 30 * DAY_SECONDS
        return float((bought.loc[after == late, "channel"] == "ecommerce").mean())

    assert online_share(drifted, late=True) > online_share(drifted, late=False) + 0.04
    assert online_share(steady, late=True) == pytest.approx(
        online_share(steady, late=False), abs=0.02
    )
