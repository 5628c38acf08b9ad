"""Messages fail closed: unknown fields, other versions and contradictions are errors."""

import base64
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
    KeyEpoch,
    MemberKeys,
    Message,
    PublicKeyMessage,
    Roster,
    RunSpec,
    SealedKey,
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
    with pytest.raises(VersionError, match="protocol version is 9, this program speaks 2"):
        parse(InviteRequest, {"name": "a", "protocol_version": 9}, source="test")


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


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def rosters(draw: st.DrawFn) -> tuple[MemberKeys, ...]:
    names = sorted(draw(st.sets(NAMES, min_size=1, max_size=5)))
    keys = draw(st.lists(KEYS, min_size=2 * len(names), max_size=2 * len(names), unique=True))
    return tuple(
        MemberKeys(name=name, signing_key=keys[2 * i], agreement_key=keys[2 * i + 1])
        for i, name in enumerate(names)
    )


@st.composite
def key_epochs(draw: st.DrawFn) -> KeyEpoch:
    roster = draw(rosters())
    boxes = [draw(st.binary(min_size=1, max_size=99)) for _ in roster]
    return KeyEpoch(
        epoch=draw(st.integers(1, 2**31 - 1)),
        steward=draw(st.sampled_from(roster)).name,
        roster=roster,
        public_key=PublicKeyMessage(n="f" * 10, fingerprint=draw(KEYS)),
        sealed=tuple(
            SealedKey(name=member.name, box=base64.b64encode(box).decode())
            for member, box in zip(roster, boxes, strict=True)
        ),
        signature=draw(st.binary(min_size=64, max_size=64)).hex(),
    )


@given(key_epochs())
def test_a_key_epoch_survives_the_wire(sent: KeyEpoch) -> None:
    read = parse(KeyEpoch, sent.model_dump_json(), source="test")
    assert read == sent
    roster = parse(Roster, Roster(members=sent.roster).model_dump_json(), source="test")
    assert roster.members == sent.roster


def keys(name: str, signing: str = "0", agreement: str = "1") -> dict[str, str]:
    return {"name": name, "signing_key": signing * 64, "agreement_key": agreement * 64}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([keys("b"), keys("a", "2", "3")], "sorted by name"),
        ([keys("a"), keys("a", "2", "3")], "distinct"),
        ([keys("a"), keys("b", "0", "3")], "distinct keys, but two have one signing_key"),
        ([keys("a"), keys("b", "2", "1")], "distinct keys, but two have one agreement_key"),
        ([keys("a", "A")], "signing_key"),
        ([keys("a") | {"signing_key": "0" * 63}], "signing_key"),
        ([keys("A")], "name"),
    ],
)
def test_a_roster_that_is_ambiguous_is_refused(members: list[dict[str, str]], said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        parse(Roster, {"members": members}, source="test")


def epoch_fields(**changes: Any) -> dict[str, Any]:
    return {
        "epoch": 1,
        "steward": "a",
        "roster": [keys("a"), keys("b", "2", "3")],
        "public_key": {"n": "f", "fingerprint": "0" * 64},
        "sealed": [{"name": "a", "box": "AAAA"}, {"name": "b", "box": "AA=="}],
        "signature": "0" * 128,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"epoch": 0}, "epoch"),
        ({"epoch": 2**31}, "epoch"),
        ({"steward": "c"}, "steward must be a member"),
        ({"roster": [], "sealed": []}, "at least 1"),
        ({"sealed": [{"name": "a", "box": "AAAA"}]}, "one box for each member"),
        (
            {"sealed": [{"name": "b", "box": "AAAA"}, {"name": "a", "box": "AAAA"}]},
            "one box for each member",
        ),
        ({"sealed": [{"name": "a", "box": "A A"}, {"name": "b", "box": "AA=="}]}, "box"),
        ({"sealed": [{"name": "a", "box": ""}, {"name": "b", "box": "AA=="}]}, "box"),
        ({"signature": "0" * 127}, "signature"),
        ({"signature": "G" * 128}, "signature"),
    ],
)
def test_a_key_epoch_that_contradicts_itself_is_refused(
    changes: dict[str, Any], said: str | None
) -> None:
    if said is None:
        assert parse(KeyEpoch, epoch_fields(**changes), source="test").epoch == 1
        return
    with pytest.raises(ProtocolError, match=said):
        parse(KeyEpoch, epoch_fields(**changes), source="test")


@pytest.mark.parametrize("seconds", [0, -1, 90 * 86_400 + 1, "soon"])
def test_an_invite_expires_within_bounds(seconds: Any) -> None:
    with pytest.raises(ProtocolError, match="valid_seconds"):
        parse(InviteRequest, {"name": "a", "valid_seconds": seconds}, source="test")


def test_a_run_names_a_key_epoch_and_neither_a_key_nor_a_cohort() -> None:
    spec = {"name": "r", "key_epoch": 1, "parameters": {}, "contract": contract()}
    assert parse(RunSpec, spec, source="test").require_confirmed_roster is False
    for extra in ({"cohort_size": 3}, {"public_key": {"n": "f", "fingerprint": "0" * 64}}):
        with pytest.raises(ProtocolError, match=next(iter(extra))):
            parse(RunSpec, spec | extra, source="test")
    with pytest.raises(ProtocolError, match="key_epoch"):
        parse(RunSpec, {k: v for k, v in spec.items() if k != "key_epoch"}, source="test")


def test_an_error_about_a_missing_field_does_not_show_the_others() -> None:
    code = "secret-invite-code-1234"
    with pytest.raises(ProtocolError, match="signing_key is missing") as caught:
        parse(BankRegistration, {"name": "a", "invite": code}, source="test")
    assert code not in str(caught.value)
