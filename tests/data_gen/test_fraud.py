"""The time course of each kind of fraud, and campaigns that move between banks."""

import numpy as np
import pandas as pd
import pytest

from data_gen.events import FraudKind
from data_gen.fraud.campaigns import KINDS, kind_strength
from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.world.making import World, make_world


def _of_kind(world: pd.DataFrame, kind: str) -> pd.DataFrame:
    # Payments that went through and were reported: what is missed has no episode to be found by.
    return world[
        (world["fraud_kind"] == kind) & (world["is_blocked"] == 0) & (world["is_fraud"] == 1)
    ]


def _episodes(world: pd.DataFrame, kind: str) -> "pd.core.groupby.DataFrameGroupBy":  # type: ignore[type-arg]
    # All transactions of an episode share victim and report time.
    return _of_kind(world, kind).groupby(["customer_id", "label_time"])


def test_card_not_present_is_online_and_often_probes(default_world: pd.DataFrame) -> None:
    assert set(_of_kind(default_world, "card_not_present")["channel"]) == {"ecommerce"}
    amounts = _episodes(default_world, "card_not_present")["amount_minor"]
    several = amounts.size() >= 2
    first, largest = amounts.first()[several], amounts.max()[several]
    assert (first < 1_000).mean() > 0.4
    assert largest.median() > 5_000
    spans = _episodes(default_world, "card_not_present")["event_time"].agg(np.ptp)
    assert spans.quantile(0.95) < DAY_SECONDS


def test_lost_cards_are_used_fast_at_terminals(default_world: pd.DataFrame) -> None:
    assert set(_of_kind(default_world, "lost_stolen")["channel"]) == {"pos", "atm"}
    episodes = _episodes(default_world, "lost_stolen")
    assert episodes.size().mean() > 3.0
    assert episodes["event_time"].agg(np.ptp).quantile(0.9) < 6 * 3600
    assert (episodes["terminal_id"].nunique().gt(1)).mean() > 0.8


def test_account_take_over_is_a_new_device_that_drains(default_world: pd.DataFrame) -> None:
    fraud = _of_kind(default_world, "account_takeover")
    own = (
        default_world[default_world["fraud_kind"].isna()]
        .groupby("customer_id")["device_id"]
        .agg(set)
    )
    foreign = [
        device not in own.get(customer, set())
        for customer, device in zip(fraud["customer_id"], fraud["device_id"], strict=True)
    ]
    assert all(foreign)
    episodes = _episodes(default_world, "account_takeover")
    assert episodes["device_id"].nunique().max() == 1
    several = episodes.size() >= 2
    amounts = episodes["amount_minor"]
    assert (amounts.first() < amounts.max())[several].mean() > 0.9
    assert amounts.first()[several].max() < 3_000
    assert amounts.max()[several].median() > 20_000
    last = episodes["channel"].last()[several]
    assert (last == "transfer").all()


def test_scams_come_from_the_own_device_to_a_new_payee(default_world: pd.DataFrame) -> None:
    fraud = _of_kind(default_world, "push_payment_scam")
    assert set(fraud["channel"]) == {"transfer"}
    honest = default_world[default_world["fraud_kind"].isna()]
    own = honest.groupby("customer_id")["device_id"].agg(set)
    paid = honest.dropna(subset=["payee_id"]).groupby("customer_id")["payee_id"].agg(set)
    on_own_device = [
        device in own.get(customer, set())
        for customer, device in zip(fraud["customer_id"], fraud["device_id"], strict=True)
    ]
    known_payee = [
        payee in paid.get(customer, set())
        for customer, payee in zip(fraud["customer_id"], fraud["payee_id"], strict=True)
    ]
    # A device seen in no honest payment is one that the victim rarely pays from.
    assert np.mean(on_own_device) > 0.9
    assert np.mean(known_payee) < 0.05
    amounts = _episodes(default_world, "push_payment_scam")["amount_minor"]
    several = amounts.size() >= 3
    assert (amounts.first() < 0.5 * amounts.max())[several].mean() > 0.5
    spans = _episodes(default_world, "push_payment_scam")["event_time"].agg(np.ptp)
    assert spans[several].median() > 6 * 3600


def test_mules_and_foreign_devices_are_shared_by_banks(default_world: pd.DataFrame) -> None:
    scam = _of_kind(default_world, "push_payment_scam")
    assert (scam.groupby("payee_id")["bank"].nunique() >= 2).mean() > 0.3
    card = _of_kind(default_world, "card_not_present")
    assert (card.groupby("device_id")["bank"].nunique() >= 2).sum() > 5
    # No identifier range is set apart for mules: most mules also receive honest payments.
    honest = set(default_world.loc[default_world["fraud_kind"].isna(), "payee_id"].dropna())
    assert np.mean([payee in honest for payee in set(scam["payee_id"])]) > 0.5


def test_compromised_terminals_strike_in_windows_that_move_on(default_world: pd.DataFrame) -> None:
    fraud = _of_kind(default_world, "compromised_terminal")
    per_merchant = fraud.groupby("merchant_id")
    assert (per_merchant["bank"].nunique() >= 2).mean() > 0.5
    # Within one bank a place is struck for weeks, not for the whole period.
    spans = fraud.groupby(["merchant_id", "bank"])["event_time"].agg(np.ptp) / DAY_SECONDS
    assert spans.median() < 45.0
    # Honest customers keep paying there: no region is purely fraud.
    struck = default_world[default_world["merchant_id"].isin(set(fraud["merchant_id"]))]
    assert struck.groupby("merchant_id")["is_fraud"].mean().max() < 0.9


@pytest.fixture(scope="module")
def planned() -> World:
    return make_world(WorldConfig())


def test_campaign_windows_follow_the_ring_of_banks(planned: World) -> None:
    n_banks = len(planned.shared.banks)
    for kind in KINDS:
        campaigns = planned.plan.campaigns[kind]
        active = campaigns.weight > 0.0
        assert (active.sum(axis=1) >= 1).all()
        assert ((campaigns.window_end > campaigns.window_start) | ~active).all()
        start = np.where(active, campaigns.window_start, np.iinfo(np.int64).max)
        lead = start.argmin(axis=1)
        later = 0
        for row, bank in enumerate(lead):
            following = (bank + 1) % n_banks
            if active[row, following] and start[row, bank] > planned.shared.config.start_time:
                assert start[row, following] > start[row, bank]
                later += 1
        assert later > 0, kind


def test_expected_episodes_meet_the_rates_of_the_banks(planned: World) -> None:
    expected = sum(planned.plan.expected[kind].sum(axis=0) for kind in KINDS)
    assert isinstance(expected, np.ndarray)
    assert (expected > 10).all()
    assert expected[0] > 3 * expected[-1]


def test_the_focus_of_a_kind_moves_round_the_ring() -> None:
    config = WorldConfig(fraud_travel=1.0)
    banks = np.arange(config.banks)
    kind = FraudKind.CARD_NOT_PRESENT
    start = kind_strength(config, kind, banks, np.zeros(5))
    later = kind_strength(config, kind, banks, np.full(5, 0.4))
    assert start.argmax() == 0
    assert later.argmax() == 2
    still = config.replace(fraud_mix_spread=0.0)
    np.testing.assert_array_equal(kind_strength(still, kind, banks, np.zeros(5)), np.ones(5))
