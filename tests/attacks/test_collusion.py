"""The aggregator and all but two banks pool what they know, against the two that are left.

They hold the Paillier private key, the consortium secret, every byte that was ever sent, and every
pairwise secret of theirs. What they lack is one number: what the two honest banks agreed on.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from attack_kit.sums import BOUND, N_VALUES, AttackedSums, make_parts
from scipy import stats

from fraudfed.dtypes import Int64Array
from fraudfed.secure_sum.header import HEADER_BITS, Header
from fraudfed.secure_sum.masks import PairwiseMasks
from fraudfed.secure_sum.packing import SlotLayout

MakeSums = Callable[..., AttackedSums]

HONEST = ("bank-0", "bank-1")
N_BANKS = 5
N_ROUNDS = 60
#: Each test of uniformity is failed by honest masks once in a million runs.
ALPHA = 1e-6


def pairs(sums: AttackedSums) -> Iterator[tuple[frozenset[str], bytes]]:
    """Yield what two banks agreed on; known to these two."""
    for bank, agreed in sums.agreed.items():
        for peer, secret in agreed.items():
            yield frozenset((bank, peer)), secret


class Colluders:
    """What the aggregator and the dishonest banks know together, and how they use it."""

    def __init__(self, sums: AttackedSums) -> None:
        self.sums = sums
        self.n = sums.package.public_key.n
        # Only what one of them took part in.
        self.secrets = {pair: secret for pair, secret in pairs(sums) if pair - set(HONEST)}
        assert frozenset(HONEST) not in self.secrets

    def decrypted(self, number: int, bank: str) -> list[int]:
        """Decrypt a bank's recorded contribution, residues modulo n."""
        vector = self.sums.sent[number][self.sums.roster.index(bank)]
        return [value % self.n for value in self.sums.package.private_key.decrypt(vector)]

    def stripped(self, number: int, bank: str) -> list[int]:
        """Take off every mask that one of the colluders knows."""
        plaintexts = self.decrypted(number, bank)
        digest = self.sums.rounds[number].contexts[self.sums.roster.index(bank)].digest
        for pair, secret in self.secrets.items():
            if bank not in pair:
                continue
            (peer,) = pair - {bank}
            two = tuple(name for name in self.sums.roster if name in pair)
            # The same two banks in the same order: the streams are those of the whole roster.
            masks = PairwiseMasks(peer, two, {bank: secret})
            totals = masks.totals(digest, len(plaintexts), self.n)
            # The peer's mask is the negative of the bank's.
            plaintexts = [(p + m) % self.n for p, m in zip(plaintexts, totals, strict=True)]
        return plaintexts

    def read(self, plaintexts: Sequence[int]) -> Int64Array:
        """Read values out of plaintexts as if they were not masked."""
        centred = [p - self.n if p > self.n // 2 else p for p in plaintexts]
        layout: SlotLayout = self.sums.rounds[0].layout
        digits, _ = layout.split(centred)
        values = np.zeros(N_VALUES, dtype=np.int64)
        values[: len(digits)] = digits
        return values


@pytest.fixture
def sums(make_sums: MakeSums) -> AttackedSums:
    made = make_sums(N_BANKS)
    for _ in range(N_ROUNDS):
        # The same statistic every time: any structure would add up over the rounds.
        made.contribute(make_parts(N_BANKS, 1))
    return made


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


@pytest.mark.parametrize("bank", HONEST)
def test_what_colluders_decrypt_is_uniform(sums: AttackedSums, bank: str) -> None:
    colluders = Colluders(sums)
    found = [p for number in range(N_ROUNDS) for p in colluders.decrypted(number, bank)]
    assert_uniform(found, colluders.n)


@pytest.mark.parametrize("bank", HONEST)
def test_colluders_who_strip_their_own_masks_still_see_uniform(
    sums: AttackedSums, bank: str
) -> None:
    colluders = Colluders(sums)
    found = [p for number in range(N_ROUNDS) for p in colluders.stripped(number, bank)]
    assert_uniform(found, colluders.n)


def test_what_colluders_decrypt_is_never_the_statistic(sums: AttackedSums) -> None:
    colluders = Colluders(sums)
    truth = make_parts(N_BANKS, 1)
    for number in range(N_ROUNDS):
        for index, bank in enumerate(HONEST):
            for plaintexts in (colluders.decrypted(number, bank), colluders.stripped(number, bank)):
                # 1 in 2^22 by chance, for each of 7,200 values: three would be a leak.
                assert (colluders.read(plaintexts) == truth[index]).sum() < 3
                assert {Header.of(p).count for p in plaintexts} != {1}


def test_what_colluders_know_is_the_sum_of_the_two(sums: AttackedSums) -> None:
    """The limit of what can be hidden: sum minus their own parts. It is all there is."""
    colluders = Colluders(sums)
    first, second = (colluders.stripped(0, bank) for bank in HONEST)
    together = [(a + b) % colluders.n for a, b in zip(first, second, strict=True)]
    truth = make_parts(N_BANKS, 1)
    np.testing.assert_array_equal(colluders.read(together), truth[0] + truth[1])


def test_no_two_rounds_share_a_mask(sums: AttackedSums) -> None:
    """The statistic is the same in all rounds: equal masks would show as equal differences."""
    colluders = Colluders(sums)
    first = colluders.stripped(0, "bank-0")
    for number in range(1, N_ROUNDS):
        other = colluders.stripped(number, "bank-0")
        for p, q in zip(first, other, strict=True):
            difference = (p - q) % colluders.n
            distance = min(difference, colluders.n - difference)
            assert distance > 1 << HEADER_BITS + BOUND.bit_length()


def test_control_without_masks_colluders_read_the_statistic(
    make_sums: MakeSums, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PairwiseMasks, "totals", lambda self, digest, count, modulus: [0] * count)
    made = make_sums(N_BANKS)
    for _ in range(N_ROUNDS):
        made.contribute(make_parts(N_BANKS, 1))
    colluders = Colluders(made)
    found = [p for number in range(N_ROUNDS) for p in colluders.decrypted(number, "bank-0")]
    assert_not_uniform(found, colluders.n)
    np.testing.assert_array_equal(
        colluders.read(colluders.decrypted(0, "bank-0")), make_parts(N_BANKS, 1)[0]
    )


def test_control_one_honest_bank_alone_is_not_hidden(sums: AttackedSums) -> None:
    """All but one bank collude: there is no mask left. The threat model says so."""
    colluders = Colluders(sums)
    colluders.secrets = dict(pairs(sums))
    np.testing.assert_array_equal(
        colluders.read(colluders.stripped(0, "bank-0")), make_parts(N_BANKS, 1)[0]
    )


def test_control_masks_that_ignore_the_context_cancel_between_rounds(
    make_sums: MakeSums, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one mask for all rounds, two rounds differ by the difference of two statistics."""
    original = PairwiseMasks._stream

    def stream(self: PairwiseMasks, peer: str, digest: str, n_bytes: int, *, first: bool) -> bytes:
        return original(self, peer, "00" * 32, n_bytes, first=first)

    monkeypatch.setattr(PairwiseMasks, "_stream", stream)
    made = make_sums(N_BANKS)
    made.contribute(make_parts(N_BANKS, 1))
    made.contribute(make_parts(N_BANKS, 2))
    colluders = Colluders(made)
    p, q = (colluders.decrypted(number, "bank-0")[0] for number in (0, 1))
    difference = (q - p) % colluders.n
    if difference > colluders.n // 2:
        difference -= colluders.n
    slots = difference + (1 << HEADER_BITS - 1) >> HEADER_BITS
    width = BOUND.bit_length() + 1
    first, second = (make_parts(N_BANKS, seed)[0][0] for seed in (1, 2))
    assert (slots - int(second - first)) % (1 << width) == 0
