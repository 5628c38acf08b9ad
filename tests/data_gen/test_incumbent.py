"""The dial ``incumbent_threshold``: what the bank's present system stops, nobody reports."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from data_gen.settings.config import DAY_SECONDS, WorldConfig
from data_gen.settings.dials import parse_dials
from data_gen.world.making import generate
from fraudfed.errors import ConfigurationError

_OPEN = WorldConfig(seed=3, banks=2, customers=400, days=40, fraud_rate=0.02)
_ANSWERS = ("is_blocked", "is_fraud", "label_time")


def _world(config: WorldConfig) -> pd.DataFrame:
    return pd.concat([rows for _, rows in generate(config)], ignore_index=True)


@pytest.fixture(scope="module")
def without() -> pd.DataFrame:
    return _world(_OPEN)


@pytest.fixture(scope="module")
def watched() -> pd.DataFrame:
    return _world(dataclasses.replace(_OPEN, incumbent_threshold=1.0))


def test_the_payments_are_those_of_the_world_without_it(
    without: pd.DataFrame, watched: pd.DataFrame
) -> None:
    pd.testing.assert_frame_equal(
        without.drop(columns=list(_ANSWERS)), watched.drop(columns=list(_ANSWERS))
    )


def test_what_it_stops_is_never_reported_and_all_else_stays(
    without: pd.DataFrame, watched: pd.DataFrame
) -> None:
    stopped = (watched["is_blocked"] == 1) & (watched["is_fraud"] == 0)
    new = watched["is_blocked"] > without["is_blocked"]
    assert new.sum() > 100
    assert not watched.loc[new, "is_fraud"].any()
    clean = watched["event_time"] + _OPEN.clean_delay_days * DAY_SECONDS
    assert (watched.loc[new, "label_time"] == clean[new]).all()
    # Among them are frauds that the other world knows of.
    assert without.loc[new, "is_fraud"].sum() > 20
    others = ~stopped
    for name in _ANSWERS:
        assert (watched.loc[others, name] == without.loc[others, name]).all()


def test_it_stops_cards_by_amount_and_finds_more_fraud_than_chance(
    without: pd.DataFrame, watched: pd.DataFrame
) -> None:
    new = (watched["is_blocked"] > without["is_blocked"]).to_numpy()
    assert not (watched.loc[new, "channel"] == "transfer").any()
    truth = without["fraud_kind"].notna().to_numpy()
    on_card = (without["channel"] != "transfer").to_numpy()
    assert truth[new].mean() > 1.2 * truth[on_card].mean()
    assert np.median(without["amount_minor"][new]) > 2 * np.median(without["amount_minor"][on_card])


def test_a_higher_threshold_stops_fewer_of_the_same(without: pd.DataFrame) -> None:
    del without
    found = [
        set(
            _world(dataclasses.replace(_OPEN, incumbent_threshold=at))
            .query("is_blocked == 1 and is_fraud == 0")["transaction_id"]
            .tolist()
        )
        for at in (0.5, 2.0)
    ]
    assert found[1] < found[0]


@pytest.mark.parametrize("text", ["incumbent_threshold=1e9", "incumbent_threshold=nan"])
def test_a_threshold_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="incumbent_threshold"):
        WorldConfig(**parse_dials(WorldConfig, (text,)))


def test_it_is_off_unless_asked_for() -> None:
    assert WorldConfig().incumbent_threshold is None
    assert parse_dials(WorldConfig, ("incumbent_threshold=none",)) == {"incumbent_threshold": None}
