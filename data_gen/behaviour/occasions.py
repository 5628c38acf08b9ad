"""Legitimate look-alikes: what honest customers do that resembles each kind of fraud.

========================  ===========================================================
occasion                  resembles
========================  ===========================================================
shopping day              lost or stolen card: many terminals in a few hours, cash too
online spree              card-not-present fraud: many purchases, sometimes new device
new phone                 account take-over: first payments from a new device
moving money              account take-over: large transfers in a row, new payee
project                   push-payment scam: deposit, then large sums to a new payee
========================  ===========================================================
"""

import numpy as np

from data_gen.behaviour.everyday import merchant_log_amount, round_some
from data_gen.clock import HOUR_WEIGHT, HourTable
from data_gen.entities.customers import BLOCK_CUSTOMERS
from data_gen.entities.devices import DeviceOwner, unique_devices
from data_gen.entities.world_parts import BankSide
from data_gen.events import Channel, Events, to_minor
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS
from data_gen.steps import Steps, running_sum

# Mean days between two occasions of the same sort for a customer.
SHOPPING_DAY_EVERY = 800.0
ONLINE_SPREE_EVERY = 300.0
MOVING_MONEY_EVERY = 700.0
PROJECT_EVERY = 1_300.0


class _OneOffDevices:
    """Hands out devices that occur in one occasion only."""

    def __init__(self, bank: int, block: int) -> None:
        self._bank = bank
        self._next = block << 28

    def take(self, count: int) -> IntArray:
        numbers = self._next + np.arange(count, dtype=np.int64)
        self._next += count
        return unique_devices(DeviceOwner.ONE_OFF_OCCASION, self._bank, numbers)


def occasion_events(side: BankSide, block: int) -> Events:
    """Return the unusual but honest transactions of one block of customers."""
    config = side.world.config
    draws = stream(config.seed, Part.OCCASIONS, side.bank, block)
    first = block * BLOCK_CUSTOMERS
    members = np.arange(first, min(first + BLOCK_CUSTOMERS, len(side.customers)))
    one_off = _OneOffDevices(side.bank, block)
    events = Events.concatenate(
        [
            _shopping_days(side, members, draws),
            _online_sprees(side, members, draws, one_off),
            _new_phones(side, members, draws),
            _moving_money(side, members, draws, one_off),
            _projects(side, members, draws),
        ]
    )
    return events.before(config.end_time)


def _occasions(
    side: BankSide, members: IntArray, draws: Draws, *, every_days: float, channel: Channel
) -> tuple[IntArray, IntArray]:
    """Return customer and start time of each occasion of one sort."""
    config = side.world.config
    mean = np.full(len(members), config.days / every_days)
    customer = np.repeat(members, draws.poisson(mean))
    n = len(customer)
    day = draws.below(config.days, n)
    second = HourTable(HOUR_WEIGHT[channel]).seconds(
        draws.uniform(n), side.customers.hour_shift[customer] * 0.3
    )
    return customer, config.start_time + day * DAY_SECONDS + second


def _shopping_days(side: BankSide, members: IntArray, draws: Draws) -> Events:
    world, people = side.world, side.customers
    who, start = _occasions(
        side, members, draws, every_days=SHOPPING_DAY_EVERY, channel=Channel.POS
    )
    steps = Steps.of(3 + draws.below(6, len(who)))
    n = len(steps)
    customer = who[steps.owner]
    time = start[steps.owner] + running_sum(steps, draws.exponential(n) * 2_100.0)
    elsewhere = draws.uniform(len(who)) < 0.35
    town = np.where(elsewhere, draws.pick(world.towns.population, len(who)), people.home[who])
    town = town[steps.owner]
    cash = draws.uniform(n) < 0.18
    uniforms = draws.uniform(n)
    terminal = np.where(
        cash, world.places.atm_pool.draw(town, uniforms), world.places.pos_pool.draw(town, uniforms)
    )
    merchant = world.places.terminal_merchant[terminal]
    log_amount = merchant_log_amount(world, merchant, people.log_budget[customer] + 0.3, draws)
    amount = to_minor(log_amount)
    return Events.build(
        time=time,
        customer=customer,
        channel=np.where(cash, Channel.ATM, Channel.POS),
        merchant=merchant,
        terminal=terminal,
        amount=np.where(cash, np.clip(amount // 1_000, 2, 100) * 1_000, amount),
    )


def _online_sprees(
    side: BankSide, members: IntArray, draws: Draws, one_off: _OneOffDevices
) -> Events:
    world, people = side.world, side.customers
    who, start = _occasions(
        side, members, draws, every_days=ONLINE_SPREE_EVERY, channel=Channel.ECOMMERCE
    )
    steps = Steps.of(2 + draws.below(5, len(who)))
    n = len(steps)
    customer = who[steps.owner]
    own = people.main_device(who, start)
    device = np.where(draws.uniform(len(who)) < 0.30, one_off.take(len(who)), own)
    merchant = world.places.online_pool.draw(np.zeros(n, dtype=np.int64), draws.uniform(n))
    log_amount = merchant_log_amount(world, merchant, people.log_budget[customer] + 0.35, draws)
    return Events.build(
        time=start[steps.owner] + running_sum(steps, draws.exponential(n) * 1_800.0),
        customer=customer,
        channel=np.full(n, Channel.ECOMMERCE),
        merchant=merchant,
        device=device[steps.owner],
        amount=to_minor(log_amount),
    )


def _new_phones(side: BankSide, members: IntArray, draws: Draws) -> Events:
    world, people = side.world, side.customers
    who = members[people.phone_time[members] < world.config.end_time]
    steps = Steps.of(1 + draws.below(4, len(who)))
    n = len(steps)
    customer = who[steps.owner]
    setup = people.phone_time[customer] + (draws.exponential(n) * 3_600.0).astype(np.int64)
    slot = draws.below(people.payees.shape[1] // 2, n)
    known = people.payees[customer, slot]
    payee = np.where(draws.uniform(n) < 0.35, world.payees.draw(draws, n), known)
    large = np.where(draws.uniform(n) < 0.3, 1.2, 0.0)
    log_amount = people.payee_log_amount[customer, slot] + people.log_budget[customer] + large
    return Events.build(
        time=setup + running_sum(steps, draws.exponential(n) * 5_400.0),
        customer=customer,
        channel=np.full(n, Channel.TRANSFER),
        merchant=world.places.first_institution + world.payees.institution[payee],
        payee=payee,
        device=people.device(customer, 2),
        amount=round_some(to_minor(log_amount + 0.3 * draws.normal(n)), draws, share=0.6),
    )


def _large_transfers(
    side: BankSide,
    who: IntArray,
    time: IntArray,
    steps: Steps,
    log_amount: FloatArray,
    device: IntArray,
    draws: Draws,
) -> Events:
    """Return transfers of each sequence to one private account each."""
    world = side.world
    payee = world.payees.draw_private(draws, len(who))[steps.owner]
    return Events.build(
        time=time,
        customer=who[steps.owner],
        channel=np.full(len(steps), Channel.TRANSFER),
        merchant=world.places.first_institution + world.payees.institution[payee],
        payee=payee,
        device=device,
        amount=round_some(to_minor(log_amount), draws, share=0.75),
    )


def _moving_money(
    side: BankSide, members: IntArray, draws: Draws, one_off: _OneOffDevices
) -> Events:
    people = side.customers
    who, start = _occasions(
        side, members, draws, every_days=MOVING_MONEY_EVERY, channel=Channel.TRANSFER
    )
    steps = Steps.of(1 + draws.below(3, len(who)))
    n = len(steps)
    own = people.main_device(who, start)
    device = np.where(draws.uniform(len(who)) < 0.25, one_off.take(len(who)), own)
    log_amount = np.log(100.0) + 6.5 + people.log_budget[who][steps.owner] + draws.normal(n)
    time = start[steps.owner] + running_sum(steps, draws.exponential(n) * 2_700.0)
    return _large_transfers(side, who, time, steps, log_amount, device[steps.owner], draws)


def _projects(side: BankSide, members: IntArray, draws: Draws) -> Events:
    people = side.customers
    who, start = _occasions(
        side, members, draws, every_days=PROJECT_EVERY, channel=Channel.TRANSFER
    )
    steps = Steps.of(2 + draws.below(3, len(who)))
    n = len(steps)
    deposit = (steps.number == 0) & (draws.uniform(len(who)) < 0.6)[steps.owner]
    log_amount = np.log(100.0) + 6.3 + people.log_budget[who][steps.owner] + 0.9 * draws.normal(n)
    log_amount = log_amount - np.where(deposit, 1.8, 0.0)
    time = start[steps.owner] + running_sum(steps, draws.exponential(n) * 2.5 * DAY_SECONDS)
    customer = who[steps.owner]
    device = people.main_device(customer, time)
    return _large_transfers(side, who, time, steps, log_amount, device, draws)
