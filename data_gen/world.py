"""A world, bank by bank: entities, then behaviour and fraud, then labels, sorted by time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from data_gen.behaviour.everyday import everyday_blocks, everyday_events
from data_gen.behaviour.occasions import occasion_events
from data_gen.clock import expected_day_sum
from data_gen.config import DAY_SECONDS, WorldConfig
from data_gen.events import Events, FraudKind
from data_gen.fraud.account import account_takeover
from data_gen.fraud.campaigns import KINDS, Campaigns
from data_gen.fraud.card import card_not_present, compromised_terminal, lost_stolen
from data_gen.fraud.episodes import Episodes, FraudPlan, make_episodes, make_plan
from data_gen.fraud.payment import push_payment_scam
from data_gen.identifiers import to_table
from data_gen.labels import fraud_label_times
from data_gen.rng import IntArray
from data_gen.world_parts import BankSide, SharedWorld, make_bank_side, make_shared_world

__all__ = ["BankTransactions", "World", "generate", "make_bank", "make_world"]

# Rows that occasions add per customer and day, on average.
OCCASION_ROWS_PER_DAY: Final = 0.037

_MAKERS: Final[dict[FraudKind, Callable[[BankSide, Campaigns, Episodes], Events]]] = {
    FraudKind.CARD_NOT_PRESENT: card_not_present,
    FraudKind.LOST_STOLEN: lost_stolen,
    FraudKind.COMPROMISED_TERMINAL: compromised_terminal,
    FraudKind.ACCOUNT_TAKEOVER: account_takeover,
    FraudKind.PUSH_PAYMENT_SCAM: push_payment_scam,
}


@dataclass(frozen=True)
class World:
    """What all banks have in common: shared entities and the plan of all campaigns."""

    shared: SharedWorld
    plan: FraudPlan


@dataclass(frozen=True)
class BankTransactions:
    """All transactions of one bank, sorted by time.

    Parameters
    ----------
    side : BankSide
    events : Events
    label_time : ndarray of shape (n_events,), dtype=int64
        UTC epoch seconds, never before the event.
    """

    side: BankSide
    events: Events
    label_time: IntArray

    def __len__(self) -> int:
        return len(self.events)

    @property
    def name(self) -> str:
        """The bank's name."""
        return self.side.name

    def to_table(self, start: int = 0, stop: int | None = None) -> pa.Table:
        """Return rows ``start`` to ``stop`` as an Arrow table of the published schema."""
        return to_table(self.side, self.events, self.label_time, start, stop)


def make_world(config: WorldConfig) -> World:
    """Return the part of a world that every bank shares; cheap, and the same in any process."""
    shared = make_shared_world(config)
    per_customer = config.transactions_per_day * expected_day_sum(config)
    per_customer += OCCASION_ROWS_PER_DAY * config.days
    rows = shared.banks.customers.astype(np.float64) * per_customer
    return World(shared=shared, plan=make_plan(shared, rows))


def make_bank(
    world: World, bank: int, on_progress: Callable[[int], None] | None = None
) -> BankTransactions:
    """Return all transactions of one bank.

    Parameters
    ----------
    world : World
    bank : int
        Index of the bank, from 0.
    on_progress : callable, optional
        Called with the number of customers done after each block.
    """
    config = world.shared.config
    side = make_bank_side(world.shared, bank)
    events: list[Events] = []
    for block in range(everyday_blocks(side)):
        parts = [everyday_events(side, block), occasion_events(side, block)]
        events.extend(parts)
        if on_progress is not None:
            on_progress(len(side.customers) // everyday_blocks(side))
    label_times = [part.time + config.clean_delay_days * DAY_SECONDS for part in events]
    for kind in KINDS:
        episodes = make_episodes(side, world.plan, kind)
        found = _MAKERS[kind](side, world.plan.campaigns[kind], episodes)
        found = found.before(config.end_time)
        events.append(found)
        label_times.append(fraud_label_times(side, kind, found, len(episodes)))
    together = Events.concatenate(events)
    # Stable, so that rows of the same second keep the order in which they were made.
    order = np.argsort(together.time, kind="stable")
    return BankTransactions(
        side=side,
        events=together.take(order),
        label_time=np.concatenate(label_times)[order],
    )


def generate(config: WorldConfig) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield name and transactions of each bank, the largest bank first.

    Missing strings and places are ``None`` and NaN, as pandas reads them from the Parquet files.
    """
    world = make_world(config)
    for bank in range(config.banks):
        transactions = make_bank(world, bank)
        yield transactions.name, transactions.to_table().to_pandas()
