"""Lower bounds on epsilon from how well an attack tells two data sets apart.

A test that says "in" wrongly with probability a and "out" wrongly with probability b shows that a
mechanism cannot be better than what these two allow. Of both, only upper bounds are known from
trials; the exact ones of Clopper and Pearson hold for every number of trials.
"""

import math
from fractions import Fraction
from statistics import NormalDist
from typing import Protocol

import numpy as np

from fraudfed.dtypes import Float64Array
from fraudfed.errors import FraudFedError
from fraudfed.privacy.accounting import gaussian_epsilon

_HALVINGS = 60


class Audit(Protocol):
    """The figures of an audit."""

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts what is claimed."""


def broken_claim(audit: Audit) -> FraudFedError | None:
    """Return what a command ends with if its audit contradicts the claim."""
    if audit.holds:
        return None
    return FraudFedError(
        "the audit shows more of a row than is claimed; this is a defect of fraudfed or of the "
        "machine's randomness: report it, and open no run with privacy terms meanwhile"
    )


def upper_bound(successes: int, trials: int, *, error: float) -> float:
    """Return what a probability lies below, except with probability ``error``.

    The largest p for which so few successes are not rarer than ``error``: C. J. Clopper, E. S.
    Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26(4), 1934, pages 404-413.
    """
    if successes >= trials:
        return 1.0
    chosen = _log_choose(trials)[: successes + 1]
    counts = np.arange(successes + 1)
    low, high = successes / trials, 1.0
    for _ in range(_HALVINGS):
        p = (low + high) / 2
        if p in (low, high):
            break
        logs = chosen + counts * math.log(p) + (trials - counts) * math.log1p(-p)
        peak = float(logs.max())
        if peak + math.log(float(np.exp(logs - peak).sum())) > math.log(error):
            low = p
        else:
            high = p
    return high


def _log_choose(trials: int) -> Float64Array:
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    found: Float64Array = logs[-1] - logs - logs[::-1]
    return found


def epsilon_of_errors(wrong_in: float, wrong_out: float, *, delta: float) -> float:
    """Return the least epsilon that any mechanism with such errors has, at ``delta``.

    Of (epsilon, delta)-DP both ``1 - b <= e^epsilon a + delta`` and ``1 - a <= e^epsilon b +
    delta`` hold for every test: P. Kairouz, S. Oh, P. Viswanath, "The Composition Theorem for
    Differential Privacy", ICML 2015, theorem 2.1. Assumes nothing of the mechanism, and so sees
    little where delta is far below what trials can count.
    """
    best = 0.0
    for first, second in ((wrong_in, wrong_out), (wrong_out, wrong_in)):
        right = 1 - delta - second
        if first > 0 and right > first:
            best = max(best, math.log(right / first))
    return best


def epsilon_of_gaussian(wrong_in: float, wrong_out: float, *, delta: float) -> float:
    """Return the epsilon at ``delta`` of the Gaussian mechanism with such errors.

    They show that two normal distributions are at least ``mu = Phi^-1(1 - a) - Phi^-1(b)``
    deviations apart, and one such mechanism has one epsilon for each delta: M. Nasr et al.,
    "Tight Auditing of Differentially Private Machine Learning", USENIX Security 2023, section 4.2.
    """
    if not (0 < wrong_in < 1 and 0 < wrong_out < 1):
        return 0.0
    normal = NormalDist()
    mu = -normal.inv_cdf(wrong_in) - normal.inv_cdf(wrong_out)
    return gaussian_epsilon(Fraction(mu) ** 2 / 2, delta) if mu > 0 else 0.0
