"""Customers of one bank: people with this bank alone, then people with several banks."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from data_gen.entities.banks import Banks
from data_gen.entities.devices import owned_device, shared_person_device
from data_gen.entities.payees import Payees
from data_gen.entities.people import People, make_people
from data_gen.entities.places import Places, Towns
from data_gen.entities.shared_people import OWN_TRANSFER_SHARE, SharedPeople, own_accounts_elsewhere
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import WorldConfig

# Customers are made and act in blocks of this size, each with its own streams.
BLOCK_CUSTOMERS = 2_048
# Share of customers with a second account at the same bank.
SECOND_ACCOUNT_CUSTOMER_SHARE = 0.25


@dataclass(frozen=True)
class Customers(People):
    """People as customers of one bank; all arrays have ``n`` entries on axis 0.

    ``log_budget`` includes what sets the bank apart.

    Parameters
    ----------
    channel_cumulative : ndarray of shape (n, 4), dtype=float64
        Cumulative channel shares.
    first_device : ndarray of shape (n,), dtype=int64
        Code of the device in slot 0, the same at every bank of the person.
    has_second_account : ndarray of shape (n,), dtype=bool
    """

    channel_cumulative: FloatArray
    first_device: IntArray
    has_second_account: npt.NDArray[np.bool_]

    def device(
        self, customer: npt.NDArray[np.integer], slot: int | npt.NDArray[np.integer]
    ) -> IntArray:
        """Return the code of a customer's device: 0 main, 1 second, 2 the main one's successor."""
        code: IntArray = self.first_device[customer] + slot
        return code

    def main_device(self, customer: npt.NDArray[np.integer], time: IntArray) -> IntArray:
        """Return the main device at ``time``: the first one or its successor."""
        return self.device(customer, self.main_slot(customer, time))

    def main_slot(self, customer: npt.NDArray[np.integer], time: IntArray) -> IntArray:
        """Return the slot of the customer's main device at ``time``: 0, later 2."""
        return np.where(time >= self.phone_time[customer], 2, 0)


def customer_blocks(customers: int) -> int:
    """Return the number of blocks of that many customers."""
    return -(-customers // BLOCK_CUSTOMERS)


def make_customers(
    config: WorldConfig,
    banks: Banks,
    bank: int,
    towns: Towns,
    places: Places,
    payees: Payees,
    shared: SharedPeople,
) -> Customers:
    """Return all customers of one bank: people with this bank alone, then people with several."""
    members = np.flatnonzero(shared.is_customer[:, bank])
    n_own = int(banks.customers[bank]) - len(members)
    parts = []
    for start in range(0, n_own, BLOCK_CUSTOMERS):
        draws = stream(config.seed, Part.CUSTOMERS, bank, start // BLOCK_CUSTOMERS)
        number = np.arange(start, min(start + BLOCK_CUSTOMERS, n_own))
        home = draws.pick(banks.town_weight[bank], len(number))
        people = make_people(config, home, towns, places, payees, draws)
        first_device = owned_device(bank, number)
        parts.append(_join(people, banks, bank, first_device, draws))
    if len(members):
        draws = stream(config.seed, Part.SHARED_PEOPLE, bank)
        parts.append(_shared_customers(shared, members, banks, bank, payees, draws))
    return Customers.concatenate(parts)


def _shared_customers(
    shared: SharedPeople,
    members: IntArray,
    banks: Banks,
    bank: int,
    payees: Payees,
    draws: Draws,
) -> Customers:
    """Return the customers with several banks; their first payee may be their account elsewhere."""
    customers = _join(
        shared.people.take(members), banks, bank, shared_person_device(members), draws
    )
    elsewhere = own_accounts_elsewhere(shared, payees, bank)
    moves = draws.uniform(len(members)) < OWN_TRANSFER_SHARE
    first_payee = np.where(moves, elsewhere, customers.payees[:, 0])
    # At most four accounts a person: with three banks, two accounts only at the first of them.
    is_customer = shared.is_customer[members]
    may_have_two = (is_customer.sum(axis=1) == 2) | (np.argmax(is_customer, axis=1) == bank)
    return replace(
        customers,
        payees=np.column_stack((first_payee, customers.payees[:, 1:])),
        rate=customers.rate * shared.activity[members],
        has_second_account=customers.has_second_account & may_have_two,
    )


def _join(
    people: People, banks: Banks, bank: int, first_device: IntArray, draws: Draws
) -> Customers:
    """Return people as customers of a bank."""
    n = len(people)
    share = banks.channel_share[bank] * np.exp(people.log_channel)
    values = {f.name: getattr(people, f.name) for f in fields(People)}
    values["log_budget"] = people.log_budget + banks.log_amount[bank]
    return Customers(
        **values,
        channel_cumulative=np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1),
        first_device=first_device,
        has_second_account=draws.uniform(n) < SECOND_ACCOUNT_CUSTOMER_SHARE,
    )
