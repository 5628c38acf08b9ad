"""Secure sums in one process, with a malicious aggregator between the sessions of the banks."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from attack_kit.products import Attack, honest
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.openings import box
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript

#: What a bank ended a round with: the number that it would go on with, or its error.
Outcome = Int64Array | FraudFedError

#: Changes one bank's context: name and context -> context.
Change = Callable[[str, RoundContext], RoundContext]

BOUND = 1 << 20
#: Enough for several plaintexts in each shard, so that noise is never taken for a wrong count.
N_VALUES = 200


def make_parts(n_banks: int, seed: int = 0) -> list[Int64Array]:
    """Return what each bank puts into one sum: small counts, as in a histogram."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, BOUND // n_banks, N_VALUES, dtype=np.int64) for _ in range(n_banks)]


@dataclass
class AttackedSums:
    """Banks that sum, round after round, through an aggregator that does as it likes.

    Attributes
    ----------
    shared : dict of unordered pair to bytes
        What two banks agreed on; known to these two.
    transcripts : dict of name to Transcript
    rounds : list of list of CiphertextVector
        Everything that was ever sent, by round and bank.
    contexts : list of dict of name to RoundContext
        Of every round.
    noticed : dict of name to FraudFedError
        Who refused the last product when it was to decrypt its shard.
    """

    package: KeyPackage
    roster: tuple[str, ...]
    roster_digests: Mapping[str, str] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    shared: dict[frozenset[str], bytes] = field(default_factory=dict)
    sessions: dict[str, SecureSum] = field(default_factory=dict)
    transcripts: dict[str, Transcript] = field(default_factory=dict)
    rounds: list[list[CiphertextVector]] = field(default_factory=list)
    contexts: list[dict[str, RoundContext]] = field(default_factory=list)
    noticed: dict[str, FraudFedError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.roster:
            self.sessions[name] = SecureSum(
                self.package,
                bank=name,
                roster=self.roster,
                roster_digest=self.roster_digests.get(name, "11" * 32),
                pairwise=self.pairwise(name),
            )
            self.transcripts[name] = self.sessions[name].begin_transcript(b"the run")

    def pairwise(self, name: str) -> dict[str, bytes]:
        """Return what ``name`` shares with each other bank."""
        return {
            peer: self.shared.setdefault(frozenset((name, peer)), secrets.token_bytes(32))
            for peer in self.roster
            if peer != name
        }

    @property
    def layout(self) -> SlotLayout:
        """Return the layout of every round."""
        return self.sessions[self.roster[0]].layout(BOUND, (N_VALUES,))

    def round(
        self,
        parts: Sequence[Int64Array],
        attack: Attack = honest,
        *,
        label: str = "histogram:0",
        change: Change = lambda _, context: context,
    ) -> dict[str, Outcome]:
        """Do one round and return what each bank ends it with."""
        self.contribute(parts, label=label, change=change)
        key = self.package.public_key
        outcomes = self.open(attack(key, self.rounds))
        for name, outcome in outcomes.items():
            if not isinstance(outcome, FraudFedError):
                context = self.contexts[-1][name]
                if context.previous == self.transcripts[name].digest:
                    self.transcripts[name] = self.transcripts[name].advance(context, outcome)
        return outcomes

    def contribute(
        self,
        parts: Sequence[Int64Array],
        *,
        label: str = "histogram:0",
        change: Change = lambda _, context: context,
    ) -> None:
        """Have every bank seal and send its part."""
        contexts = {
            name: change(
                name,
                session.context(
                    self.layout,
                    run_id=self.run_id,
                    epoch=1,
                    round_number=len(self.rounds),
                    label=label,
                    transcript=self.transcripts[name],
                ),
            )
            for name, session in self.sessions.items()
        }
        self.contexts.append(contexts)
        self.rounds.append(
            [
                CiphertextVector(
                    self.package.public_key,
                    session.seal(part, self.layout, contexts[name]),
                )
                for (name, session), part in zip(self.sessions.items(), parts, strict=True)
            ]
        )

    def open(self, product: CiphertextVector) -> dict[str, Outcome]:
        """Have every bank open its shard of ``product`` and combine all shards.

        A bank that refuses its shard ends the round. To see what the others would have noticed
        by themselves, its part is opened here without any check.
        """
        self.noticed = {}
        boxes = []
        contexts = self.contexts[-1]
        for shard, (name, session) in enumerate(self.sessions.items()):
            part = product.shard(shard, len(self.roster)).data
            try:
                boxes.append(session.open_shard(part, self.layout, contexts[name], shard=shard))
            except FraudFedError as error:
                self.noticed[name] = error
                opened = self.package.private_key.decrypt(
                    CiphertextVector(self.package.public_key, part)
                )
                secret, key = self.package.expose_secret(), self.package.public_key
                boxes.append(box(opened, secret, key, contexts[name], shard=shard))
        outcomes: dict[str, Outcome] = {}
        for name, session in self.sessions.items():
            try:
                outcomes[name] = session.combine(boxes, self.layout, contexts[name])
            except FraudFedError as error:
                outcomes[name] = error
        return outcomes
