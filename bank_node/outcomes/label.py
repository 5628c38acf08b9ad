"""What a bank hears of a payment, and what it means for the payment's label.

Laws: the label as of T follows from what was heard strictly before T, as windows of training label
payments (``fraudfed.intake.windows.labels_as_of``); what is heard later changes nothing of it. For
a payment of which one thing was heard, the label as of T is that of a file with one final label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ConfigDict

from fraudfed.payments.columns import MAX_EPOCH_SECONDS


class Status(StrEnum):
    """What is heard of a payment."""

    REPORTED = "reported"
    """Somebody says that it was fraud. It counts as fraud from then on."""
    CONFIRMED_FRAUD = "confirmed_fraud"
    CONFIRMED_GENUINE = "confirmed_genuine"
    NO_ANSWER = "no_answer"
    """The customer was asked and did not answer: nothing is known that was not before."""
    REVERSED = "reversed"
    """A report or chargeback was taken back: the payment counts as genuine again."""
    FIRST_PARTY = "first_party"
    """The customer's own doing: no fraud on the customer, and nothing to warn of the payee."""
    DECLINED = "declined"
    """The payment did not go through."""
    EXECUTED = "executed"
    """The payment went through, after all."""
    PAYMENT_REVERSED = "payment_reversed"
    """The payment went through and was taken back. No word about fraud."""


class LabelSource(StrEnum):
    """From where it is heard."""

    CUSTOMER = "customer"
    SCHEME = "scheme"
    CHARGEBACK = "chargeback"
    ANALYST = "analyst"
    SYSTEM = "system"
    """A program of the bank, as one that executes payments."""


_FRAUD = frozenset({Status.REPORTED, Status.CONFIRMED_FRAUD})
_CLEAN = frozenset({Status.CONFIRMED_GENUINE, Status.REVERSED, Status.FIRST_PARTY})
_OF_PAYMENT = frozenset({Status.DECLINED, Status.EXECUTED, Status.PAYMENT_REVERSED})


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One thing heard of one payment.

    Attributes
    ----------
    transaction_id : str
    time : int
        When the bank learnt it, UTC epoch seconds.
    status : Status
    source : LabelSource
    fraud_kind : str or None
        As ``payments.fraud_kinds`` names it, or as the bank does.
    never_revised : bool
        It is the one final label of a bank that keeps no history.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    transaction_id: str
    time: int
    status: Status
    source: LabelSource
    fraud_kind: str | None = None
    never_revised: bool = False

    def __post_init__(self) -> None:
        if not self.transaction_id:
            raise ValueError("transaction_id is empty")
        if not 0 <= self.time < MAX_EPOCH_SECONDS:
            raise ValueError(f"time is {self.time}, expected UTC epoch seconds")


@dataclass(frozen=True)
class Label:
    """What is known of a payment at some time: the columns of a file of transactions.

    Attributes
    ----------
    is_fraud : int or None
        None if nothing that decides was heard.
    label_time : int or None
        For fraud the report; else when it was cleared.
    is_blocked : bool
        It did not go through, or was taken back.
    status : Status
        The last that was heard.
    fraud_kind : str or None
        The last kind that was named, if it counts as fraud; ``first_party`` if it is that.
    never_revised : bool
    """

    is_fraud: int | None
    label_time: int | None
    is_blocked: bool
    status: Status
    fraud_kind: str | None
    never_revised: bool


def label_of(history: Sequence[Heard], as_of: int) -> Label | None:
    """Return what is known of a payment at a time; None if nothing was heard before it.

    Parameters
    ----------
    history : sequence of Heard
        Of one payment, in the order of arrival. Of two at one second the later one counts.
    as_of : int
        UTC epoch seconds.
    """
    known = sorted((each for each in history if each.time < as_of), key=lambda each: each.time)
    if not known:
        return None
    is_fraud, label_time, kind, is_blocked = None, None, None, False
    for each in known:
        if each.status in _OF_PAYMENT:
            is_blocked = each.status is not Status.EXECUTED
        elif each.status in _FRAUD:
            if is_fraud != 1:
                # A confirmation of what was reported tells nothing new: the report is the label.
                is_fraud, label_time, kind = 1, each.time, None
            kind = each.fraud_kind or kind
        elif each.status in _CLEAN:
            is_fraud, label_time = 0, each.time
            kind = Status.FIRST_PARTY.value if each.status is Status.FIRST_PARTY else None
    return Label(
        is_fraud=is_fraud,
        label_time=label_time,
        is_blocked=is_blocked,
        status=known[-1].status,
        fraud_kind=kind,
        never_revised=known[-1].never_revised,
    )
