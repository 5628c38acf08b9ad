"""Campaigns: gangs with a tactic of their own that start at one bank and move to the next.

All fraud but that of customers themselves belongs to a campaign. A campaign has one fraud kind, a
profile (hours, amounts, categories, mule accounts, devices, a compromised terminal or merchant)
and, per bank, a window of time. The windows of a campaign follow each other round the ring of
banks.

How strongly a kind strikes bank ``b`` of ``B`` at the relative time ``u`` in [0, 1] is::

    exp(spread * (cos(2 pi (k / K + travel * u - b / B)) - 1))

Each bank has its dominant kinds, and the kinds move on: a bank meets late what others met early.
With the dial ``dirichlet`` the strength is the bank's own share of the kind instead, at all times.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.categories import category_index
from data_gen.clock import drift_phase
from data_gen.entities.devices import DeviceOwner, unique_devices
from data_gen.entities.world_parts import SharedWorld
from data_gen.events import FraudKind
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS, WorldConfig

# The kinds that gangs commit; mule chains follow on from them, first-party fraud has no gang.
KINDS = tuple(kind for kind in FraudKind if 0 <= kind < FraudKind.MULE_CHAIN)

# By kind. Few, large campaigns against terminals: a compromised terminal stays so for weeks.
EPISODES_PER_CAMPAIGN = np.array([8.0, 5.0, 35.0, 8.0, 12.0])
# Days: a campaign's window at one bank, by kind, and from one bank's window to the next one's.
WINDOW_DAYS = np.array([[8.0, 20.0], [8.0, 20.0], [14.0, 28.0], [8.0, 18.0], [8.0, 18.0]])
LAG_DAYS = (7.0, 14.0)

MULES_PER_CAMPAIGN = 3
MULE_CANDIDATES = 3
# Share of mules whose account is kept by a bank of the consortium.
MEMBER_MULE_SHARE = 0.75
# Accounts through which a campaign's mules pass money on, each at another bank than the next.
RELAYS = 4
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
# What each drift day changes: hours later, and the log of amounts after every other drift day.
DRIFT_HOURS = 7.0
DRIFT_LOG_AMOUNT = -0.5


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
        Accounts that take the money; the same at every bank.
    relays : ndarray of shape (n, RELAYS), dtype=int64
        Main accounts of customers, to which mules pass money on; neighbours (also the last and
        the first) are at different banks, where there are at least two.
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
    relays: IntArray
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
    spread = config.fraud_mix_spread if config.dirichlet is None else 0.0
    return np.exp(spread * (np.cos(2.0 * np.pi * turn) - 1.0))


def make_campaigns(world: SharedWorld, kind: FraudKind, expected_episodes: float) -> Campaigns:
    """Return the campaigns of one kind, enough for ``expected_episodes`` over all banks."""
    config = world.config
    draws = stream(config.seed, Part.CAMPAIGNS, int(kind))
    # Shorter periods and smaller worlds still get some campaigns, so that kinds do not vanish.
    n = max(round(expected_episodes / EPISODES_PER_CAMPAIGN[kind]), 3)
    # Starts are spread evenly, so that no seed leaves a long part of the period without any.
    lead_day = (np.arange(n) + draws.uniform(n)) / n * (config.days + 25.0) - 25.0
    start, end, weight = _windows(world, kind, lead_day, draws)
    phase = drift_phase(config, lead_day)
    places = world.places
    n_shops = places.first_operator - places.first_online
    hour_range = HOUR_RANGE[kind]
    hour = HOUR_CENTRE[kind] + draws.uniform(n, low=-hour_range, high=hour_range)
    device_number = (int(kind) << 32) + np.arange(n * DEVICES_PER_CAMPAIGN)
    return Campaigns(
        kind=kind,
        window_start=start,
        window_end=end,
        weight=weight,
        hour=(hour + DRIFT_HOURS * phase) % 24.0,
        log_amount=0.30 * draws.normal(n) + DRIFT_LOG_AMOUNT * (phase % 2),
        categories=_categories(config, phase, draws),
        mules=_mules(world, n, draws),
        relays=_relays(world, n, draws),
        devices=unique_devices(DeviceOwner.CAMPAIGN, 0, device_number).reshape(n, -1),
        # Any terminal, even with few payers: fraud at a busy one would be noticed sooner.
        terminal=draws.below(places.first_atm, n),
        shop=places.first_online + draws.below(n_shops, n),
        at_shop=draws.uniform(n) < 0.35,
    )


def _categories(config: WorldConfig, phase: IntArray, draws: Draws) -> IntArray:
    """Return preferred categories: of all targets, or of the half that is in use between drifts."""
    targets = np.array([category_index(name) for name in TARGET_CATEGORIES])
    if not config.drift_days:
        number = draws.below(len(targets), len(phase), CATEGORIES_PER_CAMPAIGN)
    else:
        half = len(targets) // 2
        number = (
            draws.below(half, len(phase), CATEGORIES_PER_CAMPAIGN) + half * (phase % 2)[:, None]
        )
    categories: IntArray = targets[number]
    return categories


def _mules(world: SharedWorld, n: int, draws: Draws) -> IntArray:
    """Return mule accounts: private ones, more often at the smaller institutions.

    Accounts there are opened faster. Outside the consortium, of three candidates the one whose
    institution is smallest (they are numbered by size) becomes the mule; inside, every bank
    is equally likely, large or small.
    """
    payees = world.payees
    candidates = payees.draw_outside(draws, n, MULES_PER_CAMPAIGN, MULE_CANDIDATES)
    smallest = np.argmax(payees.institution[candidates], axis=2)
    outside = np.take_along_axis(candidates, smallest[:, :, None], axis=2)[:, :, 0]
    bank = draws.below(len(world.banks), n, MULES_PER_CAMPAIGN)
    member = _some_account(world, bank, draws)
    return np.where(draws.uniform(n, MULES_PER_CAMPAIGN) < MEMBER_MULE_SHARE, member, outside)


def _relays(world: SharedWorld, n: int, draws: Draws) -> IntArray:
    """Return accounts at two banks in turn, so that money never stays at the same bank."""
    n_banks = len(world.banks)
    first = draws.below(n_banks, n)
    second = (first + 1 + draws.below(max(n_banks - 1, 1), n)) % n_banks
    bank = np.where(np.arange(RELAYS) % 2 == 0, first[:, None], second[:, None])
    return _some_account(world, bank, draws)


def _some_account(world: SharedWorld, bank: IntArray, draws: Draws) -> IntArray:
    """Return the main account of a customer of each bank, all of them equally likely."""
    customer = draws.below(world.banks.customers[bank], *bank.shape)
    return world.payees.account(bank, customer)


def _windows(
    world: SharedWorld, kind: FraudKind, lead_day: FloatArray, draws: Draws
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return window starts, ends and weights, each of shape (n, n_banks)."""
    config = world.config
    n = len(lead_day)
    banks = np.arange(config.banks)
    own_weight = world.banks.kind_weight[:, kind]
    strength = own_weight * kind_strength(
        config, kind, banks[None, :], np.clip(lead_day / config.days, 0.0, 1.0)[:, None]
    )
    cumulative = np.cumsum(strength, axis=1)
    target = draws.uniform(n) * cumulative[:, -1]
    lead = np.minimum((target[:, None] >= cumulative).sum(axis=1), config.banks - 1)
    position = (banks[None, :] - lead[:, None]) % config.banks
    # With full reach a campaign visits at least half of the other banks.
    reached = config.campaign_reach * draws.uniform(n, low=0.5, high=1.0)
    further = np.rint(reached * (config.banks - 1)).astype(np.int64)
    lag = draws.uniform(n, low=LAG_DAYS[0], high=LAG_DAYS[1])
    shortest, longest = WINDOW_DAYS[kind]
    length = draws.uniform(n, config.banks, low=shortest, high=longest)
    start = lead_day[:, None] + position * lag[:, None]
    end = start + length
    start = np.clip(start, 0.0, config.days)
    end = np.clip(end, 0.0, config.days)
    visited = (position <= further[:, None]) & (end > start)
    middle = (start + end) / (2.0 * config.days)
    weight = kind_strength(config, kind, banks[None, :], middle) * (end - start) * visited
    seconds = [config.start_time + (edge * DAY_SECONDS).astype(np.int64) for edge in (start, end)]
    return seconds[0], seconds[1], weight * own_weight
