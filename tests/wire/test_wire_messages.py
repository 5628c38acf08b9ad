"""Messages fail closed: unknown fields, other versions and contradictions are errors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ProtocolError, VersionError
from fraudfed.wire import messages
from fraudfed.wire.messages import (
    BankRegistration,
    DataContract,
    FeatureSpec,
    InviteRequest,
    Message,
    parse,
)


def all_messages() -> list[type[Message]]:
    return [
        cls
        for name in messages.__all__
        if isinstance(cls := getattr(messages, name), type)
        and issubclass(cls, Message)
        and cls is not Message
    ]


def test_public_names_are_distinct_and_exist() -> None:
    assert len(set(messages.__all__)) == len(messages.__all__)
    assert all(hasattr(messages, name) for name in messages.__all__)


@pytest.mark.parametrize("cls", all_messages(), ids=lambda cls: cls.__name__)
def test_every_message_is_frozen_versioned_and_closed(cls: type[Message]) -> None:
    assert cls.model_config["frozen"]
    assert cls.model_config["extra"] == "forbid"
    assert "protocol_version" in cls.model_fields


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True))
def test_a_message_survives_the_wire(name: str) -> None:
    sent = BankRegistration(
        name=name, invite="i" * 22, signing_key="0" * 64, agreement_key="f" * 64
    )
    assert parse(BankRegistration, sent.model_dump_json(), source="test") == sent


def test_another_version_is_its_own_error() -> None:
    with pytest.raises(VersionError, match="protocol version is 2, this program speaks 1"):
        parse(InviteRequest, {"name": "a", "protocol_version": 2}, source="test")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"name": "a", "extra": 1}, "extra"),
        ({}, "name"),
        ({"name": "A bank"}, "name"),
        ({"name": 3}, "name"),
        ([], "message"),
        ("{", "message"),
    ],
)
def test_a_bad_message_names_source_and_field(data: Any, named: str) -> None:
    with pytest.raises(ProtocolError, match=rf"^the test: InviteRequest\.{named} is") as caught:
        parse(InviteRequest, data, source="the test")
    assert "\n" not in str(caught.value)


def contract(**changes: Any) -> dict[str, Any]:
    return {"kind": "table", "features": [{"name": "x"}], **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": [{"name": "x"}, {"name": "x"}]}, "distinct"),
        ({"features": []}, "at least 1"),
        ({"kind": "transactions"}, "recipe"),
        ({"recipe": "r"}, "recipe"),
        ({"max_weight": 0}, "greater than 0"),
        ({"features": [{"name": "x", "type": "categorical"}]}, "categories"),
        ({"features": [{"name": "x", "categories": ["a"]}]}, "categories"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        parse(DataContract, contract(**changes), source="test")


def test_categories_are_distinct() -> None:
    with pytest.raises(ValueError, match="distinct"):
        FeatureSpec(name="x", type=messages.FeatureType.CATEGORICAL, categories=("a", "a"))
