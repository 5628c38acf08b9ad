"""Secure sums in one process, with a malicious aggregator between the sessions of the banks."""

from collections.abc import Callable, Sequence

import numpy as np
from cohorts.secure import SummingCohort, SummingRound

from attack_kit.products import Attack, honest
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.context import RoundContext

#: What a bank ended a round with: the number that it would go on with, or its error.
Outcome = Int64Array | FraudFedError

#: Changes one bank's context: place of the bank and context -> context.
Change = Callable[[int, RoundContext], RoundContext]

BOUND = 1 << 20
#: Enough for several plaintexts in each shard, so that noise is never taken for a wrong count.
N_VALUES = 200


def make_parts(n_banks: int, seed: int = 0) -> list[Int64Array]:
    """Return what each bank puts into one sum: small counts, as in a histogram."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, BOUND // n_banks, N_VALUES, dtype=np.int64) for _ in range(n_banks)]


def _unchanged(bank: int, context: RoundContext) -> RoundContext:
    return context


class AttackedSums(SummingCohort):
    """Banks that sum, round after round, through an aggregator that does as it likes.

    Attributes
    ----------
    rounds : list of SummingRound
        Everything that was ever sent.
    """

    def __init__(
        self,
        package: KeyPackage,
        names: Sequence[str],
        *,
        roster_digests: Sequence[str] | None = None,
    ) -> None:
        super().__init__(package, len(names), names=names, roster_digests=roster_digests)
        self.rounds: list[SummingRound] = []

    @property
    def sent(self) -> list[list[CiphertextVector]]:
        """Every contribution, by round and bank."""
        return [one.payloads for one in self.rounds]

    def attacked(self, attack: Attack = honest) -> CiphertextVector:
        """Return what an attack makes of all that was sent."""
        return attack(self.package.public_key, self.sent)

    def sum(
        self, parts: Sequence[Int64Array], attack: Attack = honest, *, change: Change = _unchanged
    ) -> dict[str, Outcome]:
        """Do one round and return what each bank ends it with."""
        one = self.contribute(parts, change=change)
        outcomes = self.open(self.attacked(attack))
        for bank, (outcome, context) in enumerate(
            zip(outcomes.values(), one.contexts, strict=True)
        ):
            transcript = self.transcripts[bank]
            if not isinstance(outcome, FraudFedError) and context.previous == transcript.digest:
                self.transcripts[bank] = transcript.advance(context, outcome)
        return outcomes

    def contribute(
        self, parts: Sequence[Int64Array], *, change: Change = _unchanged
    ) -> SummingRound:
        """Have every bank seal and send its part."""
        layout = self.layout(BOUND, (N_VALUES,))
        contexts = [
            change(bank, self.context(bank, layout, round_number=len(self.rounds)))
            for bank in range(len(self.banks))
        ]
        self.rounds.append(SummingRound(self.banks, layout, contexts, parts))
        return self.rounds[-1]

    def open(self, product: CiphertextVector, *, number: int = -1) -> dict[str, Outcome]:
        """Have every bank open its shard of ``product`` and combine all shards."""
        one = self.rounds[number]
        boxes = one.open(product)
        outcomes: dict[str, Outcome] = {}
        for bank, name in enumerate(self.roster):
            try:
                outcomes[name] = one.combine(boxes, bank=bank)
            except FraudFedError as error:
                outcomes[name] = error
        return outcomes
