"""A vector of ciphertexts as one run of fixed-width bytes. Public operations only.

Law: the product of two vectors decrypts to the elementwise sum of their plaintexts modulo N
(Paillier, EUROCRYPT '99, section 8, "additive homomorphic properties").
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import gmpy2
from gmpy2 import mpz

from fraudfed.errors import CiphertextError
from fraudfed.paillier.kernels.ifma_products import products_for
from fraudfed.paillier.keys import PublicKey


def to_integers(data: bytes | memoryview, width: int) -> list[mpz]:
    """Split ``data`` into big-endian integers of ``width`` bytes each."""
    view = memoryview(data)
    return [
        mpz.from_bytes(view[start : start + width], "big") for start in range(0, len(view), width)
    ]


def from_integers(values: Iterable[mpz], width: int) -> bytes:
    """Join integers as big-endian bytes of ``width`` each; the inverse of ``to_integers``."""
    return b"".join([value.to_bytes(width, "big") for value in values])


def shard_length(total: int, shard: int, n_shards: int) -> int:
    """Count the items ``j < total`` with ``j mod n_shards == shard``."""
    return (total - shard + n_shards - 1) // n_shards if shard < total else 0


@dataclass(frozen=True)
class CiphertextVector:
    """Ciphertexts under one public key.

    Attributes
    ----------
    public_key : PublicKey
    data : bytes of length ``len(self) * public_key.ciphertext_bytes``
        Big-endian, fixed width.

    Raises
    ------
    CiphertextError
        If ``data`` is not a whole number of ciphertexts. The values are looked at by ``check``.
    """

    public_key: PublicKey
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        width = self.public_key.ciphertext_bytes
        if len(self.data) % width:
            raise CiphertextError(
                f"ciphertext array has {len(self.data)} bytes, expected a multiple of {width} "
                f"({self.public_key.key_bits}-bit key); it is truncated or made under another key"
            )

    def __len__(self) -> int:
        return len(self.data) // self.public_key.ciphertext_bytes

    @classmethod
    def of_integers(cls, public_key: PublicKey, values: Iterable[mpz]) -> "CiphertextVector":
        """Build from integers in ``[0, N^2)``."""
        return cls(public_key, from_integers(values, public_key.ciphertext_bytes))

    def integers(self) -> list[mpz]:
        """Return the ciphertexts as integers."""
        return to_integers(self.data, self.public_key.ciphertext_bytes)

    def check(self) -> None:
        """Raise ``CiphertextError`` unless each value is an invertible residue modulo N^2.

        Zero, N, N^2 and multiples of P or Q are no ciphertexts: they would turn every sum they
        are multiplied into to the same rubbish, or betray a factor of N on decryption.
        """
        if self._is_surely_good():
            return
        modulus, modulus_squared = self.public_key.modulus, self.public_key.modulus_squared
        values = self.integers()
        # One gcd of the product instead of one per value: the product shares a factor with N
        # exactly when one of the values does.
        product = mpz(1)
        for index, value in enumerate(values):
            if not 0 < value < modulus_squared:
                raise CiphertextError(
                    f"ciphertext {index} of {len(values)} is not in 1 .. N^2 - 1 "
                    f"({self.public_key.key_bits}-bit key); it is malformed or made under "
                    "another key"
                )
            product = product * (value % modulus) % modulus
        if gmpy2.gcd(product, modulus) == 1:
            return
        for index, value in enumerate(values):
            if gmpy2.gcd(value, modulus) != 1:
                raise CiphertextError(
                    f"ciphertext {index} of {len(values)} shares a factor with the modulus, "
                    "expected an invertible residue; it is malformed"
                )

    def _is_surely_good(self) -> bool:
        """Tell by compiled code whether all values pass; False if it does not know."""
        compiled = products_for(self.public_key)
        if compiled is None:
            return False
        width = self.public_key.ciphertext_bytes
        limit = self.public_key.n_squared.to_bytes(width, "big")
        if any(
            self.data[start : start + width] >= limit for start in range(0, len(self.data), width)
        ):
            return False
        return bool(gmpy2.gcd(compiled.common_multiple(self.data), self.public_key.modulus) == 1)

    def product(self, other: "CiphertextVector") -> "CiphertextVector":
        """Return the elementwise product modulo N^2, which encrypts the elementwise sum.

        Raises
        ------
        CiphertextError
            If ``other`` has another length or another key.
        """
        if other.public_key != self.public_key:
            raise CiphertextError(
                f"ciphertexts are under key {other.public_key.fingerprint[:16]}..., expected "
                f"{self.public_key.fingerprint[:16]}...; the banks do not share one key"
            )
        if len(other) != len(self):
            raise CiphertextError(
                f"ciphertext array has {len(other)} items, expected {len(self)}; "
                "the banks do not sum the same values"
            )
        compiled = products_for(self.public_key)
        if compiled is not None:
            return CiphertextVector(self.public_key, compiled.multiply(self.data, other.data))
        modulus_squared = self.public_key.modulus_squared
        return CiphertextVector.of_integers(
            self.public_key,
            (
                a * b % modulus_squared
                for a, b in zip(self.integers(), other.integers(), strict=True)
            ),
        )

    def shard(self, shard: int, n_shards: int) -> "CiphertextVector":
        """Return the ciphertexts ``j`` with ``j mod n_shards == shard``, in order.

        Raises
        ------
        CiphertextError
            If there is no such shard.
        """
        if not 0 <= shard < n_shards:
            raise CiphertextError(
                f"shard {shard} was asked for, expected one of 0 .. {n_shards - 1}"
            )
        width = self.public_key.ciphertext_bytes
        view = memoryview(self.data)
        parts = [view[j * width : (j + 1) * width] for j in range(shard, len(self), n_shards)]
        return CiphertextVector(self.public_key, b"".join(parts))
