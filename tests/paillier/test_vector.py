"""Ciphertext vectors: layout, products, shards, and what is refused."""

import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import CiphertextError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector, from_integers, shard_length, to_integers

FACTOR = 2**61 - 1
KEY = PublicKey(FACTOR * (2**89 - 1), insecure_allow_small_key=True)
residues = st.integers(0, KEY.n_squared - 1)


@given(width=st.integers(1, 20), data=st.data())
def test_integers_round_trip(width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 256**width - 1), max_size=10))
    packed = from_integers([mpz(v) for v in values], width)
    assert len(packed) == width * len(values)
    assert packed == b"".join(v.to_bytes(width, "big") for v in values)
    assert to_integers(packed, width) == values
    assert to_integers(memoryview(packed), width) == values


@given(values=st.lists(st.tuples(residues, residues), max_size=6))
def test_product_is_elementwise_modulo_n_squared(values: list[tuple[int, int]]) -> None:
    left = CiphertextVector.of_integers(KEY, [mpz(a) for a, _ in values])
    right = CiphertextVector.of_integers(KEY, [mpz(b) for _, b in values])
    expected = [a * b % KEY.n_squared for a, b in values]
    assert left.product(right).integers() == expected
    assert left.product(right) == right.product(left)


@given(
    values=st.lists(residues, max_size=12).map(lambda v: [mpz(x) for x in v]),
    n_shards=st.integers(1, 7),
)
def test_shards_part_the_vector(values: list[mpz], n_shards: int) -> None:
    vector = CiphertextVector.of_integers(KEY, values)
    for shard in range(n_shards):
        part = vector.shard(shard, n_shards)
        assert part.integers() == values[shard::n_shards]
        assert len(part) == shard_length(len(values), shard, n_shards)
    for outside in (-1, n_shards):
        with pytest.raises(CiphertextError, match="shard"):
            vector.shard(outside, n_shards)


@pytest.mark.parametrize("length", [1, 37, 39, 75])
def test_truncated_array_is_refused(length: int) -> None:
    with pytest.raises(CiphertextError, match=f"has {length} bytes, expected a multiple of 38"):
        CiphertextVector(KEY, bytes(length))


def test_empty_vector_is_fine() -> None:
    empty = CiphertextVector(KEY, b"")
    empty.check()
    assert len(empty) == 0
    assert empty.product(empty) == empty
    assert empty.shard(0, 3) == empty


def test_check_accepts_ciphertexts(small_key: PrivateKey) -> None:
    small_key.encryptor().encrypt([0, 1, -1, 99]).check()
    CiphertextVector.of_integers(KEY, [mpz(1), mpz(KEY.n_squared - 1)]).check()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (0, "not in 1"),
        (KEY.n, "shares a factor"),
        (FACTOR, "shares a factor"),
        (12 * (2**89 - 1), "shares a factor"),
        (KEY.n_squared, "not in 1"),
        (KEY.n_squared + 1, "not in 1"),
        (256**38 - 1, "not in 1"),
    ],
)
@pytest.mark.parametrize("position", [0, 2, 4])
def test_check_refuses_what_is_no_ciphertext(bad: int, message: str, position: int) -> None:
    values = [mpz(7), mpz(8), mpz(9), mpz(10), mpz(11)]
    values[position] = mpz(bad)
    vector = CiphertextVector.of_integers(KEY, values)
    with pytest.raises(CiphertextError, match=f"ciphertext {position} of 5 .*{message}"):
        vector.check()


def test_two_factors_in_different_ciphertexts_are_found() -> None:
    vector = CiphertextVector.of_integers(KEY, [mpz(3), mpz(FACTOR), mpz(2**89 - 1)])
    with pytest.raises(CiphertextError, match="ciphertext 1 of 3"):
        vector.check()


def test_product_of_unlike_vectors_is_refused(
    small_key: PrivateKey, other_small_key: PrivateKey
) -> None:
    one = small_key.encryptor().encrypt([1])
    with pytest.raises(CiphertextError, match="has 2 items, expected 1"):
        one.product(small_key.encryptor().encrypt([1, 2]))
    with pytest.raises(CiphertextError, match="under key"):
        one.product(other_small_key.encryptor().encrypt([1]))


def test_bytes_are_not_in_the_repr(small_key: PrivateKey) -> None:
    vector = small_key.encryptor().encrypt([1])
    assert len(repr(vector)) < 200
