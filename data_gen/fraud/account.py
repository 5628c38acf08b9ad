"""Account take-over: a new device appears, tries a little, then drains the account."""

import numpy as np

from data_gen.events import Channel, Events, FraudKind, to_minor
from data_gen.fraud.campaigns import MULES_PER_CAMPAIGN
from data_gen.fraud.card import fraud_devices
from data_gen.fraud.episodes import FraudPlan, make_episodes
from data_gen.rng import Part, stream
from data_gen.steps import Steps, running_sum
from data_gen.world_parts import BankSide

__all__ = ["account_takeover"]

MULE_SHARE = 0.80


def account_takeover(side: BankSide, plan: FraudPlan) -> Events:
    """Return take-overs: every transaction of an episode comes from one foreign device.

    The first is a small trial, an online purchase or a transfer; large transfers follow within
    hours, each taking a part of what is left.
    """
    world, people = side.world, side.customers
    campaigns = plan.campaigns[FraudKind.ACCOUNT_TAKEOVER]
    episodes = make_episodes(side, plan, FraudKind.ACCOUNT_TAKEOVER)
    draws = stream(world.config.seed, Part.ACCOUNT_TAKEOVER, side.bank)
    count = len(episodes)
    steps = Steps.of(2 + np.minimum((draws.exponential(count) * 1.7).astype(np.int64), 4))
    n = len(steps)
    customer = episodes.customer[steps.owner]
    campaign = episodes.campaign[steps.owner]
    trial = steps.number == 0
    purchase = trial & (draws.uniform(n) < 0.5)
    mule = campaigns.mules[campaign, draws.below(MULES_PER_CAMPAIGN, n)]
    payee = np.where(draws.uniform(n) < MULE_SHARE, mule, world.payees.draw_private(draws, n))
    shop = world.places.online_pool.draw(np.zeros(n, dtype=np.int64), draws.uniform(n))
    institution = world.places.first_institution + world.payees.institution[payee]
    balance = np.log(100.0) + 7.3 + people.log_budget[episodes.customer] + 0.6 * draws.normal(count)
    fraction = draws.uniform(n, low=0.25, high=0.6)
    left = 0.55 * np.maximum(steps.number - 1, 0)
    drained = balance[steps.owner] + np.log(fraction) - left + campaigns.log_amount[campaign]
    small = np.log(100.0) + draws.uniform(n, low=0.0, high=3.2)
    device = fraud_devices(side, campaigns, episodes, draws, gang_share=0.60, victim_share=0.0)
    return Events.build(
        time=episodes.start[steps.owner] + running_sum(steps, draws.exponential(n) * 2_700.0),
        customer=customer,
        channel=np.where(purchase, Channel.ECOMMERCE, Channel.TRANSFER),
        merchant=np.where(purchase, shop, institution),
        payee=np.where(purchase, -1, payee),
        device=device[steps.owner],
        amount=to_minor(np.where(trial, small, drained)),
        kind=FraudKind.ACCOUNT_TAKEOVER,
        episode=steps.owner,
    )
