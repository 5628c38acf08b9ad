"""Signed sums of streams of numbers modulo a modulus: what pairwise and self masks are made of.

Item l of a stream is a number of ``bits(modulus) + 128`` bits, rounded up to words of 32, reduced
modulo the modulus: within 2^-128 of uniform. Law: ``signed_sum(s) + signed_sum(t) =
signed_sum(s + t)`` modulo the modulus, item by item, so that equal streams of opposite signs are
gone from the sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from gmpy2 import mpz

from fraudfed.secure_sum import slots
from fraudfed.secure_sum.derivation import open_keystream

#: A number of this many bits more than the modulus, reduced modulo it, is uniform up to 2^-128.
_EXTRA_BITS = 128
_WORD_BITS = 32
_WORD_BYTES = 4
#: Of one stream at a time: what the second cache of a core holds beside the sums.
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class MaskStream:
    """One stream and the sign with which it is added.

    Attributes
    ----------
    key : bytes
        32 bytes; secret, and not printed.
    sign : int
        1 or -1.
    """

    key: bytes = field(repr=False)
    sign: int

    def __reduce__(self) -> str:
        raise TypeError("keys of masks are secret and cannot be copied or pickled")


def signed_sum(streams: Sequence[MaskStream], count: int, modulus: int) -> list[int]:
    """Return the signed sum of ``streams`` for each of ``count`` items, in [0, modulus).

    Streams add up word by word without carries, a piece of each at a time: the memory does not grow
    with their number. The sum is reduced once, for its remainder is that of the sum of remainders.

    Parameters
    ----------
    streams : sequence of MaskStream
        At most 2^20.
    count : int
    modulus : int
        Above 0.

    Raises
    ------
    BoundError
        If an item lies beyond the end of a stream.
    """
    n_words = -(-(modulus.bit_length() + _EXTRA_BITS) // _WORD_BITS)
    width = n_words * _WORD_BYTES
    ciphers = [(open_keystream(one.key, count * width), one.sign) for one in streams]
    piece = max(1, _PIECE_BYTES // width)
    zeros, stream = bytes(piece * width), bytearray(piece * width)
    reducer = mpz(modulus)
    items: list[int] = []
    for start in range(0, count, piece):
        size = min(piece, count - start)
        sums = np.zeros(size * n_words, dtype=np.int64)
        part = memoryview(stream)[: size * width]
        for cipher, sign in ciphers:
            cipher.update_into(zeros[: size * width], part)
            slots.add_stream(sums, part, sign)
        data = slots.carried(sums.reshape(size, n_words))
        wide = width + _WORD_BYTES
        items += [
            int(int.from_bytes(data[place : place + wide], "little", signed=True) % reducer)
            for place in range(0, len(data), wide)
        ]
    return items
