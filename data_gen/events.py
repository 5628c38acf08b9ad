"""Transactions inside the generator: parallel arrays of codes, which become strings on output."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.rng import FloatArray, IntArray

# Code of a value that is missing (null in the output).
NONE: Final = -1


class Channel(IntEnum):
    """How a transaction was made."""

    POS = 0
    ECOMMERCE = 1
    TRANSFER = 2
    ATM = 3


class FraudKind(IntEnum):
    """Which kind of fraud a transaction is; ``LEGITIMATE`` is written as null."""

    LEGITIMATE = -1
    CARD_NOT_PRESENT = 0
    LOST_STOLEN = 1
    COMPROMISED_TERMINAL = 2
    ACCOUNT_TAKEOVER = 3
    PUSH_PAYMENT_SCAM = 4
    MULE_CHAIN = 5
    FIRST_PARTY = 6


CHANNEL_NAMES: Final = tuple(channel.name.lower() for channel in Channel)
KIND_NAMES: Final = tuple(kind.name.lower() for kind in FraudKind if kind >= 0)


@dataclass(frozen=True)
class Events:
    """Transactions of one bank, one array entry per transaction.

    Parameters
    ----------
    time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    customer : ndarray of shape (n,), dtype=int32
        Index among the bank's customers.
    channel : ndarray of shape (n,), dtype=int8
        ``Channel`` codes.
    merchant, terminal, payee : ndarray of shape (n,), dtype=int32
        World-wide indices; ``NONE`` where there is none (never for ``merchant``).
    device : ndarray of shape (n,), dtype=int64
        Device codes (see ``entities.devices``); ``NONE`` at terminals.
    amount : ndarray of shape (n,), dtype=int64
        Minor currency units, above 0.
    kind : ndarray of shape (n,), dtype=int8
        ``FraudKind`` codes.
    episode : ndarray of shape (n,), dtype=int32
        Fraud: number of the episode among those of the bank and kind. ``NONE`` if legitimate.
    account : ndarray of shape (n,), dtype=int32
        The payer's account, an index among all payees; ``NONE`` until it is chosen.
    card : ndarray of shape (n,), dtype=int32
        Index among the bank's cards; ``NONE`` for transfers, and until it is chosen.
    is_blocked : ndarray of shape (n,), dtype=int8
        1 where the bank stopped the payment.
    is_fraud : ndarray of shape (n,), dtype=int8
        1 where the bank is told that it is fraud; not always what ``kind`` says.
    """

    time: IntArray
    customer: npt.NDArray[np.int32]
    channel: npt.NDArray[np.int8]
    merchant: npt.NDArray[np.int32]
    terminal: npt.NDArray[np.int32]
    payee: npt.NDArray[np.int32]
    device: IntArray
    amount: IntArray
    kind: npt.NDArray[np.int8]
    episode: npt.NDArray[np.int32]
    account: npt.NDArray[np.int32]
    card: npt.NDArray[np.int32]
    is_blocked: npt.NDArray[np.int8]
    is_fraud: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def build(
        cls,
        *,
        time: IntArray,
        customer: npt.NDArray[np.integer],
        channel: npt.NDArray[np.integer],
        merchant: npt.NDArray[np.integer],
        amount: npt.NDArray[np.integer],
        terminal: npt.NDArray[np.integer] | None = None,
        payee: npt.NDArray[np.integer] | None = None,
        device: npt.NDArray[np.integer] | None = None,
        kind: FraudKind = FraudKind.LEGITIMATE,
        episode: npt.NDArray[np.integer] | None = None,
        account: npt.NDArray[np.integer] | None = None,
    ) -> "Events":
        """Return events with the given columns; columns left out hold ``NONE``.

        Nothing is blocked yet, and the bank knows of no fraud.
        """
        none = np.full(len(time), NONE, dtype=np.int32)
        no = np.zeros(len(time), dtype=np.int8)
        return cls(
            time=time.astype(np.int64),
            customer=customer.astype(np.int32),
            channel=channel.astype(np.int8),
            merchant=merchant.astype(np.int32),
            terminal=none if terminal is None else terminal.astype(np.int32),
            payee=none if payee is None else payee.astype(np.int32),
            device=(none if device is None else device).astype(np.int64),
            amount=amount.astype(np.int64),
            kind=np.full(len(time), kind, dtype=np.int8),
            episode=none if episode is None else episode.astype(np.int32),
            account=none if account is None else account.astype(np.int32),
            card=none,
            is_blocked=no,
            is_fraud=no,
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Events"]) -> "Events":
        """Return the events of all parts, in their order; at least one part is needed."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def take(self, selection: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "Events":
        """Return the events at ``selection`` (indices or a mask)."""
        return Events(**{f.name: getattr(self, f.name)[selection] for f in fields(self)})

    def before(self, end_time: int) -> "Events":
        """Return the events whose time is below ``end_time``."""
        return self.take(self.time < end_time)


@dataclass(frozen=True)
class LabelledEvents:
    """Transactions of one bank, and when it learns whether each was fraud.

    Parameters
    ----------
    events : Events
    label_time : ndarray of shape (n_events,), dtype=int64
        UTC epoch seconds, never before the event.
    """

    events: Events
    label_time: IntArray

    def __len__(self) -> int:
        return len(self.events)

    @classmethod
    def concatenate(cls, parts: Sequence["LabelledEvents"]) -> "LabelledEvents":
        """Return the events of all parts, in their order; at least one part is needed."""
        return cls(
            events=Events.concatenate([part.events for part in parts]),
            label_time=np.concatenate([part.label_time for part in parts]),
        )

    def take(self, selection: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "LabelledEvents":
        """Return the events at ``selection`` (indices or a mask)."""
        return LabelledEvents(
            events=self.events.take(selection), label_time=self.label_time[selection]
        )


def to_minor(log_amount: FloatArray) -> IntArray:
    """Return ``exp(log_amount)`` as whole minor units, at least 1."""
    return np.maximum(np.rint(np.exp(log_amount)), 1.0).astype(np.int64)
