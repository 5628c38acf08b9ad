"""A fingerprint is easy to read out, and no other name or key has it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.consortium.public.documents import roster_bytes
from fraudfed.consortium.public.fingerprint import fingerprint, is_roster_code, roster_code
from fraudfed.errors import ConfigurationError, KeyMaterialError
from fraudfed.wire.messages import MemberKeys

KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)


@given(NAMES, KEYS, KEYS)
def test_it_is_twelve_groups_of_five_digits(name: str, signing: str, agreement: str) -> None:
    text = fingerprint(name, signing, agreement)
    groups = text.split(" ")
    assert [len(group) for group in groups] == [5] * 12
    assert text.replace(" ", "").isdecimal()
    assert text.isascii()


def test_it_never_changes() -> None:
    domain = b"fraudfed member fingerprint v1\0" + (5).to_bytes(8, "big") + b"alder"
    digest = hashlib.sha512(domain + bytes(32) + b"\xff" * 32).digest()
    text = fingerprint("alder", "00" * 32, "ff" * 32)
    assert int(text.replace(" ", "")) == int.from_bytes(digest, "big") % 10**60
    assert text == "35796 64330 26386 12577 41936 65396 81379 73994 36158 62849 17978 44060"


@given(NAMES, KEYS, KEYS, st.integers(0, 255), st.booleans())
def test_it_differs_for_any_changed_bit(
    name: str, signing: str, agreement: str, bit: int, which: bool
) -> None:
    key = signing if which else agreement
    changed = f"{int(key, 16) ^ (1 << bit):064x}"
    other = (changed, agreement) if which else (signing, changed)
    assert fingerprint(name, *other) != fingerprint(name, signing, agreement)


@given(NAMES, NAMES, KEYS, KEYS)
def test_it_covers_the_name_and_which_key_is_which(a: str, b: str, one: str, two: str) -> None:
    assert (fingerprint(a, one, two) == fingerprint(b, one, two)) == (a == b)
    assert (fingerprint(a, one, two) == fingerprint(a, two, one)) == (one == two)


@pytest.mark.parametrize("key", ["", "00", "0" * 63, "0" * 65, "G" + "0" * 63, "A" * 64, "é" * 64])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(KeyMaterialError, match="signing key of alder"):
        fingerprint("alder", key, "0" * 64)
    with pytest.raises(KeyMaterialError, match="agreement key of alder"):
        fingerprint("alder", "0" * 64, key)


# The code of a whole roster


def members(*names: str) -> list[MemberKeys]:
    return [
        MemberKeys(name=name, signing_key=f"{i:064x}", agreement_key=f"{i + 99:064x}")
        for i, name in enumerate(names)
    ]


def test_a_rosters_code_never_changes() -> None:
    both = members("alder", "birch")
    code = roster_code(both)
    digest = hashlib.sha256(b"fraudfed roster code v1\0" + roster_bytes(both)).digest()
    assert int(code.replace("-", "")) == int.from_bytes(digest, "big") % 10**60
    assert [len(group) for group in code.split("-")] == [5] * 12


@given(st.permutations(members("a", "b", "c", "d", "e")))
def test_every_bank_that_sees_the_same_members_has_the_same_code(order: list[MemberKeys]) -> None:
    assert roster_code(order) == roster_code(members("a", "b", "c", "d", "e"))


@given(
    which=st.integers(0, 2),
    part=st.sampled_from(["signing_key", "agreement_key"]),
    bit=st.integers(0, 255),
)
def test_a_rosters_code_differs_for_any_changed_bit(which: int, part: str, bit: int) -> None:
    seen = members("a", "b", "c")
    code = roster_code(seen)
    changed = f"{int(getattr(seen[which], part), 16) ^ (1 << bit):064x}"
    seen[which] = seen[which].model_copy(update={part: changed})
    assert roster_code(seen) != code
    assert not is_roster_code(code, seen)


def test_a_rosters_code_differs_for_other_members() -> None:
    seen = members("a", "b", "c")
    renamed = [*seen[:2], seen[2].model_copy(update={"name": "d"})]
    exchanged = [
        seen[0].model_copy(update={"name": "b"}),
        seen[1].model_copy(update={"name": "a"}),
        seen[2],
    ]
    joined = [*seen, *members("x", "y", "z", "zz")[3:]]
    codes = {roster_code(each) for each in (seen, seen[:2], renamed, exchanged, joined, [])}
    assert len(codes) == 6


def test_a_code_is_read_with_any_spaces_and_hyphens() -> None:
    seen = members("a", "b")
    code = roster_code(seen)
    for text in (code, code.replace("-", " "), code.replace("-", ""), f" {code} "):
        assert is_roster_code(text, seen)
    for text in ("", "a", code[:-1], code + "1", "*" * 60, "\uff11" * 60):
        with pytest.raises(ConfigurationError, match="is no roster code"):
            is_roster_code(text, seen)
