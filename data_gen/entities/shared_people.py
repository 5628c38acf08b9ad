"""People with several banks: made once for the world, and customers at each of their banks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.entities.banks import Banks
from data_gen.entities.payees import Payees
from data_gen.entities.people import People, make_people
from data_gen.entities.places import Places, Towns
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import WorldConfig

# Share of these people with three banks; the others have two.
THREE_BANKS_SHARE = 0.25
# Share of these people who move money between their own accounts.
OWN_TRANSFER_SHARE = 0.5


@dataclass(frozen=True)
class SharedPeople:
    """People with two or three banks, and which banks these are.

    Parameters
    ----------
    people : People
        ``n`` of them.
    is_customer : ndarray of shape (n, n_banks), dtype=bool
        At least two per row.
    customer : ndarray of shape (n, n_banks), dtype=int64
        Index among the bank's customers, after those with one bank; -1 if not a customer.
    activity : ndarray of shape (n,), dtype=float64
        Payments at each of the person's banks, relative to those of a customer with one bank.
    """

    people: People
    is_customer: npt.NDArray[np.bool_]
    customer: IntArray
    activity: FloatArray

    def __len__(self) -> int:
        return len(self.people)


def make_shared_people(
    config: WorldConfig, banks: Banks, towns: Towns, places: Places, payees: Payees
) -> SharedPeople:
    """Return the people who are customers of several banks, at most half of any bank's."""
    draws = stream(config.seed, Part.SHARED_PEOPLE)
    share = config.multi_bank_share if len(banks) > 1 else 0.0
    # Of P persons, share * P have 2 + THREE_BANKS_SHARE banks each, the others one.
    n = round(share * config.customers / (1.0 + share * (1.0 + THREE_BANKS_SHARE)))
    rank = _bank_ranks(banks, n, draws)
    n_banks = np.where(draws.uniform(n) < THREE_BANKS_SHARE, 3, 2)
    is_customer = rank < n_banks[:, None]
    is_customer &= np.cumsum(is_customer, axis=0) <= banks.customers // 2
    kept = is_customer.sum(axis=1) >= 2
    is_customer, rank = is_customer[kept], rank[kept]

    # At home where customers of the first of the banks live.
    home = np.zeros(len(rank), dtype=np.int64)
    first_bank = np.argmin(np.where(is_customer, rank, len(banks)), axis=1)
    for bank in range(len(banks)):
        rows = np.flatnonzero(first_bank == bank)
        home[rows] = draws.pick(banks.town_weight[bank], len(rows))
    people = make_people(config, home, towns, places, payees, draws)
    behind = banks.customers - is_customer.sum(axis=0)
    customer = np.where(is_customer, behind + np.cumsum(is_customer, axis=0) - 1, -1)
    return SharedPeople(
        people=people,
        is_customer=is_customer,
        customer=customer,
        # With k banks, a person makes sqrt(k) times as many payments as others in all.
        activity=is_customer.sum(axis=1).astype(np.float64) ** -0.5,
    )


def _bank_ranks(banks: Banks, n: int, draws: Draws) -> IntArray:
    """Return per person the banks' ranks, drawn without replacement in proportion to their sizes.

    Exponential numbers over the weights, in ascending order (Efraimidis, Spirakis, "Weighted
    random sampling with a reservoir", Inf. Process. Lett. 97, 2006).
    """
    key = draws.exponential(n, len(banks)) / banks.customers
    ranks: IntArray = np.argsort(np.argsort(key, axis=1, kind="stable"), axis=1, kind="stable")
    return ranks


def own_accounts_elsewhere(shared: SharedPeople, payees: Payees, bank: int) -> IntArray:
    """Return for each shared customer of ``bank`` the main account at the next of the banks."""
    n_banks = shared.is_customer.shape[1]
    members = np.flatnonzero(shared.is_customer[:, bank])
    others = (bank + 1 + np.arange(n_banks - 1)) % n_banks
    other = others[np.argmax(shared.is_customer[members][:, others], axis=1)]
    return payees.account(other, shared.customer[members, other])
