"""The named configurations are what they say."""

import numpy as np
import pandas as pd
import pytest

from data_gen.events import CHANNEL_NAMES
from data_gen.fraud.campaigns import KINDS
from data_gen.settings.config import WorldConfig
from data_gen.settings.presets import PRESET_PURPOSES, PRESETS
from data_gen.world.making import generate, make_world


def test_every_preset_has_a_purpose_and_survives_the_manifest() -> None:
    assert list(PRESETS) == list(PRESET_PURPOSES)
    for config in PRESETS.values():
        written = config.as_dict()
        as_read = {k: list(v) if isinstance(v, tuple) else v for k, v in written.items()}
        assert WorldConfig(**as_read) == config  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("instant-payments", {"account_takeover", "push_payment_scam", "mule_chain"}),
        ("aml-mules", {"mule_chain"}),
    ],
)
def test_what_dominates_dominates(name: str, kinds: set[str]) -> None:
    config = PRESETS[name].replace(customers=1_500, days=60)
    world = pd.concat([frame for _, frame in generate(config)], ignore_index=True)
    channels = world["channel"].value_counts(normalize=True)
    assert channels.idxmax() == "transfer"
    expected = np.array(config.channel_share) / sum(config.channel_share)
    found = channels.reindex(list(CHANNEL_NAMES)).to_numpy()
    np.testing.assert_allclose(found, expected, atol=0.12)
    share = world["fraud_kind"].value_counts(normalize=True)
    assert share[list(kinds)].sum() > 0.4
    assert set(share.index[: len(kinds)]) == kinds


def test_campaigns_of_the_control_stay_at_one_bank() -> None:
    plan = make_world(PRESETS["iid-control"]).plan
    for kind in KINDS:
        assert (plan.campaigns[kind].weight > 0.0).sum(axis=1).max() == 1
    travelling = make_world(WorldConfig()).plan
    assert (travelling.campaigns[KINDS[0]].weight > 0.0).sum(axis=1).mean() > 2.5


def test_banks_of_the_control_are_alike() -> None:
    banks = make_world(PRESETS["iid-control"]).shared.banks
    assert len(set(banks.customers.tolist())) == 1
    for values in (banks.channel_share, banks.log_amount, banks.town_weight, banks.fraud_rate):
        np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape))
