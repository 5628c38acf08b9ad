"""The applicants: age, work, income and debt, and a hidden steadiness.

Shares, incomes and debts are invented round numbers of a plausible size, not measurements.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.credit.config import CreditConfig
from data_gen.credit.streams import CreditPart
from data_gen.rng import FloatArray, IntArray, stream

EMPLOYMENTS: Final = (
    "employed",
    "public_sector",
    "self_employed",
    "temporary",
    "unemployed",
    "student",
    "retired",
)
HOUSINGS: Final = ("owner", "mortgage", "tenant", "family")
SEXES: Final = ("female", "male")
AGE_BANDS: Final = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
_BAND_STARTS: Final = np.array([18, 25, 35, 45, 55, 65])

# By employment: share below and from the age of 30 (nobody retires before 62, see below),
# median net income a month in major units, and its spread on a log scale.
_YOUNG_SHARE: Final[FloatArray] = np.array([0.46, 0.08, 0.07, 0.18, 0.06, 0.15, 0.0])
_ADULT_SHARE: Final[FloatArray] = np.array([0.56, 0.17, 0.13, 0.07, 0.06, 0.01, 0.0])
_MEDIAN_INCOME: Final[FloatArray] = np.array(
    [2400.0, 2600.0, 2500.0, 1700.0, 1000.0, 900.0, 1700.0]
)
_INCOME_SPREAD: Final[FloatArray] = np.array([0.35, 0.25, 0.60, 0.35, 0.25, 0.30, 0.35])
_RETIREMENT_AGE: Final = 62
_HAS_JOB: Final = np.array([True, True, True, True, False, False, False])


@dataclass(frozen=True)
class People:
    """All possible applicants of all banks; every array is of shape (n_people,).

    Parameters
    ----------
    age, sex, employment, housing : ndarray, dtype=int64
        Years at the start of the period; the others are indices of the tuples of this module.
    job_months : ndarray, dtype=int64
        In the present job; -1 without one.
    income : ndarray, dtype=int64
        Net, a month, minor units.
    loans : ndarray, dtype=int64
        Number of loans at the start.
    debt : ndarray, dtype=int64
        Owed at the start, minor units; 0 without a loan.
    steadiness : ndarray, dtype=float64
        Standard normal. No bank sees it; the credit bureau sees a part of it.
    is_thin_file : ndarray, dtype=bool
        The bureau has no history of the person.
    """

    age: IntArray
    sex: IntArray
    employment: IntArray
    housing: IntArray
    job_months: IntArray
    income: IntArray
    loans: IntArray
    debt: IntArray
    steadiness: FloatArray
    is_thin_file: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.age)

    @property
    def age_band(self) -> IntArray:
        """Index into ``AGE_BANDS``."""
        return np.searchsorted(_BAND_STARTS, self.age, side="right") - 1


def make_people(config: CreditConfig) -> People:
    """Return all possible applicants, a function of the configuration alone."""
    n = config.customers
    draws = stream(config.seed, CreditPart.PEOPLE)
    # The sum of two uniform numbers: middle ages are the most frequent.
    age = (18.0 + 62.0 * (draws.uniform(n) + draws.uniform(n)) / 2.0).astype(np.int64)
    employment = np.where(age < 30, draws.pick(_YOUNG_SHARE, n), draws.pick(_ADULT_SHARE, n))
    employment = np.where(age >= _RETIREMENT_AGE, EMPLOYMENTS.index("retired"), employment)
    steadiness = draws.normal(n)
    experience = np.clip((age - 20) / 30.0, 0.0, 1.0)
    log_income = np.log(100.0 * _MEDIAN_INCOME[employment])
    log_income += 0.35 * (experience - 0.5) + _INCOME_SPREAD[employment] * draws.normal(n)
    months = draws.exponential(n) * np.clip(age - 18, 1, 20) * 4.0
    loans = draws.poisson(np.exp(-0.4 - 0.25 * steadiness))
    log_debt = np.log(4.0) + 0.9 * draws.normal(n) + log_income
    return People(
        age=age,
        sex=draws.below(len(SEXES), n),
        employment=employment,
        housing=_housing(age, draws.uniform(n)),
        job_months=np.where(_HAS_JOB[employment], months, -1).astype(np.int64),
        income=np.rint(np.exp(log_income)).astype(np.int64),
        loans=loans,
        debt=np.where(loans > 0, np.rint(np.exp(log_debt)), 0.0).astype(np.int64),
        steadiness=steadiness,
        is_thin_file=draws.uniform(n) < config.thin_file_share * np.where(age < 30, 2.0, 0.75),
    )


def _housing(age: IntArray, uniform: FloatArray) -> IntArray:
    """Return how people live: older people own their home more often."""
    grown = np.clip((age - 25) / 30.0, 0.0, 1.0)
    family = np.where(age < 25, 0.55, 0.05)
    owner = 0.45 * grown
    mortgage = (1.0 - family - owner) * 0.35
    edges = np.column_stack((owner, owner + mortgage, 1.0 - family))
    housing: IntArray = (uniform[:, None] >= edges).sum(axis=1)
    return housing
