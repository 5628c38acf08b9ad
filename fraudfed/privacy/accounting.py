"""Zero-concentrated differential privacy: how releases add up, and which epsilon they amount to.

A release is *rho-zCDP* if the Renyi divergence of order alpha between what two neighbouring data
sets give is at most ``rho * alpha``, for each alpha > 1 (Bun and Steinke, "Concentrated
Differential Privacy", TCC 2016, Definition 1.1). Gaussian noise of variance sigma^2 on what one
unit moves by Delta in the L2 norm gives ``rho = Delta^2 / (2 sigma^2)`` (Proposition 1.6 there),
and so does discrete Gaussian noise (Canonne, Kamath, Steinke, NeurIPS 2020, Theorem 4). The rho of
releases add up, even if a later one is chosen after an earlier one was seen (Lemma 1.7).

Nothing here understates. A rho is a ``Fraction`` on the grid of 2^-80: it is rounded up once, on
its way in, and sums are exact. What needs a logarithm is computed with 60 decimal digits - the
functions of ``decimal`` are correctly rounded - and leaves as a float that is rounded against us.
"""

import decimal
import math
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from fraudfed.errors import ParameterError

#: rho are multiples of one over this. Were each of a million releases rounded up by a whole step,
#: their sum would grow by 10^-18; yet no denominator grows with the number of releases.
RHO_GRID: Final = 1 << 80
#: A run's noise leaves the slots of its sums with no more than this probability.
TAIL_PROBABILITY: Final = Fraction(1, 1 << 60)
#: As many runs as a block of rows can take part in: the tails of all are paid for beforehand.
RUNS_OF_A_LIFE: Final = 1 << 12
#: No claim is made above: e^64 is a bound in name only.
LARGEST_EPSILON: Final = 64.0

#: 60 digits, where a result needs 17; the exponents hold all that is ever taken the exponential of.
EXACT: Final = decimal.Context(
    prec=60, rounding=decimal.ROUND_HALF_EVEN, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX
)
#: More than all rounding errors of a dozen operations with 60 digits, on terms below 10^9.
_SLACK: Final = Decimal("1e-45")


def on_grid(rho: Fraction | int) -> Fraction:
    """Return the least multiple of 2^-80 that is not below ``rho``."""
    return Fraction(math.ceil(rho * RHO_GRID), RHO_GRID)


def total(rhos: Iterable[Fraction]) -> Fraction:
    """Return what releases cost together, each rounded up."""
    return sum((on_grid(rho) for rho in rhos), Fraction(0))


def decimal_above(value: Fraction) -> Decimal:
    """Return a decimal of 60 digits that is not below ``value``."""
    context = EXACT.copy()
    context.rounding = decimal.ROUND_CEILING
    return context.divide(
        context.create_decimal(value.numerator), _floor_decimal(value.denominator)
    )


def float_above(value: Decimal) -> float:
    """Return the least float that is not below ``value``."""
    near = float(value)
    return near if Decimal(near) >= value else math.nextafter(near, math.inf)


def epsilon_of(rho: Fraction, delta: float | Fraction) -> float:
    """Return the epsilon of (epsilon, delta)-DP that rho-zCDP implies, rounded up.

    The least over alpha > 1 of ::

        rho alpha + log(1 - 1 / alpha) + (log(1 / delta) - log(alpha)) / (alpha - 1)

    which is Proposition 12 of Canonne, Kamath and Steinke (arXiv 2004.00010, version 4; also
    Asoodeh et al., ISIT 2020). Its derivative ``rho - (log(1 / delta) - log(alpha)) / (alpha -
    1)^2`` has one zero. Each alpha gives a bound that holds: only the value at the alpha that was
    found is rounded with care, not the search for it.

    Parameters
    ----------
    rho : Fraction
        At least 0.
    delta : float or Fraction
        Above 0, below 1.

    Raises
    ------
    ParameterError
        If rho or delta is out of range.
    """
    exact_delta = _checked_delta(delta)
    if rho < 0:
        raise ParameterError(f"rho is {float(rho)!r}, expected at least 0; correct it")
    if rho == 0:
        return 0.0
    alpha = Decimal(_best_order(float(rho), -_log(exact_delta)))
    context = EXACT
    log_inverse = context.minus(context.ln(_floor_decimal(exact_delta)))
    below_one = context.subtract(Decimal(1), context.divide(Decimal(1), alpha))
    last = context.divide(
        context.subtract(log_inverse, context.ln(alpha)), context.subtract(alpha, Decimal(1))
    )
    first = context.multiply(decimal_above(Fraction(rho)), alpha)
    value = context.add(context.add(first, context.ln(below_one)), last)
    # Relative for a rho beyond all use, absolute for all others.
    slack = context.multiply(_SLACK, max(Decimal(1), first))
    return max(0.0, float_above(context.add(value, slack)))


def rho_of(epsilon: float, delta: float | Fraction) -> Fraction:
    """Return the largest rho of the grid whose ``epsilon_of`` is at most ``epsilon``.

    Raises
    ------
    ParameterError
        If epsilon or delta is out of range.
    """
    _checked_delta(delta)
    if not 0 <= epsilon <= LARGEST_EPSILON:
        raise ParameterError(
            f"epsilon is {epsilon!r}, expected 0 to {LARGEST_EPSILON:g}; choose one in that range"
        )
    low, high = 0, RHO_GRID
    while epsilon_of(Fraction(high, RHO_GRID), delta) <= epsilon:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if epsilon_of(Fraction(middle, RHO_GRID), delta) <= epsilon:
            low = middle
        else:
            high = middle
    return Fraction(low, RHO_GRID)


def usable_delta(epsilon: float, delta: float, *, runs: int = 1) -> Fraction:
    """Return what is left of delta for the conversion once the tails of noise are paid for.

    A run in which a sum with noise leaves its slot is not the mechanism that was analysed. If that
    happens with probability p on either of two neighbouring data sets, (epsilon, d) becomes
    (epsilon, d + (1 + e^epsilon) p): p is added on one side, and once more, e^epsilon times, on
    the other.

    Raises
    ------
    ParameterError
        If nothing is left.
    """
    exact = _checked_delta(delta)
    factor = 1 + math.ceil(math.exp(min(epsilon, LARGEST_EPSILON)) * (1 + 1e-12))
    left = exact - runs * factor * TAIL_PROBABILITY
    if left <= 0:
        raise ParameterError(
            f"delta is {delta!r} with epsilon {epsilon!r}: the tails of {runs} runs take more than "
            "all of it; choose a larger delta or a smaller epsilon"
        )
    return left


def gaussian_epsilon(rho: Fraction, delta: float) -> float:
    """Return the exact epsilon of one Gaussian release of rho; for orientation, never enforced.

    Gaussian releases together are one Gaussian release with ``mu = sqrt(2 rho)``, for which
    ``delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)`` is exact (Balle
    and Wang, ICML 2018, Theorem 8; Dong, Roth and Su, 2022, Corollary 1). It is no bound for
    discrete noise, and is computed with plain floats.

    Raises
    ------
    ParameterError
        If delta is out of range.
    """
    _checked_delta(delta)
    if rho <= 0:
        return 0.0
    mu = math.sqrt(2 * float(rho))
    low, high = 0.0, epsilon_of(rho, delta)
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _gaussian_delta(mu, middle) <= delta:
            high = middle
        else:
            low = middle
    return high


def _gaussian_delta(mu: float, epsilon: float) -> float:
    a, b = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    # e^epsilon phi(b) = phi(a): without a product of something huge and something tiny.
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    return 0.5 * math.erfc(a / math.sqrt(2)) - density * _mills(b)


def _mills(x: float) -> float:
    """Return (1 - Phi(x)) / phi(x) for x > 0; Laplace's continued fraction where erfc gets tiny."""
    if x < 6:
        return math.sqrt(math.pi / 2) * math.exp(x * x / 2) * math.erfc(x / math.sqrt(2))
    value = x
    for k in range(60, 0, -1):
        value = x + k / value
    return 1 / value


def _best_order(rho: float, log_inverse_delta: float) -> float:
    """Return about the alpha with ``rho (alpha - 1)^2 = log(1 / delta) - log(alpha)``, above 1."""
    # In terms of log(alpha - 1), as alpha may be close to 1 or huge. At the ends the left side is
    # below, and above, the right side.
    low, high = -400.0, 400.0
    for _ in range(200):
        middle = (low + high) / 2
        above = math.exp(middle)
        if rho * above * above < log_inverse_delta - math.log1p(above):
            low = middle
        else:
            high = middle
    # 2^-40 above 1 a float still tells 1 - 1/alpha from 0; rho is then far beyond all use.
    return max(1 + 2.0**-40, 1 + math.exp(low))


def _checked_delta(delta: float | Fraction) -> Fraction:
    if not 0 < delta < 1:
        raise ParameterError(f"delta is {delta!r}, expected above 0 and below 1; correct it")
    return Fraction(delta)


def _log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def _floor_decimal(value: Fraction | int) -> Decimal:
    context = EXACT.copy()
    context.rounding = decimal.ROUND_FLOOR
    exact = Fraction(value)
    return context.divide(
        Decimal(exact.numerator), context.create_decimal(Decimal(exact.denominator))
    )
