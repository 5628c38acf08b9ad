"""People: home, budget, habits, hours, payday, favourites, trips; the same at every bank."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from data_gen.entities.payees import Payees
from data_gen.entities.places import Places, Towns
from data_gen.rng import Draws, FloatArray, IntArray
from data_gen.settings.config import DAY_SECONDS, WorldConfig

PAYDAYS = (1, 15, 25, 28)
FAVOURITES = 10
# The first half of the payees is known from the start; the others are met on a random day.
PAYEE_SLOTS = 8

# Mean days between replacements of the main device, and between trips of a traveller.
_PHONE_DAYS = 700.0
_TRIP_DAYS = 200.0


@dataclass(frozen=True)
class People:
    """People, independent of their banks; all arrays have ``n`` entries on axis 0.

    Parameters
    ----------
    home : ndarray of shape (n,), dtype=int64
        Town.
    log_budget : ndarray of shape (n,), dtype=float64
        Added to the log of amounts.
    rate : ndarray of shape (n,), dtype=float64
        Everyday transactions per day.
    log_channel : ndarray of shape (n, 4), dtype=float64
        Added to the logs of the bank's channel shares.
    hour_shift : ndarray of shape (n,), dtype=float64
        Hours by which the person's day is later than the usual one.
    payday : ndarray of shape (n,), dtype=int64
        Index into ``PAYDAYS``.
    second_device_share : ndarray of shape (n,), dtype=float64
        Share of online payments from the second device.
    phone_time : ndarray of shape (n,), dtype=int64
        When the main device is replaced, UTC epoch seconds; after the period for most.
    trip_start, trip_end : ndarray of shape (n,), dtype=int64
        One trip; empty (start after the period) for most.
    trip_town : ndarray of shape (n,), dtype=int64
    terminals, shops : ndarray of shape (n, FAVOURITES), dtype=int64
        Favourite terminals at home and favourite online merchants.
    payees : ndarray of shape (n, PAYEE_SLOTS), dtype=int64
        The person's regular payees.
    payee_log_amount : ndarray of shape (n, PAYEE_SLOTS), dtype=float64
        Usual log amount of each.
    payee_since : ndarray of shape (n, PAYEE_SLOTS), dtype=int64
        UTC epoch seconds of the first possible payment to each.
    """

    home: IntArray
    log_budget: FloatArray
    rate: FloatArray
    log_channel: FloatArray
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

    def __len__(self) -> int:
        return len(self.home)

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """Return the entries of all parts, in their order; at least one part is needed."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )

    def take(self, selection: npt.NDArray[np.integer]) -> Self:
        """Return the entries at ``selection``."""
        return type(self)(**{f.name: getattr(self, f.name)[selection] for f in fields(self)})


def make_people(
    config: WorldConfig, home: IntArray, towns: Towns, places: Places, payees: Payees, draws: Draws
) -> People:
    """Return people who live in the given towns.

    Parameters
    ----------
    home : ndarray of shape (n,), dtype=int64
    """
    n = len(home)
    span = config.days * DAY_SECONDS
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
    return People(
        home=home,
        log_budget=0.45 * draws.normal(n),
        rate=rate,
        log_channel=0.45 * draws.normal(n, len(config.channel_share)),
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
    )
