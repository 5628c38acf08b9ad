"""Masks cancel in the sum, hide everything else, and follow from the pair and the context."""

import pickle
import secrets
from typing import Any

import pytest
from cohorts.secure import agree_in_pairs
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.errors import BoundError, CohortError, KeyMaterialError
from fraudfed.secure_sum import derivation, slots
from fraudfed.secure_sum.derivation import derive_key, keystream
from fraudfed.secure_sum.masks import streams
from fraudfed.secure_sum.masks.pairwise import MaskUse, PairwiseMasks
from fraudfed.secure_sum.masks.streams import MaskStream, signed_sum

DIGEST = "6b" * 32
laws = settings(max_examples=60, deadline=None)


def new_masks(n_banks: int) -> list[PairwiseMasks]:
    roster = [f"bank{i}" for i in range(n_banks)]
    agreed = agree_in_pairs(roster)
    return [PairwiseMasks(name, roster, agreed[name]) for name in roster]


@laws
@given(
    n_banks=st.integers(1, 7),
    count=st.integers(0, 9),
    modulus=st.integers(1, 2**300).map(lambda half: 2 * half + 1),
)
def test_masks_cancel(n_banks: int, count: int, modulus: int) -> None:
    totals = [masks.totals(DIGEST, count, modulus) for masks in new_masks(n_banks)]
    assert all(0 <= mask < modulus for bank in totals for mask in bank)
    assert [sum(column) % modulus for column in zip(*totals, strict=True)] == [0] * count


def test_masks_of_all_but_one_bank_do_not_cancel() -> None:
    modulus = 2**255 - 19
    totals = [masks.totals(DIGEST, 4, modulus) for masks in new_masks(4)]
    for left_out in range(4):
        rest = [bank for position, bank in enumerate(totals) if position != left_out]
        assert all(sum(column) % modulus for column in zip(*rest, strict=True))


def test_masks_are_the_defined_ones() -> None:
    modulus = 2**127 - 1
    secret = secrets.token_bytes(32)
    key = derive_key(secret, "mask", bytes.fromhex(DIGEST), b"a", b"b")
    stream = keystream(key, 3 * 32)  # (127 + 128) bits, rounded up to words
    numbers = [int.from_bytes(stream[i : i + 32], "little") % modulus for i in (0, 32, 64)]
    first = PairwiseMasks("a", ("a", "b"), {"b": secret})
    second = PairwiseMasks("b", ("a", "b"), {"a": secret})
    assert first.totals(DIGEST, 3, modulus) == numbers
    assert second.totals(DIGEST, 3, modulus) == [-number % modulus for number in numbers]


def test_masks_differ_by_context_plaintext_and_pair() -> None:
    modulus = 2**255 - 19
    secret = secrets.token_bytes(32)
    # Even if one secret served two pairs, their streams would differ.
    masks = PairwiseMasks("a", ("a", "b"), {"b": secret})
    other = PairwiseMasks("a", ("a", "c"), {"c": secret})
    of_tags = PairwiseMasks("a", ("a", "b"), {"b": secret}, use=MaskUse.TAG)
    seen = {
        *masks.totals(DIGEST, 5, modulus),
        *masks.totals("6c" * 32, 5, modulus),
        *other.totals(DIGEST, 5, modulus),
        *of_tags.totals(DIGEST, 5, modulus),
    }
    assert len(seen) == 20
    assert masks.totals(DIGEST, 5, modulus)[:2] == masks.totals(DIGEST, 2, modulus)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("d", ("a", "b"), {}), CohortError, "'d' is not in the roster a, b"),
        (("a", ("a", "b", "c"), {"b": b"x" * 32}), KeyMaterialError, "of b, expected of b, c"),
        (("a", ("a",), {"a": b"x" * 32}), KeyMaterialError, "of a, expected of nobody"),
        (("a", ("a", "b"), {"b": b"x" * 31}), KeyMaterialError, "'b' is no X25519"),
        (("a", ("a", "b"), {"b": bytes(32)}), KeyMaterialError, "not all zero"),
    ],
)
def test_what_cannot_be_masks_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PairwiseMasks(*arguments)


@laws
@given(
    signs=st.lists(st.sampled_from([1, -1]), max_size=6),
    count=st.integers(0, 9),
    modulus=st.integers(1, 2**300),
    data=st.data(),
)
def test_a_signed_sum_of_streams_is_the_defined_one(
    signs: list[int], count: int, modulus: int, data: st.DataObject
) -> None:
    width = -(-(modulus.bit_length() + 128) // 32) * 4
    keys = [data.draw(st.binary(min_size=32, max_size=32)) for _ in signs]
    expected = [0] * count
    for key, sign in zip(keys, signs, strict=True):
        stream = keystream(key, count * width)
        for item in range(count):
            number = int.from_bytes(stream[item * width : (item + 1) * width], "little")
            expected[item] += sign * number
    streams_ = [MaskStream(key, sign) for key, sign in zip(keys, signs, strict=True)]
    expected = [number % modulus for number in expected]
    for module in (slots._NATIVE, None):
        # Pieces of one item, of some, and of all.
        for piece in (1, 3 * width, 1 << 16):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(slots, "_NATIVE", module)
                patch.setattr(streams, "_PIECE_BYTES", piece)
                assert signed_sum(streams_, count, modulus) == expected


def test_masks_do_not_leave() -> None:
    secret = secrets.token_bytes(32)
    masks = PairwiseMasks("a", ("a", "b"), {"b": secret})
    assert repr(masks) == "<PairwiseMasks of 'a' with 1 banks>"
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(masks)
    (stream,) = masks.streams(DIGEST)
    assert repr(stream) == "MaskStream(sign=1)"
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(stream)


def test_keys_differ_by_purpose_and_parts() -> None:
    keys = {
        derive_key(b"s" * 32, "mask", b"ab", b"c"),
        derive_key(b"s" * 32, "mask", b"a", b"bc"),
        derive_key(b"s" * 32, "mask", b"abc"),
        derive_key(b"s" * 32, "tag", b"abc"),
        derive_key(b"t" * 32, "tag", b"abc"),
        derive_key(b"s" * 32, "tag"),
    }
    assert len(keys) == 6


def test_keystream_is_chacha20_of_rfc_8439() -> None:
    # Appendix A.1, test vectors 1 and 2: key, nonce and counter 0, then counter 1.
    stream = keystream(bytes(32), 128)
    assert stream[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"
    assert stream[64:80].hex() == "9f07e7be5551387a98ba977c732d080d"


def test_a_stream_stops_before_its_counter_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "_MAXIMUM_STREAM_BYTES", 63)
    with pytest.raises(BoundError, match="64 bytes is needed"):
        keystream(bytes(32), 64)
