"""Linear authentication tags modulo the prime 2^89 - 1.

The tag of a plaintext with elements ``x_1 .. x_s`` and count c is ``sum of a_i x_i + b c``, with
coefficients a, b that are fresh for every element and plaintext of every context and known to the
members only: the linear MAC of Agrawal and Boneh ("Homomorphic MACs", ACNS 2009), with the count
times its pad b. Law: tags of vectors add up to the tag of the vectors' sum. It is over the true
values, in range or not, and over the elements that can only be 0 and have no slot.

Why 2^89 - 1 and not 2^61 - 1, the next smaller Mersenne prime: sums are int64, and modulo 2^61 - 1
a digit d and ``d + 2^61 - 1`` have the same tag, so adding that constant to a wide slot would go
unnoticed. Modulo 2^89 - 1 all sums of up to 2^10 int64 differ. Forgery: ``docs/cryptography.md``.
"""

import numpy as np

from fraudfed.dtypes import Int64Array, UInt32Array
from fraudfed.secure_sum.derivation import derive_key, keystream
from fraudfed.secure_sum.slots import COEFFICIENT_MASKS, LIMB_BITS, LIMBS, tag_sums

TAG_BITS = 89
TAG_PRIME = (1 << TAG_BITS) - 1


class TagCoefficients:
    """The secret coefficients of one context. Never printed or pickled.

    Parameters
    ----------
    secret : bytes
        The consortium's.
    context_digest : str
        SHA-256 of the round's context, hexadecimal.
    firsts : ndarray of shape (n_plaintexts,), dtype=int64
        Number of the first element of each plaintext, ascending (``SlotLayout.firsts``).
    n_values : int
        Elements, with or without a slot.
    """

    __slots__ = ("_constants", "_factors", "_firsts")

    def __init__(
        self, secret: bytes, context_digest: str, *, firsts: Int64Array, n_values: int
    ) -> None:
        n_plaintexts = len(firsts)
        key = derive_key(secret, "tag", bytes.fromhex(context_digest))
        size = (n_plaintexts + n_values) * LIMBS
        words = np.frombuffer(keystream(key, 4 * size), dtype="<u4").reshape(-1, LIMBS)
        self._firsts = firsts
        self._constants = _numbers(words[:n_plaintexts])
        self._factors = words[n_plaintexts:]

    def __repr__(self) -> str:
        return f"<TagCoefficients of {len(self._firsts)} plaintexts>"

    def __reduce__(self) -> str:
        raise TypeError("tag coefficients are secret and cannot be copied or pickled")

    def tags(self, values: Int64Array, *, count: int) -> list[int]:
        """Return the tag of each plaintext, in ``[0, TAG_PRIME)``.

        Parameters
        ----------
        values : ndarray of shape (n_values,), dtype=int64
            Any int64.
        count : int
            Contributions that each plaintext stands for.
        """
        return [
            (constant * count + total) % TAG_PRIME
            for constant, total in zip(
                self._constants, tag_sums(values, self._factors, self._firsts), strict=True
            )
        ]


def _numbers(words: UInt32Array) -> list[int]:
    """Return coefficients, each drawn from three words of 32 bits of which its limbs keep 89.

    Only 2^89 - 1 itself counts as 0: a bias of 2^-89.
    """
    return [
        low | middle << LIMB_BITS | high << 2 * LIMB_BITS
        for low, middle, high in (words & COEFFICIENT_MASKS).tolist()
    ]
