"""Score intervals of proportions: right where few cases tell two models apart."""

import math
from dataclasses import dataclass
from statistics import NormalDist

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


def wilson(successes: float, trials: int, *, confidence: float) -> Interval:
    """Return the score interval of a proportion.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22(158), 1927, pages 209-212.
    """
    z = normal_quantile(confidence)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    half /= 1 + z * z / trials
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(
    only_first: int, only_second: int, n_cases: int, *, confidence: float
) -> Interval:
    """Return the score interval of a difference of two proportions of the same cases.

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17(8), 1998, pages 891-908, equations 1 to 4.

    Parameters
    ----------
    only_first, only_second : int
        Cases that only the first, and only the second, of the two finds.
    n_cases : int
    confidence : float
        Of each bound.
    """
    z = normal_quantile(confidence)
    estimate = (only_first - only_second) / n_cases
    lower = _bound(only_first, only_second, n_cases, z)
    upper = -_bound(only_second, only_first, n_cases, z)
    return Interval(estimate, lower, upper)


def _bound(more: int, less: int, n_cases: int, z: float) -> float:
    """Return the least difference that the score test does not reject from below."""
    estimate = (more - less) / n_cases
    low, high = -1.0, estimate
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _score(more, less, n_cases, middle) >= z:
            low = middle
        else:
            high = middle
    return low


def _score(more: int, less: int, n_cases: int, difference: float) -> float:
    """Return the score statistic of a difference; Tango's equation 2."""
    # The share of ``less`` that is likeliest under the difference: Tango's equation 3.
    a = 2 * n_cases
    b = -more - less + (2 * n_cases - more + less) * difference
    c = -less * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n_cases * (2 * share + difference * (1 - difference))
    excess = more - less - n_cases * difference
    if variance <= 0:
        return math.inf if excess > 0 else 0.0
    return excess / math.sqrt(variance)
