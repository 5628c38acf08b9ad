"""Score intervals of proportions: right where few cases tell two models apart."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array

#: A bisection halves [-1, 1] so often that what is left is below the last digit of a float64.
_HALVINGS = 60


@dataclass(frozen=True)
class Interval:
    """An estimate with its two one-sided bounds.

    Attributes
    ----------
    estimate, lower, upper : float
        Each bound holds alone at the stated confidence: at 95 %, the two together are a 90 %
        interval.
    """

    estimate: float
    lower: float
    upper: float

    def widened(self, other: "Interval") -> "Interval":
        """Return this estimate with the outer bounds of both."""
        return Interval(self.estimate, min(self.lower, other.lower), max(self.upper, other.upper))


def normal_quantile(confidence: float) -> float:
    """Return the standard normal quantile of a one-sided confidence."""
    return NormalDist().inv_cdf(confidence)


def wilson(successes: int, trials: int, *, confidence: float) -> Interval:
    """Return the score interval of a proportion.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22(158), 1927, pages 209-212.
    """
    z = normal_quantile(confidence)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    half /= 1 + z * z / trials
    # At the ends rounding must not move a bound past the estimate.
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def paired_difference(
    only_first: int, only_second: int, n_cases: int, *, confidence: float
) -> Interval:
    """Return the score interval of a difference of two proportions of the same cases.

    All differences that ``score`` does not reject: T. Tango, "Equivalence test and confidence
    interval for the difference in proportions for the paired-sample design", Statistics in Medicine
    17(8), 1998, pages 891-908. Where no case tells the two apart, that is too narrow by a tenth:
    the exact bound of a zero numerator takes its place. J. A. Hanley, A. Lippman-Hand, "If nothing
    goes wrong, is everything all right?", JAMA 249(13), 1983, pages 1743-1745.

    Parameters
    ----------
    only_first, only_second : int
        Cases that only the first, and only the second, of the two finds.
    n_cases : int
    confidence : float
        Of each bound.
    """
    if only_first == only_second == 0:
        unseen = 1 - (1 - confidence) ** (1 / n_cases)
        return Interval(0.0, -unseen, unseen)
    z = normal_quantile(confidence)
    return Interval(
        (only_first - only_second) / n_cases,
        _lower(only_first, only_second, n_cases, z),
        -_lower(only_second, only_first, n_cases, z),
    )


def score(
    only_first: Int64Array, only_second: Int64Array, n_cases: int, difference: float
) -> Float64Array:
    """Return how many standard errors a difference lies below what is seen.

    The likeliest share of ``only_second`` under the difference gives the standard error; Tango
    1998, section 3. At a difference of 0 it is McNemar's statistic.

    Parameters
    ----------
    only_first, only_second : ndarray of shape (n,), dtype=int64
    n_cases : int
    difference : float
        First less second, in (-1, 1).
    """
    a = 2 * n_cases
    b = (2 * n_cases - only_first + only_second) * difference - only_first - only_second
    c = -only_second * difference * (1 - difference)
    share = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = np.maximum(n_cases * (2 * share + difference * (1 - difference)), 0.0)
    excess = only_first - only_second - n_cases * difference
    # Without variance, what is seen cannot differ from what is expected but by rounding.
    errors = np.sqrt(variance)
    found: Float64Array = np.divide(
        excess, errors, out=np.zeros(np.shape(errors)), where=errors > 0.0
    )
    return found


def _lower(more: int, less: int, n_cases: int, z: float) -> float:
    """Return the least difference that the score does not reject, by bisection: it falls."""
    low, high = -1.0, (more - less) / n_cases
    counts = np.array([more]), np.array([less])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if score(*counts, n_cases, middle)[0] >= z:
            low = middle
        else:
            high = middle
    return low
