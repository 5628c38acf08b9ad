"""``--set``: every dial of every configuration, and nothing else."""

import dataclasses
from typing import Any

import pytest

from data_gen.credit.config import CreditConfig
from data_gen.settings.config import WorldConfig
from data_gen.settings.dials import parse_dials
from fraudfed.errors import ConfigurationError


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("config", [WorldConfig(), WorldConfig(dirichlet=3.5), CreditConfig()])
def test_every_dial_can_be_set_to_what_it_is(config: WorldConfig | CreditConfig) -> None:
    texts = tuple(
        f"{field.name}={_text(getattr(config, field.name))}" for field in dataclasses.fields(config)
    )
    assert dataclasses.replace(config, **parse_dials(type(config), texts)) == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("banks=7", 7),
        ("fraud_travel=1", 1.0),
        ("drift_days=30,60", (30, 60)),
        ("drift_days=", ()),
        ("dirichlet=none", None),
        ("dirichlet=2.5", 2.5),
    ],
)
def test_texts_become_values_of_the_dials_type(text: str, expected: object) -> None:
    (found,) = parse_dials(WorldConfig, (text,)).values()
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("banks",), "'banks', expected NAME=VALUE"),
        (("bank=3",), "no dial 'bank', expected one of seed, banks"),
        (("banks=3.5",), "banks: got '3.5', expected a whole number"),
        (("fraud_rate=much",), "fraud_rate: got 'much', expected a number"),
        (("drift_days=1;2",), "drift_days: got '1;2', expected numbers with commas"),
        (("drift_days=1,,2",), "drift_days: got '1,,2', expected numbers with commas"),
        (("banks=3", "banks=4"), "banks is given twice"),
    ],
)
def test_what_cannot_be_set_is_named(texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_dials(WorldConfig, texts)
