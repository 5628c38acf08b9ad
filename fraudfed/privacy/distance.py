"""What it costs that the noise of a sum is a sum of parts, one of each bank.

A sum of discrete Gaussians is no discrete Gaussian, but close to one. With n parts of variance
sigma^2 each, and what one unit moves written as a multiple of the noise's own deviation - its
square summed over all d values is ``moved`` - the release is rho-zCDP with ::

    rho = (sqrt(moved) + tau sqrt(d))^2 / 2
    tau = 10 sum over k = 1 .. n - 1 of exp(-2 pi^2 sigma^2 k / (k + 1))

(Kairouz, Liu and Steinke, "The Distributed Discrete Gaussian Mechanism for Federated Learning with
Secure Aggregation", ICML 2021, Proposition 14). The proof bounds the divergence of each value by
``alpha (moved_j^(1/2) + tau)^2 / 2``; Minkowski's inequality over the values gives the line above
even if they have different sigma, with tau of the smallest. The paper's other bounds, of which it
takes the least, differ in nothing that could be written down here: at the least sigma that is
allowed tau is below 10^-280000.
"""

import decimal
import math
from decimal import Decimal
from fractions import Fraction
from typing import Final

from fraudfed.errors import ParameterError
from fraudfed.privacy.accounting import EXACT, RHO_GRID, decimal_above, on_grid

#: A bank's own sigma is at least 2^8 units of the sum: then its part is a Gaussian to all purposes,
#: and what is counted in units too coarse for that is multiplied before it is summed.
LEAST_PART_VARIANCE: Final = 1 << 16

#: pi, rounded down in its 60th digit: tau falls with it.
_PI: Final = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
#: tau falls with sigma: beyond this it is bounded by its value here, which is 0 to all purposes.
_LARGEST_VARIANCE: Final = 1 << 18
#: 1 + 10^-40, more than all rounding errors of what it is multiplied with.
_UPWARDS: Final = Decimal("1.0000000000000000000000000000000000000001")


def part_of(variance: int, *, honest: int) -> int:
    """Return the variance that each bank adds, so that the honest ones leave ``variance``.

    Parameters
    ----------
    variance : int
        sigma^2 that the sum must carry, units^2.
    honest : int
        Banks of the generation less the tolerated colluders.

    Raises
    ------
    ParameterError
        If no bank is honest.
    """
    if honest < 1:
        raise ParameterError(
            f"{honest} banks are left without the tolerated colluders, expected at least 1: "
            "tolerate fewer, or wait for more banks"
        )
    return -(-variance // honest)


def tau(part_variance: int | Fraction, *, honest: int) -> Decimal:
    """Return tau of the parts of so many honest banks, rounded up; 0 for one part.

    Raises
    ------
    ParameterError
        If the variance is below 1/4, as the proposition asks for sigma of at least 1/2.
    """
    if part_variance < Fraction(1, 4):
        raise ParameterError(
            f"the variance of a part is {float(part_variance)!r}, expected at least 1/4"
        )
    # Rounded down: tau falls with the variance.
    quarters = math.floor(min(part_variance, _LARGEST_VARIANCE) * 4)
    context = EXACT.copy()
    context.rounding = decimal.ROUND_CEILING
    # -2 pi^2 sigma^2
    scale = context.multiply(
        context.multiply(_PI, _PI), context.divide(Decimal(-quarters), Decimal(2))
    )
    # The factor in the exponent rises with k: it is rounded towards 0, so that exp is not too low.
    terms = Decimal(0)
    for k in range(1, honest):
        power = context.divide(context.multiply(scale, Decimal(k)), Decimal(k + 1))
        terms = context.add(terms, context.exp(power))
    return context.multiply(context.multiply(Decimal(10), terms), _UPWARDS)


def rho_of_release(moved: Fraction, *, n_values: int, part_variance: int, honest: int) -> Fraction:
    """Return the rho of one noised sum, on the grid, rounded up.

    Parameters
    ----------
    moved : Fraction
        As ``NoisedRelease.moved``: the largest sum of (change / sigma)^2 by one unit.
    n_values : int
        Values that carry noise (d).
    part_variance : int
        The least variance, over the values, of what one bank adds; units^2.
    honest : int
        Banks of the generation less the tolerated colluders.

    Raises
    ------
    ParameterError
        If a bank's own sigma is below 2^8 units, or no bank is honest.
    """
    if part_variance < LEAST_PART_VARIANCE:
        raise ParameterError(
            f"the variance of a bank's own noise is {part_variance} units^2, expected at least "
            f"{LEAST_PART_VARIANCE}: multiply what is summed by a power of two"
        )
    part_of(part_variance, honest=honest)
    return on_grid(
        moved / 2 + extra_rho(moved, n_values=n_values, tau=tau(part_variance, honest=honest))
    )


def extra_rho(moved: Fraction, *, n_values: int, tau: Decimal) -> Fraction:
    """Return what tau adds to ``moved / 2``, rounded up: tau sqrt(moved d) + tau^2 d / 2."""
    if tau == 0:
        return Fraction(0)
    context = EXACT.copy()
    context.rounding = decimal.ROUND_CEILING
    root = context.sqrt(context.multiply(decimal_above(moved), Decimal(n_values)))
    linear = context.multiply(context.multiply(tau, root), _UPWARDS)
    square = context.multiply(
        context.multiply(tau, tau), context.divide(Decimal(n_values), Decimal(2))
    )
    extra = context.add(linear, context.multiply(square, _UPWARDS))
    step = Fraction(1, RHO_GRID)
    # Never a fraction with 280,000 digits: below a step of the grid it is that step.
    return step if extra < Decimal("1e-25") else Fraction(extra)
