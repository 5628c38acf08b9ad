"""Push-payment scam: the victim pays, from the own device, to a mule account."""

import numpy as np

from data_gen.behaviour.everyday import round_some
from data_gen.config import DAY_SECONDS
from data_gen.entities.devices import owned_device
from data_gen.events import Channel, Events, FraudKind, to_minor
from data_gen.fraud.campaigns import MULES_PER_CAMPAIGN
from data_gen.fraud.episodes import FraudPlan, make_episodes
from data_gen.rng import Part, stream
from data_gen.steps import Steps, running_sum
from data_gen.world_parts import BankSide

__all__ = ["push_payment_scam"]


def push_payment_scam(side: BankSide, plan: FraudPlan) -> Events:
    """Return scams: small payments that build trust, then large ones over hours or days."""
    world, people = side.world, side.customers
    campaigns = plan.campaigns[FraudKind.PUSH_PAYMENT_SCAM]
    episodes = make_episodes(side, plan, FraudKind.PUSH_PAYMENT_SCAM)
    draws = stream(world.config.seed, Part.PUSH_PAYMENT_SCAM, side.bank)
    count = len(episodes)
    trust_steps = draws.below(3, count)
    large_steps = 1 + np.minimum((draws.exponential(count) * 1.9).astype(np.int64), 4)
    steps = Steps.of(trust_steps + large_steps)
    n = len(steps)
    customer = episodes.customer[steps.owner]
    campaign = episodes.campaign[steps.owner]
    trust = steps.number < trust_steps[steps.owner]
    # One mule for most victims; some are sent to another one for each payment.
    several = (draws.uniform(count) < 0.25)[steps.owner]
    one_mule = draws.below(MULES_PER_CAMPAIGN, count)[steps.owner]
    which = np.where(several, draws.below(MULES_PER_CAMPAIGN, n), one_mule)
    payee = campaigns.mules[campaign, which]
    log_amount = np.log(100.0) + 7.0 + 0.8 * people.log_budget[customer] + 0.7 * draws.normal(n)
    log_amount += campaigns.log_amount[campaign]
    small = np.log(100.0) + draws.uniform(n, low=2.7, high=4.8)
    # Trust takes days; the large payments are urgent.
    after_trust = steps.number <= trust_steps[steps.owner]
    gap = np.where(after_trust, 1.2 * DAY_SECONDS, 0.25 * DAY_SECONDS) * draws.exponential(n)
    time = episodes.start[steps.owner] + running_sum(steps, gap)
    return Events.build(
        time=time,
        customer=customer,
        channel=np.full(n, Channel.TRANSFER),
        merchant=world.places.first_institution + world.payees.institution[payee],
        payee=payee,
        device=owned_device(side.bank, customer, people.main_slot(customer, time)),
        amount=round_some(to_minor(np.where(trust, small, log_amount)), draws, share=0.75),
        kind=FraudKind.PUSH_PAYMENT_SCAM,
        episode=steps.owner,
    )
