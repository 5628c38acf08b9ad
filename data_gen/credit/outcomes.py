"""The outcome of a loan: the chance of a default, and when the bank learns of it.

Age and sex affect a default only through income, work and housing. A model that treats groups
differently has learned this from correlated columns, which is what a fairness check looks for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_gen.credit.applications import PURPOSES, Applications, instalment
from data_gen.credit.config import CreditConfig
from data_gen.credit.people import EMPLOYMENTS, People
from data_gen.credit.streams import CreditPart
from data_gen.rng import FloatArray, IntArray, stream
from data_gen.settings.config import DAY_SECONDS

# Log odds of a default, by employment and by purpose.
_EMPLOYMENT_EFFECT: Final[FloatArray] = np.array([0.0, -0.5, 0.3, 0.5, 0.9, 0.2, -0.2])
_PURPOSE_EFFECT: Final[FloatArray] = np.array([-0.3, -0.2, 0.2, 0.5, 0.0, 0.2])
# In the second half of the period work in these fields becomes less certain.
_SHOCKED: Final = np.array([name in ("temporary", "self_employed") for name in EMPLOYMENTS])
_SHOCK_EFFECT: Final = 0.6
_FIRST_DEFAULT_DAY: Final = 60
# Existing debt of any purpose is paid back over four years.
_OLD_DEBT_MONTHS: Final = 48


@dataclass(frozen=True)
class Outcomes:
    """Labels; both arrays are of shape (n_applications,).

    Parameters
    ----------
    is_default : ndarray, dtype=int8
    label_time : ndarray, dtype=int64
        UTC epoch seconds: of the default, or the end of the performance window.
    """

    is_default: np.ndarray[tuple[int], np.dtype[np.int8]]
    label_time: IntArray


def debt_service_share(people: People, applications: Applications) -> FloatArray:
    """Return what old and new loans take from the income of a month, as a share of it."""
    who = applications.person
    old = instalment(people.debt[who].astype(np.float64), np.full(len(who), _OLD_DEBT_MONTHS))
    new = instalment(applications.amount.astype(np.float64), applications.term_months)
    return np.round((old + new) / people.income[who], 4)


def default_probability(
    config: CreditConfig, people: People, applications: Applications
) -> FloatArray:
    """Return the chance of a default; its mean is ``config.default_rate``."""
    who = applications.person
    share = np.minimum(debt_service_share(people, applications), 1.5)
    employment = people.employment[who]
    half = config.start_time + config.days * DAY_SECONDS // 2
    refinancing = applications.purpose == PURPOSES.index("refinancing")
    odds = 2.2 * np.maximum(share - 0.20, 0.0) - 0.8 * people.steadiness[who]
    odds += _EMPLOYMENT_EFFECT[employment] + _PURPOSE_EFFECT[applications.purpose]
    odds += 0.012 * (applications.term_months - 36)
    odds += 1.8 * applications.in_distress
    odds += _SHOCK_EFFECT * (_SHOCKED[employment] & (applications.time >= half))
    # A loan to pay others back is a risk if there are many of them, and safe if there are few.
    odds += refinancing * np.where(people.loans[who] >= 2, 0.8, -0.8)
    return _sigmoid(odds + _intercept(odds, config.default_rate))


def make_outcomes(config: CreditConfig, people: People, applications: Applications) -> Outcomes:
    """Return the labels. All applications of one search end alike: it is one person's loan."""
    draws = stream(config.seed, CreditPart.OUTCOMES)
    searches = int(applications.search.max(initial=-1)) + 1
    luck = draws.uniform(searches)[applications.search]
    is_default = luck < default_probability(config, people, applications)
    window = config.performance_days * DAY_SECONDS
    first = _FIRST_DEFAULT_DAY * DAY_SECONDS
    delay = first + (draws.uniform(searches) * (window - first)).astype(np.int64)
    label_time = applications.time + np.where(is_default, delay[applications.search], window)
    return Outcomes(is_default=is_default.astype(np.int8), label_time=label_time)


def _sigmoid(odds: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-odds))


def _intercept(odds: FloatArray, mean: float) -> float:
    """Return what to add to log odds so that the mean probability is ``mean``, by bisection."""
    low, high = -30.0, 30.0
    # 60 halvings of 60 end below 1e-16.
    for _ in range(60):
        middle = (low + high) / 2.0
        if float(_sigmoid(odds + middle).mean()) < mean:
            low = middle
        else:
            high = middle
    # Rounded, so that the last place of an exponential on another processor changes nothing.
    return round((low + high) / 2.0, 9)
