"""Banks: unequal in size, channel mix, amounts, region and fraud rate, each by a dial."""

from dataclasses import dataclass

import numpy as np

from data_gen.config import WorldConfig, bank_names
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream

__all__ = ["Banks", "make_banks"]

# Share of everyday transactions by channel (pos, ecommerce, transfer, atm) over all banks.
CHANNEL_SHARE = np.array([0.52, 0.25, 0.15, 0.08])
_MIN_CUSTOMERS = 10


@dataclass(frozen=True)
class Banks:
    """All banks, largest first.

    Parameters
    ----------
    names : list of str
    customers : ndarray of shape (n_banks,), dtype=int64
        Number of customers of each bank.
    channel_share : ndarray of shape (n_banks, 4), dtype=float64
        Share of everyday transactions by channel; rows sum to 1.
    log_amount : ndarray of shape (n_banks,), dtype=float64
        Added to the log of every legitimate amount.
    town_weight : ndarray of shape (n_banks, n_towns), dtype=float64
        Where the bank's customers live; rows sum to 1.
    fraud_rate : ndarray of shape (n_banks,), dtype=float64
        Expected share of fraudulent transactions.
    """

    names: list[str]
    customers: IntArray
    channel_share: FloatArray
    log_amount: FloatArray
    town_weight: FloatArray
    fraud_rate: FloatArray

    def __len__(self) -> int:
        return len(self.names)


def make_banks(config: WorldConfig, town_population: FloatArray) -> Banks:
    """Return the banks of a world whose towns have the given population shares."""
    draws = stream(config.seed, Part.BANKS)
    n = config.banks
    customers = _sizes(config)
    channel = CHANNEL_SHARE * np.exp(config.channel_spread * draws.normal(n, len(CHANNEL_SHARE)))
    amounts = config.amount_spread * _spread_out(n, draws)
    rates = np.exp(config.fraud_rate_spread * _spread_out(n, draws))
    towns = town_population * np.exp(config.region_spread * draws.normal(n, len(town_population)))
    # The rate over all banks stays the configured one, whatever the banks' own rates are.
    rates *= config.fraud_rate / np.average(rates, weights=customers)
    return Banks(
        names=bank_names(n),
        customers=customers,
        channel_share=channel / channel.sum(axis=1, keepdims=True),
        log_amount=amounts,
        town_weight=towns / towns.sum(axis=1, keepdims=True),
        fraud_rate=rates,
    )


def _sizes(config: WorldConfig) -> IntArray:
    """Return customers per bank: a power law of the rank, each at least 10, exact in sum."""
    share = np.arange(1, config.banks + 1, dtype=np.float64) ** -config.size_exponent
    rest = config.customers - _MIN_CUSTOMERS * config.banks
    edges = np.rint(np.cumsum(share / share.sum()) * rest).astype(np.int64)
    sizes: IntArray = np.diff(edges, prepend=0) + _MIN_CUSTOMERS
    return sizes


def _spread_out(count: int, draws: Draws) -> FloatArray:
    """Return numbers of mean 0 and deviation 1, evenly spaced, in random order.

    With few banks independent normal numbers often come out alike; even spacing keeps the dial
    meaning the same for every seed.
    """
    order = np.argsort(draws.uniform(count), kind="stable")
    if count == 1:
        return np.zeros(1)
    even = np.linspace(-1.0, 1.0, count)
    spaced: FloatArray = even[order] / even.std()
    return spaced
