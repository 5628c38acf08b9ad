"""Products of ciphertexts in C against Python's integers."""

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.errors import CiphertextError
from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.ifma import IFMA
from fraudfed.paillier.kernels.ifma_products import IfmaProducts, products_for
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector

NATIVE = load_native("fraudfed.paillier.kernels._ifma").module
pytestmark = pytest.mark.skipif(
    bool(IFMA.why_unavailable()), reason=IFMA.why_unavailable() or "it is there"
)


def key_of(bits: int) -> PublicKey:
    """Products need no factors: any odd modulus, here one of the worst carries."""
    return PublicKey((1 << bits) - 1, insecure_allow_small_key=True)


KEYS = [key_of(bits) for bits in (64, 2048, 2070, 3072, 3100)]


def compiled(key: PublicKey) -> IfmaProducts:
    found = products_for(key)
    assert found is not None
    return found


def packed(key: PublicKey, values: list[int]) -> bytes:
    return b"".join(value.to_bytes(key.ciphertext_bytes, "big") for value in values)


@settings(max_examples=60, deadline=None)
@given(key=st.sampled_from(KEYS), data=st.data())
def test_products_are_those_of_integers(key: PublicKey, data: st.DataObject) -> None:
    n, square = key.n, key.n_squared
    ends = st.sampled_from([0, 1, 2, n - 1, n, n + 1, square - 1, square - n, square // 2])
    values = ends | st.integers(0, square - 1)
    first = data.draw(st.lists(values, max_size=20))
    second = [data.draw(values) for _ in first]
    expected = packed(key, [a * b % square for a, b in zip(first, second, strict=True)])
    assert compiled(key).multiply(packed(key, first), packed(key, second)) == expected
    vectors = [CiphertextVector(key, packed(key, part)) for part in (first, second)]
    assert vectors[0].product(vectors[1]).data == expected


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key.key_bits))
@pytest.mark.parametrize("place", [0, 7, 8, 21])
def test_one_common_factor_among_many_values_is_found(key: PublicKey, place: int) -> None:
    # 2^b - 1 for even b has the factor 3.
    assert key.n % 3 == 0
    values = [1 + 3 * secrets.randbelow(key.n // 3) for _ in range(22)]
    units = [value if pow(value, -1, key.n) else 1 for value in map(next_unit(key), values)]
    assert compiled(key).common_multiple(packed(key, units)) % 3 != 0
    CiphertextVector(key, packed(key, units)).check()
    units[place] = 3
    assert compiled(key).common_multiple(packed(key, units)) % 3 == 0
    with pytest.raises(CiphertextError, match=f"ciphertext {place} of 22 shares a factor"):
        CiphertextVector(key, packed(key, units)).check()
    for wrong in (0, key.n_squared):
        if wrong < 1 << (8 * key.ciphertext_bytes):
            units[place] = wrong
            with pytest.raises(CiphertextError, match=f"ciphertext {place} of 22"):
                CiphertextVector(key, packed(key, units)).check()


def next_unit(key: PublicKey):
    def step(value: int) -> int:
        while True:
            try:
                pow(value, -1, key.n)
            except ValueError:
                value += 1
            else:
                return value

    return step


def test_larger_keys_are_left_to_gmp() -> None:
    key = key_of(3120)
    assert products_for(key) is None
    vector = CiphertextVector(key, packed(key, [2, key.n_squared - 1]))
    assert vector.product(vector).data == packed(key, [4, 1])
    vector.check()


def test_lengths_that_do_not_fit_are_refused() -> None:
    assert NATIVE is not None
    words = bytes(8 * 161)
    for n, modulus in ((81, words), (80, words[8:]), (120, words)):
        with pytest.raises(ValueError, match="expected 80 or 120 limbs"):
            NATIVE.multiply(n, modulus, b"", b"", 10)
    for width in (0, -1, 521):
        with pytest.raises(ValueError, match="width is"):
            NATIVE.unit_products(80, words, b"", width)
    for first, second in ((bytes(10), bytes(20)), (bytes(11), bytes(11))):
        with pytest.raises(ValueError, match="factors are"):
            NATIVE.multiply(80, words, first, second, 10)
    with pytest.raises(ValueError, match="values are"):
        NATIVE.unit_products(80, words, bytes(11), 10)
