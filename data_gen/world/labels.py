"""Labels: what the bank learns about each transaction, and when.

``kind`` is the truth; ``is_fraud`` is the bank's final label. Fraud is reported per episode: all
its transactions get their label together, some time after the last of them. The bank or the
customer notices some fraud fast; a statement, a chargeback or a letter reveals the rest weeks
later. Some fraud is never reported, and some honest payments are reported as fraud. A transaction
without a report counts as legitimate after ``clean_delay_days``.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.entities.world_parts import BankSide
from data_gen.events import Events, FraudKind, LabelledEvents
from data_gen.rng import Draws, FloatArray, IntArray
from data_gen.settings.config import DAY_SECONDS

# By kind, in days from the last transaction to the report: invented numbers of a plausible size.
# A lost card is missed within a day. A card payment is disputed with the statement. A scam is
# admitted late, but within the limit of 13 months for claims of payers in the EU and the UK
# (Directive (EU) 2015/2366, article 71; PSR policy statement PS23/4 for scams).
FAST_SHARE: Final[FloatArray] = np.array([0.45, 0.85, 0.35, 0.75, 0.40, 0.35, 0.05])
FAST_MEDIAN_DAYS: Final = 0.8
FAST_LOG_SPREAD: Final = 0.7
SLOW_MEDIAN_DAYS: Final[FloatArray] = np.array([18.0, 8.0, 21.0, 8.0, 24.0, 16.0, 30.0])
SLOW_LOG_SPREAD: Final[FloatArray] = np.array([0.5, 0.6, 0.5, 0.6, 1.1, 0.8, 0.5])
# Share of fast reports where the bank has stopped one of the episode's payments.
BLOCKED_FAST_SHARE: Final = 0.90
# No earlier than this, so that no label comes before the last attempt at a payment.
MIN_DELAY_DAYS: Final = 1.0 / 24.0
MAX_DELAY_DAYS: Final = 395.0


def label(side: BankSide, events: Events, draws: Draws) -> LabelledEvents:
    """Return the events with the bank's label of each, and when the bank learns it.

    Parameters
    ----------
    side : BankSide
    events : Events
        Whole episodes, of one fraud kind at most: an episode is reported as a whole or not at all.
    draws : Draws
    """
    config = side.world.config
    n = len(events)
    is_fraud = np.zeros(n, dtype=np.int8)
    label_time = events.time + config.clean_delay_days * DAY_SECONDS

    clean = events.kind == FraudKind.LEGITIMATE
    mistaken = np.flatnonzero(clean & (draws.uniform(n) < config.false_report_share))
    days = _delay_days(
        np.full(len(mistaken), FraudKind.CARD_NOT_PRESENT),
        np.full(len(mistaken), False),
        config.label_delay_scale,
        draws,
    )
    is_fraud[mistaken] = 1
    label_time[mistaken] = events.time[mistaken] + (days * DAY_SECONDS).astype(np.int64)

    fraud = np.flatnonzero(~clean)
    episode_numbers, episode = np.unique(events.episode[fraud], return_inverse=True)
    n_episodes = len(episode_numbers)
    kind = np.zeros(n_episodes, dtype=np.int64)
    kind[episode] = events.kind[fraud]
    blocked = np.zeros(n_episodes, dtype=np.bool_)
    blocked[episode[events.is_blocked[fraud] == 1]] = True
    days = _delay_days(kind, blocked, config.label_delay_scale, draws)
    # Disputing an own purchase is reporting it.
    missed = (draws.uniform(n_episodes) < config.missed_fraud_share) & (
        kind != FraudKind.FIRST_PARTY
    )
    last = np.zeros(n_episodes, dtype=np.int64)
    np.maximum.at(last, episode, events.time[fraud])
    reported = last + (days * DAY_SECONDS).astype(np.int64)
    told = fraud[~missed[episode]]
    is_fraud[told] = 1
    label_time[told] = reported[episode[~missed[episode]]]
    return LabelledEvents(events=replace(events, is_fraud=is_fraud), label_time=label_time)


def _delay_days(
    kind: IntArray, blocked: npt.NDArray[np.bool_], scale: float, draws: Draws
) -> FloatArray:
    """Return days until the report, one per episode."""
    n = len(kind)
    fast = draws.uniform(n) < np.where(blocked, BLOCKED_FAST_SHARE, FAST_SHARE[kind])
    noise = draws.normal(n)
    days = np.where(
        fast,
        FAST_MEDIAN_DAYS * np.exp(FAST_LOG_SPREAD * noise),
        SLOW_MEDIAN_DAYS[kind] * np.exp(SLOW_LOG_SPREAD[kind] * noise),
    )
    return np.clip(scale * days, MIN_DELAY_DAYS, MAX_DELAY_DAYS)
