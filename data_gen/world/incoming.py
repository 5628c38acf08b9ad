"""What arrives at each bank: the transfers of all banks to the accounts of its customers.

The receiving bank has the payment at once, and the label later: a customer of the payer's bank
reports the fraud, and that bank tells the receiving one. Money from outside the consortium is not
in the world.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.entities.world_parts import SharedWorld
from data_gen.events import Channel, FraudKind, LabelledEvents
from data_gen.rng import Draws, IntArray
from data_gen.settings.config import DAY_SECONDS

# The kinds of fraud that bring a mule money. First-party fraud is the payer's own.
STOLEN: Final = (FraudKind.ACCOUNT_TAKEOVER, FraudKind.PUSH_PAYMENT_SCAM, FraudKind.MULE_CHAIN)


@dataclass(frozen=True)
class Arrivals:
    """Payments that arrive at one bank; arrays have a row per payment.

    Parameters
    ----------
    time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    sender : ndarray of shape (n,), dtype=int32
        The payer's bank.
    number : ndarray of shape (n,), dtype=int64
        Of the transaction among those of the payer's bank.
    payer, payee : ndarray of shape (n,), dtype=int32
        Accounts.
    merchant : ndarray of shape (n,), dtype=int32
        The institution that keeps the payee's account.
    amount : ndarray of shape (n,), dtype=int64
        Minor currency units.
    kind : ndarray of shape (n,), dtype=int8
        ``FraudKind`` codes: the truth.
    is_fraud : ndarray of shape (n,), dtype=int8
        What the payer's bank was told in the end.
    label_time : ndarray of shape (n,), dtype=int64
        When, UTC epoch seconds.
    """

    time: IntArray
    sender: npt.NDArray[np.int32]
    number: IntArray
    payer: npt.NDArray[np.int32]
    payee: npt.NDArray[np.int32]
    merchant: npt.NDArray[np.int32]
    amount: IntArray
    kind: npt.NDArray[np.int8]
    is_fraud: npt.NDArray[np.int8]
    label_time: IntArray

    def __len__(self) -> int:
        return len(self.time)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def is_stolen(self) -> npt.NDArray[np.bool_]:
        """Return which payments are stolen money; shape (n,)."""
        return np.isin(self.kind, STOLEN)


def arrivals_at(
    world: SharedWorld, receiver: int, sender: int, rows: LabelledEvents, first_number: int
) -> Arrivals:
    """Return what of a sender's transactions arrives at a bank.

    Parameters
    ----------
    world : SharedWorld
    receiver, sender : int
        Banks.
    rows : LabelledEvents
        Of the sender, in the order of its file.
    first_number : int
        Number of the first of them among its transactions; the others follow.
    """
    events = rows.events
    sent = (events.channel == Channel.TRANSFER) & (events.is_blocked == 0)
    here = np.flatnonzero(sent & (world.payees.bank_of(events.payee) == receiver))
    return Arrivals(
        time=events.time[here],
        sender=np.full(len(here), sender, dtype=np.int32),
        number=(first_number + here).astype(np.int64),
        payer=events.account[here],
        payee=events.payee[here],
        merchant=events.merchant[here],
        amount=events.amount[here],
        kind=events.kind[here],
        is_fraud=events.is_fraud[here],
        label_time=rows.label_time[here],
    )


def told_times(arrivals: Arrivals, receiver: int, mean_days: float, draws: Draws) -> IntArray:
    """Return when the receiving bank learns each label.

    Parameters
    ----------
    arrivals : Arrivals
    receiver : int
        Bank.
    mean_days : float
        From the report at the payer's bank until the receiving one is told.
    draws : Draws
        One number is drawn for each payment, so that pieces give what the whole gives.

    Returns
    -------
    ndarray of shape (n,), dtype=int64
        UTC epoch seconds, not before the label time at the payer's bank.
    """
    later = (draws.exponential(len(arrivals)) * mean_days * DAY_SECONDS).astype(np.int64)
    told = (arrivals.is_fraud == 1) & (arrivals.sender != receiver)
    return arrivals.label_time + np.where(told, later, 0)
