"""A world, bank by bank: entities, then behaviour and fraud, then labels, sorted by time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from data_gen.behaviour.everyday import everyday_events
from data_gen.behaviour.occasions import occasion_events
from data_gen.clock import expected_day_sum
from data_gen.entities.customers import customer_blocks
from data_gen.entities.world_parts import BankSide, SharedWorld, make_bank_side, make_shared_world
from data_gen.events import Events, FraudKind, LabelledEvents
from data_gen.fraud.account import account_takeover
from data_gen.fraud.card import card_not_present, compromised_terminal, lost_stolen
from data_gen.fraud.episodes import FraudPlan, make_plan
from data_gen.fraud.first_party import first_party
from data_gen.fraud.mules import Hops, make_hops, mule_chain
from data_gen.fraud.payment import push_payment_scam
from data_gen.identifiers import to_table
from data_gen.rng import Part, stream
from data_gen.settings.config import WorldConfig
from data_gen.world.accounts import choose_accounts
from data_gen.world.blocking import with_blocked_attempts
from data_gen.world.incumbent import never_reported, stopped_by_incumbent
from data_gen.world.labels import label

# Rows that occasions add per customer and day, on average.
OCCASION_ROWS_PER_DAY: Final = 0.037

# In the order of their parts.
_KINDS: Final = tuple(kind for kind in FraudKind if kind >= 0)
_MAKERS: Final[dict[FraudKind, Callable[[BankSide, FraudPlan], Events]]] = {
    FraudKind.CARD_NOT_PRESENT: card_not_present,
    FraudKind.LOST_STOLEN: lost_stolen,
    FraudKind.COMPROMISED_TERMINAL: compromised_terminal,
    FraudKind.ACCOUNT_TAKEOVER: account_takeover,
    FraudKind.PUSH_PAYMENT_SCAM: push_payment_scam,
    FraudKind.FIRST_PARTY: first_party,
}


@dataclass(frozen=True)
class World:
    """What all banks have in common: shared entities and the plan of all campaigns."""

    shared: SharedWorld
    plan: FraudPlan

    @cached_property
    def hops(self) -> Hops:
        """The payments of the mules at all banks, made once from the money stolen at all banks."""
        return make_hops(self.shared, self.plan)


@dataclass(frozen=True)
class BankTransactions:
    """All transactions of one bank, sorted by time.

    Parameters
    ----------
    side : BankSide
    labelled : LabelledEvents
    """

    side: BankSide
    labelled: LabelledEvents

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def name(self) -> str:
        """The bank's name."""
        return self.side.name

    @property
    def events(self) -> Events:
        """The transactions."""
        return self.labelled.events

    def to_table(self, start: int = 0, stop: int | None = None) -> pa.Table:
        """Return rows ``start`` to ``stop`` as an Arrow table of the published schema."""
        stop = len(self) if stop is None else min(stop, len(self))
        rows = self.labelled.take(np.arange(start, stop))
        return to_table(self.side, rows.events, rows.label_time, start)


def make_world(config: WorldConfig) -> World:
    """Return the part of a world that every bank shares; cheap, and the same in any process."""
    shared = make_shared_world(config)
    per_customer = config.transactions_per_day * expected_day_sum(config)
    per_customer += OCCASION_ROWS_PER_DAY * config.days
    people = shared.shared_people
    less_active = ((1.0 - people.activity)[:, None] * people.is_customer).sum(axis=0)
    rows = (shared.banks.customers - less_active) * per_customer
    return World(shared=shared, plan=make_plan(shared, rows))


def bank_parts(world: World, bank: int) -> int:
    """Return the number of parts of a bank: its blocks of customers, then the fraud kinds."""
    return customer_blocks(int(world.shared.banks.customers[bank])) + len(_KINDS)


def make_part(side: BankSide, world: World, part: int) -> LabelledEvents:
    """Return the transactions of one part of a bank, in no particular order.

    No part needs another one, and the parts of a bank together are all its transactions.

    Parameters
    ----------
    side : BankSide
    world : World
    part : int
        From 0 to ``bank_parts(world, bank) - 1``.
    """
    config = world.shared.config
    blocks = customer_blocks(len(side.customers))
    if part < blocks:
        found = Events.concatenate([everyday_events(side, part), occasion_events(side, part)])
    else:
        found = _fraud(side, world, _KINDS[part - blocks])
    found = choose_accounts(side, found, stream(config.seed, Part.ACCOUNTS, side.bank, part))
    draws = stream(config.seed, Part.BLOCKING, side.bank, part)
    found = with_blocked_attempts(found, config.start_time, draws).before(config.end_time)
    labelled = label(side, found, stream(config.seed, Part.LABELS, side.bank, part))
    if config.incumbent_threshold is None:
        return labelled
    draws = stream(config.seed, Part.INCUMBENT, side.bank, part)
    return never_reported(side, labelled, stopped_by_incumbent(side, found, draws))


def _fraud(side: BankSide, world: World, kind: FraudKind) -> Events:
    if kind is FraudKind.MULE_CHAIN:
        return mule_chain(side, world.hops)
    return _MAKERS[kind](side, world.plan)


def make_bank(
    world: World, bank: int, on_progress: Callable[[int], None] | None = None
) -> BankTransactions:
    """Return all transactions of one bank, sorted by time, then part, then position in the part.

    Parameters
    ----------
    world : World
    bank : int
        Index of the bank, from 0.
    on_progress : callable, optional
        Called with the number of customers done after each block.
    """
    side = make_bank_side(world.shared, bank)
    blocks = customer_blocks(len(side.customers))
    parts = []
    for part in range(bank_parts(world, bank)):
        parts.append(make_part(side, world, part))
        if on_progress is not None and part < blocks:
            on_progress(len(side.customers) // blocks)
    together = LabelledEvents.concatenate(parts)
    # Stable, so that rows of the same second keep the order in which they were made.
    order = np.argsort(together.events.time, kind="stable")
    return BankTransactions(side=side, labelled=together.take(order))


def generate(config: WorldConfig) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield name and transactions of each bank, the largest bank first.

    Missing strings and places are ``None`` and NaN, as pandas reads them from the Parquet files.
    """
    world = make_world(config)
    for bank in range(config.banks):
        transactions = make_bank(world, bank)
        yield transactions.name, transactions.to_table().to_pandas()
