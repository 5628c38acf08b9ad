"""What a run is, who takes part in it, and where it stands."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import BankName, EpochNumber, Message, Sha256
from fraudfed.wire.messages.data_contract import DataContract
from fraudfed.wire.messages.key_epochs import PublicKeyMessage
from fraudfed.wire.messages.risk import RiskSpec


class ModelVisibility(StrEnum):
    """Who may read the final model."""

    AGGREGATOR = "aggregator"
    MEMBERS = "members"
    """The registry holds it sealed under a key that only the consortium has."""


class RunKind(StrEnum):
    """What the banks of a run compute together."""

    TRAINING = "training"
    """A model, from ``parameters`` and ``contract``."""
    RISK = "risk"
    """Daily tables of payments and frauds, from ``risk``."""


class RunSpec(Message):
    """What the operator publishes to open a run."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    key_epoch: EpochNumber
    """The active key epoch; its roster is the cohort, and the run starts when all have joined."""
    kind: RunKind = RunKind.TRAINING
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Training parameters under XGBoost's names. The aggregator stores, the banks check them."""
    contract: DataContract | None = None
    """Training only: what every bank's data must look like."""
    risk: RiskSpec | None = None
    """Risk only: what is counted."""
    model_visibility: ModelVisibility = ModelVisibility.AGGREGATOR
    require_confirmed_roster: bool = False
    """Banks take part only if they have confirmed every member's fingerprint."""
    min_cohort: Annotated[int, Field(ge=1, le=1000)] = 3
    """The run never goes on with fewer banks, or with fewer than all if there are not so many."""
    deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] = 1800
    """When some banks have waited so long for others, they go on alone, if they are enough."""
    join_deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] | None = None
    """The same for the start: who has not joined by then may come in later. None waits for all."""
    max_rejoins: Annotated[int, Field(ge=0, le=1000)] = 2
    """How often a bank may come back after it was dropped; each drop shows a little of it."""

    @model_validator(mode="after")
    def _kind_matches(self) -> Self:
        is_risk = self.kind is RunKind.RISK
        if is_risk != (self.risk is not None) or is_risk != (self.contract is None):
            raise ValueError("a training has a contract and no risk, a risk run the reverse")
        if is_risk and self.parameters:
            raise ValueError("a risk run has no training parameters")
        if is_risk and self.model_visibility is not ModelVisibility.MEMBERS:
            raise ValueError("the tables of a risk run are for members: model_visibility 'members'")
        return self


class RunCreated(Message):
    """Answer to a created run."""

    run_id: str


class RunState(StrEnum):
    """Life of a run: open -> training <-> gathering, training -> finished; failed from any."""

    OPEN = "open"
    TRAINING = "training"
    GATHERING = "gathering"
    """Other banks are to take part, and not all of them have agreed to it yet."""
    FINISHED = "finished"
    FAILED = "failed"


class Ready(Message):
    """A bank agrees to take part in the generation that is being formed."""

    step: Annotated[int, Field(ge=0, lt=2**31)]
    """Steps that it has finished: it can begin the next one anew."""
    more_rows: Annotated[int, Field(ge=0, le=2**36)] = 0
    """A bank that was not in the preparation: a power of two that is no less than its rows."""


class ReadyBank(Ready):
    """Which bank has agreed, and with what."""

    bank: BankName


class Generation(Message):
    """A set of banks that take part together, from one step of the training on."""

    number: Annotated[int, Field(ge=0)]
    banks: tuple[BankName, ...]
    """Sorted by name; the index of a bank is the shard it opens."""
    entrants: tuple[BankName, ...] = ()
    """Those that did not take part in the generation that began before."""
    ready: tuple[ReadyBank, ...] = ()
    """Who has agreed, sorted by name; all once it has begun. Generation 0 needs no agreement."""
    first_step: Annotated[int, Field(ge=0)] = 0
    """Steps that stay as they are; known once it has begun."""
    first_round: Annotated[int, Field(ge=0)] = 0
    """Number of its first round; known once it has begun."""


class WaitsFor(Message):
    """What some banks wait for others to do."""

    what: Literal["join", "ready", "contribution", "opening", "model"]
    banks: tuple[BankName, ...]
    """Who has not done it."""


class DropRequest(Message):
    """The operator goes on without a bank; it may come back."""

    bank: BankName
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class HandoverReceipt(Message):
    """What is handed to the entrants of a generation was stored; it is durable now."""

    run_id: str
    generation: Annotated[int, Field(ge=0)]
    sha256: Sha256


class RunStatus(Message):
    """Everything public about a run."""

    run_id: str
    spec: RunSpec
    state: RunState
    cohort: tuple[BankName, ...]
    """The banks of the key epoch's roster, sorted by name."""
    public_key: PublicKeyMessage
    """That of the key epoch."""
    members: tuple[BankName, ...]
    """Banks of the cohort that have ever joined, sorted by name."""
    generation: Generation
    """Who takes part now, or is about to."""
    waiting: tuple[BankName, ...] = ()
    """Banks that come in when the next step begins."""
    waits_for: WaitsFor | None = None
    """What some banks wait for now, and for whom; None if nobody waits."""
    contributed: tuple[BankName, ...] = ()
    """Who has contributed to the open round ``round_number``."""
    round_number: Annotated[int, Field(ge=0)]
    """Number of the open round; all before it are closed or abandoned."""
    ciphertexts: Annotated[int, Field(ge=0)]
    """Ciphertexts accepted so far, all banks together."""
    bytes_received: Annotated[int, Field(ge=0)]
    """Bytes of round bodies accepted so far, all banks together."""
    model_sha256: Sha256 | None = None
    failure: str | None = None
    created_at: int


class RunList(Message):
    """All runs the caller may see, newest first."""

    runs: tuple[RunStatus, ...]


class Abort(Message):
    """A bank ends the run for all, so that nobody waits for it."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]
