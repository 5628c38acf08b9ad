"""Episodes: which campaign strikes which customer of a bank, and when it begins."""

from dataclasses import dataclass

import numpy as np

from data_gen.entities.world_parts import BankSide, SharedWorld
from data_gen.events import FraudKind
from data_gen.fraud.campaigns import KINDS, Campaigns, kind_strength, make_campaigns
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS

# By kind: mean number of transactions of an episode, blocked attempts included, to turn rates into
# numbers of episodes (measured). For mule chains: of a payment of a mule.
EPISODE_ROWS = np.array([3.75, 5.4, 1.37, 3.4, 3.54, 1.1, 2.75])
# Standard deviation of an episode's start around its campaign's hour.
HOUR_SPREAD = 3.0


@dataclass(frozen=True)
class Strikes:
    """When each campaign strikes at a bank; the victims are chosen later.

    Parameters
    ----------
    campaign : ndarray of shape (n,), dtype=int64
        Index among the campaigns of the kind.
    start : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    """

    campaign: IntArray
    start: IntArray

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Episodes(Strikes):
    """Episodes of one kind at one bank.

    Parameters
    ----------
    customer : ndarray of shape (n,), dtype=int64
        The victim, an index among the bank's customers.
    """

    customer: IntArray


@dataclass(frozen=True)
class FraudPlan:
    """All campaigns, and how much fraud is expected.

    Parameters
    ----------
    campaigns : dict of FraudKind to Campaigns
    expected : dict of FraudKind to ndarray of shape (n_campaigns, n_banks), dtype=float64
        Episodes of each campaign at each bank.
    first_party : ndarray of shape (n_banks,), dtype=float64
        Episodes of first-party fraud at each bank.
    chain_payments : float
        Payments of mules over all banks.
    """

    campaigns: dict[FraudKind, Campaigns]
    expected: dict[FraudKind, FloatArray]
    first_party: FloatArray
    chain_payments: float


def make_plan(world: SharedWorld, everyday_rows: FloatArray) -> FraudPlan:
    """Return the plan for banks with the given expected numbers of legitimate transactions.

    Parameters
    ----------
    world : SharedWorld
    everyday_rows : ndarray of shape (n_banks,), dtype=float64
    """
    config = world.config
    banks = np.arange(config.banks)
    grid: FloatArray = (np.arange(50, dtype=np.float64) + 0.5) / 50.0
    mix = world.banks.kind_weight.T * np.array(config.kind_share)[:, None]
    organised = mix[: len(KINDS)]
    strength = np.array(
        [kind_strength(config, kind, banks[:, None], grid[None, :]).mean(axis=1) for kind in KINDS]
    )
    # The strengths share out what gangs do between their kinds; the other kinds keep their part.
    focused = organised * strength
    scale = organised.sum(axis=0) / np.maximum(focused.sum(axis=0), 1e-300)
    mix[: len(KINDS)] = focused * scale
    rate = world.banks.fraud_rate
    rows = (mix / mix.sum(axis=0)) * everyday_rows * rate / (1.0 - rate)
    episodes = rows / EPISODE_ROWS[:, None]
    campaigns = {kind: make_campaigns(world, kind, float(episodes[kind].sum())) for kind in KINDS}
    expected = {}
    for kind in KINDS:
        weight = campaigns[kind].weight
        total = weight.sum(axis=0)
        share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0.0)
        expected[kind] = share * episodes[kind]
    return FraudPlan(
        campaigns=campaigns,
        expected=expected,
        first_party=episodes[FraudKind.FIRST_PARTY],
        chain_payments=float(episodes[FraudKind.MULE_CHAIN].sum()),
    )


def make_strikes(world: SharedWorld, plan: FraudPlan, kind: FraudKind, bank: int) -> Strikes:
    """Return when campaigns of a kind strike at a bank, in no particular order."""
    draws = stream(world.config.seed, Part.EPISODES, bank, int(kind))
    campaigns = plan.campaigns[kind]
    counts = draws.poisson(plan.expected[kind][:, bank])
    campaign = np.repeat(np.arange(len(campaigns)), counts)
    n = len(campaign)
    low = campaigns.window_start[campaign, bank]
    high = campaigns.window_end[campaign, bank]
    moment = low + (draws.uniform(n) * (high - low)).astype(np.int64)
    hour = (campaigns.hour[campaign] + HOUR_SPREAD * draws.normal(n)) % 24.0
    start = moment // DAY_SECONDS * DAY_SECONDS + (hour * 3600.0).astype(np.int64)
    return Strikes(campaign=campaign, start=start)


def choose_victims(side: BankSide, count: int, draws: Draws) -> IntArray:
    """Return customers, active ones more often: their data lie in more places."""
    return draws.pick(np.sqrt(side.customers.rate), count)


def make_episodes(side: BankSide, plan: FraudPlan, kind: FraudKind) -> Episodes:
    """Return the episodes of one kind at one bank, in no particular order."""
    strikes = make_strikes(side.world, plan, kind, side.bank)
    draws = stream(side.world.config.seed, Part.VICTIMS, side.bank, int(kind))
    customer = choose_victims(side, len(strikes), draws)
    return Episodes(campaign=strikes.campaign, start=strikes.start, customer=customer)
