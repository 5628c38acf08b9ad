"""When the bank learns what a transaction was.

Fraud is reported per episode: all its transactions get their label together, some time after the
last of them. A transaction without report counts as legitimate after ``clean_delay_days``.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from data_gen.config import DAY_SECONDS
from data_gen.events import Events, FraudKind, LabelledEvents
from data_gen.rng import Draws, FloatArray
from data_gen.world_parts import BankSide

__all__ = ["MAX_DELAY_DAYS", "MEDIAN_DELAY_DAYS", "label"]

# By kind: median days from the last transaction to the report. A lost card is missed within a
# day, a card payment is disputed with the statement, a scam is admitted late.
MEDIAN_DELAY_DAYS: Final[FloatArray] = np.array([3.0, 0.6, 3.5, 1.0, 4.0, 4.0, 4.0])
DELAY_LOG_SPREAD: Final[FloatArray] = np.array([0.6, 0.7, 0.5, 0.8, 0.7, 0.7, 0.7])
MIN_DELAY_DAYS: Final = 1.0 / 24.0
MAX_DELAY_DAYS: Final = 60.0


def label(side: BankSide, events: Events, draws: Draws) -> LabelledEvents:
    """Return the events with what the bank learns of each and when.

    Parameters
    ----------
    side : BankSide
    events : Events
        Whole episodes: all transactions of an episode are reported together.
    draws : Draws
    """
    label_time = events.time + side.world.config.clean_delay_days * DAY_SECONDS
    fraud = np.flatnonzero(events.kind != FraudKind.LEGITIMATE)
    kind = events.kind[fraud]
    episode = events.episode[fraud]
    n_episodes = int(episode.max(initial=-1)) + 1
    days = MEDIAN_DELAY_DAYS[kind] * np.exp(
        DELAY_LOG_SPREAD[kind] * draws.normal(n_episodes)[episode]
    )
    days = np.clip(days, MIN_DELAY_DAYS, MAX_DELAY_DAYS)
    last = np.zeros(n_episodes, dtype=np.int64)
    np.maximum.at(last, episode, events.time[fraud])
    label_time[fraud] = last[episode] + (days * DAY_SECONDS).astype(np.int64)
    is_fraud = (events.kind != FraudKind.LEGITIMATE).astype(np.int8)
    return LabelledEvents(events=replace(events, is_fraud=is_fraud), label_time=label_time)
