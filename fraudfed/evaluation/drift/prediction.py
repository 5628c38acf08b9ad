"""Is this week one of these weeks? Prediction by Student's t, never surer than rows allow.

Weeks differ by more than chance: campaigns, paydays, weather. So a week is held against how much
the reference weeks differ from each other, and not against what independent rows would do. For
values of R weeks with mean ``a`` and standard deviation ``s``, one more of the same kind lies
within ``a +- t s sqrt(1 + 1/R)`` (G. J. Hahn, W. Q. Meeker, "Statistical Intervals", Wiley 1991,
section 4.7). ``s`` is never taken below what independent rows give: a dispersion below 1 is luck
(P. McCullagh, J. A. Nelder, "Generalized Linear Models", 2nd edition 1989, section 4.5). Both make
a false alarm rarer than the p-value says, never more frequent.

Shares are compared as ``asin(sqrt(.))``, on which their variance is ``1 / (4 n + 2)`` at any level
(F. J. Anscombe, "The transformation of Poisson, binomial and negative-binomial data", Biometrika
35(3-4), 1948, section 4); numbers of payments as logarithms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_TINY: Final = 1e-300
_MOST_TERMS: Final = 500


@dataclass(frozen=True)
class Predicted:
    """What the reference weeks predict of one more week.

    Attributes
    ----------
    expected : float
    t : float
        By how many standard errors of the prediction the week is above.
    p : float
        How often a week of the same kind is as far off, in either direction.
    """

    expected: float
    t: float
    p: float


def predict(
    weeks: Sequence[float], found: float, *, least_sd: float, ahead: int | None = None
) -> Predicted:
    """Hold a week against others.

    Parameters
    ----------
    weeks : sequence of float
        At least three, and four with a trend.
    found : float
    least_sd : float
        Standard deviation that independent rows give, above 0.
    ahead : int or None
        The week is the ``ahead``-th after the last of ``weeks``, and these have a trend: least
        squares, with one degree of freedom less. None: there is no trend.
    """
    n = len(weeks)
    mean = math.fsum(weeks) / n
    if ahead is None:
        expected, degrees, error = mean, n - 1, 1 + 1 / n
        rest = [value - mean for value in weeks]
    else:
        middle = (n - 1) / 2
        spread = math.fsum((at - middle) ** 2 for at in range(n))
        slope = math.fsum((at - middle) * (v - mean) for at, v in enumerate(weeks)) / spread
        distance = n - 1 + ahead - middle
        expected, degrees = mean + slope * distance, n - 2
        error = 1 + 1 / n + distance**2 / spread
        rest = [v - mean - slope * (at - middle) for at, v in enumerate(weeks)]
    sd = math.sqrt(math.fsum(value * value for value in rest) / degrees)
    t = (found - expected) / (max(sd, least_sd) * math.sqrt(error))
    return Predicted(expected, t, two_sided(t, degrees))


def share_angle(part: float, whole: float) -> float:
    """Return a share on Anscombe's scale, from 0 to pi / 2."""
    return math.asin(math.sqrt(min((part + 0.375) / (whole + 0.75), 1.0)))


def angle_sd(whole: float) -> float:
    """Return the standard deviation of ``share_angle`` for independent rows."""
    return 1 / math.sqrt(4 * whole + 2)


def share_of(angle: float) -> float:
    """Return the share that an angle stands for."""
    return math.sin(min(max(angle, 0.0), math.pi / 2)) ** 2


def two_sided(t: float, degrees: int) -> float:
    """Return the probability that Student's t is as far from 0, by the incomplete beta function.

    ``I_x(degrees / 2, 1 / 2)`` at ``x = degrees / (degrees + t^2)`` (NIST Digital Library of
    Mathematical Functions, 8.17.1 and 8.17.22: the continued fraction).
    """
    x, a, b = degrees / (degrees + t * t), degrees / 2, 0.5
    if x in (0.0, 1.0):
        return x
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return min(front * _fraction(x, a, b) / a, 1.0)
    return min(max(1.0 - front * _fraction(1 - x, b, a) / b, 0.0), 1.0)


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction from the front (Lentz's method)."""
    c, d = 1.0, 1.0 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            step = c * d
            value *= step
        if abs(step - 1) < 1e-15:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
