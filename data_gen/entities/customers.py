"""Customers of one bank: home, budget, habits, hours, payday, devices, favourites, trips."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from data_gen.config import DAY_SECONDS, WorldConfig
from data_gen.entities.banks import Banks
from data_gen.entities.payees import Payees
from data_gen.entities.places import Places, Towns
from data_gen.rng import FloatArray, IntArray, Part, stream

__all__ = [
    "BLOCK_CUSTOMERS",
    "FAVOURITES",
    "PAYDAYS",
    "PAYEE_SLOTS",
    "Customers",
    "customer_blocks",
    "make_customers",
]

# Customers are made and act in blocks of this size, each with its own streams.
BLOCK_CUSTOMERS = 2_048
PAYDAYS = (1, 15, 25, 28)
FAVOURITES = 10
# The first half of the payees is known from the start; the others are met on a random day.
PAYEE_SLOTS = 8
# Share of customers with a second account at the same bank.
SECOND_ACCOUNT_SHARE = 0.25

# Mean days between replacements of the main device, and between trips of a traveller.
_PHONE_DAYS = 700.0
_TRIP_DAYS = 200.0


@dataclass(frozen=True)
class Customers:
    """Customers of a bank or of a block of it; all arrays have ``n`` entries on axis 0.

    Parameters
    ----------
    home : ndarray of shape (n,), dtype=int64
        Town.
    log_budget : ndarray of shape (n,), dtype=float64
        Added to the log of amounts.
    rate : ndarray of shape (n,), dtype=float64
        Everyday transactions per day.
    channel_cumulative : ndarray of shape (n, 4), dtype=float64
        Cumulative channel shares.
    hour_shift : ndarray of shape (n,), dtype=float64
        Hours by which the customer's day is later than the usual one.
    payday : ndarray of shape (n,), dtype=int64
        Index into ``PAYDAYS``.
    second_device_share : ndarray of shape (n,), dtype=float64
        Share of online payments from the second device.
    phone_time : ndarray of shape (n,), dtype=int64
        When the main device is replaced; after the period for most.
    trip_start, trip_end : ndarray of shape (n,), dtype=int64
        One trip; empty (start after the period) for most.
    trip_town : ndarray of shape (n,), dtype=int64
    terminals, shops : ndarray of shape (n, FAVOURITES), dtype=int64
        Favourite terminals at home and favourite online merchants.
    payees : ndarray of shape (n, PAYEE_SLOTS), dtype=int64
        Payees the customer pays again and again.
    payee_log_amount : ndarray of shape (n, PAYEE_SLOTS), dtype=float64
        Usual log amount of each.
    payee_since : ndarray of shape (n, PAYEE_SLOTS), dtype=int64
        When the customer first may pay each.
    has_second_account : ndarray of shape (n,), dtype=bool
    """

    home: IntArray
    log_budget: FloatArray
    rate: FloatArray
    channel_cumulative: FloatArray
    hour_shift: FloatArray
    payday: IntArray
    second_device_share: FloatArray
    phone_time: IntArray
    trip_start: IntArray
    trip_end: IntArray
    trip_town: IntArray
    terminals: IntArray
    shops: IntArray
    payees: IntArray
    payee_log_amount: FloatArray
    payee_since: IntArray
    has_second_account: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.home)

    def main_slot(self, customer: npt.NDArray[np.integer], time: IntArray) -> IntArray:
        """Return the slot of the customer's main device at ``time``: 0, later 2."""
        return np.where(time >= self.phone_time[customer], 2, 0)


def customer_blocks(customers: int) -> int:
    """Return the number of blocks of that many customers."""
    return -(-customers // BLOCK_CUSTOMERS)


def make_customers(
    config: WorldConfig, banks: Banks, bank: int, towns: Towns, places: Places, payees: Payees
) -> Customers:
    """Return all customers of one bank, made block by block."""
    n = int(banks.customers[bank])
    blocks = [
        _make_block(config, banks, bank, start // BLOCK_CUSTOMERS, count, towns, places, payees)
        for start in range(0, n, BLOCK_CUSTOMERS)
        for count in [min(BLOCK_CUSTOMERS, n - start)]
    ]
    return Customers(
        **{f.name: np.concatenate([getattr(b, f.name) for b in blocks]) for f in fields(Customers)}
    )


def _make_block(
    config: WorldConfig,
    banks: Banks,
    bank: int,
    block: int,
    n: int,
    towns: Towns,
    places: Places,
    payees: Payees,
) -> Customers:
    draws = stream(config.seed, Part.CUSTOMERS, bank, block)
    span = config.days * DAY_SECONDS
    home = draws.pick(banks.town_weight[bank], n)
    share = banks.channel_share[bank] * np.exp(0.45 * draws.normal(n, 4))
    rate_spread = 0.55
    rate = config.transactions_per_day * np.exp(
        rate_spread * draws.normal(n) - rate_spread**2 / 2.0
    )
    trip_start = config.start_time + (draws.exponential(n) * _TRIP_DAYS * DAY_SECONDS).astype(
        np.int64
    )
    trip_length = (draws.uniform(n, low=3.0, high=15.0) * DAY_SECONDS).astype(np.int64)
    known = np.arange(PAYEE_SLOTS) < PAYEE_SLOTS // 2
    met = (draws.uniform(n, PAYEE_SLOTS) * span).astype(np.int64)
    return Customers(
        home=home,
        log_budget=banks.log_amount[bank] + 0.45 * draws.normal(n),
        rate=rate,
        channel_cumulative=np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1),
        hour_shift=1.3 * draws.normal(n),
        payday=draws.pick(np.array([0.40, 0.15, 0.25, 0.20]), n),
        second_device_share=np.maximum(draws.uniform(n, low=-0.35, high=0.45), 0.0),
        phone_time=config.start_time
        + (draws.exponential(n) * _PHONE_DAYS * DAY_SECONDS).astype(np.int64),
        trip_start=trip_start,
        trip_end=trip_start + trip_length,
        trip_town=draws.below(len(towns), n),
        terminals=places.pos_pool.draw(
            np.repeat(home[:, None], FAVOURITES, axis=1), draws.uniform(n, FAVOURITES)
        ),
        shops=places.online_pool.draw(
            np.zeros((n, FAVOURITES), dtype=np.int64), draws.uniform(n, FAVOURITES)
        ),
        payees=payees.draw(draws, n, PAYEE_SLOTS),
        payee_log_amount=np.log(100.0) + 4.4 + 0.9 * draws.normal(n, PAYEE_SLOTS),
        payee_since=config.start_time + np.where(known, 0, met),
        has_second_account=draws.uniform(n) < SECOND_ACCOUNT_SHARE,
    )
