"""Card payments that the bank's present system stops by a score of its own.

What it stops is no loss, so nobody reports it: such a row never gets the label of a fraud, whatever
it was. A model that is judged by these labels is punished for each alert that the system gave too.
The same world without the dial says what the payments were.

It looks at cards only. A transfer that it stopped could not be passed on by mules.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.categories import AMOUNT_LOG_MEDIAN
from data_gen.entities.world_parts import BankSide
from data_gen.events import Channel, Events, LabelledEvents
from data_gen.rng import Draws, FloatArray
from data_gen.settings.config import DAY_SECONDS

# Added to the score of a payment from midnight to six; standard deviation of what no column shows.
NIGHT_SCORE: Final = 1.0
NOISE_SCORE: Final = 0.5
_NIGHT_SECONDS: Final = 6 * 3_600


def incumbent_scores(side: BankSide, events: Events, draws: Draws) -> FloatArray:
    """Return how suspicious the bank's present system finds each payment.

    A point is a doubling of what the customer usually pays in the merchant's category.

    Parameters
    ----------
    side : BankSide
    events : Events
    draws : Draws
        One normal number for each event.

    Returns
    -------
    ndarray of shape (n_events,), dtype=float64
    """
    category = side.world.places.merchant_category[events.merchant]
    usual = AMOUNT_LOG_MEDIAN[category] + side.customers.log_budget[events.customer]
    doublings = (np.log(events.amount) - usual) / np.log(2.0)
    is_night = events.time % DAY_SECONDS < _NIGHT_SECONDS
    scores: FloatArray = doublings + NIGHT_SCORE * is_night
    return scores + NOISE_SCORE * draws.normal(len(events))


def stopped_by_incumbent(side: BankSide, events: Events, draws: Draws) -> npt.NDArray[np.bool_]:
    """Tell which payments the present system stops; shape (n_events,).

    None without the dial ``incumbent_threshold``.
    """
    threshold = side.world.config.incumbent_threshold
    if threshold is None:
        return np.zeros(len(events), dtype=np.bool_)
    on_card = events.channel != Channel.TRANSFER
    found = incumbent_scores(side, events, draws) >= threshold
    stopped: npt.NDArray[np.bool_] = found & on_card
    return stopped


def never_reported(
    side: BankSide, labelled: LabelledEvents, stopped: npt.NDArray[np.bool_]
) -> LabelledEvents:
    """Return the events with those that were stopped blocked, and labelled as without a report."""
    events = labelled.events
    clean = events.time + side.world.config.clean_delay_days * DAY_SECONDS
    return LabelledEvents(
        events=replace(
            events,
            is_blocked=np.where(stopped, np.int8(1), events.is_blocked),
            is_fraud=np.where(stopped, np.int8(0), events.is_fraud),
        ),
        label_time=np.where(stopped, clean, labelled.label_time),
    )
