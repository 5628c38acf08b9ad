"""Push-payment scam: the victim pays, from the own device, to a mule account."""

import numpy as np

from data_gen.entities.world_parts import BankSide
from data_gen.events import Channel, Events, FraudKind
from data_gen.fraud.episodes import FraudPlan, make_episodes
from data_gen.fraud.stolen_money import scam_money


def push_payment_scam(side: BankSide, plan: FraudPlan) -> Events:
    """Return scams: small payments that build trust, then large ones over hours or days."""
    world = side.world
    kind = FraudKind.PUSH_PAYMENT_SCAM
    money = scam_money(world, plan, side.bank)
    customer = make_episodes(side, plan, kind).customer[money.steps.owner]
    return Events.build(
        time=money.time,
        customer=customer,
        channel=np.full(len(customer), Channel.TRANSFER),
        merchant=world.places.first_institution + world.payees.institution[money.payee],
        payee=money.payee,
        device=side.customers.main_device(customer, money.time),
        amount=money.amount,
        kind=kind,
        episode=money.steps.owner,
    )
