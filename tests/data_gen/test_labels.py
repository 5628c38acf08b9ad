"""What the banks are told and when: delays by kind, missed and false reports, blocked attempts."""

import numpy as np
import pandas as pd
import pytest

from data_gen.entities.world_parts import BankSide, make_bank_side
from data_gen.events import KIND_NAMES, Channel, Events, FraudKind
from data_gen.rng import Part, stream
from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.world.labels import FAST_SHARE, MAX_DELAY_DAYS, SLOW_MEDIAN_DAYS, label
from data_gen.world.making import make_world

EPISODES = 20_000


@pytest.fixture(scope="module")
def side() -> BankSide:
    config = WorldConfig(customers=100, label_delay_scale=1.0, missed_fraud_share=0.1)
    return make_bank_side(make_world(config).shared, 0)


def _events(kind: FraudKind, *, rows_per_episode: int = 1, count: int = EPISODES) -> Events:
    n = count * rows_per_episode
    return Events.build(
        time=1_735_689_600 + 60 * np.arange(n),
        customer=np.zeros(n, dtype=np.int64),
        channel=np.full(n, Channel.ECOMMERCE),
        merchant=np.zeros(n, dtype=np.int64),
        amount=np.full(n, 100),
        kind=kind,
        episode=np.repeat(np.arange(count), rows_per_episode),
    )


@pytest.mark.parametrize("kind", [kind for kind in FraudKind if kind >= 0])
def test_a_share_is_noticed_fast_and_the_rest_after_weeks(side: BankSide, kind: FraudKind) -> None:
    events = _events(kind)
    labelled = label(side, events, stream(1, Part.LABELS, int(kind)))
    told = labelled.events.is_fraud == 1
    days = (labelled.label_time - events.time)[told] / DAY_SECONDS
    assert days.min() >= 1.0 / 24.0 - 1e-4
    assert days.max() <= MAX_DELAY_DAYS
    # Fast reports take about a day: 3 days are 1.9 standard deviations of their log.
    assert (days < 3.0).mean() == pytest.approx(FAST_SHARE[kind], abs=0.08)
    assert np.median(days[days > 4.0]) == pytest.approx(SLOW_MEDIAN_DAYS[kind], rel=0.25)


def test_scams_come_to_light_up_to_thirteen_months_later(side: BankSide) -> None:
    kind = FraudKind.PUSH_PAYMENT_SCAM
    events = _events(kind)
    labelled = label(side, events, stream(1, Part.LABELS))
    days = (labelled.label_time - events.time)[labelled.events.is_fraud == 1] / DAY_SECONDS
    assert (days > 100.0).mean() > 0.02
    assert days.max() == pytest.approx(395.0, abs=0.01)


def test_an_episode_is_reported_as_a_whole_after_its_last_payment(side: BankSide) -> None:
    events = _events(FraudKind.LOST_STOLEN, rows_per_episode=3, count=500)
    labelled = label(side, events, stream(1, Part.LABELS))
    told = labelled.events.is_fraud.reshape(-1, 3)
    assert (told == told[:, :1]).all()
    times = labelled.label_time.reshape(-1, 3)[told[:, 0] == 1]
    assert (times == times[:, :1]).all()
    assert (times[:, 0] >= events.time.reshape(-1, 3)[told[:, 0] == 1, 2] + 3_599).all()


def test_missed_fraud_counts_as_clean_and_first_party_fraud_is_never_missed(
    side: BankSide,
) -> None:
    clean_delay = side.world.config.clean_delay_days * DAY_SECONDS
    for kind, expected in ((FraudKind.CARD_NOT_PRESENT, 0.1), (FraudKind.FIRST_PARTY, 0.0)):
        events = _events(kind)
        labelled = label(side, events, stream(1, Part.LABELS))
        missed = labelled.events.is_fraud == 0
        assert missed.mean() == pytest.approx(expected, abs=0.01)
        assert (labelled.label_time[missed] == events.time[missed] + clean_delay).all()
        assert (labelled.events.kind == kind).all()


def test_a_blocked_payment_brings_the_report_forward(side: BankSide) -> None:
    events = _events(FraudKind.COMPROMISED_TERMINAL)
    blocked = events.take(np.arange(EPISODES))
    blocked.is_blocked[:] = 1
    delay = [
        np.median(label(side, e, stream(1, Part.LABELS)).label_time - e.time)
        for e in (events, blocked)
    ]
    assert delay[1] < 2 * DAY_SECONDS < delay[0]


def test_the_scale_shortens_every_delay() -> None:
    events = _events(FraudKind.PUSH_PAYMENT_SCAM, count=1_000)
    delays = []
    for scale in (1.0, 0.25):
        config = WorldConfig(customers=100, label_delay_scale=scale, missed_fraud_share=0.0)
        scaled = make_bank_side(make_world(config).shared, 0)
        delays.append(label(scaled, events, stream(1, Part.LABELS)).label_time - events.time)
    assert (delays[1] <= delays[0]).all()
    assert np.median(delays[1]) == pytest.approx(0.25 * np.median(delays[0]), rel=0.01)


def test_honest_payments_are_reported_by_mistake(side: BankSide) -> None:
    config = WorldConfig(customers=100, false_report_share=0.05)
    mistaken_side = make_bank_side(make_world(config).shared, 0)
    honest = _events(FraudKind.LEGITIMATE)
    found = label(mistaken_side, honest, stream(1, Part.LABELS))
    assert found.events.is_fraud.mean() == pytest.approx(0.05, abs=0.01)
    assert (found.events.kind == FraudKind.LEGITIMATE).all()
    clean = found.events.is_fraud == 0
    delay = found.label_time - honest.time
    assert (delay[clean] == config.clean_delay_days * DAY_SECONDS).all()
    assert len(np.unique(delay[~clean])) > 100


def test_the_default_world_has_little_of_both_errors(default_world: pd.DataFrame) -> None:
    truth = default_world["fraud_kind"].notna()
    told = default_world["is_fraud"] == 1
    assert 0.0 < (truth & ~told).sum() / truth.sum() < 0.05
    assert 0.0 < (told & ~truth).sum() / told.sum() < 0.05
    assert set(default_world["fraud_kind"].dropna()) == set(KIND_NAMES)
    assert (default_world["label_time"] >= default_world["event_time"] + 3_599).all()


def test_blocked_attempts_are_rare_and_more_often_fraud(default_world: pd.DataFrame) -> None:
    truth = default_world["fraud_kind"].notna()
    blocked = default_world["is_blocked"] == 1
    assert 0.002 < blocked.mean() < 0.01
    assert blocked[truth].mean() > 10 * blocked[~truth].mean()
    # Most of what is stopped is honest all the same.
    assert truth[blocked].mean() < 0.5


def test_a_blocked_attempt_stands_beside_a_payment_that_went_through(
    default_world: pd.DataFrame,
) -> None:
    key = ["customer_id", "merchant_id", "channel"]
    blocked = default_world[(default_world["is_blocked"] == 1) & default_world["fraud_kind"].isna()]
    passed = default_world[default_world["is_blocked"] == 0]
    pairs = blocked.reset_index().merge(passed, on=[*key, "amount_minor"], suffixes=("", "_passed"))
    gap = pairs["event_time_passed"] - pairs["event_time"]
    retried = pairs.loc[gap.between(0, 600), "index"].nunique()
    # The others lie at the end of the period, or at its first second.
    assert retried / len(blocked) > 0.98
