"""Pairwise masks: uniform to everybody but their two banks, and gone in the sum.

For every pair of banks i < j of the roster there is one stream for each use, derived from what
these two alone can compute (X25519) and from the round's context. Bank i adds it, bank j subtracts
it (Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS
2017, section 4). Law: the masks of all banks of a roster add up to 0 modulo the modulus, item by
item; what a bank masks is uniform to anybody who lacks at least one of its pairwise secrets.

There are two uses. *Plaintexts* are masked modulo N. *Tags* are masked modulo their prime before
that, for banks know the coefficients: the sum of tags is read as an integer, and how often it
exceeds the prime would tell them a bit about how the sum splits between the others.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
from gmpy2 import mpz

from fraudfed.errors import CohortError, KeyMaterialError
from fraudfed.secure_sum.derivation import derive_key, keystream

#: An X25519 shared secret (RFC 7748).
PAIRWISE_SECRET_BYTES = 32
#: A number of this many bits more than N, reduced modulo N, is uniform up to 2^-128.
_EXTRA_BITS = 128
_WORD_BITS = 32
_WORD_MASK = (1 << _WORD_BITS) - 1


class MaskUse(StrEnum):
    """What a stream of masks is for; streams of different uses are independent."""

    PLAINTEXT = "mask"
    TAG = "tag mask"


class PairwiseMasks:
    """One bank's masks with every other bank of its roster. Never printed or pickled.

    Parameters
    ----------
    bank : str
        This bank's name.
    roster : sequence of str
        All names in the order of the cohort.
    pairwise : mapping of str to bytes
        Name of each other bank -> the secret shared with it (X25519, 32 bytes).
    use : MaskUse
        What is masked.

    Raises
    ------
    CohortError
        If ``bank`` is not in ``roster``.
    KeyMaterialError
        If ``pairwise`` is not of exactly the other banks, or holds what is no shared secret.
    """

    __slots__ = ("_bank", "_pairwise", "_roster", "_use")

    def __init__(
        self,
        bank: str,
        roster: Sequence[str],
        pairwise: Mapping[str, bytes],
        *,
        use: MaskUse = MaskUse.PLAINTEXT,
    ) -> None:
        if bank not in roster:
            raise CohortError(
                f"bank {bank!r} is not in the roster {', '.join(roster)}; it cannot take part"
            )
        others = sorted(set(roster) - {bank})
        if sorted(pairwise) != others:
            raise KeyMaterialError(
                f"pairwise secrets are of {', '.join(sorted(pairwise)) or 'nobody'}, expected of "
                f"{', '.join(others) or 'nobody'}: all other banks of the roster"
            )
        for name in others:
            # All zeros is what X25519 gives for a key of low order (RFC 7748, section 6.1).
            if len(pairwise[name]) != PAIRWISE_SECRET_BYTES or not any(pairwise[name]):
                raise KeyMaterialError(
                    f"the pairwise secret with {name!r} is no X25519 shared secret, expected "
                    f"{PAIRWISE_SECRET_BYTES} bytes that are not all zero; its agreement key is "
                    "damaged or forged"
                )
        self._bank = bank
        self._use = use
        self._roster = tuple(roster)
        self._pairwise = {name: bytes(pairwise[name]) for name in others}

    def __repr__(self) -> str:
        return f"<PairwiseMasks of {self._bank!r} with {len(self._pairwise)} banks>"

    def __reduce__(self) -> str:
        raise TypeError("pairwise masks are secret and cannot be copied or pickled")

    def totals(self, context_digest: str, count: int, modulus: int) -> list[int]:
        """Return the sum of this bank's masks for each of ``count`` items, in [0, modulus).

        Always the same for the same context: they may hide one contribution only.
        """
        n_words = -(-(modulus.bit_length() + _EXTRA_BITS) // _WORD_BITS)
        n_bytes = count * n_words * (_WORD_BITS // 8)
        mine = self._roster.index(self._bank)
        # Numbers add up word by word, without carries; the bias keeps the words positive.
        bias = len(self._roster) << _WORD_BITS
        sums = np.full(count * n_words, bias, dtype=np.int64)
        for position, peer in enumerate(self._roster):
            if peer == self._bank:
                continue
            stream = self._stream(peer, context_digest, n_bytes, first=mine < position)
            words = np.frombuffer(stream, dtype="<u4")
            if mine < position:
                sums += words
            else:
                sums -= words
        low = (sums & _WORD_MASK).astype("<u4").tobytes()
        high = (sums >> _WORD_BITS).astype("<u4").tobytes()
        width = n_words * (_WORD_BITS // 8)
        biases = bias * (((1 << n_words * _WORD_BITS) - 1) // _WORD_MASK)
        # Reduced once for all pairs: the remainder of the sum is that of the sum of remainders.
        reducer = mpz(modulus)
        return [
            int(
                (
                    int.from_bytes(low[start : start + width], "little")
                    + (int.from_bytes(high[start : start + width], "little") << _WORD_BITS)
                    - biases
                )
                % reducer
            )
            for start in range(0, n_bytes, width)
        ]

    def _stream(self, peer: str, context_digest: str, n_bytes: int, *, first: bool) -> bytes:
        """Return the pair's stream: both banks compute the same bytes."""
        pair = (self._bank, peer) if first else (peer, self._bank)
        key = derive_key(
            self._pairwise[peer],
            self._use,
            bytes.fromhex(context_digest),
            *(name.encode() for name in pair),
        )
        return keystream(key, n_bytes)
