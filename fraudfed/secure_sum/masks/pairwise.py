"""Pairwise masks: uniform to everybody but their two banks, and gone in the sum.

For every pair of banks i < j of the roster there is one stream for each use, derived from what
these two alone can compute (X25519) and from the round's context. Bank i adds it, bank j subtracts
it (Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS
2017, section 4). Law: the masks of all banks of a roster add up to 0 modulo the modulus, item by
item; what a bank masks is uniform to anybody who lacks at least one of its pairwise secrets.

There are two uses. *Plaintexts* are masked modulo N. *Tags* are masked modulo their prime before
that, for banks know the coefficients: the sum of tags is read as an integer, and how often it
exceeds the prime would tell them a bit about how the sum splits between the others.

They hide a bank for good, also when everything is revealed that its round reveals; until then the
self masks (``self_masks``) hide the whole round.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from fraudfed.errors import CohortError, KeyMaterialError
from fraudfed.secure_sum.derivation import derive_key
from fraudfed.secure_sum.masks.streams import MaskStream, signed_sum

#: An X25519 shared secret (RFC 7748).
PAIRWISE_SECRET_BYTES = 32


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

    def streams(self, context_digest: str) -> list[MaskStream]:
        """Return this bank's part of every pair's stream; always the same for the same context."""
        mine = self._roster.index(self._bank)
        return [
            MaskStream(self._key(peer, context_digest, first=mine < position), sign)
            for position, peer in enumerate(self._roster)
            for sign in (1 if mine < position else -1,)
            if peer != self._bank
        ]

    def totals(self, context_digest: str, count: int, modulus: int) -> list[int]:
        """Return the sum of this bank's masks for each of ``count`` items, in [0, modulus)."""
        return signed_sum(self.streams(context_digest), count, modulus)

    def _key(self, peer: str, context_digest: str, *, first: bool) -> bytes:
        """Return the key of the pair's stream: both banks derive the same."""
        pair = (self._bank, peer) if first else (peer, self._bank)
        return derive_key(
            self._pairwise[peer],
            self._use,
            bytes.fromhex(context_digest),
            *(name.encode() for name in pair),
        )
