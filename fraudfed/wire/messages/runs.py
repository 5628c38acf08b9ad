"""A run: its specification, its banks and its state."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fraudfed.privacy.terms import PrivacyTerms
from fraudfed.wire.messages.base import (
    BankName,
    EpochNumber,
    Message,
    PublicKeyHex,
    Sha256,
    SignatureHex,
)
from fraudfed.wire.messages.contract.data_contract import DataContract
from fraudfed.wire.messages.key_epochs import PublicKeyMessage
from fraudfed.wire.messages.kinds.monitor import MonitorSpec
from fraudfed.wire.messages.kinds.privacy import PrivacySpec
from fraudfed.wire.messages.kinds.risk import RiskSpec
from fraudfed.wire.messages.kinds.search import SearchSpec
from fraudfed.wire.messages.kinds.statistics import StatisticsSpec


class ModelVisibility(StrEnum):
    """The readers of the final model."""

    AGGREGATOR = "aggregator"
    MEMBERS = "members"
    """The registry holds it sealed under a key of the consortium's members."""


class RunKind(StrEnum):
    """What the banks of a run compute together."""

    TRAINING = "training"
    """A model, from ``parameters`` and ``contract``."""
    RISK = "risk"
    """Daily tables of payments and frauds, from ``risk``."""
    STATISTICS = "statistics"
    """What the columns of ``contract`` hold at all banks together, from ``statistics``."""
    SEARCH = "search"
    """The best of several sets of parameters and its model, from ``search``, ``parameters`` and
    ``contract``."""
    MONITOR = "monitor"
    """What a model's payments look like week by week at all banks together, from ``monitor``."""


class RunSpec(Message):
    """What the operator publishes to open a run."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    key_epoch: EpochNumber
    """The active key epoch; its roster without ``without`` is the cohort, and the run starts when
    all have joined."""
    kind: RunKind = RunKind.TRAINING
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Training parameters under XGBoost's names. The aggregator stores, the banks check them. Those
    of a search are what its candidates have in common."""
    contract: DataContract | None = None
    """All but risk: what every bank's data must look like."""
    risk: RiskSpec | None = None
    """Risk only: what is counted."""
    statistics: StatisticsSpec | None = None
    """Statistics only: how finely is counted."""
    search: SearchSpec | None = None
    """Search only: candidates, and how long each of them is grown."""
    monitor: MonitorSpec | None = None
    """Monitor only: which model, and which weeks."""
    privacy: PrivacySpec | None = None
    """Training only: the bound on what all that is opened shows of one row or customer. None: sums
    are opened exactly."""
    model_visibility: ModelVisibility = ModelVisibility.AGGREGATOR
    require_confirmed_roster: bool = False
    """Banks take part only if they have confirmed every member's fingerprint."""
    min_cohort: Annotated[int, Field(ge=1, le=1000)] = 3
    """The run never continues with fewer banks; a smaller cohort must be complete."""
    deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] = 1800
    """After this wait for other banks, the run continues without them if enough banks remain."""
    join_deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] | None = None
    """The same for the start; other banks may join later. None waits for all."""
    max_rejoins: Annotated[int, Field(ge=0, le=1000)] = 2
    """How often a dropped bank may rejoin; each drop reveals a little about its data."""
    without: tuple[BankName, ...] = ()
    """Banks of the key epoch's roster that are not in the cohort, sorted by name."""

    @property
    def noise_terms(self) -> PrivacyTerms | None:
        """The terms under which sums carry noise, in a training or a risk run; None: none do."""
        described = self.privacy if self.risk is None else self.risk.privacy
        return None if described is None else described.terms()

    @model_validator(mode="after")
    def _kind_matches(self) -> Self:
        if self.without != tuple(sorted(set(self.without))):
            raise ValueError("without names each bank once, sorted by name")
        for kind in (RunKind.RISK, RunKind.STATISTICS, RunKind.SEARCH, RunKind.MONITOR):
            if (self.kind is kind) != (getattr(self, kind.value) is not None):
                raise ValueError(f"a {kind.value} run has {kind.value}, and no other run has")
        if (self.kind is RunKind.RISK) != (self.contract is None):
            raise ValueError("a risk run has no contract, and every other run has one")
        if self.privacy is not None and self.kind is not RunKind.TRAINING:
            raise ValueError(
                f"a {self.kind.value} run has no privacy terms, only a training has; of risk "
                "tables they stand in risk.privacy"
            )
        if self.noise_terms is not None:
            self._hold_enough_banks(self.noise_terms.tolerated_colluders)
        if self.kind not in (RunKind.RISK, RunKind.STATISTICS, RunKind.MONITOR):
            return self
        if self.parameters:
            raise ValueError(f"a {self.kind.value} run has no training parameters")
        if self.model_visibility is not ModelVisibility.MEMBERS:
            what = "tables" if self.kind is RunKind.RISK else "counts"
            raise ValueError(
                f"the {what} of a {self.kind.value} run are for members: model_visibility 'members'"
            )
        return self

    def _hold_enough_banks(self, colluders: int) -> None:
        if self.min_cohort < colluders + 2:
            raise ValueError(
                f"min_cohort is {self.min_cohort}, expected at least {colluders + 2}: two banks "
                f"more than the {colluders} of tolerated_colluders, whose noise does not count"
            )


class RunCreated(Message):
    """Answer to a created run."""

    run_id: str


class RunState(StrEnum):
    """Life of a run: open -> training <-> gathering, training -> finished; failed from any."""

    OPEN = "open"
    TRAINING = "training"
    GATHERING = "gathering"
    """A new set of banks is forming, and not all of them have agreed yet."""
    FINISHED = "finished"
    FAILED = "failed"


class Join(Message):
    """A bank takes part in a run. Before the start, that is its agreement to generation 0."""

    key: PublicKeyHex | None = None
    """The bank's ephemeral X25519 key of generation 0; None from a bank that comes later."""
    signature: SignatureHex | None = None
    """The bank's over ``key``: ``generations.ephemeral_key_bytes``."""

    @model_validator(mode="after")
    def _key_is_signed(self) -> Self:
        if (self.key is None) != (self.signature is None):
            raise ValueError("a key has a signature, and no key has none")
        return self


class Ready(Message):
    """A bank agrees to take part in the generation that is forming."""

    step: Annotated[int, Field(ge=0, lt=2**31)]
    """Steps that the bank has finished; it can start the next one again."""
    more_rows: Annotated[int, Field(ge=0, le=2**36)] = 0
    """Only from a bank that missed the preparation: a power of two, at least its number of rows."""
    key: PublicKeyHex
    """The bank's ephemeral X25519 key of this generation."""
    signature: SignatureHex
    """The bank's over ``key``: ``generations.ephemeral_key_bytes``."""


class ReadyBank(Ready):
    """A bank that has agreed, and its answer."""

    bank: BankName


class Generation(Message):
    """A set of banks that take part together, from a given step on."""

    number: Annotated[int, Field(ge=0)]
    banks: tuple[BankName, ...]
    """Sorted by name; the index of a bank is the shard it opens."""
    entrants: tuple[BankName, ...] = ()
    """Banks that did not take part in the previous generation."""
    ready: tuple[ReadyBank, ...] = ()
    """Banks that have agreed, sorted by name; all once it has begun. To generation 0 a bank agrees
    by joining."""
    first_step: Annotated[int, Field(ge=0)] = 0
    """Finished steps that it keeps; known once it has begun."""
    first_round: Annotated[int, Field(ge=0)] = 0
    """Number of its first round; known once it has begun."""


#: Header of a handover: a signature over it (``generations.handover_bytes``), in hexadecimal.
HANDOVER_SIGNATURE_HEADER = "Fraudfed-Handover-Signature"


class HandoverSignature(Message):
    """A bank's signature over what is handed to the entrants of a generation."""

    bank: BankName
    signature: SignatureHex


class HandoverSignatures(Message):
    """The signatures of all banks that stay, sorted by name: the head of a handover."""

    signatures: tuple[HandoverSignature, ...]


class WaitsFor(Message):
    """What some banks wait for other banks to do."""

    what: Literal["join", "ready", "contribution", "opening", "model"]
    banks: tuple[BankName, ...]
    """Banks that have not done it."""


class DropRequest(Message):
    """The operator continues the run without a bank, which may rejoin."""

    bank: BankName
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class HandoverReceipt(Message):
    """The handover to a generation's entrants was stored; it is durable now."""

    run_id: str
    generation: Annotated[int, Field(ge=0)]
    sha256: Sha256


class RunStatus(Message):
    """Everything public about a run."""

    run_id: str
    spec: RunSpec
    state: RunState
    cohort: tuple[BankName, ...]
    """The banks of the key epoch's roster less those of ``spec.without``, sorted by name."""
    public_key: PublicKeyMessage
    """That of the key epoch."""
    members: tuple[BankName, ...]
    """Banks of the cohort that have ever joined, sorted by name."""
    generation: Generation
    """The current generation, or the one that is forming."""
    waiting: tuple[BankName, ...] = ()
    """Banks that join when the next step begins."""
    waits_for: WaitsFor | None = None
    """What some banks currently wait for, and for which banks; None if no bank waits."""
    contributed: tuple[BankName, ...] = ()
    """Banks that have contributed to the open round ``round_number``."""
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


class AbortReason(StrEnum):
    """All that a bank ever says of why it stops; the details stay in its own log.

    Free text, or a kind of its own for each fault of a bank's rows, would tell others about them.
    """

    SUM = "sum-failed"
    """A secure sum did not open or verify; every bank of the round sees the same."""
    PROTOCOL = "protocol-fault"
    """What the aggregator answers does not belong here."""
    CONFIGURATION = "wrong-configuration"
    """The run's published description cannot be used."""
    KEY = "key-unusable"
    """The key of the run's epoch cannot be used."""
    STOPPED = "stopped"
    """Anything else: the bank's data, and faults that nobody has thought of."""


class Abort(Message):
    """A bank or the operator ends the run for all banks, so that no bank waits for it.

    From a bank the reason is an ``AbortReason``; the operator writes what banks are to read.
    """

    reason: Annotated[str, Field(min_length=1, max_length=2000)]
