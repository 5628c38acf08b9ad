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
from fraudfed.consortium.public.fingerprint import fingerprint, roster_code
from fraudfed.consortium.roster import PinnedRoster, load_roster, save_roster
from fraudfed.errors import (
    ConfigurationError,
    ConflictError,
    KeyMaterialError,
    NotFoundError,
    StateError,
)

NOW = 1_700_000_000


def everybody(pins: PinnedRoster) -> PinnedRoster:
    return pins.confirm(pins.members.values())


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
        everybody(pins).pin([changed], now=NOW)


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


def confirmed(pins: PinnedRoster) -> set[str]:
    return {pin.keys.name for pin in pins.pins if pin.confirmed}


def test_a_person_confirms_what_was_shown_as_a_whole(members: Members, pins: PinnedRoster) -> None:
    shown = pins.show(members.roster, now=NOW + 2)
    assert shown.shown.code == roster_code(members.roster)
    for code in (None, shown.shown.code, shown.shown.code.replace("-", " ")):
        assert confirmed(shown.confirm_shown(code)) == {"alder", "birch", "cedar"}


def test_a_member_that_came_after_the_roster_was_shown_is_not_confirmed(
    members: Members, pins: PinnedRoster
) -> None:
    code = roster_code(members.roster)
    later = pins.show(members.roster, now=NOW).pin([Identity.generate().member("aspen")], now=NOW)
    for said in (None, code):
        assert confirmed(later.confirm_shown(said)) == {"alder", "birch", "cedar"}
    with pytest.raises(NotFoundError, match="no member 'aspen' was shown"):
        later.confirm_member("aspen")


def test_a_wrong_or_stale_code_changes_nothing(members: Members, pins: PinnedRoster) -> None:
    stale = roster_code(members.roster[:2])
    shown = pins.show(members.roster, now=NOW)
    last = shown.shown.code
    wrong = last[:-1] + str((int(last[-1]) + 1) % 10)
    for code in (stale, wrong, last[::-1]):
        with pytest.raises(ConflictError, match=r"nothing was confirmed: show it again") as refusal:
            shown.confirm_shown(code)
        # What was typed and what would have been right are both left unsaid.
        assert last not in str(refusal.value)
    for code in ("", "cedar", last[:-1], last + "0", "x" * 60, "\u0661" * 60):
        with pytest.raises(ConfigurationError, match="is no roster code"):
            shown.confirm_shown(code)


def test_nothing_is_confirmed_that_nobody_was_shown(pins: PinnedRoster) -> None:
    for confirm in (pins.confirm_shown, lambda: pins.confirm_member("alder")):
        with pytest.raises(NotFoundError, match="bank-node roster"):
            confirm()


def test_one_member_is_confirmed_by_its_name(members: Members, pins: PinnedRoster) -> None:
    one = pins.show(members.roster, now=NOW).confirm_member("alder")
    assert confirmed(one) == {"alder", "birch"}
    with pytest.raises(NotFoundError, match="'dogwood' was shown, expected one of alder, birch"):
        one.confirm_member("dogwood")


def test_shown_keys_that_are_not_the_pinned_ones_are_not_confirmed(
    members: Members, pins: PinnedRoster
) -> None:
    """A file that was tampered with, or a fault of ours."""
    others = [Identity.generate().member(member.name) for member in members.roster]
    with pytest.raises(ConflictError, match="not pinned with the keys that were shown"):
        pins.show(others, now=NOW).confirm_shown()


def test_owners_are_recorded_and_taken_back(pins: PinnedRoster) -> None:
    owned = pins.own("alder", "  Example   Group ")
    assert {pin.keys.name: pin.owner for pin in owned.pins}["alder"] == "Example Group"
    assert owned.own("alder", None) == pins
    with pytest.raises(NotFoundError, match="no member 'dogwood' is pinned"):
        pins.own("dogwood", "x")
    for owner in ("", "x" * 101, "a\x1b[2J"):
        with pytest.raises(ConfigurationError, match="owner of alder"):
            pins.own("alder", owner)


def test_a_confirmed_pin_stays_confirmed_and_a_new_one_is_not(
    members: Members, pins: PinnedRoster
) -> None:
    stranger = Identity.generate().member("aspen")
    later = everybody(pins).pin([*members.roster, stranger], now=NOW + 5)
    assert {pin.keys.name: pin.confirmed for pin in later.pins} == {
        "alder": True,
        "aspen": False,
        "birch": True,
        "cedar": True,
    }


def test_the_file_keeps_everything(pins: PinnedRoster, tmp_path: Path) -> None:
    path = tmp_path / "roster.json"
    save_roster(path, pins)
    save_roster(path, everybody(pins))
    assert load_roster(path) == everybody(pins)
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
