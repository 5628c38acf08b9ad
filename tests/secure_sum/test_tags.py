"""Tags against plain Python integers, and what makes them hard to forge."""

import copy
import pickle

import numpy as np
import pytest
from gmpy2 import is_prime
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.secure_sum.derivation import derive_key, keystream
from fraudfed.secure_sum.tags import TAG_BITS, TAG_PRIME, TagCoefficients

SECRET = bytes(range(32))
DIGEST = "5a" * 32
laws = settings(max_examples=100, deadline=None)
int64s = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.just(-(2**63))


def new_coefficients(
    sizes: list[int], *, secret: bytes = SECRET, digest: str = DIGEST
) -> TagCoefficients:
    firsts = np.cumsum([0, *sizes])[:-1].astype(np.int64)
    return TagCoefficients(secret, digest, firsts=firsts, n_values=sum(sizes))


def plain_tags(sizes: list[int], digits: list[int], count: int) -> list[int]:
    """Spell the definition out: 12 bytes of stream for each coefficient, constants first."""
    key = derive_key(SECRET, "tag", bytes.fromhex(DIGEST))
    stream = keystream(key, 12 * (len(sizes) + sum(sizes)))
    numbers = []
    for start in range(0, len(stream), 12):
        low, middle, high = (
            int.from_bytes(stream[start + 4 * i : start + 4 * i + 4], "little") for i in range(3)
        )
        numbers.append(low % 2**30 + (middle % 2**30 << 30) + (high % 2**29 << 60))
    constants, slots = numbers[: len(sizes)], iter(zip(numbers[len(sizes) :], digits, strict=True))
    return [
        (constant * count + sum(a * d for _, (a, d) in zip(range(size), slots, strict=False)))
        % TAG_PRIME
        for constant, size in zip(constants, sizes, strict=True)
    ]


@laws
@given(sizes=st.lists(st.integers(1, 12), max_size=5), count=st.integers(0, 4096), data=st.data())
def test_tags_are_the_defined_ones(sizes: list[int], count: int, data: st.DataObject) -> None:
    digits = data.draw(st.lists(int64s, min_size=sum(sizes), max_size=sum(sizes)))
    found = new_coefficients(sizes).tags(np.array(digits, dtype=np.int64), count=count)
    assert found == plain_tags(sizes, digits, count)
    assert all(0 <= tag < TAG_PRIME for tag in found)


@pytest.mark.parametrize("extreme", [2**63 - 1, -(2**63), -1])
def test_nothing_overflows_over_thousands_of_slots(extreme: int) -> None:
    sizes = [4000, 1, 3000]
    digits = [extreme] * 7001
    found = new_coefficients(sizes).tags(np.array(digits, dtype=np.int64), count=7)
    assert found == plain_tags(sizes, digits, 7)


@laws
@given(n_banks=st.integers(1, 7), data=st.data())
def test_tags_of_vectors_add_up_to_the_tag_of_their_sum(n_banks: int, data: st.DataObject) -> None:
    sizes = [3, 4]
    limit = (2**63 - 1) // n_banks
    vectors = [
        np.array([data.draw(st.integers(-limit, limit)) for _ in range(7)], dtype=np.int64)
        for _ in range(n_banks)
    ]
    coefficients = new_coefficients(sizes)
    added = [
        sum(column) % TAG_PRIME
        for column in zip(*(coefficients.tags(v, count=1) for v in vectors), strict=True)
    ]
    assert added == coefficients.tags(np.sum(vectors, axis=0), count=n_banks)


def test_all_digits_of_int64_differ_modulo_the_prime() -> None:
    assert is_prime(TAG_PRIME)
    assert TAG_PRIME == 2**TAG_BITS - 1 > 2**64
    # Modulo 2^61 - 1, the next smaller Mersenne prime, these two would share every tag.
    coefficients = new_coefficients([1])
    wide = np.array([5 + 2**61 - 1], dtype=np.int64)
    assert coefficients.tags(wide, count=3) != coefficients.tags(np.array([5]), count=3)


def test_changed_digits_counts_secrets_and_contexts_change_the_tag() -> None:
    digits = np.arange(-3, 4)
    tags = new_coefficients([7]).tags(digits, count=2)
    for position in range(7):
        for change in (1, -1, 2**40):
            other = digits.copy()
            other[position] += change
            assert new_coefficients([7]).tags(other, count=2) != tags
    assert new_coefficients([7]).tags(digits, count=3) != tags
    assert new_coefficients([7]).tags(digits[::-1].copy(), count=2) != tags
    assert new_coefficients([7], secret=bytes(32)).tags(digits, count=2) != tags
    assert new_coefficients([7], digest="5b" * 32).tags(digits, count=2) != tags


def test_no_plaintexts_have_no_tags() -> None:
    assert new_coefficients([]).tags(np.zeros(0, dtype=np.int64), count=1) == []


def test_coefficients_do_not_leave() -> None:
    coefficients = new_coefficients([2, 3])
    assert repr(coefficients) == "<TagCoefficients of 2 plaintexts>"
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(coefficients)
    with pytest.raises(TypeError, match="secret"):
        copy.copy(coefficients)
