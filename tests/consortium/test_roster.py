"""Pins: what was seen first stays, and a change is refused loudly."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cohorts.members import Members
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.consortium.roster import PinnedRoster, load_roster, save_roster
from fraudfed.errors import (
    ConflictError,
    ForbiddenError,
    KeyMaterialError,
    NotFoundError,
    StateError,
)

NOW = 1_700_000_000


@pytest.fixture
def pins(members: Members) -> PinnedRoster:
    own = members["birch"].member("birch")
    return PinnedRoster.of(own, now=NOW).pin(members.roster, now=NOW + 1)


def test_new_members_are_pinned_unconfirmed(members: Members, pins: PinnedRoster) -> None:
    assert pins.members == members.pinned
    assert [(p.keys.name, p.confirmed, p.first_seen) for p in pins.pins] == [
        ("alder", False, NOW + 1),
        ("birch", True, NOW),
        ("cedar", False, NOW + 1),
    ]
    for pin in pins.pins:
        assert pin.fingerprint == fingerprint(
            pin.keys.name, pin.keys.signing_key, pin.keys.agreement_key
        )


def test_seeing_the_same_again_changes_nothing(members: Members, pins: PinnedRoster) -> None:
    assert pins.pin(members.roster, now=NOW + 99) == pins
    assert pins.pin((), now=NOW + 99) == pins


@pytest.mark.parametrize("name", ["alder", "birch", "cedar"])
@pytest.mark.parametrize("which", ["signing_key", "agreement_key"])
@given(bit=st.integers(0, 255))
def test_a_changed_key_is_refused(name: str, which: str, members: Members, bit: int) -> None:
    pins = PinnedRoster.of(members["birch"].member("birch"), now=NOW).pin(members.roster, now=NOW)
    known = members.pinned[name]
    key = f"{int(getattr(known, which), 16) ^ (1 << bit):064x}"
    changed = known.model_copy(update={which: key})
    with pytest.raises(ConflictError, match=rf"keys of {name} have CHANGED.*nothing was sent") as e:
        pins.pin([changed], now=NOW)
    for keys in (known, changed):
        assert fingerprint(name, keys.signing_key, keys.agreement_key) in str(e.value)
    with pytest.raises(ConflictError):
        pins.confirm().pin([changed], now=NOW)


def test_a_member_that_left_cannot_be_replaced(members: Members, pins: PinnedRoster) -> None:
    without = [member for member in members.roster if member.name != "cedar"]
    later = pins.pin(without, now=NOW + 2)
    with pytest.raises(ConflictError, match="keys of cedar have CHANGED"):
        later.pin([Identity.generate().member("cedar")], now=NOW + 3)


@pytest.mark.parametrize("which", ["signing_key", "agreement_key"])
def test_two_names_never_share_a_key(members: Members, pins: PinnedRoster, which: str) -> None:
    stranger = Identity.generate().member("dogwood")
    copied = stranger.model_copy(update={which: getattr(members.roster[0], which)})
    with pytest.raises(ConflictError, match="dogwood comes with a key of alder"):
        pins.pin([copied], now=NOW)


def test_unusable_keys_are_not_pinned(pins: PinnedRoster) -> None:
    weak = Identity.generate().member("dogwood").model_copy(update={"agreement_key": "00" * 32})
    with pytest.raises(KeyMaterialError, match="agreement key of dogwood"):
        pins.pin([weak], now=NOW)


def test_confirming_one_or_all(pins: PinnedRoster) -> None:
    names = ["alder", "birch", "cedar"]
    with pytest.raises(ForbiddenError, match="fingerprints of alder, cedar are not confirmed"):
        pins.require_confirmed(names)
    pins.require_confirmed(["birch"])
    one = pins.confirm("alder")
    with pytest.raises(ForbiddenError, match=r"of cedar are not .*--confirm cedar"):
        one.require_confirmed(names)
    one.confirm("cedar").require_confirmed(names)
    pins.confirm().require_confirmed(names)
    with pytest.raises(ForbiddenError, match="dogwood"):
        pins.confirm().require_confirmed(["dogwood"])
    with pytest.raises(NotFoundError, match="'dogwood' is pinned, expected one of alder, birch"):
        pins.confirm("dogwood")


def test_a_confirmed_pin_stays_confirmed_and_a_new_one_is_not(
    members: Members, pins: PinnedRoster
) -> None:
    stranger = Identity.generate().member("aspen")
    later = pins.confirm().pin([*members.roster, stranger], now=NOW + 5)
    assert {pin.keys.name: pin.confirmed for pin in later.pins} == {
        "alder": True,
        "aspen": False,
        "birch": True,
        "cedar": True,
    }


def test_the_file_keeps_everything(pins: PinnedRoster, tmp_path: Path) -> None:
    path = tmp_path / "roster.json"
    save_roster(path, pins)
    save_roster(path, pins.confirm("alder"))
    assert load_roster(path) == pins.confirm("alder")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["roster.json"]


def test_a_missing_file_is_not_an_empty_roster(pins: PinnedRoster, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        load_roster(tmp_path / "roster.json")
    with pytest.raises(StateError, match="cannot be written"):
        save_roster(tmp_path / "nowhere" / "roster.json", pins)


def damaged(fields: dict[str, Any], what: str) -> Any:
    pin = fields["roster"]["pins"][0]
    if what == "no pins":
        del fields["roster"]["pins"]
    elif what == "extra":
        pin["extra"] = 1
    elif what == "order":
        fields["roster"]["pins"].reverse()
    elif what == "twice":
        fields["roster"]["pins"].insert(0, pin)
    elif what == "key":
        pin["keys"]["signing_key"] = "x"
    elif what == "confirmed":
        del pin["confirmed"]
    elif what == "no format":
        del fields["format"]
    elif what == "list":
        return [fields]
    return fields


@pytest.mark.parametrize(
    "what", ["no pins", "extra", "order", "twice", "key", "confirmed", "no format", "list"]
)
def test_a_damaged_file_is_an_error(pins: PinnedRoster, tmp_path: Path, what: str) -> None:
    path = tmp_path / "roster.json"
    save_roster(path, pins)
    path.write_text(json.dumps(damaged(json.loads(path.read_text()), what)))
    with pytest.raises(StateError, match="not a pinned roster") as caught:
        load_roster(path)
    assert "\n" not in str(caught.value)


def test_another_version_is_named(pins: PinnedRoster, tmp_path: Path) -> None:
    path = tmp_path / "roster.json"
    save_roster(path, pins)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(StateError, match="version 2, expected"):
        load_roster(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(StateError, match="not a pinned roster"):
        load_roster(path)
