"""The contents of a risk run."""

from enum import StrEnum
from typing import Annotated, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit
from fraudfed.wire.messages.base import Message
from fraudfed.wire.messages.contract.identifier_rules import IDENTIFIER_RULES, IdentifierRules


class RiskEntity(StrEnum):
    """The entities whose payments and frauds banks count; each has a raw column ``<name>_id``."""

    TERMINAL = "terminal"
    MERCHANT = "merchant"
    PAYEE = "payee"


def _power_of_two(width: int) -> int:
    if width & (width - 1):
        raise ValueError("a width must be a power of two")
    return width


#: Columns of a row of a count-min sketch.
SketchWidth: TypeAlias = Annotated[int, Field(ge=16, le=2**22), AfterValidator(_power_of_two)]


class RiskPrivacy(Message):
    """What all tables of a month may show of one customer of one bank; see docs/shared-risk.md."""

    epsilon: Annotated[float, Field(gt=0, le=20)]
    """The bound for one customer of one bank and one calendar month (UTC) of entry."""
    delta: Annotated[float, Field(ge=1e-12, le=1e-4)] = 1e-6
    """The probability with which the bound need not hold."""
    tolerated_colluders: Annotated[int, Field(ge=0, le=1000)]
    """Banks whose noise does not count. A bank refuses a run that counts fewer than its own rules
    do."""
    fraud_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the bound for reports of fraud; the rest is for payments."""
    most_a_day: Annotated[int, Field(ge=1, le=2**31)] = 2**20
    """No more payments, of customers that are counted once a day, than this are made at all banks
    on a day: fixes the slots of sums."""

    def terms(self) -> PrivacyTerms:
        """Return the terms, as the secure sum takes them."""
        return PrivacyTerms(
            epsilon=self.epsilon,
            delta=self.delta,
            unit=PrivacyUnit.CUSTOMER,
            tolerated_colluders=self.tolerated_colluders,
            declared_rows=self.most_a_day,
        )


class RiskSpec(Message):
    """What a risk run counts, and how finely; see docs/shared-risk.md."""

    first_day: Annotated[int, Field(ge=0, le=99_420)]
    """First day of entry, in days since 1970-01-01 UTC."""
    last_day: Annotated[int, Field(ge=0, le=99_420)]
    """Last day of entry, itself included."""
    delay_days: Annotated[int, Field(ge=0, le=1000)]
    """Days from a payment to its entry; a fraud is entered no earlier than its payment."""
    entities: Annotated[tuple[RiskEntity, ...], Field(min_length=1)] = tuple(RiskEntity)
    """What is counted; distinct."""
    depth: Annotated[int, Field(ge=1, le=16)] = 4
    """Rows of each sketch."""
    transaction_width: SketchWidth = 4096
    """Columns of the sketch of payments."""
    fraud_width: SketchWidth = 512
    """Columns of the sketch of frauds, which are few."""
    min_customers: Annotated[int, Field(ge=1, le=1_000_000)] = 3
    """A bank counts an entity's payments of a day only if this many of its customers paid there."""
    days_per_step: Annotated[int, Field(ge=1, le=400)] = 7
    """Days of one step; after each step the set of banks may change."""
    identifier_rules: IdentifierRules = IDENTIFIER_RULES
    """Which rules say that two identifiers are the same, and so are counted as one."""

    privacy: RiskPrivacy | None = None
    """The bound on what the tables show of one customer; None: they are exact."""

    @property
    def n_rows(self) -> int:
        """Rows of a sketch; with privacy one for each entity."""
        return self.depth if self.privacy is None else len(self.entities)

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.privacy is None:
            return self
        if self.depth != 1:
            raise ValueError(
                f"depth is {self.depth}, expected 1 with privacy: the least of several noisy "
                "counters is too low, and each costs a part of the bound; choose more columns"
            )
        if self.min_customers != 1:
            raise ValueError(
                f"min_customers is {self.min_customers}, expected 1 with privacy: one customer "
                "would decide whether the payments of others count; noise takes its place"
            )
        return self

    @model_validator(mode="after")
    def _days_and_entities(self) -> Self:
        if self.last_day < self.first_day:
            raise ValueError("last_day must not lie before first_day")
        if len(set(self.entities)) != len(self.entities):
            raise ValueError("entities must be distinct")
        return self
