"""Payees of transfers: billers that many pay, and private accounts that few pay.

Accounts that later serve as mules are ordinary private accounts, so an identifier tells nothing.
"""

from dataclasses import dataclass

import numpy as np

from data_gen.config import WorldConfig
from data_gen.entities.places import PAYEE_INSTITUTIONS
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream

__all__ = ["Payees", "make_payees"]

BILLER_SHARE = 0.45


@dataclass(frozen=True)
class Payees:
    """All payees: billers first, then private accounts.

    Parameters
    ----------
    institution : ndarray of shape (n_payees,), dtype=int64
        Which institution (0 to 13) keeps the account.
    biller_weight : ndarray of shape (n_billers,), dtype=float64
        Popularity of the billers.
    """

    institution: IntArray
    biller_weight: FloatArray

    @property
    def n_billers(self) -> int:
        """Number of billers."""
        return len(self.biller_weight)

    def __len__(self) -> int:
        return len(self.institution)

    def draw(self, draws: Draws, *shape: int) -> IntArray:
        """Return payees as a customer comes to know them: billers or private accounts."""
        billers = draws.pick(self.biller_weight, *shape)
        private = self.draw_private(draws, *shape)
        return np.where(draws.uniform(*shape) < BILLER_SHARE, billers, private)

    def draw_private(self, draws: Draws, *shape: int) -> IntArray:
        """Return private accounts, each equally likely."""
        return self.n_billers + draws.below(len(self) - self.n_billers, *shape)


def make_payees(config: WorldConfig) -> Payees:
    """Return the payees of a world: 2 private accounts per customer and some billers."""
    draws = stream(config.seed, Part.PAYEES)
    n_billers = max(config.customers // 40, 20)
    n_private = 2 * config.customers
    size = np.arange(1, PAYEE_INSTITUTIONS + 1, dtype=np.float64) ** -0.8
    return Payees(
        institution=draws.pick(size, n_billers + n_private),
        biller_weight=np.arange(1, n_billers + 1, dtype=np.float64) ** -0.9,
    )
