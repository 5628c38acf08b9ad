"""Episodes: which campaign strikes which customer of a bank, and when it begins."""

from dataclasses import dataclass

import numpy as np

from data_gen.config import DAY_SECONDS
from data_gen.events import FraudKind
from data_gen.fraud.campaigns import KIND_SHARE, KINDS, Campaigns, kind_strength, make_campaigns
from data_gen.rng import FloatArray, IntArray, Part, stream
from data_gen.world_parts import BankSide, SharedWorld

__all__ = ["Episodes", "FraudPlan", "make_episodes", "make_plan"]

# Mean number of transactions of an episode, used to turn rates into numbers of episodes.
EPISODE_ROWS = np.array([3.6, 5.0, 1.3, 3.2, 3.4])
# Standard deviation of an episode's start around its campaign's hour.
HOUR_SPREAD = 3.0


@dataclass(frozen=True)
class Episodes:
    """Episodes of one kind at one bank.

    Parameters
    ----------
    campaign : ndarray of shape (n,), dtype=int64
        Index among the campaigns of the kind.
    customer : ndarray of shape (n,), dtype=int64
        The victim, an index among the bank's customers.
    start : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    """

    campaign: IntArray
    customer: IntArray
    start: IntArray

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class FraudPlan:
    """All campaigns, and how many episodes of each are expected at each bank.

    Parameters
    ----------
    campaigns : dict of FraudKind to Campaigns
    expected : dict of FraudKind to ndarray of shape (n_campaigns, n_banks), dtype=float64
    """

    campaigns: dict[FraudKind, Campaigns]
    expected: dict[FraudKind, FloatArray]


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
    mix = np.array(
        [
            kind_strength(config, kind, banks[:, None], grid[None, :]).mean(axis=1)
            * KIND_SHARE[kind]
            for kind in KINDS
        ]
    )
    rate = world.banks.fraud_rate
    rows = (mix / mix.sum(axis=0)) * everyday_rows * rate / (1.0 - rate)
    campaigns = {
        kind: make_campaigns(world, kind, float(rows[kind].sum() / EPISODE_ROWS[kind]))
        for kind in KINDS
    }
    expected = {}
    for kind in KINDS:
        weight = campaigns[kind].weight
        total = weight.sum(axis=0)
        share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0.0)
        expected[kind] = share * rows[kind] / EPISODE_ROWS[kind]
    return FraudPlan(campaigns=campaigns, expected=expected)


def make_episodes(side: BankSide, plan: FraudPlan, kind: FraudKind) -> Episodes:
    """Return the episodes of one kind at one bank, in no particular order."""
    draws = stream(side.world.config.seed, Part.EPISODES, side.bank, int(kind))
    campaigns = plan.campaigns[kind]
    counts = draws.poisson(plan.expected[kind][:, side.bank])
    campaign = np.repeat(np.arange(len(campaigns)), counts)
    n = len(campaign)
    low = campaigns.window_start[campaign, side.bank]
    high = campaigns.window_end[campaign, side.bank]
    moment = low + (draws.uniform(n) * (high - low)).astype(np.int64)
    hour = (campaigns.hour[campaign] + HOUR_SPREAD * draws.normal(n)) % 24.0
    start = moment // DAY_SECONDS * DAY_SECONDS + (hour * 3600.0).astype(np.int64)
    # Active customers are found more often: their data lie in more places.
    activity = np.sqrt(side.customers.rate)
    customer = draws.pick(activity, n)
    return Episodes(campaign=campaign, customer=customer, start=start)
