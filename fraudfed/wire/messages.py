"""Every JSON message between bank node, aggregator and operator.

Rules: frozen; an unknown field or another version is an error (fail closed); the meaning of a
published message never changes, a new one is added instead. Times are UTC epoch seconds (int64).
The OpenAPI document is generated from these classes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraudfed.errors import ProtocolError, VersionError

__all__ = [
    "PROTOCOL_VERSION",
    "Abort",
    "BankName",
    "BankRegistration",
    "BankToken",
    "DataContract",
    "FeatureSpec",
    "FeatureType",
    "FrameHeader",
    "FrameKind",
    "Health",
    "Message",
    "ModelReceipt",
    "ModelVisibility",
    "Problem",
    "PublicKeyMessage",
    "RoundList",
    "RoundReceipt",
    "RoundSummary",
    "RunCreated",
    "RunList",
    "RunSpec",
    "RunState",
    "RunStatus",
    "Sha256",
    "parse",
]

#: Raised with every incompatible change; both sides refuse any other number.
PROTOCOL_VERSION: Literal[1] = 1

BankName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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


class ModelVisibility(StrEnum):
    """Who may read the final model."""

    AGGREGATOR = "aggregator"


class RunSpec(Message):
    """What the operator publishes to open a run."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    cohort_size: Annotated[int, Field(ge=1, le=1000)]
    """Number of banks; the run starts when that many have joined."""
    parameters: dict[str, Any]
    """Training parameters under XGBoost's names. The aggregator stores, the banks check them."""
    contract: DataContract
    public_key: PublicKeyMessage
    model_visibility: ModelVisibility = ModelVisibility.AGGREGATOR


class RunCreated(Message):
    """Answer to a created run."""

    run_id: str


class RunState(StrEnum):
    """Life of a run: open -> training -> finished; failed from either of the first two."""

    OPEN = "open"
    TRAINING = "training"
    FINISHED = "finished"
    FAILED = "failed"


class RunStatus(Message):
    """Everything public about a run."""

    run_id: str
    spec: RunSpec
    state: RunState
    members: tuple[BankName, ...]
    """In the order of the cohort: sorted by name once the run is training."""
    round_number: Annotated[int, Field(ge=0)]
    """Number of rounds closed so far."""
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


class BankRegistration(Message):
    """A bank makes itself known to the aggregator."""

    name: BankName


class BankToken(Message):
    """Answer to a registration; the token is shown once and stored only as a hash."""

    name: BankName
    token: str


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
        where = ".".join(str(part) for part in first["loc"]) or "message"
        if first["loc"] == ("protocol_version",):
            raise VersionError(
                f"{source}: protocol version is {first['input']!r}, this program speaks "
                f"{PROTOCOL_VERSION}; use the same fraudfed release on both sides"
            ) from None
        shown = repr(first["input"])
        if len(shown) > 80:
            shown = shown[:77] + "..."
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ProtocolError(
            f"{source}: {cls.__name__}.{where} is {shown}: {first['msg']}{more}"
        ) from None
