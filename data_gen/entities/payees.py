"""Payees of transfers: billers with many payers, and private accounts with few.

A private account is kept outside the consortium, or belongs to a customer of one of its banks.
Mules use ordinary private accounts, so an identifier does not give them away.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.entities.banks import Banks
from data_gen.entities.places import OUTSIDE_INSTITUTIONS
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import WorldConfig

BILLER_SHARE = 0.45
# Account numbers kept for each customer of a bank; the second one is used by some only.
ACCOUNTS_PER_CUSTOMER = 2


@dataclass(frozen=True)
class Payees:
    """All accounts: billers first, then private ones outside, then those of the banks' customers.

    Parameters
    ----------
    institution : ndarray of shape (n_payees,), dtype=int32
        Which institution keeps the account: 0 to 13 outside, then the banks in their order.
    biller_weight : ndarray of shape (n_billers,), dtype=float64
        Popularity of the billers.
    bank_start : ndarray of shape (n_banks + 1,), dtype=int64
        First account of each bank's customers; then the number of all accounts.
    """

    institution: npt.NDArray[np.int32]
    biller_weight: FloatArray
    bank_start: IntArray

    @property
    def n_billers(self) -> int:
        """Number of billers."""
        return len(self.biller_weight)

    def __len__(self) -> int:
        return len(self.institution)

    def account(
        self,
        bank: int | IntArray,
        customer: npt.NDArray[np.integer],
        slot: int | npt.NDArray[np.integer] = 0,
    ) -> IntArray:
        """Return a customer's account in ``slot``: 0 the main one, 1 the second."""
        account: IntArray = self.bank_start[bank] + ACCOUNTS_PER_CUSTOMER * customer + slot
        return account

    def bank_of(self, account: npt.NDArray[np.integer]) -> IntArray:
        """Return the bank that keeps each account; -1 outside the consortium."""
        found: IntArray = np.searchsorted(self.bank_start, account, side="right") - 1
        return found

    def customer_of(self, account: npt.NDArray[np.integer]) -> IntArray:
        """Return the owner of each account that a bank keeps, among that bank's customers."""
        owner: IntArray = (account - self.bank_start[self.bank_of(account)]) // (
            ACCOUNTS_PER_CUSTOMER
        )
        return owner

    def draw(self, draws: Draws, *shape: int) -> IntArray:
        """Return payees as a customer comes to know them: billers or private accounts."""
        billers = draws.pick(self.biller_weight, *shape)
        private = self.draw_private(draws, *shape)
        return np.where(draws.uniform(*shape) < BILLER_SHARE, billers, private)

    def draw_private(self, draws: Draws, *shape: int) -> IntArray:
        """Return private accounts, outside or some customer's main one, each equally likely."""
        first_member = int(self.bank_start[0])
        n_outside = first_member - self.n_billers
        n_members = (len(self) - first_member) // ACCOUNTS_PER_CUSTOMER
        number = draws.below(n_outside + n_members, *shape)
        member = first_member + ACCOUNTS_PER_CUSTOMER * (number - n_outside)
        return np.where(number < n_outside, self.n_billers + number, member)

    def draw_outside(self, draws: Draws, *shape: int) -> IntArray:
        """Return private accounts that no bank of the consortium keeps, each equally likely."""
        n_outside = int(self.bank_start[0]) - self.n_billers
        return self.n_billers + draws.below(n_outside, *shape)


def make_payees(config: WorldConfig, banks: Banks) -> Payees:
    """Return the payees of a world: some billers, and one outside account per customer."""
    draws = stream(config.seed, Part.PAYEES)
    n_billers = max(config.customers // 40, 20)
    n_outside = n_billers + config.customers
    size = np.arange(1, OUTSIDE_INSTITUTIONS + 1, dtype=np.float64) ** -0.8
    kept = np.repeat(
        OUTSIDE_INSTITUTIONS + np.arange(len(banks)), ACCOUNTS_PER_CUSTOMER * banks.customers
    )
    bank_end = n_outside + ACCOUNTS_PER_CUSTOMER * np.cumsum(banks.customers)
    return Payees(
        institution=np.concatenate((draws.pick(size, n_outside), kept)).astype(np.int32),
        biller_weight=np.arange(1, n_billers + 1, dtype=np.float64) ** -0.9,
        bank_start=np.concatenate(([n_outside], bank_end)),
    )
