"""Card fraud: card-not-present, lost or stolen card, compromised terminal or merchant."""

import numpy as np

from data_gen.behaviour.everyday import merchant_log_amount
from data_gen.clock import HOUR_WEIGHT, HourTable
from data_gen.entities.devices import DeviceOwner, unique_devices
from data_gen.entities.world_parts import BankSide
from data_gen.events import Channel, Events, FraudKind, to_minor
from data_gen.fraud.campaigns import CATEGORIES_PER_CAMPAIGN, DEVICES_PER_CAMPAIGN, Campaigns
from data_gen.fraud.episodes import Episodes, FraudPlan, make_episodes
from data_gen.rng import Draws, IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS
from data_gen.steps import Steps, running_sum


def fraud_devices(
    side: BankSide,
    campaigns: Campaigns,
    episodes: Episodes,
    draws: Draws,
    *,
    gang_share: float,
    victim_share: float,
) -> IntArray:
    """Return one device per episode: the gang's, the victim's own, or one never seen again.

    ``gang_share`` and ``victim_share`` are probabilities; the rest are one-off devices.
    """
    n = len(episodes)
    uniforms = draws.uniform(n)
    gang = campaigns.devices[episodes.campaign, draws.below(DEVICES_PER_CAMPAIGN, n)]
    own = side.customers.main_device(episodes.customer, episodes.start)
    numbers = (int(campaigns.kind) << 32) + np.arange(n)
    one_off = unique_devices(DeviceOwner.ONE_OFF_FRAUD, side.bank, numbers)
    return np.select(
        [uniforms < gang_share, uniforms < gang_share + victim_share], [gang, own], default=one_off
    )


def card_not_present(side: BankSide, plan: FraudPlan) -> Events:
    """Return card-not-present fraud: often small probes, then purchases within hours."""
    world, people = side.world, side.customers
    campaigns = plan.campaigns[FraudKind.CARD_NOT_PRESENT]
    episodes = make_episodes(side, plan, FraudKind.CARD_NOT_PRESENT)
    draws = stream(world.config.seed, Part.CARD_NOT_PRESENT, side.bank)
    count = len(episodes)
    # 1 to 8 purchases, 3.6 on average.
    steps = Steps.of(1 + np.minimum((draws.exponential(count) * 3.1).astype(np.int64), 7))
    n = len(steps)
    customer = episodes.customer[steps.owner]
    campaign = episodes.campaign[steps.owner]
    probing = (draws.uniform(count) < 0.55)[steps.owner] & (steps.number == 0)
    wanted = campaigns.categories[campaign, draws.below(CATEGORIES_PER_CAMPAIGN, n)]
    focused = draws.uniform(n) < 0.70
    uniforms = draws.uniform(n)
    merchant = np.where(
        focused,
        world.places.online_by_category.draw(wanted, uniforms),
        world.places.online_pool.draw(np.zeros(n, dtype=np.int64), uniforms),
    )
    log_amount = merchant_log_amount(world, merchant, 0.5 * people.log_budget[customer], draws)
    log_amount += 0.60 + campaigns.log_amount[campaign]
    probe = np.log(100.0) + draws.uniform(n, low=-0.7, high=2.3)
    device = fraud_devices(side, campaigns, episodes, draws, gang_share=0.50, victim_share=0.15)
    return Events.build(
        time=episodes.start[steps.owner] + running_sum(steps, draws.exponential(n) * 3_600.0),
        customer=customer,
        channel=np.full(n, Channel.ECOMMERCE),
        merchant=merchant,
        device=device[steps.owner],
        amount=to_minor(np.where(probing, probe, log_amount)),
        kind=FraudKind.CARD_NOT_PRESENT,
        episode=steps.owner,
    )


def lost_stolen(side: BankSide, plan: FraudPlan) -> Events:
    """Return fraud with a lost or stolen card: terminals and cash machines, fast, near by."""
    world, people = side.world, side.customers
    campaigns = plan.campaigns[FraudKind.LOST_STOLEN]
    episodes = make_episodes(side, plan, FraudKind.LOST_STOLEN)
    draws = stream(world.config.seed, Part.LOST_STOLEN, side.bank)
    count = len(episodes)
    steps = Steps.of(2 + np.minimum((draws.exponential(count) * 3.8).astype(np.int64), 9))
    n = len(steps)
    customer = episodes.customer[steps.owner]
    campaign = episodes.campaign[steps.owner]
    at_home = draws.uniform(count) < 0.70
    anywhere = draws.pick(world.towns.population, count)
    town = np.where(at_home, people.home[episodes.customer], anywhere)[steps.owner]
    has_pin = (draws.uniform(count) < 0.5)[steps.owner]
    cash = has_pin & (draws.uniform(n) < 0.5)
    uniforms = draws.uniform(n)
    terminal = np.where(
        cash, world.places.atm_pool.draw(town, uniforms), world.places.pos_pool.draw(town, uniforms)
    )
    merchant = world.places.terminal_merchant[terminal]
    log_amount = merchant_log_amount(world, merchant, 0.4 * people.log_budget[customer], draws)
    log_amount += 1.0 + campaigns.log_amount[campaign]
    # Without the PIN most payments stay below the contactless limit of 50.
    contactless = ~has_pin & (draws.uniform(n) < 0.6)
    log_amount = np.where(contactless, np.minimum(log_amount, np.log(4_900.0)), log_amount)
    cash_amount = 5_000 * (3 + draws.below(8, n))
    return Events.build(
        time=episodes.start[steps.owner] + running_sum(steps, draws.exponential(n) * 700.0),
        customer=customer,
        channel=np.where(cash, Channel.ATM, Channel.POS),
        merchant=merchant,
        terminal=terminal,
        amount=np.where(cash, cash_amount, to_minor(log_amount)),
        kind=FraudKind.LOST_STOLEN,
        episode=steps.owner,
    )


def compromised_terminal(side: BankSide, plan: FraudPlan) -> Events:
    """Return payments through a compromised terminal or online merchant, at its usual hours."""
    world, people = side.world, side.customers
    campaigns = plan.campaigns[FraudKind.COMPROMISED_TERMINAL]
    episodes = make_episodes(side, plan, FraudKind.COMPROMISED_TERMINAL)
    draws = stream(world.config.seed, Part.COMPROMISED_TERMINAL, side.bank)
    count = len(episodes)
    steps = Steps.of(1 + np.where(draws.uniform(count) < 0.25, 1, 0))
    n = len(steps)
    campaign = episodes.campaign[steps.owner]
    online = campaigns.at_shop[campaign]
    terminal = campaigns.terminal[campaign]
    victim = _victims_near(side, campaigns, episodes, draws)
    customer = victim[steps.owner]
    merchant = np.where(online, campaigns.shop[campaign], world.places.terminal_merchant[terminal])
    log_amount = merchant_log_amount(world, merchant, 0.7 * people.log_budget[customer], draws)
    log_amount += 0.55 + campaigns.log_amount[campaign]
    uniforms = draws.uniform(n)
    no_shift = np.zeros(n)
    second = np.where(
        online,
        HourTable(HOUR_WEIGHT[Channel.ECOMMERCE]).seconds(uniforms, no_shift),
        HourTable(HOUR_WEIGHT[Channel.POS]).seconds(uniforms, no_shift),
    )
    day = episodes.start[steps.owner] // DAY_SECONDS + steps.number
    at_shop = Episodes(campaign=episodes.campaign, customer=victim, start=episodes.start)
    device = fraud_devices(side, campaigns, at_shop, draws, gang_share=0.35, victim_share=0.35)
    return Events.build(
        time=day * DAY_SECONDS + second,
        customer=customer,
        channel=np.where(online, Channel.ECOMMERCE, Channel.POS),
        merchant=merchant,
        terminal=np.where(online, -1, terminal),
        device=np.where(online, device[steps.owner], -1),
        amount=to_minor(log_amount),
        kind=FraudKind.COMPROMISED_TERMINAL,
        episode=steps.owner,
    )


def _victims_near(
    side: BankSide, campaigns: Campaigns, episodes: Episodes, draws: Draws
) -> IntArray:
    """Return victims: mostly customers from the terminal's town, if the bank has any there."""
    home = side.customers.home
    order = np.argsort(home, kind="stable")
    town = side.world.places.terminal_town[campaigns.terminal[episodes.campaign]]
    first = np.searchsorted(home[order], town, side="left")
    residents = np.searchsorted(home[order], town, side="right") - first
    n = len(episodes)
    resident = order[np.minimum(first + draws.below(residents, n), len(order) - 1)]
    near = (draws.uniform(n) < 0.75) & (residents > 0) & ~campaigns.at_shop[episodes.campaign]
    return np.where(near, resident, episodes.customer)
