"""When the bank learns what a transaction was.

Fraud is reported per episode: all its transactions get their label together, some time after the
last of them. A transaction without report counts as legitimate after ``clean_delay_days``.
"""

from typing import Final

import numpy as np

from data_gen.config import DAY_SECONDS
from data_gen.events import Events, FraudKind
from data_gen.rng import FloatArray, IntArray, Part, stream
from data_gen.world_parts import BankSide

__all__ = ["MAX_DELAY_DAYS", "MEDIAN_DELAY_DAYS", "fraud_label_times"]

# By kind: median days from the last transaction to the report. A lost card is missed within a
# day, a card payment is disputed with the statement, a scam is admitted late.
MEDIAN_DELAY_DAYS: Final[FloatArray] = np.array([3.0, 0.6, 3.5, 1.0, 4.0])
DELAY_LOG_SPREAD: Final[FloatArray] = np.array([0.6, 0.7, 0.5, 0.8, 0.7])
MIN_DELAY_DAYS: Final = 1.0 / 24.0
MAX_DELAY_DAYS: Final = 60.0


def fraud_label_times(side: BankSide, kind: FraudKind, events: Events, episodes: int) -> IntArray:
    """Return the report time of each fraudulent transaction.

    Parameters
    ----------
    side : BankSide
    kind : FraudKind
        Kind of all ``events``.
    events : Events
        With ``episode`` below ``episodes``.
    episodes : int

    Returns
    -------
    label_time : ndarray of shape (n_events,), dtype=int64
        UTC epoch seconds, at least an hour after the last transaction of the episode.
    """
    draws = stream(side.world.config.seed, Part.LABELS, side.bank, int(kind))
    days = MEDIAN_DELAY_DAYS[kind] * np.exp(DELAY_LOG_SPREAD[kind] * draws.normal(episodes))
    days = np.clip(days, MIN_DELAY_DAYS, MAX_DELAY_DAYS)
    last = np.zeros(episodes, dtype=np.int64)
    np.maximum.at(last, events.episode, events.time)
    reported: IntArray = last + (days * DAY_SECONDS).astype(np.int64)
    return reported[events.episode]
