"""Why a round takes two exchanges: what is lost if a seed leaves with its contribution.

The aggregator and one member pool what they know. The member keeps its own contribution back until
it has seen what there is to see of the others.
"""

from collections.abc import Callable

import numpy as np
from attack_kit.colluders import assert_uniform
from attack_kit.sums import BOUND, AttackedSums, make_parts
from cohorts.secure import SummingRound, multiply

import fraudfed.secure_sum.session as session_module
from fraudfed.dtypes import Int64Array
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.masks.pairwise import PairwiseMasks
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.openings import centred
from fraudfed.secure_sum.packing import SlotLayout

MakeSums = Callable[..., AttackedSums]
MEMBER = 2
HONEST = (0, 1)
N_ROUNDS = 40


class Waiting:
    """A round to which the honest banks have contributed, and the member has not."""

    def __init__(self, sums: AttackedSums, number: int) -> None:
        self.sums = sums
        self.layout: SlotLayout = sums.layout(BOUND, (200,))
        self.contexts = [sums.context(bank, self.layout, round_number=number) for bank in range(3)]
        self.parts = make_parts(3, 1)
        self.sealed = [self.seal(bank, self.parts[bank]) for bank in HONEST]

    def seal(self, bank: int, part: Int64Array):
        return self.sums.banks[bank].seal(part, self.layout, self.contexts[bank])

    def seen(self, *, revealed: tuple[int, ...]) -> list[int]:
        """Decrypt what is there, and take off the member's masks and the seeds that are known."""
        key = self.sums.package.public_key
        n = key.n
        product = multiply([CiphertextVector(key, one.payload) for one in self.sealed])
        plaintexts = [value % n for value in self.sums.package.private_key.decrypt(product)]
        count, digest = len(plaintexts), self.contexts[0].digest
        seeds = [self.sealed[bank].seed for bank in revealed]
        known = [signed_sum(session_module.self_streams(seeds), count, n)]
        for bank in HONEST:
            names = (self.sums.roster[bank], self.sums.roster[MEMBER])
            secret = self.sums.agreed[names[1]][names[0]]
            known.append(
                PairwiseMasks(names[0], names, {names[1]: secret}).totals(digest, count, n)
            )
        return [(p - sum(masks)) % n for p, *masks in zip(plaintexts, *known, strict=True)]

    def read(self, plaintexts: list[int]) -> Int64Array:
        n = self.sums.package.public_key.n
        values, _ = self.layout.split([centred(p, n) for p in plaintexts])
        return values

    def finished_with(self, part: Int64Array) -> list[Int64Array]:
        """Let the member contribute this, and every bank end the round."""
        one = SummingRound.__new__(SummingRound)
        one.package, one.banks = self.sums.package, self.sums.banks
        one.layout, one.contexts = self.layout, self.contexts
        one.parts = [*self.parts[:MEMBER], part]
        one.sealed = [*self.sealed, self.seal(MEMBER, part)]
        key = one.package.public_key
        one.payloads = [CiphertextVector(key, sealed.payload) for sealed in one.sealed]
        one.commitments = [sealed.commitment for sealed in one.sealed]
        return one.finish(one.product)


def test_a_member_that_waits_chooses_before_it_knows_anything(make_sums: MakeSums) -> None:
    """Also if one honest bank were to reveal at once: the other has heard of no contribution."""
    sums = make_sums(3)
    n = sums.package.public_key.n
    for revealed in ((), (0,), (1,)):
        rounds = [Waiting(sums, number) for number in range(N_ROUNDS)]
        found = [p for one in rounds for p in one.seen(revealed=revealed)]
        assert_uniform(found, n)
        sums = make_sums(3)


def test_control_seeds_that_leave_with_contributions_let_a_member_choose_the_sum(
    make_sums: MakeSums,
) -> None:
    """One exchange would do for a sum. Then the last to contribute chooses every total of it."""
    waiting = Waiting(make_sums(3), 0)
    seen = waiting.seen(revealed=HONEST)
    honest_sum = waiting.read(seen)
    np.testing.assert_array_equal(honest_sum, waiting.parts[0] + waiting.parts[1])
    wanted = np.full(200, BOUND - 7, dtype=np.int64)
    for total in waiting.finished_with(wanted - honest_sum):
        np.testing.assert_array_equal(total, wanted)
