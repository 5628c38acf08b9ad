"""Banks: unequal in size, mixes, amounts, fraud rate and columns, each by a dial."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import WorldConfig, bank_names

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
    kind_weight : ndarray of shape (n_banks, n_kinds), dtype=float64
        How often each fraud kind strikes the bank, relative to all banks; 1 without the dial
        ``dirichlet``.
    keeps_devices, keeps_places : ndarray of shape (n_banks,), dtype=bool
        Whether the bank's table holds devices, and latitudes and longitudes.
    """

    names: list[str]
    customers: IntArray
    channel_share: FloatArray
    log_amount: FloatArray
    town_weight: FloatArray
    fraud_rate: FloatArray
    kind_weight: FloatArray
    keeps_devices: npt.NDArray[np.bool_]
    keeps_places: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)


def make_banks(config: WorldConfig, town_population: FloatArray) -> Banks:
    """Return the banks of a world whose towns have the given population shares."""
    draws = stream(config.seed, Part.BANKS)
    n = config.banks
    customers = _sizes(config)
    base_channel = np.array(config.channel_share)
    channel = base_channel * np.exp(config.channel_spread * draws.normal(n, len(base_channel)))
    amounts = config.amount_spread * _spread_out(n, draws)
    rates = np.exp(config.fraud_rate_spread * _spread_out(n, draws))
    towns = town_population * np.exp(config.region_spread * draws.normal(n, len(town_population)))
    kind_weight = np.ones((n, len(config.kind_share)))
    if config.dirichlet is not None:
        channel = _dirichlet_mix(config.dirichlet, base_channel, n, draws)
        towns = _dirichlet_mix(config.dirichlet, town_population, n, draws)
        kind = np.array(config.kind_share)
        mix = _dirichlet_mix(config.dirichlet, kind, n, draws)
        kind_weight = np.divide(mix, kind / kind.sum(), out=np.zeros_like(mix), where=kind > 0.0)
    # Scaled so that the rate over all banks stays the configured one.
    rates *= config.fraud_rate / np.average(rates, weights=customers)
    missing = stream(config.seed, Part.MISSING_COLUMNS)
    return Banks(
        names=bank_names(n),
        customers=customers,
        channel_share=channel / channel.sum(axis=1, keepdims=True),
        log_amount=amounts,
        town_weight=towns / towns.sum(axis=1, keepdims=True),
        fraud_rate=rates,
        kind_weight=kind_weight,
        keeps_devices=_keepers(config, missing),
        keeps_places=_keepers(config, missing),
    )


def _dirichlet_mix(dial: float, base: FloatArray, count: int, draws: Draws) -> FloatArray:
    """Return one mix per bank, shape (count, n_values): Dirichlet of ``dial`` times ``base``."""
    share = base / base.sum()
    mix = np.zeros((count, len(base)))
    possible = np.flatnonzero(share > 0.0)
    mix[:, possible] = draws.dirichlet(np.tile(dial * share[possible], (count, 1)))
    return mix


def _keepers(config: WorldConfig, draws: Draws) -> npt.NDArray[np.bool_]:
    """Return which banks keep a column: all but a rounded share of them, drawn by lot."""
    rank = np.argsort(draws.uniform(config.banks), kind="stable")
    keeps: npt.NDArray[np.bool_] = rank >= round(config.missing_column_share * config.banks)
    return keeps


def _sizes(config: WorldConfig) -> IntArray:
    """Return customers per bank: a power law of the rank, each at least 10, exact in sum."""
    share = np.arange(1, config.banks + 1, dtype=np.float64) ** -config.size_exponent
    rest = config.customers - _MIN_CUSTOMERS * config.banks
    edges = np.rint(np.cumsum(share / share.sum()) * rest).astype(np.int64)
    sizes: IntArray = np.diff(edges, prepend=0) + _MIN_CUSTOMERS
    return sizes


def _spread_out(count: int, draws: Draws) -> FloatArray:
    """Return numbers of mean 0 and deviation 1, evenly spaced, in random order.

    A few independent normal numbers are often alike; with even spacing the dial has the same
    meaning for every seed.
    """
    order = np.argsort(draws.uniform(count), kind="stable")
    if count == 1:
        return np.zeros(1)
    even = np.linspace(-1.0, 1.0, count)
    spaced: FloatArray = even[order] / even.std()
    return spaced
