"""What the aggregator and some banks know together, and how uniform what they cannot read is."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce

import numpy as np
import pytest
from scipy import stats

import fraudfed.secure_sum.session as session_module
from attack_kit.sums import AttackedSums
from fraudfed.dtypes import Int64Array
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.masks.pairwise import PairwiseMasks
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.openings import centred
from fraudfed.secure_sum.packing import SlotLayout

#: Each test of uniformity is failed by honest masks once in a million runs.
ALPHA = 1e-6


def pairs(sums: AttackedSums) -> Iterator[tuple[frozenset[str], bytes]]:
    """Yield what two banks agreed on; known to these two."""
    for bank, agreed in sums.agreed.items():
        for peer, secret in agreed.items():
            yield frozenset((bank, peer)), secret


class Colluders:
    """The aggregator and all banks but ``honest``, with both secret keys and every byte sent.

    Attributes
    ----------
    secrets : dict
        Of pairs of banks; only of those of which one colludes.
    """

    def __init__(self, sums: AttackedSums, honest: Iterable[str]) -> None:
        self.sums = sums
        self.n = sums.package.public_key.n
        self.honest = frozenset(honest)
        self.secrets = {pair: secret for pair, secret in pairs(sums) if pair - self.honest}

    def decrypted(self, number: int, bank: str) -> list[int]:
        """Decrypt a bank's recorded contribution, residues modulo n."""
        return self._decrypt(self.sums.sent[number][self.sums.roster.index(bank)])

    def stripped(self, number: int, bank: str) -> list[int]:
        """Take off every mask that one of the colluders knows once the round is revealed."""
        return self.opened(number, {bank: number}, revealed=[bank])

    def opened(
        self, number: int, chosen: dict[str, int], *, revealed: Iterable[str], strip: bool = True
    ) -> list[int]:
        """Decrypt the product of some contributions and take off what masks are known.

        Parameters
        ----------
        number : int
            The round in which they are told to be.
        chosen : dict of str to int
            Bank -> round of which its contribution is taken.
        revealed : iterable of str
            Banks that revealed the seed of round ``number``.
        strip : bool
            Whether the colluders take their pairwise masks off.
        """
        vectors = [self.sums.sent[of][self.sums.roster.index(bank)] for bank, of in chosen.items()]
        plaintexts = self._decrypt(reduce(CiphertextVector.product, vectors))
        one = self.sums.rounds[number]
        seeds = [one.sealed[self.sums.roster.index(bank)].seed for bank in revealed]
        masks = signed_sum(session_module.self_streams(seeds), len(plaintexts), self.n)
        plaintexts = [(p - m) % self.n for p, m in zip(plaintexts, masks, strict=True)]
        for bank, of in chosen.items() if strip else ():
            digest = self.sums.rounds[of].contexts[0].digest
            for pair, secret in self.secrets.items():
                if bank not in pair:
                    continue
                (peer,) = pair - {bank}
                two = tuple(name for name in self.sums.roster if name in pair)
                # The same two banks in the same order: the streams are those of the whole roster.
                known = PairwiseMasks(bank, two, {peer: secret})
                totals = known.totals(digest, len(plaintexts), self.n)
                plaintexts = [(p - m) % self.n for p, m in zip(plaintexts, totals, strict=True)]
        return plaintexts

    def read(self, plaintexts: Sequence[int]) -> Int64Array:
        """Read values out of plaintexts as if they were not masked."""
        layout: SlotLayout = self.sums.rounds[0].layout
        values, _ = layout.split([centred(p, self.n) for p in plaintexts])
        return values

    def _decrypt(self, vector: CiphertextVector) -> list[int]:
        return [value % self.n for value in self.sums.package.private_key.decrypt(vector)]


def assert_uniform(plaintexts: list[int], n: int) -> None:
    """Three views of the same numbers: their size, their low bytes, their slots."""
    assert len(plaintexts) >= 200
    share = np.array([float(p / n) for p in plaintexts])
    assert stats.kstest(share, "uniform").pvalue > ALPHA
    # n is odd and far above 2^256, so the low 256 bits of a uniform residue are uniform.
    low = b"".join((p % (1 << 256)).to_bytes(32, "big") for p in plaintexts)
    counts = np.bincount(np.frombuffer(low, dtype=np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > ALPHA
    bits = np.array([[p >> i & 1 for i in range(256)] for p in plaintexts])
    ones = bits.sum(axis=0)
    worst = min(stats.binomtest(int(k), len(plaintexts)).pvalue for k in ones)
    assert worst > ALPHA / 256
    assert len(set(plaintexts)) == len(plaintexts)


def assert_not_uniform(plaintexts: list[int], n: int) -> None:
    with pytest.raises(AssertionError):
        assert_uniform(plaintexts, n)
