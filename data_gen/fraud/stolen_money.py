"""What take-overs and scams send to mules: when, how much, to which account.

It does not depend on the victims. So the mules' banks can follow the money without making the
customers of all other banks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.behaviour.everyday import round_some
from data_gen.entities.world_parts import SharedWorld
from data_gen.events import FraudKind, to_minor
from data_gen.fraud.campaigns import MULES_PER_CAMPAIGN
from data_gen.fraud.episodes import FraudPlan, Strikes, make_strikes
from data_gen.rng import IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS
from data_gen.steps import Steps, running_sum

# Share of the payments of a take-over that go to one of the campaign's mules.
MULE_SHARE = 0.80


@dataclass(frozen=True)
class StolenMoney:
    """Payments of all episodes of one kind at one bank; arrays have a row per payment.

    Parameters
    ----------
    strikes : Strikes
    steps : Steps
        Payments of each strike.
    time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    payee : ndarray of shape (n,), dtype=int64
    amount : ndarray of shape (n,), dtype=int64
        Minor currency units.
    is_large : ndarray of shape (n,), dtype=bool
        Not a trial or a payment that builds trust: money that a mule passes on.
    """

    strikes: Strikes
    steps: Steps
    time: IntArray
    payee: IntArray
    amount: IntArray
    is_large: npt.NDArray[np.bool_]


def takeover_money(world: SharedWorld, plan: FraudPlan, bank: int) -> StolenMoney:
    """Return the payments of take-overs: a small trial, then large parts of what is left."""
    kind = FraudKind.ACCOUNT_TAKEOVER
    campaigns = plan.campaigns[kind]
    strikes = make_strikes(world, plan, kind, bank)
    draws = stream(world.config.seed, Part.ACCOUNT_TAKEOVER, bank)
    count = len(strikes)
    steps = Steps.of(2 + np.minimum((draws.exponential(count) * 1.7).astype(np.int64), 4))
    n = len(steps)
    campaign = strikes.campaign[steps.owner]
    trial = steps.number == 0
    mule = campaigns.mules[campaign, draws.below(MULES_PER_CAMPAIGN, n)]
    balance = np.log(100.0) + 7.3 + world.banks.log_amount[bank] + 0.75 * draws.normal(count)
    fraction = draws.uniform(n, low=0.25, high=0.6)
    left = 0.55 * np.maximum(steps.number - 1, 0)
    drained = balance[steps.owner] + np.log(fraction) - left + campaigns.log_amount[campaign]
    small = np.log(100.0) + draws.uniform(n, low=0.0, high=3.2)
    return StolenMoney(
        strikes=strikes,
        steps=steps,
        time=strikes.start[steps.owner] + running_sum(steps, draws.exponential(n) * 2_700.0),
        payee=np.where(draws.uniform(n) < MULE_SHARE, mule, world.payees.draw_private(draws, n)),
        amount=to_minor(np.where(trial, small, drained)),
        is_large=~trial,
    )


def scam_money(world: SharedWorld, plan: FraudPlan, bank: int) -> StolenMoney:
    """Return the payments of scams: small ones that build trust, then large ones over days."""
    kind = FraudKind.PUSH_PAYMENT_SCAM
    campaigns = plan.campaigns[kind]
    strikes = make_strikes(world, plan, kind, bank)
    draws = stream(world.config.seed, Part.PUSH_PAYMENT_SCAM, bank)
    count = len(strikes)
    trust_steps = draws.below(3, count)
    large_steps = 1 + np.minimum((draws.exponential(count) * 1.9).astype(np.int64), 4)
    steps = Steps.of(trust_steps + large_steps)
    n = len(steps)
    campaign = strikes.campaign[steps.owner]
    trust = steps.number < trust_steps[steps.owner]
    # One mule for most victims; some are sent to another one for each payment.
    several = (draws.uniform(count) < 0.25)[steps.owner]
    one_mule = draws.below(MULES_PER_CAMPAIGN, count)[steps.owner]
    which = np.where(several, draws.below(MULES_PER_CAMPAIGN, n), one_mule)
    savings = np.log(100.0) + 7.0 + 0.8 * world.banks.log_amount[bank] + 0.36 * draws.normal(count)
    log_amount = savings[steps.owner] + 0.7 * draws.normal(n) + campaigns.log_amount[campaign]
    small = np.log(100.0) + draws.uniform(n, low=2.7, high=4.8)
    # Trust takes days; the large payments are urgent.
    after_trust = steps.number <= trust_steps[steps.owner]
    gap = np.where(after_trust, 1.2 * DAY_SECONDS, 0.25 * DAY_SECONDS) * draws.exponential(n)
    return StolenMoney(
        strikes=strikes,
        steps=steps,
        time=strikes.start[steps.owner] + running_sum(steps, gap),
        payee=campaigns.mules[campaign, which],
        amount=round_some(to_minor(np.where(trust, small, log_amount)), draws, share=0.75),
        is_large=~trust,
    )
