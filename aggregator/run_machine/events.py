"""What happens to a run, and what must be made durable of it."""

from dataclasses import dataclass
from typing import TypeAlias

from aggregator.run_machine.state import ModelHashes, Readiness, Round, Run, Terms


@dataclass(frozen=True)
class Join:
    """A bank wants to take part: at the start, or again, or late."""

    bank: str


@dataclass(frozen=True)
class BecomeReady:
    """A bank agrees to the generation that is being formed."""

    generation: int
    readiness: Readiness

    @property
    def bank(self) -> str:
        """Who."""
        return self.readiness.bank


@dataclass(frozen=True)
class Contribute:
    """A bank sends its ciphertexts of round ``number``."""

    bank: str
    number: int
    terms: Terms
    digest: str


@dataclass(frozen=True)
class Open:
    """A bank sends the sealed plaintexts of its shard of round ``number``."""

    bank: str
    number: int
    terms: Terms
    shard: int | None
    digest: str


@dataclass(frozen=True)
class Vote:
    """A bank submits the model it ended with."""

    bank: str
    model: ModelHashes


@dataclass(frozen=True)
class Drop:
    """The operator goes on without a bank."""

    bank: str
    reason: str


@dataclass(frozen=True)
class DeadlinePassed:
    """The same was waited for longer than the run allows; ``stage`` is ``Stage.key``."""

    stage: tuple[str, int, int]


@dataclass(frozen=True)
class Abort:
    """A bank that takes part, or the operator when ``bank`` is None, ends the run."""

    bank: str | None
    reason: str


Event: TypeAlias = Join | BecomeReady | Contribute | Open | Vote | Drop | DeadlinePassed | Abort


@dataclass(frozen=True)
class MemberJoined:
    """Store the membership."""

    bank: str


@dataclass(frozen=True)
class MemberWaits:
    """Store that a bank comes in when the next step begins."""

    bank: str


@dataclass(frozen=True)
class TrainingStarted:
    """The cohort is complete."""


@dataclass(frozen=True)
class GenerationFormed:
    """Other banks are to take part; ``run`` of the transition says which."""

    dropped: tuple[str, ...]
    entered: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class MemberReady:
    """Store that a bank is ready for the generation."""

    readiness: Readiness


@dataclass(frozen=True)
class GenerationBegun:
    """All banks of the generation are ready: the run goes on at ``run.first_step``."""


@dataclass(frozen=True)
class RoundOpened:
    """Store a new round."""

    number: int
    terms: Terms


@dataclass(frozen=True)
class ContributionAccepted:
    """Store the digest and multiply the ciphertexts into the running product."""

    bank: str
    number: int
    digest: str


@dataclass(frozen=True)
class ProductComplete:
    """The product can be read."""

    number: int


@dataclass(frozen=True)
class OpeningAccepted:
    """Store the opening."""

    bank: str
    number: int
    shard: int
    digest: str


@dataclass(frozen=True)
class RoundClosed:
    """All openings can be read; the next round can be opened."""

    number: int


@dataclass(frozen=True)
class RoundAbandoned:
    """The round will never be closed: its banks no longer take part together."""

    number: int


@dataclass(frozen=True)
class ProductsExpired:
    """Products of rounds below ``before`` can be deleted: nobody needs them."""

    before: int


@dataclass(frozen=True)
class OpeningsExpired:
    """Openings of rounds below ``before``, and who sent what to them, can be deleted."""

    before: int


@dataclass(frozen=True)
class VoteAccepted:
    """Store the vote."""

    bank: str
    model: ModelHashes


@dataclass(frozen=True)
class ModelAccepted:
    """Store the model; the run is finished."""

    model: ModelHashes


@dataclass(frozen=True)
class RunFailed:
    """The run ends without a model; the caller is told by ``RunFailedError``."""

    reason: str


Effect: TypeAlias = (
    MemberJoined
    | MemberWaits
    | TrainingStarted
    | GenerationFormed
    | MemberReady
    | GenerationBegun
    | RoundOpened
    | ContributionAccepted
    | ProductComplete
    | OpeningAccepted
    | RoundClosed
    | RoundAbandoned
    | ProductsExpired
    | OpeningsExpired
    | VoteAccepted
    | ModelAccepted
    | RunFailed
)


@dataclass(frozen=True)
class Transition:
    """Outcome of an event; no effects means that it was a replay of one accepted before."""

    run: Run
    round: Round | None
    effects: tuple[Effect, ...] = ()
