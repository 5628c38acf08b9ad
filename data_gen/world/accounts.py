"""Choose the payer's account and card for each payment."""

from dataclasses import replace

import numpy as np

from data_gen.entities.payees import ACCOUNTS_PER_CUSTOMER
from data_gen.entities.world_parts import BankSide
from data_gen.events import NONE, Channel, Events
from data_gen.rng import Draws

# Share of payments from the second account, for customers with two.
SECOND_ACCOUNT_PAYMENT_SHARE = 0.30


def choose_accounts(side: BankSide, events: Events, draws: Draws) -> Events:
    """Return the events with the payer's account and card; an account already set is kept.

    Each account has one card. A card is numbered like the account among those of the bank.
    """
    first = side.world.payees.bank_start[side.bank]
    second = draws.uniform(len(events)) < SECOND_ACCOUNT_PAYMENT_SHARE
    second &= side.customers.has_second_account[events.customer]
    number = ACCOUNTS_PER_CUSTOMER * events.customer + second
    account = np.where(events.account == NONE, first + number, events.account)
    card = np.where(events.channel == Channel.TRANSFER, NONE, account - first)
    return replace(events, account=account.astype(np.int32), card=card.astype(np.int32))
