"""First-party fraud: customers who dispute what they bought, or buy with no intent to pay.

To the bank it looks like everyday behaviour: own device, known shops, usual hours. A
model can learn little from it, as with such cases in real labels.
"""

import numpy as np

from data_gen.behaviour.everyday import merchant_log_amount
from data_gen.clock import HOUR_WEIGHT, HourTable
from data_gen.entities.people import FAVOURITES
from data_gen.entities.world_parts import BankSide
from data_gen.events import Channel, Events, FraudKind, to_minor
from data_gen.fraud.episodes import FraudPlan, choose_victims
from data_gen.rng import Part, stream
from data_gen.settings.config import DAY_SECONDS
from data_gen.steps import Steps, running_sum

BUST_OUT_SHARE = 0.25


def first_party(side: BankSide, plan: FraudPlan) -> Events:
    """Return disputed purchases, one or two at a time, and bust-outs: many in two weeks."""
    world, people = side.world, side.customers
    config = world.config
    draws = stream(config.seed, Part.FIRST_PARTY, side.bank)
    count = int(draws.poisson(plan.first_party[[side.bank]])[0])
    owner_customer = choose_victims(side, count, draws)
    bust_out = draws.uniform(count) < BUST_OUT_SHARE
    steps = Steps.of(np.where(bust_out, 4 + draws.below(6, count), 1 + draws.below(2, count)))
    n = len(steps)
    customer = owner_customer[steps.owner]
    second = HourTable(HOUR_WEIGHT[Channel.ECOMMERCE]).seconds(
        draws.uniform(count), people.hour_shift[owner_customer]
    )
    start = config.start_time + draws.below(config.days, count) * DAY_SECONDS + second
    time = start[steps.owner] + running_sum(steps, draws.exponential(n) * 1.8 * DAY_SECONDS)
    merchant = people.shops[customer, draws.below(FAVOURITES, n)]
    log_amount = merchant_log_amount(world, merchant, people.log_budget[customer], draws)
    log_amount += np.where(bust_out[steps.owner], 0.9, 0.2)
    return Events.build(
        time=time,
        customer=customer,
        channel=np.full(n, Channel.ECOMMERCE),
        merchant=merchant,
        device=people.main_device(customer, time),
        amount=to_minor(log_amount),
        kind=FraudKind.FIRST_PARTY,
        episode=steps.owner,
    )
