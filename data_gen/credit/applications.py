"""Applications for credit: single ones, several to compare offers, and several in distress.

A *search* is one person's wish for one loan. It becomes one application, or several at different
banks within days. The person compares offers, or was refused elsewhere. A single bank cannot tell
these apart; the applications at the other banks can.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.credit.config import CreditConfig
from data_gen.credit.people import People
from data_gen.credit.streams import CreditPart
from data_gen.rng import FloatArray, IntArray, stream
from data_gen.settings.config import DAY_SECONDS, bank_names
from data_gen.steps import Steps

CHANNELS: Final = ("branch", "online", "broker")
_CHANNEL_SHARE: Final[FloatArray] = np.array([0.40, 0.45, 0.15])
PURPOSES: Final = ("car", "home_improvement", "consumer_goods", "refinancing", "education", "other")
_PURPOSE_SHARE: Final[FloatArray] = np.array([0.28, 0.20, 0.22, 0.16, 0.05, 0.09])
# Median amount by purpose as a multiple of the income of a month.
_AMOUNT_MONTHS: Final[FloatArray] = np.array([4.5, 4.0, 1.2, 3.5, 2.5, 1.8])
TERMS: Final = np.array([12, 24, 36, 48, 60, 72, 84])
_SEARCHES_PER_PERSON: Final = 1.1
_AMOUNT_STEP: Final = 10_000  # minor units: people ask for round amounts
_MONTHLY_RATE: Final = 0.006


@dataclass(frozen=True)
class Applications:
    """Applications at all banks, sorted by time; every array is of shape (n_applications,).

    Parameters
    ----------
    bank, person, search : ndarray, dtype=int64
    time : ndarray, dtype=int64
        UTC epoch seconds.
    purpose, channel : ndarray, dtype=int64
        Indices of the tuples of this module.
    amount : ndarray, dtype=int64
        Requested, minor units.
    term_months : ndarray, dtype=int64
    in_distress : ndarray, dtype=bool
        No bank can see it.
    """

    bank: IntArray
    person: IntArray
    search: IntArray
    time: IntArray
    purpose: IntArray
    channel: IntArray
    amount: IntArray
    term_months: IntArray
    in_distress: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time)


def make_applications(config: CreditConfig, people: People) -> Applications:
    """Return all applications of the period."""
    draws = stream(config.seed, CreditPart.SEARCHES)
    n = len(people)
    ordinary = draws.poisson(np.full(n, _SEARCHES_PER_PERSON))
    in_distress = draws.uniform(n) < config.distress_share * np.exp(-0.5 * people.steadiness)
    steps = Steps.of(ordinary + in_distress)
    person = steps.owner
    # A search in distress is first in the person's list; its time is as random as any other's.
    distress = in_distress[person] & (steps.number == 0)
    several = distress | (draws.uniform(len(person)) < config.shopping_share)
    offers = (
        1 + several * (1 + draws.below(3, len(person))) + distress * draws.below(3, len(person))
    )
    offers = np.minimum(offers, config.banks)
    begin = draws.below(config.days * DAY_SECONDS, len(person))

    sent = Steps.of(offers)
    search = sent.owner
    # Comparing offers takes ten days, a search in distress three.
    spread = np.where(distress[search], 3.0, 10.0) * DAY_SECONDS
    time = begin[search] + (sent.number > 0) * (spread * draws.uniform(len(sent))).astype(np.int64)
    bank = _banks(config, sent, draws.uniform(len(person)))
    terms = stream(config.seed, CreditPart.TERMS)
    purpose = _purposes(config, bank[sent.first], terms.uniform(len(person)))
    wish = _AMOUNT_MONTHS[purpose] * np.exp(0.6 * terms.normal(len(person)))
    wish *= np.where(distress, 1.25, 1.0)
    steps_asked = np.rint(people.income[person] * wish / _AMOUNT_STEP)
    amount = np.maximum(steps_asked, 5).astype(np.int64) * _AMOUNT_STEP
    term = TERMS[terms.pick(np.array([0.10, 0.16, 0.22, 0.18, 0.18, 0.09, 0.07]), len(person))]
    channel = terms.pick(_CHANNEL_SHARE, len(sent))

    inside = np.flatnonzero(time < config.days * DAY_SECONDS)
    order = inside[np.argsort(time[inside], kind="stable")]
    search = search[order]
    return Applications(
        bank=bank[order],
        person=person[search],
        search=search,
        time=config.start_time + time[order],
        purpose=purpose[search],
        channel=channel[order],
        amount=amount[search],
        term_months=term[search],
        in_distress=distress[search],
    )


def instalment(amount: FloatArray, term_months: IntArray) -> FloatArray:
    """Return the monthly payment of an annuity loan at 0.6 % a month, in units of ``amount``."""
    return amount * _MONTHLY_RATE / (1.0 - (1.0 + _MONTHLY_RATE) ** -term_months)


def _banks(config: CreditConfig, sent: Steps, uniform: FloatArray) -> IntArray:
    """Return the bank of each application: large banks more often, no bank twice in a search."""
    size = np.arange(1, config.banks + 1) ** -config.size_exponent
    edges = np.cumsum(size / size.sum())
    first = np.minimum(np.searchsorted(edges, uniform, side="right"), config.banks - 1)
    # The others follow round the ring of banks, which is as good as any other choice.
    banks: IntArray = (first[sent.owner] + sent.number) % config.banks
    return banks


def _purposes(config: CreditConfig, bank: IntArray, uniform: FloatArray) -> IntArray:
    """Return the purpose of each search: banks differ in what people come to them for."""
    draws = stream(config.seed, CreditPart.BANKS)
    tilt = draws.normal(len(bank_names(config.banks)), len(PURPOSES))
    share = _PURPOSE_SHARE * np.exp(config.purpose_spread * tilt)
    edges = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    purpose: IntArray = (uniform[:, None] >= edges[bank][:, :-1]).sum(axis=1)
    return purpose
