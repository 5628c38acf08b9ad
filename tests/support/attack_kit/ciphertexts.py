"""What an aggregator can do to ciphertexts with nothing but the public key."""

from collections.abc import Sequence

from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.header import join_header

#: One contribution more in a plaintext's count field.
COUNT_ONE = join_header(0, count=1)


def scaled(vector: CiphertextVector, factor: int) -> CiphertextVector:
    """Multiply every plaintext by ``factor``."""
    n_squared = vector.public_key.n_squared
    return CiphertextVector.of_integers(
        vector.public_key, [pow(value, factor, n_squared) for value in vector.integers()]
    )


def added(vector: CiphertextVector, amounts: Sequence[int]) -> CiphertextVector:
    """Add a known number to every plaintext: ``Enc(m) * (1 + N)^a = Enc(m + a)``."""
    key = vector.public_key
    return CiphertextVector.of_integers(
        key,
        [
            value * (1 + amount % key.n * key.n) % key.n_squared
            for value, amount in zip(vector.integers(), amounts, strict=True)
        ],
    )


def exchanged(vector: CiphertextVector, first: int, second: int) -> CiphertextVector:
    """Let two ciphertexts change places."""
    values = vector.integers()
    values[first], values[second] = values[second], values[first]
    return CiphertextVector.of_integers(vector.public_key, values)
