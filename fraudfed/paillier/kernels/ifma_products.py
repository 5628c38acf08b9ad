"""Products of ciphertexts in C (``_ifma_products.h``): what the aggregator does, with no secret."""

from functools import lru_cache

from gmpy2 import mpz

from fraudfed.paillier.kernels.compiled import words_of
from fraudfed.paillier.kernels.ifma import IFMA
from fraudfed.paillier.keys import PublicKey

_SIZES = (80, 120)
#: ``4 N^2 <= 2^(52 n)``: see ``_ifma_products.h``; and a byte above N^2 is written.
_SPARE_BITS = 9


class IfmaProducts:
    """Arithmetic modulo the N^2 of one public key. Same bytes as the GMP in ``vector``."""

    __slots__ = ("_limbs", "_width", "_words")

    def __init__(self, public_key: PublicKey, limbs: int) -> None:
        square = public_key.modulus_squared
        radix = mpz(1) << (IFMA.limb_bits * limbs)
        to_montgomery = radix * radix % square
        self._limbs = limbs
        self._width = public_key.ciphertext_bytes
        self._words = words_of(
            [
                *IFMA.limbs_of(square, limbs),
                *IFMA.limbs_of(to_montgomery, limbs),
                IFMA.minus_inverse(square),
            ]
        )

    def multiply(self, first: bytes, second: bytes) -> bytes:
        """Return the elementwise products modulo N^2 of two vectors of values below N^2."""
        product: bytes = IFMA.module().multiply(
            self._limbs, self._words, first, second, self._width
        )
        return product

    def common_multiple(self, values: bytes) -> mpz:
        """Return a number that shares with N what any of the values (below N^2) shares with it."""
        width = self._width + 1
        data = IFMA.module().unit_products(self._limbs, self._words, values, self._width)
        product = mpz(1)
        for start in range(0, IFMA.lanes * width, width):
            product *= mpz.from_bytes(data[start : start + width], "big")
        return product


@lru_cache(maxsize=64)
def products_for(public_key: PublicKey) -> IfmaProducts | None:
    """Return the compiled arithmetic for a key; None if there is none for its size or this CPU."""
    if IFMA.why_unavailable():
        return None
    bits = public_key.n_squared.bit_length() + _SPARE_BITS
    limbs = next((n for n in _SIZES if n * IFMA.limb_bits >= bits), None)
    return None if limbs is None else IfmaProducts(public_key, limbs)
