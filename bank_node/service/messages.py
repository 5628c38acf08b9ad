"""What callers of the scoring service send, and what they get."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bank_node.outcomes.label import Heard, LabelSource, Status
from bank_node.serving.ladder import Step
from bank_node.serving.store.protocol import Arrival
from fraudfed.features.payment import Payment
from fraudfed.payments.code_lists import allowed_text, allowed_values
from fraudfed.payments.columns import COLUMNS, MAX_AMOUNT_MINOR, MAX_EPOCH_SECONDS
from fraudfed.reasons import Reason
from fraudfed.wire.messages import Problem

#: The store did not take a payment that was answered.
NOT_REMEMBERED: Final = "not-remembered"
#: Payments of one request.
MOST_PAYMENTS = 1000

_Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]
_Time = Annotated[int, Field(ge=0, lt=MAX_EPOCH_SECONDS)]
_Code = Annotated[str, StringConstraints(max_length=40)]
_COLUMNS = {column.name: column for column in COLUMNS}
#: What columns of codes may hold; looked up here, since it takes as long as to score a payment.
_ALLOWED = {
    name: allowed_values(_COLUMNS[name])
    for name in ("channel", "merchant_category", "direction", "currency")
}


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SentPayment(_Sent):
    """One payment; the fields are those of a file of transactions (docs/features.md)."""

    transaction_id: _Identifier
    event_time: _Time
    customer_id: _Identifier
    amount_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR)]
    merchant_id: _Identifier | None = None
    terminal_id: _Identifier | None = None
    payee_id: _Identifier | None = None
    device_id: _Identifier | None = None
    channel: _Code | None = None
    merchant_category: _Code | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    direction: _Code | None = None
    payer_id: _Identifier | None = None
    currency: _Code | None = None
    own: Annotated[dict[str, float | int | str | None], Field(max_length=256)] = {}

    @model_validator(mode="after")
    def _is_known(self) -> "SentPayment":
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if value is not None and allowed is not None and value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected {allowed_text(_COLUMNS[name])}")
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude are given one without the other")
        return self

    def payment(self) -> Payment:
        """Return it with identifiers in canonical form; raises DataError if one cannot be."""
        return Payment(**{name: getattr(self, name) for name in type(self).model_fields})


class SentPayments(_Sent):
    """A payment, or several in the order in which they arrived."""

    payments: Annotated[list[SentPayment], Field(min_length=1, max_length=MOST_PAYMENTS)]
    reasons: bool = True
    """Whether the answers have reasons."""

    @model_validator(mode="before")
    @classmethod
    def _single(cls, sent: Any) -> Any:
        # A payment alone is a list of one.
        if isinstance(sent, dict) and "payments" not in sent:
            return {"payments": [sent]}
        return sent


class ReasonsKind(StrEnum):
    """What the reasons of an answer are."""

    GIVEN = "given"
    """Those that were given when the payment was scored; none if nothing raised its score."""
    NOT_ASKED = "not-asked"
    BY_BINS = "by-bins"
    """Not asked for at the time. Codes and contributions are exact; the values in texts are ends
    of the model's bins."""
    REWORDED = "reworded"
    """Given at the time in the words of an earlier release."""
    MODEL_GONE = "model-gone"
    """There are none: this bank does not have the model of the decision any more."""


class Age(BaseModel):
    """How old what decided is."""

    risk_days: int | None = None
    """Days by which the tables of shared risk end too early; null without tables."""
    bundle_seconds: int = 0
    """Since model, policy and tables were read."""


class Answer(BaseModel):
    """What is known and decided about one payment."""

    model_config = ConfigDict(frozen=True)

    transaction_id: str
    probability: float | None = None
    """Calibrated; null without a calibration, or at step ``fallback``."""
    score: float | None = None
    """The model's own."""
    margin: float | None = None
    """Its log-odds."""
    action: str | None = None
    """By the policy; null without one."""
    rule: str | None = None
    warn_only: bool = False
    step: Step
    has_state: bool = True
    """Whether features of the past were there."""
    model_sha256: str | None = None
    """Of the model that scored; null at step ``fallback``."""
    policy_sha256: str | None = None
    tables_sha256: str | None = None
    age: Age = Age()
    decided_at: int
    """UTC epoch seconds."""
    reasons: tuple[Reason, ...] = ()
    reasons_are: ReasonsKind = ReasonsKind.GIVEN
    arrival: Arrival | Literal["not-remembered"] | None = None
    """What became of the payment in the store; null if it was only scored. ``not-remembered``: the
    store did not answer; send the payment to be observed later."""


class LoggedAnswer(Answer):
    """What the decision log has of a payment."""

    challenger_sha256: str | None = None
    """Of the model that scored it in the shadow."""
    challenger_margin: float | None = None
    """Its log-odds; null until it has scored the payment, and where it failed."""


class Observed(BaseModel):
    """What became of one payment in the store."""

    transaction_id: str
    arrival: Arrival


class Answers(BaseModel):
    """One entry for each payment that was sent, in its order."""

    answers: tuple[Answer | Observed | Problem, ...]


class SentStatus(_Sent):
    """Who says it, and when."""

    time: _Time | None = None
    """UTC epoch seconds; null is now."""


class SentLabel(_Sent):
    """What was heard of a payment."""

    transaction_id: _Identifier
    status: Annotated[Status, Field(strict=False)]
    source: Annotated[LabelSource, Field(strict=False)]
    time: _Time
    """When this bank learnt it, UTC epoch seconds."""
    fraud_kind: _Code | None = None
    payment: SentPayment | None = None
    """As it was observed; needed only for one that was never scored here, so that a fraud counts
    for its payee, merchant and terminal."""

    @model_validator(mode="after")
    def _is_of_the_payment(self) -> "SentLabel":
        if self.payment is not None and self.payment.transaction_id != self.transaction_id:
            raise ValueError("payment has another transaction_id than its label")
        if self.payment is not None and self.time < self.payment.event_time:
            raise ValueError("time is before the payment")
        return self

    def heard(self) -> Heard:
        """Return it as the history keeps it."""
        return Heard(
            transaction_id=self.transaction_id,
            time=self.time,
            status=self.status,
            source=self.source,
            fraud_kind=self.fraud_kind,
        )


class SentLabels(_Sent):
    """Labels in the order in which they were learnt."""

    labels: Annotated[tuple[SentLabel, ...], Field(min_length=1, max_length=MOST_PAYMENTS)]


class Noted(BaseModel):
    """What was written down."""

    new: int
    """How many of the things were not known."""


class NotedLabels(Noted):
    """What was written down, and what could not be counted."""

    unknown_payments: tuple[str, ...] = ()
    """Transactions of frauds that the decision log does not know: they count for no payee,
    merchant or terminal until their labels are sent with ``payment``."""


class SentSwap(_Sent):
    """Which run's model to serve from now on."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    """null: files are read again."""


class Serving(BaseModel):
    """What decides at present."""

    model_sha256: str
    policy_sha256: str | None
    tables_sha256: str | None
    second_sha256: str | None
    challenger_sha256: str | None
    recipe: str | None


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str
