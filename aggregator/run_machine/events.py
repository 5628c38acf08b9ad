"""What happens to a run (events), and what must be made durable of it (effects).

An event that was accepted before has no effects. Otherwise all its effects are written in one
durable transaction, with the row of the run, whose version it counts up. What else must be known of
an event or an effect its class states, and cannot leave out: everything that handles them asks
there (``Event``, ``Effect``), and keeps no list of its own.
"""

from dataclasses import dataclass
from typing import ClassVar

from aggregator.run_machine.state import ModelHashes, Readiness, Round, Run, Terms


class Event:
    """Base of all events.

    Attributes
    ----------
    recorded_as : str or None
        Kind of its entry in the audit log, written when it has effects; None if its effects have
        entries of their own.
    """

    recorded_as: ClassVar[str | None]

    def __init_subclass__(cls, *, recorded_as: str | None) -> None:
        """Take what every event states."""
        cls.recorded_as = recorded_as

    def detail(self, run: Run) -> str:
        """Return what the entry says, ``run`` being the run after the event."""
        raise AssertionError(f"run {run.run_id}: {type(self).__name__} is not recorded")


@dataclass(frozen=True)
class Join(Event, recorded_as="join"):
    """A bank wants to take part: at the start, or again, or late.

    Attributes
    ----------
    bank : str
    key, signature : str
        Its ephemeral key of generation 0 and its signature over that; empty if it comes late.
    """

    bank: str
    key: str = ""
    signature: str = ""

    def detail(self, run: Run) -> str:
        """Return how many have joined."""
        return f"{len(run.members)} of {len(run.cohort)} banks have joined"


@dataclass(frozen=True)
class BecomeReady(Event, recorded_as="ready"):
    """A bank agrees to the generation that is being formed."""

    generation: int
    readiness: Readiness

    @property
    def bank(self) -> str:
        """The bank that agrees."""
        return self.readiness.bank

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other events need it
        """Return what the bank agrees to, and from where it can continue."""
        return f"generation {self.generation}, step {self.readiness.step}"


@dataclass(frozen=True)
class Decline(Event, recorded_as="decline"):
    """A bank does not continue with the banks of the generation that is being formed."""

    bank: str
    generation: int

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other events need it
        """Return what the bank does not agree to."""
        return f"generation {self.generation}"


@dataclass(frozen=True)
class Contribute(Event, recorded_as=None):
    """A bank sends its ciphertexts of round ``number``."""

    bank: str
    number: int
    terms: Terms
    digest: str


@dataclass(frozen=True)
class Open(Event, recorded_as=None):
    """A bank sends the sealed plaintexts of its shard of round ``number``."""

    bank: str
    number: int
    terms: Terms
    shard: int | None
    digest: str


@dataclass(frozen=True)
class Vote(Event, recorded_as=None):
    """A bank submits the model it ended with."""

    bank: str
    model: ModelHashes


@dataclass(frozen=True)
class Drop(Event, recorded_as="drop"):
    """The operator lets the run continue without a bank."""

    bank: str
    reason: str

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other events need it
        """Return the name of the bank."""
        return self.bank


@dataclass(frozen=True)
class DeadlinePassed(Event, recorded_as=None):
    """The same was waited for longer than the run allows; ``stage`` is ``Stage.key``."""

    stage: tuple[str, int, int]


@dataclass(frozen=True)
class Abort(Event, recorded_as=None):
    """A bank that takes part, or the operator when ``bank`` is None, ends the run."""

    bank: str | None
    reason: str


class Effect:
    """Base of all effects.

    Attributes
    ----------
    wakes : bool
        Whether the answer to a request that waits can differ by it. A request waits for another
        state, another generation, a product, openings, or for being refused; what does not change
        one of these does not wake.
    recorded_as : str or None
        Kind of its entry in the audit log; None if the event, or another effect, has the entry.
    of_body : bool
        Whether that entry is about the body of the request.
    has_rows : bool
        Whether it is written in other rows than the run's own.
    """

    wakes: ClassVar[bool]
    recorded_as: ClassVar[str | None]
    of_body: ClassVar[bool]
    has_rows: ClassVar[bool]

    def __init_subclass__(
        cls, *, wakes: bool, has_rows: bool, recorded_as: str | None, of_body: bool = False
    ) -> None:
        """Take what every effect states."""
        cls.wakes = wakes
        cls.has_rows = has_rows
        cls.recorded_as = recorded_as
        cls.of_body = of_body

    def detail(self, run: Run) -> str:
        """Return what the entry says, ``run`` being the run after the event."""
        raise AssertionError(f"run {run.run_id}: {type(self).__name__} is not recorded")


@dataclass(frozen=True)
class MemberJoined(Effect, wakes=False, has_rows=True, recorded_as=None):
    """Store the membership."""

    bank: str


@dataclass(frozen=True)
class MemberWaits(Effect, wakes=False, has_rows=True, recorded_as=None):
    """Store that a bank comes in when the next step begins; until then it changes nothing."""

    bank: str


@dataclass(frozen=True)
class TrainingStarted(Effect, wakes=True, has_rows=False, recorded_as=None):
    """The cohort is complete."""


@dataclass(frozen=True)
class GenerationFormed(Effect, wakes=True, has_rows=True, recorded_as="generation"):
    """Other banks are to take part; ``run`` of the transition says which."""

    dropped: tuple[str, ...]
    entered: tuple[str, ...]
    reason: str

    def detail(self, run: Run) -> str:
        """Return which banks take part, and why that has changed."""
        return f"generation {run.generation} of {', '.join(run.banks)}: {self.reason}"


@dataclass(frozen=True)
class MemberReady(Effect, wakes=False, has_rows=True, recorded_as=None):
    """Store that a bank is ready for the generation; the last one begins it."""

    readiness: Readiness


@dataclass(frozen=True)
class GenerationBegun(Effect, wakes=True, has_rows=False, recorded_as="generation-begun"):
    """All banks of the generation are ready: the run continues at ``run.first_step``."""

    def detail(self, run: Run) -> str:
        """Return which banks continue, and from where."""
        return (
            f"generation {run.generation} of {', '.join(run.banks)} from step "
            f"{run.first_step} and round {run.first_round} on"
        )


@dataclass(frozen=True)
class RoundOpened(Effect, wakes=False, has_rows=True, recorded_as=None):
    """Store a new round."""

    number: int
    terms: Terms


@dataclass(frozen=True)
class ContributionAccepted(
    Effect, wakes=False, has_rows=True, recorded_as="contribution", of_body=True
):
    """Store the digest and multiply the ciphertexts into the running product."""

    bank: str
    number: int
    terms: Terms
    digest: str

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other effects need it
        """Return what was contributed."""
        return _shown(self.terms)


@dataclass(frozen=True)
class ProductComplete(Effect, wakes=True, has_rows=True, recorded_as=None):
    """The product can be read."""

    number: int


@dataclass(frozen=True)
class OpeningAccepted(Effect, wakes=False, has_rows=True, recorded_as="opening", of_body=True):
    """Store the opening."""

    bank: str
    number: int
    terms: Terms
    shard: int
    digest: str

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other effects need it
        """Return what was opened."""
        return f"{_shown(self.terms)}, shard {self.shard}"


@dataclass(frozen=True)
class RoundClosed(Effect, wakes=True, has_rows=True, recorded_as=None):
    """All openings can be read; the next round can be opened."""

    number: int


@dataclass(frozen=True)
class RoundAbandoned(Effect, wakes=False, has_rows=True, recorded_as=None):
    """The round will never be closed: its banks no longer take part together.

    ``GenerationFormed``, which always comes with it, wakes those that wait for the round.
    """

    number: int


@dataclass(frozen=True)
class ProductsExpired(Effect, wakes=False, has_rows=True, recorded_as=None):
    """Products of rounds below ``before`` can be deleted: no bank needs them."""

    before: int


@dataclass(frozen=True)
class OpeningsExpired(Effect, wakes=False, has_rows=True, recorded_as=None):
    """Openings and contributions of rounds below ``before`` can be deleted."""

    before: int


@dataclass(frozen=True)
class VoteAccepted(Effect, wakes=False, has_rows=True, recorded_as="model", of_body=True):
    """Store the vote."""

    bank: str
    model: ModelHashes

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other effects need it
        """Return what the bank signed."""
        return f"plain model {self.model.plain}"


@dataclass(frozen=True)
class ModelAccepted(Effect, wakes=True, has_rows=True, recorded_as="run-finished"):
    """Store the model; the run is finished."""

    model: ModelHashes

    def detail(self, run: Run) -> str:
        """Return which model, and of how many banks."""
        return f"model {self.model.stored} of all {run.size} banks"


@dataclass(frozen=True)
class RunFailed(Effect, wakes=True, has_rows=True, recorded_as="run-failed"):
    """The run ends without a model; the caller is told by ``RunFailedError``.

    The body that showed a contradiction has an entry of its own, as refused.
    """

    reason: str

    def detail(self, run: Run) -> str:  # noqa: ARG002 - other effects need it
        """Return why."""
        return self.reason


@dataclass(frozen=True)
class RunAborted(RunFailed, wakes=True, has_rows=True, recorded_as="abort", of_body=True):
    """The run ends without a model because a bank, or the operator, said so."""


@dataclass(frozen=True)
class Transition:
    """Outcome of an event; no effects means that it was a replay of one accepted before."""

    run: Run
    round: Round | None
    effects: tuple[Effect, ...] = ()

    def has(self, kind: type[Effect]) -> bool:
        """Return whether there is an effect of a kind."""
        return any(isinstance(effect, kind) for effect in self.effects)

    @property
    def wakes(self) -> bool:
        """Whether those that wait for the run must look again."""
        return any(effect.wakes for effect in self.effects)


def _shown(terms: Terms) -> str:
    return f"label {terms.label!r}, context {terms.context}, {terms.count} items"
