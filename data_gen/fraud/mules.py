"""Mule chains: stolen money arrives at a customer's account and is gone within a day.

A take-over or scam at any bank pays to a mule, a customer of some bank. The mule sends the money
to the next mule at another bank. The last mule takes it out at a cash machine or sends it to an
account outside the consortium. In the data of a mule's bank these payments are of kind
``mule_chain``.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from data_gen.entities.world_parts import BankSide, SharedWorld
from data_gen.events import NONE, Channel, Events, FraudKind
from data_gen.fraud.campaigns import DEVICES_PER_CAMPAIGN, RELAYS, Campaigns
from data_gen.fraud.episodes import FraudPlan
from data_gen.fraud.stolen_money import StolenMoney, scam_money, takeover_money
from data_gen.rng import Draws, IntArray, Part, stream
from data_gen.settings.config import DAY_SECONDS

# How many mules pass the money on: two, or three.
MIN_HOPS = 2
MAX_HOPS = 3
THIRD_HOP_SHARE = 0.5
# Seconds from the arrival of the money to its leaving.
SHORTEST_STAY = 1_200
MEAN_STAY = 3.0 * 3_600.0
LONGEST_STAY = DAY_SECONDS - 3_600
# Each mule keeps a part.
PASSED_ON = (0.90, 0.99)
# Largest sum that a cash machine pays out, minor units, and how often the last mule goes there.
CASH_LIMIT = 100_000
CASH_SHARE = 0.75
OWN_DEVICE_SHARE = 0.6


@dataclass(frozen=True)
class Hops:
    """Payments by which mules pass money on, at all banks; arrays have a row per payment.

    Parameters
    ----------
    chain : ndarray of shape (n,), dtype=int64
        Number of the chain among those of all banks.
    account : ndarray of shape (n,), dtype=int64
        The mule's, a main account at a bank.
    payee : ndarray of shape (n,), dtype=int64
        The next account; ``NONE`` where cash is taken out.
    time : ndarray of shape (n,), dtype=int64
        UTC epoch seconds.
    amount : ndarray of shape (n,), dtype=int64
        Minor currency units.
    device : ndarray of shape (n,), dtype=int64
        Of the gang.
    """

    chain: IntArray
    account: IntArray
    payee: IntArray
    time: IntArray
    amount: IntArray
    device: IntArray


def make_hops(world: SharedWorld, plan: FraudPlan) -> Hops:
    """Return the payments of all chains; any process can make them without any customers."""
    if len(world.banks) == 1:
        return _join([])
    stolen = [
        (kind, bank, find(world, plan, bank))
        for kind, find in (
            (FraudKind.ACCOUNT_TAKEOVER, takeover_money),
            (FraudKind.PUSH_PAYMENT_SCAM, scam_money),
        )
        for bank in range(len(world.banks))
    ]
    arriving = [_arrives(world, money) for _, _, money in stolen]
    n_arriving = sum(int(mask.sum()) for mask in arriving)
    mean_hops = MIN_HOPS + THIRD_HOP_SHARE
    share = min(plan.chain_payments / max(mean_hops * n_arriving, 1.0), 1.0)
    hops: list[Hops] = []
    first_chain = 0
    for (kind, bank, money), mask in zip(stolen, arriving, strict=True):
        draws = stream(world.config.seed, Part.MULE_CHAIN, bank, int(kind))
        chosen = np.flatnonzero(mask & (draws.uniform(len(mask)) < share))
        chain = first_chain + np.arange(len(chosen))
        hops.extend(_chains(world, plan.campaigns[kind], money, chosen, chain, draws))
        first_chain += len(chosen)
    return _join(hops)


def _arrives(world: SharedWorld, money: StolenMoney) -> npt.NDArray[np.bool_]:
    """Return which payments bring a mule at a bank money within the period."""
    at_member = world.payees.bank_of(money.payee) >= 0
    return money.is_large & at_member & (money.time < world.config.end_time)


def _chains(
    world: SharedWorld,
    campaigns: Campaigns,
    money: StolenMoney,
    chosen: IntArray,
    chain: IntArray,
    draws: Draws,
) -> list[Hops]:
    """Return the payments of the chains that follow the ``chosen`` payments, hop by hop."""
    n = len(chosen)
    campaign = money.strikes.campaign[money.steps.owner[chosen]]
    n_hops = np.where(draws.uniform(n) < THIRD_HOP_SHARE, MAX_HOPS, MIN_HOPS)
    account, time, amount = money.payee[chosen], money.time[chosen], money.amount[chosen]
    hops = []
    for number in range(MAX_HOPS):
        stay = SHORTEST_STAY + (draws.exponential(n) * MEAN_STAY).astype(np.int64)
        time = time + np.minimum(stay, LONGEST_STAY)
        kept = draws.uniform(n, low=PASSED_ON[0], high=PASSED_ON[1])
        amount = np.maximum((amount * kept).astype(np.int64), 1)
        relay = _relay_elsewhere(world, campaigns, campaign, account, draws)
        outside = world.payees.draw_outside(draws, n)
        cash = (amount <= CASH_LIMIT) & (draws.uniform(n) < CASH_SHARE)
        last = number + 1 == n_hops
        payee = np.where(last, np.where(cash, NONE, outside), relay)
        device = campaigns.devices[campaign, draws.below(DEVICES_PER_CAMPAIGN, n)]
        rows = np.flatnonzero(number < n_hops)
        hops.append(
            Hops(
                chain=chain[rows],
                account=account[rows],
                payee=payee[rows],
                time=time[rows],
                amount=amount[rows],
                device=device[rows],
            )
        )
        account = relay
    return hops


def _relay_elsewhere(
    world: SharedWorld, campaigns: Campaigns, campaign: IntArray, account: IntArray, draws: Draws
) -> IntArray:
    """Return one of each campaign's relays, at another bank than the given account."""
    number = draws.below(RELAYS, len(account))
    relay = campaigns.relays[campaign, number]
    same = world.payees.bank_of(relay) == world.payees.bank_of(account)
    neighbour = campaigns.relays[campaign, (number + 1) % RELAYS]
    return np.where(same, neighbour, relay)


def _join(hops: list[Hops]) -> Hops:
    none = np.zeros(0, dtype=np.int64)
    return Hops(
        **{
            f.name: np.concatenate([none, *(getattr(h, f.name) for h in hops)])
            for f in fields(Hops)
        }
    )


def mule_chain(side: BankSide, hops: Hops) -> Events:
    """Return what the mules among a bank's customers pass on or take out.

    Parameters
    ----------
    side : BankSide
    hops : Hops
        Of all banks.
    """
    world, people = side.world, side.customers
    here = np.flatnonzero(world.payees.bank_of(hops.account) == side.bank)
    draws = stream(world.config.seed, Part.MULE_CHAIN, side.bank)
    n = len(here)
    account, payee, time = hops.account[here], hops.payee[here], hops.time[here]
    customer = world.payees.customer_of(account)
    cash = payee == NONE
    terminal = world.places.atm_pool.draw(people.home[customer], draws.uniform(n))
    merchant = np.where(
        cash,
        world.places.terminal_merchant[terminal],
        world.places.first_institution + world.payees.institution[np.where(cash, 0, payee)],
    )
    own = draws.uniform(n) < OWN_DEVICE_SHARE
    device = np.where(own, people.main_device(customer, time), hops.device[here])
    # Machines pay out whole tens, from 20.
    notes = np.maximum(hops.amount[here] // 1_000, 2) * 1_000
    return Events.build(
        time=time,
        customer=customer,
        channel=np.where(cash, Channel.ATM, Channel.TRANSFER),
        merchant=merchant,
        terminal=np.where(cash, terminal, NONE),
        payee=payee,
        device=np.where(cash, NONE, device),
        amount=np.where(cash, notes, hops.amount[here]),
        kind=FraudKind.MULE_CHAIN,
        episode=hops.chain[here],
        account=account,
    )
