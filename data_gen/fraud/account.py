"""Account take-over: a new device appears, tries a little, then drains the account."""

import numpy as np

from data_gen.entities.world_parts import BankSide
from data_gen.events import NONE, Channel, Events, FraudKind
from data_gen.fraud.card import fraud_devices
from data_gen.fraud.episodes import FraudPlan, make_episodes
from data_gen.fraud.stolen_money import takeover_money
from data_gen.rng import Part, stream


def account_takeover(side: BankSide, plan: FraudPlan) -> Events:
    """Return take-overs: every transaction of an episode comes from one foreign device.

    The first is a small trial, an online purchase or a transfer; large transfers follow within
    hours, each taking a part of what is left.
    """
    world = side.world
    kind = FraudKind.ACCOUNT_TAKEOVER
    money = takeover_money(world, plan, side.bank)
    episodes = make_episodes(side, plan, kind)
    # The victim's side of it: a stream of its own, so that the money does not depend on it.
    draws = stream(world.config.seed, Part.ACCOUNT_TAKEOVER, side.bank, 1)
    owner = money.steps.owner
    n = len(owner)
    purchase = ~money.is_large & (draws.uniform(n) < 0.5)
    shop = world.places.online_pool.draw(np.zeros(n, dtype=np.int64), draws.uniform(n))
    institution = world.places.first_institution + world.payees.institution[money.payee]
    device = fraud_devices(
        side, plan.campaigns[kind], episodes, draws, gang_share=0.60, victim_share=0.0
    )
    return Events.build(
        time=money.time,
        customer=episodes.customer[owner],
        channel=np.where(purchase, Channel.ECOMMERCE, Channel.TRANSFER),
        merchant=np.where(purchase, shop, institution),
        payee=np.where(purchase, NONE, money.payee),
        device=device[owner],
        amount=money.amount,
        kind=kind,
        episode=owner,
    )
