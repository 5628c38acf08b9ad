"""Every JSON message between bank node, aggregator and operator.

Rules: frozen; an unknown field or another version is an error (fail closed); the meaning of a
published message never changes, a new one is added instead. Times are UTC epoch seconds (int64).
The OpenAPI document is generated from these classes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraudfed.errors import ProtocolError, VersionError

__all__ = [
    "MODEL_PLAIN_HEADER",
    "MODEL_SIGNATURE_HEADER",
    "PROTOCOL_VERSION",
    "Abort",
    "AuditEntry",
    "AuditKey",
    "AuditLog",
    "AuditStatus",
    "BankName",
    "BankRegistration",
    "DataContract",
    "DropRequest",
    "EpochNumber",
    "FeatureSpec",
    "FeatureType",
    "FrameHeader",
    "FrameKind",
    "Generation",
    "HandoverReceipt",
    "Health",
    "Invite",
    "InviteRequest",
    "KeyAcknowledgement",
    "KeyEpoch",
    "KeyEpochState",
    "KeyEpochStatus",
    "MemberKeys",
    "Members",
    "Message",
    "ModelReceipt",
    "ModelSignature",
    "ModelSignatures",
    "ModelVisibility",
    "Problem",
    "PublicKeyHex",
    "PublicKeyMessage",
    "Ready",
    "ReadyBank",
    "Roster",
    "RoundList",
    "RoundReceipt",
    "RoundSummary",
    "RunCreated",
    "RunList",
    "RunSpec",
    "RunState",
    "RunStatus",
    "SealedKey",
    "Sha256",
    "SignatureHex",
    "WaitsFor",
    "parse",
]

#: Raised with every incompatible change; both sides refuse any other number.
PROTOCOL_VERSION: Literal[1] = 1

BankName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: The 32 bytes of an Ed25519 or X25519 public key.
PublicKeyHex: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: The 64 bytes of an Ed25519 signature.
SignatureHex: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
EpochNumber: TypeAlias = Annotated[int, Field(ge=1, le=2**31 - 1)]

#: Request header of a submitted model: the bank's signature over run and plain model
#: (``fraudfed.consortium.documents.model_bytes``), a ``SignatureHex``.
MODEL_SIGNATURE_HEADER = "Fraudfed-Model-Signature"
#: Request header of a submitted model: SHA-256 of the plain ``model.json``, which differs from
#: that of the body when the model is sealed to the members.
MODEL_PLAIN_HEADER = "Fraudfed-Model-Plain"


class Message(BaseModel):
    """Base of all messages: frozen, versioned, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    protocol_version: Literal[1] = PROTOCOL_VERSION


class FeatureType(StrEnum):
    """How a feature column is read."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class FeatureSpec(Message):
    """One feature column of the data contract."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    type: FeatureType = FeatureType.NUMERIC
    categories: tuple[str, ...] | None = None
    """Categorical only: the values in code order; code i is ``categories[i]``. A value that is not
    listed is an error, an empty one is missing."""
    nullable: bool = True
    """False: a missing value (NaN, empty) is a data error. True: missing values are learnt from."""
    description: str = ""

    @model_validator(mode="after")
    def _categories_match_type(self) -> Self:
        if (self.type is FeatureType.CATEGORICAL) != (self.categories is not None):
            raise ValueError("categories must be given exactly for a categorical feature")
        if self.categories is not None:
            if not self.categories:
                raise ValueError("categories must not be empty")
            if len(set(self.categories)) != len(self.categories):
                raise ValueError("categories must be distinct")
        return self


class DataContract(Message):
    """What every bank's data must look like; published with the run."""

    kind: Literal["transactions", "table"]
    """``transactions``: raw transactions, features are built at the bank by ``recipe``.
    ``table``: the file holds the feature columns themselves."""
    features: Annotated[tuple[FeatureSpec, ...], Field(min_length=1, max_length=4096)]
    label: str = "is_fraud"
    weight: str | None = None
    """Column of sample weights in (0, ``max_weight``], or None for weight 1."""
    max_weight: Annotated[float, Field(gt=0, le=65536)] = 1.0
    recipe: str | None = None
    """``transactions`` only: name and version of the feature recipe."""
    train_from: int | None = None
    """``transactions`` only: first event time used for training."""
    train_until: int | None = None
    """``transactions`` only: the model knows what was known before this time. An event is trained
    on if it lies at least the label delay before it, and its label was known before it."""
    label_delay_seconds: Annotated[int, Field(ge=0)] = 0
    """``transactions`` only: fraud-rate features look back from event time minus this delay."""

    @model_validator(mode="after")
    def _kind_matches(self) -> Self:
        names = [spec.name for spec in self.features]
        if len(set(names)) != len(names):
            raise ValueError("feature names must be distinct")
        if (self.kind == "transactions") != (self.recipe is not None):
            raise ValueError("recipe must be given exactly for kind 'transactions'")
        return self


class PublicKeyMessage(Message):
    """A Paillier public key, integers in lower-case hexadecimal."""

    n: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=4096)]
    hs: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=8192)] | None = None
    """h^N mod N^2 of the fast scheme (Ma, Han, Lei, ACSAC 2021); None for a plain Paillier key."""
    alpha_bits: Annotated[int, Field(ge=0, le=8192)] | None = None
    """Bits of the random exponent of the fast scheme; None for a plain Paillier key."""
    fingerprint: Sha256
    """SHA-256 over the key's canonical bytes; recomputed by every reader."""


class MemberKeys(Message):
    """The public keys of one member of the consortium."""

    name: BankName
    signing_key: PublicKeyHex
    """Ed25519: requests, key epochs, acknowledgements and models are signed with it."""
    agreement_key: PublicKeyHex
    """X25519: key packages are sealed to it, pairwise masks are agreed with it."""


def _sorted_members(members: tuple[MemberKeys, ...]) -> tuple[MemberKeys, ...]:
    names = [member.name for member in members]
    if names != sorted(set(names)):
        raise ValueError("members must be distinct and sorted by name")
    for what in ("signing_key", "agreement_key"):
        keys = [getattr(member, what) for member in members]
        if len(set(keys)) != len(keys):
            raise ValueError(f"members must have distinct keys, but two have one {what}")
    return members


#: Distinct members with distinct keys, sorted by name.
Members: TypeAlias = Annotated[
    tuple[MemberKeys, ...], Field(max_length=1000), AfterValidator(_sorted_members)
]


class InviteRequest(Message):
    """The operator invites one bank, by name."""

    name: BankName
    valid_seconds: Annotated[int, Field(ge=1, le=90 * 86_400)] = 7 * 86_400


class Invite(Message):
    """Answer to an invite request; the code is shown once, works once, and is stored hashed."""

    name: BankName
    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,128}$")]
    expires_at: int


class BankRegistration(Message):
    """An invited bank announces its keys, in a request signed with the signing key it announces."""

    name: BankName
    invite: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,128}$")]
    signing_key: PublicKeyHex
    agreement_key: PublicKeyHex


class Roster(Message):
    """The members of the consortium now, as the aggregator tells it; banks hold it against pins."""

    members: Members


class SealedKey(Message):
    """The key package of an epoch, sealed to one member (HPKE, RFC 9180)."""

    name: BankName
    box: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=131_072)]
    """Base64 of the encapsulated key and the ciphertext."""


class KeyEpoch(Message):
    """A steward bank's key package for exactly one roster.

    ``signature`` is the steward's over ``fraudfed.consortium.documents.key_epoch_bytes``.
    """

    epoch: EpochNumber
    steward: BankName
    roster: Annotated[Members, Field(min_length=1)]
    public_key: PublicKeyMessage
    sealed: tuple[SealedKey, ...]
    """One box for each member, in the order of the roster."""
    signature: SignatureHex

    @model_validator(mode="after")
    def _sealed_to_the_roster(self) -> Self:
        names = [member.name for member in self.roster]
        if [box.name for box in self.sealed] != names:
            raise ValueError("sealed must hold one box for each member, in the roster's order")
        if self.steward not in names:
            raise ValueError("the steward must be a member of the roster")
        return self


class KeyAcknowledgement(Message):
    """A member opened its box of an epoch and found the announced key inside.

    ``signature`` is the bank's over ``fraudfed.consortium.documents.acknowledgement_bytes``.
    """

    epoch: EpochNumber
    bank: BankName
    digest: Sha256
    """``fraudfed.consortium.documents.key_epoch_digest`` of the epoch."""
    signature: SignatureHex


class KeyEpochState(StrEnum):
    """Life of a key epoch: pending -> active -> superseded."""

    PENDING = "pending"
    """Not all members have acknowledged."""
    ACTIVE = "active"
    """All have: runs may be opened with it."""
    SUPERSEDED = "superseded"
    """There is a later epoch, or its roster is no longer the members: no new run with it."""


class KeyEpochStatus(Message):
    """A key epoch and who has acknowledged it."""

    key_epoch: KeyEpoch
    acknowledged: tuple[KeyAcknowledgement, ...]
    """Sorted by bank."""
    state: KeyEpochState


class ModelVisibility(StrEnum):
    """Who may read the final model."""

    AGGREGATOR = "aggregator"
    MEMBERS = "members"
    """The registry holds it sealed under a key that only the consortium has."""


class RunSpec(Message):
    """What the operator publishes to open a run."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    key_epoch: EpochNumber
    """The active key epoch; its roster is the cohort, and the run starts when all have joined."""
    parameters: dict[str, Any]
    """Training parameters under XGBoost's names. The aggregator stores, the banks check them."""
    contract: DataContract
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


class FrameKind(StrEnum):
    """What the bytes behind a frame's header are."""

    CONTRIBUTION = "contribution"
    PRODUCT = "product"
    OPENING = "opening"


class FrameHeader(Message):
    """Header of one binary frame (see ``fraudfed.wire.frames``)."""

    kind: FrameKind
    run_id: str
    round_number: Annotated[int, Field(ge=0)]
    label: Annotated[str, Field(min_length=1, max_length=200)]
    context: Sha256
    """Digest of the round's context; equal at every bank or the round fails."""
    step: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Contributions only: steps that the sender has finished before this round."""
    bank: BankName | None = None
    """Sender; None in a product, which is the aggregator's."""
    shard: Annotated[int, Field(ge=0)] | None = None
    """Openings only: which shard of the ciphertexts was opened, the bank's index in the cohort."""
    count: Annotated[int, Field(ge=0)]
    """Number of items in the payload: ciphertexts, or opened plaintexts."""
    item_bytes: Annotated[int, Field(ge=0)]
    """Fixed width of one ciphertext in bytes; 0 when the payload is one sealed (AEAD) box."""


class RoundReceipt(Message):
    """A contribution or opening was stored; it is durable now."""

    run_id: str
    round_number: int
    received: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)]


class RoundSummary(Message):
    """What is on record of one round; stays after its ciphertexts are deleted."""

    number: Annotated[int, Field(ge=0)]
    label: str
    context: Sha256
    ciphertexts: Annotated[int, Field(ge=0)]
    """Ciphertexts in each contribution."""
    bytes_received: Annotated[int, Field(ge=0)]
    """Bytes of the round's accepted bodies, all banks together."""
    opened_at: int
    completed_at: int | None = None
    """When the last contribution came in."""
    closed_at: int | None = None
    """When the last opening came in."""
    abandoned_at: int | None = None
    """When another generation was formed before it was closed."""
    generation: Annotated[int, Field(ge=0)] = 0
    step: Annotated[int, Field(ge=0)] = 0


class RoundList(Message):
    """Rounds of a run in order, from the first that was asked for."""

    run_id: str
    rounds: tuple[RoundSummary, ...]


class ModelReceipt(Message):
    """A bank's vote for a model was stored."""

    run_id: str
    sha256: Sha256
    votes: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)]
    accepted: bool


class ModelSignature(Message):
    """A bank's signature over ``fraudfed.consortium.documents.model_bytes``."""

    bank: BankName
    signature: SignatureHex


class ModelSignatures(Message):
    """Every bank of the cohort signed that this run ended with this model."""

    run_id: str
    sha256: Sha256
    """Of the stored bytes."""
    plain_sha256: Sha256
    """Of the plain ``model.json``, which is what was signed; equal to ``sha256`` unless sealed."""
    signatures: tuple[ModelSignature, ...]
    """Sorted by bank."""


class AuditStatus(StrEnum):
    """What became of an audited request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class AuditEntry(Message):
    """One line of the aggregator's audit log.

    ``hash`` is SHA-256 of ``fraudfed.consortium.documents.audit_entry_bytes``, which cover every
    other field but the signature; ``signature`` is the audit key's over the same bytes.
    """

    seq: Annotated[int, Field(ge=1, lt=2**63)]
    """1, 2, 3, ... without a gap."""
    time: Annotated[int, Field(ge=0, lt=2**63)]
    kind: Annotated[str, Field(min_length=1, max_length=100)]
    """What was asked for, for example ``contribution`` or ``run-created``."""
    actor: Annotated[str, Field(max_length=200)]
    """``bank:<name>``, ``operator:<token name>``, ``viewer:<token name>``, or ``anonymous``."""
    subject: Annotated[str, Field(max_length=500)]
    """For example ``run/<id>``, ``run/<id>/round/<n>``, ``bank/<name>``, ``epoch/<n>``."""
    status: AuditStatus
    detail: Annotated[str, Field(max_length=4000)]
    body_sha256: Sha256 | None = None
    """Of the request's body; None if it had none."""
    previous_hash: Sha256
    """The hash of the entry before; 64 zeros in the first."""
    hash: Sha256
    signature: SignatureHex


class AuditLog(Message):
    """Entries of the audit log, in order of ``seq``."""

    entries: tuple[AuditEntry, ...]


class AuditKey(Message):
    """The public key that the aggregator signs its audit log with (Ed25519)."""

    audit_key: PublicKeyHex


class Abort(Message):
    """A bank ends the run for all, so that nobody waits for it."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class Health(Message):
    """The aggregator answers and its store can be read."""

    status: Literal["ok"]
    version: str


class Problem(BaseModel):
    """RFC 9457 problem document (media type ``application/problem+json``)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    """``urn:fraudfed:problem:<slug>``; each slug is one class of ``fraudfed.errors``."""
    title: str
    status: int
    detail: str
    instance: str | None = None


M = TypeVar("M", bound=BaseModel)


def parse(cls: type[M], data: bytes | str | Mapping[str, Any], *, source: str) -> M:
    """Read a message or raise one clear error.

    Parameters
    ----------
    cls : message class
    data : JSON text or an already decoded object
    source : str
        Where it came from, for the error text (``"the aggregator"``, ``"request body"``).

    Raises
    ------
    VersionError
        If the message names another ``protocol_version``.
    ProtocolError
        If it does not fit ``cls``.
    """
    try:
        if isinstance(data, (bytes, str)):
            return cls.model_validate_json(data)
        return cls.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        # The sender chooses field names too: a line break in one must not break a log's line.
        where = _shown(".".join(str(part) for part in first["loc"]) or "message")[1:-1]
        if first["loc"] == ("protocol_version",):
            raise VersionError(
                f"{source}: protocol version is {_shown(first['input'])}, this program speaks "
                f"{PROTOCOL_VERSION}; use the same fraudfed release on both sides"
            ) from None
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        # Of a missing field the input is the whole message, where an invite's code may be in.
        shown = "missing" if first["type"] == "missing" else _shown(first["input"])
        raise ProtocolError(
            f"{source}: {cls.__name__}.{where} is {shown}: {first['msg']}{more}"
        ) from None


def _shown(value: object) -> str:
    """Return a value on one short line of printable characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
