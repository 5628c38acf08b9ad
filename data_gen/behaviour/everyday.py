"""Everyday transactions: habits, hours, weekdays, paydays, trips and some exploring."""

import numpy as np
import numpy.typing as npt

from data_gen.categories import AMOUNT_LOG_MEDIAN, AMOUNT_LOG_SPREAD
from data_gen.clock import HOUR_WEIGHT, HourTable, day_cumulative, drift_phase, expected_day_sum
from data_gen.entities.customers import BLOCK_CUSTOMERS
from data_gen.entities.devices import DeviceOwner, unique_devices
from data_gen.entities.people import FAVOURITES, PAYEE_SLOTS
from data_gen.entities.world_parts import BankSide, SharedWorld
from data_gen.events import Channel, Events, to_minor
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS, WorldConfig

# Share of transactions that follow another one of the same customer within minutes.
FOLLOW_UP_SHARE = 0.24
FOLLOW_UP_SECONDS = 2_400.0
FAVOURITE_TERMINAL_SHARE = 0.70
FAVOURITE_SHOP_SHARE = 0.55
# Share of transactions at a terminal that happen on a day in another town.
DAY_TRIP_SHARE = 0.05
ONE_OFF_PAYEE_SHARE = 0.07
ONE_OFF_DEVICE_SHARE = 0.02
LARGE_PURCHASE_SHARE = 0.015
# Share of purchases in shops that each drift day moves online.
MOVED_ONLINE_SHARE = 0.12
# A customer's later hours shift online payments in full; shop hours limit the other channels.
HOUR_SHIFT_SHARE = np.array([0.25, 1.0, 0.6, 0.4])


def everyday_events(side: BankSide, block: int) -> Events:
    """Return the everyday transactions of one block of customers, in no particular order."""
    config = side.world.config
    people = side.customers
    draws = stream(config.seed, Part.EVERYDAY, side.bank, block)
    first = block * BLOCK_CUSTOMERS
    members = np.arange(first, min(first + BLOCK_CUSTOMERS, len(people)))
    counts = draws.poisson(people.rate[members] * expected_day_sum(config))
    customer = np.repeat(members, counts)
    n = len(customer)
    passed = draws.uniform(n)[:, None] >= people.channel_cumulative[customer, :3]
    channel: npt.NDArray[np.integer] = passed.sum(axis=1)
    time = _times(side, customer, channel, draws)
    inside = time < config.end_time
    customer, channel, time = customer[inside], channel[inside], time[inside]
    channel = _moved_online(config, channel, time, draws)

    pos = np.flatnonzero(channel == Channel.POS)
    atm = np.flatnonzero(channel == Channel.ATM)
    online = np.flatnonzero(channel == Channel.ECOMMERCE)
    transfer = np.flatnonzero(channel == Channel.TRANSFER)
    parts = [
        _at_shops(side, customer[pos], time[pos], draws),
        _at_cash_machines(side, customer[atm], time[atm], draws),
        _online(side, customer[online], time[online], draws, block),
        _transfers(side, customer[transfer], time[transfer], draws, block),
    ]
    return Events.concatenate(parts)


def _times(
    side: BankSide,
    customer: npt.NDArray[np.integer],
    channel: npt.NDArray[np.integer],
    draws: Draws,
) -> IntArray:
    config = side.world.config
    people = side.customers
    n = len(customer)
    # Row p of the table is moved by p, so that one sorted array serves all paydays.
    table = day_cumulative(config)
    payday = people.payday[customer]
    flat = (table + np.arange(len(table))[:, None]).ravel()
    day = np.searchsorted(flat, payday + draws.uniform(n), side="right") - payday * config.days
    day = np.clip(day, 0, config.days - 1)
    shift = people.hour_shift[customer] * HOUR_SHIFT_SHARE[channel]
    uniforms = draws.uniform(n)
    second = np.empty(n, dtype=np.int64)
    for code in Channel:
        rows = np.flatnonzero(channel == code)
        second[rows] = HourTable(HOUR_WEIGHT[code]).seconds(uniforms[rows], shift[rows])
    time = config.start_time + day * DAY_SECONDS + second
    # Customers' rows are adjacent: a follow-up takes the time of the row before its own.
    follow_up = draws.uniform(n) < FOLLOW_UP_SHARE
    follow_up[0:1] = False
    follow_up[1:] &= (customer[1:] == customer[:-1]) & ~follow_up[:-1]
    gap = np.maximum(draws.exponential(n) * FOLLOW_UP_SECONDS, 60.0).astype(np.int64)
    moved: IntArray = np.where(follow_up, np.roll(time, 1) + gap, time)
    return moved


def _moved_online(
    config: WorldConfig, channel: npt.NDArray[np.integer], time: IntArray, draws: Draws
) -> npt.NDArray[np.integer]:
    """Return the channels after drift: each drift day moves some purchases from shops online."""
    if not config.drift_days:
        return channel
    phase = drift_phase(config, (time - config.start_time) // DAY_SECONDS)
    stays = (1.0 - MOVED_ONLINE_SHARE) ** phase
    moved = (channel == Channel.POS) & (draws.uniform(len(channel)) >= stays)
    return np.where(moved, Channel.ECOMMERCE, channel)


def _place(
    side: BankSide, customer: npt.NDArray[np.integer], time: IntArray, draws: Draws
) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Return the town of each transaction and whether it is the customer's own."""
    people = side.customers
    town = people.home[customer]
    day_trip = draws.uniform(len(customer)) < DAY_TRIP_SHARE
    anywhere = draws.pick(side.world.towns.population, len(customer))
    town = np.where(day_trip, anywhere, town)
    on_trip = (time >= people.trip_start[customer]) & (time < people.trip_end[customer])
    town = np.where(on_trip, people.trip_town[customer], town)
    return town, ~(day_trip | on_trip)


def merchant_log_amount(
    world: SharedWorld, merchant: npt.NDArray[np.integer], log_budget: FloatArray, draws: Draws
) -> FloatArray:
    """Return log amounts of purchases: category, budget and chance."""
    category = world.places.merchant_category[merchant]
    noise = draws.normal(len(merchant))
    spread = AMOUNT_LOG_SPREAD[category] * noise
    log_amount: FloatArray = AMOUNT_LOG_MEDIAN[category] + log_budget + spread
    return log_amount


def _large_purchases(log_amount: FloatArray, draws: Draws) -> FloatArray:
    n = len(log_amount)
    large = draws.uniform(n) < LARGE_PURCHASE_SHARE
    return log_amount + np.where(large, draws.uniform(n, low=1.0, high=2.4), 0.0)


def _at_shops(
    side: BankSide, customer: npt.NDArray[np.integer], time: IntArray, draws: Draws
) -> Events:
    world, people = side.world, side.customers
    n = len(customer)
    town, at_home = _place(side, customer, time, draws)
    favourite = people.terminals[customer, draws.below(FAVOURITES, n)]
    other = world.places.pos_pool.draw(town, draws.uniform(n))
    habit = at_home & (draws.uniform(n) < FAVOURITE_TERMINAL_SHARE)
    terminal = np.where(habit, favourite, other)
    merchant = world.places.terminal_merchant[terminal]
    log_amount = merchant_log_amount(world, merchant, people.log_budget[customer], draws)
    return Events.build(
        time=time,
        customer=customer,
        channel=np.full(n, Channel.POS),
        merchant=merchant,
        terminal=terminal,
        amount=to_minor(_large_purchases(log_amount, draws)),
    )


def _at_cash_machines(
    side: BankSide, customer: npt.NDArray[np.integer], time: IntArray, draws: Draws
) -> Events:
    world, people = side.world, side.customers
    n = len(customer)
    town, _ = _place(side, customer, time, draws)
    terminal = world.places.atm_pool.draw(town, draws.uniform(n))
    merchant = world.places.terminal_merchant[terminal]
    log_amount = merchant_log_amount(world, merchant, 0.7 * people.log_budget[customer], draws)
    # Machines pay out whole tens, from 20 to 1,000 at a time.
    amount = np.clip(np.rint(np.exp(log_amount) / 1_000.0), 2, 100).astype(np.int64) * 1_000
    return Events.build(
        time=time,
        customer=customer,
        channel=np.full(n, Channel.ATM),
        merchant=merchant,
        terminal=terminal,
        amount=amount,
    )


def _devices(
    side: BankSide,
    customer: npt.NDArray[np.integer],
    time: IntArray,
    draws: Draws,
    one_off_number: IntArray,
) -> IntArray:
    """Return the devices of online payments: main, second, or one seen only once."""
    people = side.customers
    n = len(customer)
    second = draws.uniform(n) < people.second_device_share[customer]
    slot = np.where(second, 1, people.main_slot(customer, time))
    one_off = draws.uniform(n) < ONE_OFF_DEVICE_SHARE
    return np.where(
        one_off,
        unique_devices(DeviceOwner.ONE_OFF_EVERYDAY, side.bank, one_off_number),
        people.device(customer, slot),
    )


def _one_off_numbers(block: int, half: int, count: int) -> IntArray:
    """Return device numbers that no other block or half uses: 2**28 are kept for each."""
    return (np.int64(2 * block + half) << 28) + np.arange(count, dtype=np.int64)


def _online(
    side: BankSide,
    customer: npt.NDArray[np.integer],
    time: IntArray,
    draws: Draws,
    block: int,
) -> Events:
    world, people = side.world, side.customers
    n = len(customer)
    favourite = people.shops[customer, draws.below(FAVOURITES, n)]
    other = world.places.online_pool.draw(np.zeros(n, dtype=np.int64), draws.uniform(n))
    merchant = np.where(draws.uniform(n) < FAVOURITE_SHOP_SHARE, favourite, other)
    log_amount = merchant_log_amount(world, merchant, people.log_budget[customer], draws)
    numbers = _one_off_numbers(block, 0, n)
    return Events.build(
        time=time,
        customer=customer,
        channel=np.full(n, Channel.ECOMMERCE),
        merchant=merchant,
        device=_devices(side, customer, time, draws, numbers),
        amount=to_minor(_large_purchases(log_amount, draws)),
    )


def _transfers(
    side: BankSide,
    customer: npt.NDArray[np.integer],
    time: IntArray,
    draws: Draws,
    block: int,
) -> Events:
    world, people = side.world, side.customers
    n = len(customer)
    slot = draws.below(PAYEE_SLOTS, n)
    # A payee not met yet is replaced by the one known from the start.
    slot = np.where(people.payee_since[customer, slot] <= time, slot, slot % (PAYEE_SLOTS // 2))
    one_off = draws.uniform(n) < ONE_OFF_PAYEE_SHARE
    payee = np.where(one_off, world.payees.draw(draws, n), people.payees[customer, slot])
    noise = draws.normal(n)
    usual = people.payee_log_amount[customer, slot] + 0.25 * noise
    unusual = np.log(100.0) + 4.6 + 1.25 * noise
    log_amount = np.where(one_off, unusual, usual) + people.log_budget[customer]
    numbers = _one_off_numbers(block, 1, n)
    return Events.build(
        time=time,
        customer=customer,
        channel=np.full(n, Channel.TRANSFER),
        merchant=world.places.first_institution + world.payees.institution[payee],
        payee=payee,
        device=_devices(side, customer, time, draws, numbers),
        amount=round_some(to_minor(log_amount), draws, share=0.5),
    )


def round_some(amount: IntArray, draws: Draws, *, share: float) -> IntArray:
    """Return amounts of which ``share`` are rounded to 5, 10, 50 or 100 units by their size."""
    step = np.select(
        [amount < 2_000, amount < 20_000, amount < 100_000], [100, 500, 1_000], default=5_000
    )
    rounded = np.maximum(np.rint(amount / step), 1.0).astype(np.int64) * step
    return np.where(draws.uniform(len(amount)) < share, rounded, amount)
