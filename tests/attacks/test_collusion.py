"""The aggregator and all but two banks pool what they know, against the two that are left.

They hold the Paillier private key, the consortium secret, every byte that was ever sent, and every
pairwise secret of theirs. What they lack is one number: what the two honest banks agreed on.

Here all rounds are revealed: every seed is known. What nobody can read before a round is revealed,
whatever is pooled and by which banks, is attacked in ``test_reveal.py``.
"""

from collections.abc import Callable

import numpy as np
import pytest
from attack_kit.colluders import Colluders, assert_not_uniform, assert_uniform, pairs
from attack_kit.sums import BOUND, AttackedSums, make_parts
from attack_kit.sums_without import without_masks, without_self_masks

from fraudfed.secure_sum.header import HEADER_BITS, Header
from fraudfed.secure_sum.masks.pairwise import PairwiseMasks

MakeSums = Callable[..., AttackedSums]

HONEST = ("bank-0", "bank-1")
N_BANKS = 5
N_ROUNDS = 60


@pytest.fixture
def sums(make_sums: MakeSums) -> AttackedSums:
    made = make_sums(N_BANKS)
    for _ in range(N_ROUNDS):
        # The same statistic every time: any structure would add up over the rounds.
        made.contribute(make_parts(N_BANKS, 1))
    return made


@pytest.mark.parametrize("bank", HONEST)
def test_what_colluders_decrypt_is_uniform(sums: AttackedSums, bank: str) -> None:
    colluders = Colluders(sums, HONEST)
    found = [p for number in range(N_ROUNDS) for p in colluders.decrypted(number, bank)]
    assert_uniform(found, colluders.n)


@pytest.mark.parametrize("bank", HONEST)
def test_colluders_who_strip_their_own_masks_still_see_uniform(
    sums: AttackedSums, bank: str
) -> None:
    colluders = Colluders(sums, HONEST)
    found = [p for number in range(N_ROUNDS) for p in colluders.stripped(number, bank)]
    assert_uniform(found, colluders.n)


def test_what_colluders_decrypt_is_never_the_statistic(sums: AttackedSums) -> None:
    colluders = Colluders(sums, HONEST)
    truth = make_parts(N_BANKS, 1)
    for number in range(N_ROUNDS):
        for index, bank in enumerate(HONEST):
            for plaintexts in (colluders.decrypted(number, bank), colluders.stripped(number, bank)):
                # 1 in 2^22 by chance, for each of 7,200 values: three would be a leak.
                assert (colluders.read(plaintexts) == truth[index]).sum() < 3
                assert {Header.of(p).count for p in plaintexts} != {1}


def test_what_colluders_know_is_the_sum_of_the_two(sums: AttackedSums) -> None:
    """The limit of what can be hidden: sum minus their own parts. It is all there is."""
    colluders = Colluders(sums, HONEST)
    first, second = (colluders.stripped(0, bank) for bank in HONEST)
    together = [(a + b) % colluders.n for a, b in zip(first, second, strict=True)]
    truth = make_parts(N_BANKS, 1)
    np.testing.assert_array_equal(colluders.read(together), truth[0] + truth[1])


def test_no_two_rounds_share_a_mask(sums: AttackedSums) -> None:
    """The statistic is the same in all rounds: equal masks would show as equal differences."""
    colluders = Colluders(sums, HONEST)
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
    without_masks(monkeypatch)
    made = make_sums(N_BANKS)
    for _ in range(N_ROUNDS):
        made.contribute(make_parts(N_BANKS, 1))
    colluders = Colluders(made, HONEST)
    found = [p for number in range(N_ROUNDS) for p in colluders.decrypted(number, "bank-0")]
    assert_not_uniform(found, colluders.n)
    np.testing.assert_array_equal(
        colluders.read(colluders.decrypted(0, "bank-0")), make_parts(N_BANKS, 1)[0]
    )


def test_control_one_honest_bank_alone_is_not_hidden(sums: AttackedSums) -> None:
    """All but one bank collude: there is no mask left. The threat model says so."""
    colluders = Colluders(sums, HONEST)
    colluders.secrets = dict(pairs(sums))
    np.testing.assert_array_equal(
        colluders.read(colluders.stripped(0, "bank-0")), make_parts(N_BANKS, 1)[0]
    )


def test_control_masks_that_ignore_the_context_cancel_between_rounds(
    make_sums: MakeSums, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one mask for all rounds, two rounds differ by the difference of two statistics."""
    original = PairwiseMasks._key

    def key(self: PairwiseMasks, peer: str, digest: str, *, first: bool) -> bytes:
        return original(self, peer, "00" * 32, first=first)

    monkeypatch.setattr(PairwiseMasks, "_key", key)
    # As they are once both rounds are revealed.
    without_self_masks(monkeypatch)
    made = make_sums(N_BANKS)
    made.contribute(make_parts(N_BANKS, 1))
    made.contribute(make_parts(N_BANKS, 2))
    colluders = Colluders(made, HONEST)
    p, q = (colluders.decrypted(number, "bank-0")[0] for number in (0, 1))
    difference = (q - p) % colluders.n
    if difference > colluders.n // 2:
        difference -= colluders.n
    slots = difference + (1 << HEADER_BITS - 1) >> HEADER_BITS
    width = BOUND.bit_length() + 1
    first, second = (make_parts(N_BANKS, seed)[0][0] for seed in (1, 2))
    assert (slots - int(second - first)) % (1 << width) == 0
