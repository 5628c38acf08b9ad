"""Campaigns: gangs with a tactic of their own that start at one bank and move to the next.

All fraud belongs to a campaign. A campaign has one fraud kind, a profile (hours, amounts,
categories, mule accounts, devices, a compromised terminal or merchant) and, per bank, a window
of time. The windows of a campaign follow each other round the ring of banks.

How strongly a kind strikes bank ``b`` of ``B`` at the relative time ``u`` in [0, 1] is::

    exp(spread * (cos(2 pi (k / K + travel * u - b / B)) - 1))

Each bank has its dominant kinds, and the kinds move on: a bank meets late what others met early.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.categories import category_index
from data_gen.config import DAY_SECONDS, WorldConfig
from data_gen.entities.devices import DeviceOwner, unique_devices
from data_gen.entities.payees import Payees
from data_gen.events import FraudKind
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.world_parts import SharedWorld

__all__ = ["KINDS", "Campaigns", "kind_strength", "make_campaigns"]

KINDS = tuple(kind for kind in FraudKind if 0 <= kind < FraudKind.MULE_CHAIN)

# Share of fraudulent transactions by kind, over all banks and the whole period.
KIND_SHARE = np.array([0.30, 0.17, 0.23, 0.14, 0.16])
# By kind. Few, large campaigns against terminals: a compromised terminal stays so for weeks.
EPISODES_PER_CAMPAIGN = np.array([8.0, 5.0, 35.0, 8.0, 12.0])
# Days: a campaign's window at one bank, by kind, and from one bank's window to the next one's.
WINDOW_DAYS = np.array([[8.0, 20.0], [8.0, 20.0], [20.0, 45.0], [8.0, 20.0], [10.0, 25.0]])
LAG_DAYS = (4.0, 12.0)

MULES_PER_CAMPAIGN = 3
MULE_CANDIDATES = 3
DEVICES_PER_CAMPAIGN = 6
CATEGORIES_PER_CAMPAIGN = 3
TARGET_CATEGORIES = (
    "electronics",
    "fashion",
    "travel",
    "digital_goods",
    "gaming",
    "gift_cards",
    "jewellery",
    "sports",
)
# The hour around which each kind works best, and how far gangs differ in it (uniform, hours).
HOUR_CENTRE = np.array([23.0, 17.0, 15.0, 2.0, 13.0])
HOUR_RANGE = np.array([7.0, 4.0, 4.0, 6.0, 3.0])


@dataclass(frozen=True)
class Campaigns:
    """Campaigns of one kind; arrays have ``n`` campaigns on axis 0.

    Parameters
    ----------
    kind : FraudKind
    window_start, window_end : ndarray of shape (n, n_banks), dtype=int64
        When the campaign works at each bank, clipped to the period; empty where it never does.
    weight : ndarray of shape (n, n_banks), dtype=float64
        Relative strength at each bank; 0 where the window is empty.
    hour : ndarray of shape (n,), dtype=float64
        Hour of the day around which episodes start.
    log_amount : ndarray of shape (n,), dtype=float64
        Added to the log of amounts.
    categories : ndarray of shape (n, CATEGORIES_PER_CAMPAIGN), dtype=int64
        Preferred merchant categories.
    mules : ndarray of shape (n, MULES_PER_CAMPAIGN), dtype=int64
        Payees that take the money; the same at every bank.
    devices : ndarray of shape (n, DEVICES_PER_CAMPAIGN), dtype=int64
        Device codes; the same at every bank.
    terminal : ndarray of shape (n,), dtype=int64
        Compromised terminal; used by campaigns against terminals.
    shop : ndarray of shape (n,), dtype=int64
        Compromised online merchant; used where ``at_shop``.
    at_shop : ndarray of shape (n,), dtype=bool
    """

    kind: FraudKind
    window_start: IntArray
    window_end: IntArray
    weight: FloatArray
    hour: FloatArray
    log_amount: FloatArray
    categories: IntArray
    mules: IntArray
    devices: IntArray
    terminal: IntArray
    shop: IntArray
    at_shop: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.hour)


def kind_strength(
    config: WorldConfig, kind: FraudKind, bank: IntArray, u: FloatArray
) -> FloatArray:
    """Return how strongly ``kind`` strikes ``bank`` at relative time ``u``, in (0, 1]."""
    turn = kind / len(KINDS) + config.fraud_travel * u - bank / config.banks
    return np.exp(config.fraud_mix_spread * (np.cos(2.0 * np.pi * turn) - 1.0))


def make_campaigns(world: SharedWorld, kind: FraudKind, expected_episodes: float) -> Campaigns:
    """Return the campaigns of one kind, enough for ``expected_episodes`` over all banks."""
    config = world.config
    draws = stream(config.seed, Part.CAMPAIGNS, int(kind))
    # Shorter periods and smaller worlds still get some campaigns, so that kinds do not vanish.
    n = max(round(expected_episodes / EPISODES_PER_CAMPAIGN[kind]), 3)
    start, end, weight = _windows(config, kind, n, draws)
    places, payees = world.places, world.payees
    targets = np.array([category_index(name) for name in TARGET_CATEGORIES])
    town = draws.pick(world.towns.population, n)
    hour_range = HOUR_RANGE[kind]
    device_number = (int(kind) << 32) + np.arange(n * DEVICES_PER_CAMPAIGN)
    return Campaigns(
        kind=kind,
        window_start=start,
        window_end=end,
        weight=weight,
        hour=(HOUR_CENTRE[kind] + draws.uniform(n, low=-hour_range, high=hour_range)) % 24.0,
        log_amount=0.30 * draws.normal(n),
        categories=targets[draws.below(len(targets), n, CATEGORIES_PER_CAMPAIGN)],
        mules=_mules(payees, n, draws),
        devices=unique_devices(DeviceOwner.CAMPAIGN, 0, device_number).reshape(n, -1),
        terminal=places.pos_pool.draw(town, draws.uniform(n)),
        shop=places.online_pool.draw(np.zeros(n, dtype=np.int64), draws.uniform(n)),
        at_shop=draws.uniform(n) < 0.35,
    )


def _mules(payees: Payees, n: int, draws: Draws) -> IntArray:
    """Return mule accounts: private ones, more often at the smaller institutions.

    Accounts there are opened faster. Of three candidates the one whose institution is smallest
    (institutions are numbered by size) becomes the mule.
    """
    candidates = payees.draw_private(draws, n, MULES_PER_CAMPAIGN, MULE_CANDIDATES)
    smallest = np.argmax(payees.institution[candidates], axis=2)
    mules: IntArray = np.take_along_axis(candidates, smallest[:, :, None], axis=2)[:, :, 0]
    return mules


def _windows(
    config: WorldConfig, kind: FraudKind, n: int, draws: Draws
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return window starts, ends and weights, each of shape (n, n_banks)."""
    banks = np.arange(config.banks)
    # Starts are spread evenly, so that no seed leaves a long part of the period without any.
    lead_time = (np.arange(n) + draws.uniform(n)) / n * (config.days + 25.0) - 25.0
    strength = kind_strength(
        config, kind, banks[None, :], np.clip(lead_time / config.days, 0.0, 1.0)[:, None]
    )
    cumulative = np.cumsum(strength, axis=1)
    target = draws.uniform(n) * cumulative[:, -1]
    lead = np.minimum((target[:, None] >= cumulative).sum(axis=1), config.banks - 1)
    position = (banks[None, :] - lead[:, None]) % config.banks
    # A campaign visits at least half of the banks.
    fewest = (config.banks + 1) // 2
    stops = fewest + draws.below(config.banks - fewest + 1, n)
    lag = draws.uniform(n, low=LAG_DAYS[0], high=LAG_DAYS[1])
    shortest, longest = WINDOW_DAYS[kind]
    length = draws.uniform(n, config.banks, low=shortest, high=longest)
    start = lead_time[:, None] + position * lag[:, None]
    end = start + length
    start = np.clip(start, 0.0, config.days)
    end = np.clip(end, 0.0, config.days)
    visited = (position < stops[:, None]) & (end > start)
    middle = (start + end) / (2.0 * config.days)
    weight = kind_strength(config, kind, banks[None, :], middle) * (end - start) * visited
    seconds = [config.start_time + (edge * DAY_SECONDS).astype(np.int64) for edge in (start, end)]
    return seconds[0], seconds[1], weight
