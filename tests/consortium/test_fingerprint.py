"""A fingerprint is easy to read out, and no other name or key has it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.errors import KeyMaterialError

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
