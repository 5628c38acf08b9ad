"""Settings are checked, and what a manifest holds is read back as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.settings.config import WorldConfig
from fraudfed.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channel_share", (0.5, 0.5)),
        ("channel_share", (0.0, 0.0, 0.0, 0.0)),
        ("channel_share", (1.0, -0.1, 0.0, 0.0)),
        ("kind_share", (1.0,) * 6),
        ("kind_share", (float("nan"),) * 7),
        ("dirichlet", 0.0),
        ("dirichlet", float("inf")),
        ("missing_column_share", 1.1),
        ("multi_bank_share", -0.1),
        ("campaign_reach", 2.0),
        ("drift_days", (0,)),
        ("drift_days", (120,)),
        ("drift_days", (50, 40)),
        ("drift_days", (50, 50)),
        ("label_delay_scale", -1.0),
        ("missed_fraud_share", 1.5),
        ("false_report_share", 0.5),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: got") as caught:
        WorldConfig().replace(**{name: value})
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


@given(
    drift_days=st.lists(st.integers(1, 119), unique=True, max_size=4).map(sorted),
    kind_share=st.lists(st.floats(0.001, 10.0), min_size=7, max_size=7),
    dirichlet=st.none() | st.floats(0.01, 1e6),
)
def test_a_configuration_survives_json(
    drift_days: list[int], kind_share: list[float], dirichlet: float | None
) -> None:
    config = WorldConfig(
        drift_days=tuple(drift_days), kind_share=tuple(kind_share), dirichlet=dirichlet
    )
    again = WorldConfig(**json.loads(json.dumps(config.as_dict())))
    assert again == config
    assert hash(again) == hash(config)


def test_nothing_given_leaves_a_setting_as_it_is() -> None:
    config = WorldConfig(dirichlet=2.0, drift_days=(5,))
    assert config.replace(seed=None, dirichlet=None, drift_days=None) == config
    assert config.replace(drift_days=(7, 9)).drift_days == (7, 9)
