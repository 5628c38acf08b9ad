"""The ledger's arithmetic against independent ones: never below, and never far above."""

import math
from fractions import Fraction

import mpmath
import pytest
from dp_accounting import dp_event, pld, rdp
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from fraudfed.errors import ParameterError
from fraudfed.privacy.accounting import (
    RHO_GRID,
    TAIL_PROBABILITY,
    epsilon_of,
    gaussian_epsilon,
    on_grid,
    rho_of,
    total,
    usable_delta,
)

mpmath.mp.dps = 50

rhos = st.floats(1e-7, 200, allow_nan=False).map(Fraction)
deltas = st.floats(1e-12, 0.1)


def independent_epsilon(rho: Fraction, delta: float) -> mpmath.mpf:
    """Return the same conversion, found by searching over alpha and not by its derivative."""
    exact = mpmath.mpf(rho.numerator) / rho.denominator

    def bound(log_order: mpmath.mpf) -> mpmath.mpf:
        above = mpmath.exp(log_order)
        alpha = 1 + above
        return (
            exact * alpha
            + mpmath.log(above / alpha)
            - (mpmath.log(mpmath.mpf(delta)) + mpmath.log(alpha)) / above
        )

    low, high = mpmath.mpf(-40), mpmath.mpf(40)
    ratio = (mpmath.sqrt(5) - 1) / 2
    for _ in range(250):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if bound(left) < bound(right):
            high = right
        else:
            low = left
    return max(mpmath.mpf(0), bound((low + high) / 2))


def analytic_gaussian(mu: float, delta: float) -> float:
    """Return Theorem 8 of Balle and Wang with scipy's distribution functions, in logarithms."""

    def excess(epsilon: float) -> float:
        first = stats.norm.cdf(mu / 2 - epsilon / mu)
        second = math.exp(epsilon + stats.norm.logcdf(-mu / 2 - epsilon / mu))
        return float(first - second - delta)

    return float(optimize.brentq(excess, 0, mu * mu / 2 + 20 * mu, xtol=1e-13))


@given(rhos, deltas)
def test_epsilon_equals_an_independent_computation_and_is_never_below(
    rho: Fraction, delta: float
) -> None:
    wanted = independent_epsilon(rho, delta)
    found = epsilon_of(rho, delta)
    assert mpmath.mpf(found) >= wanted
    assert found - wanted <= 1e-6
    # Far closer, in fact: two steps of a float.
    assert found - wanted <= 4e-16 * max(1, found)


@given(st.lists(st.fractions(0, 1, max_denominator=10**9), max_size=30), deltas)
def test_a_composition_equals_an_independent_sum(rhos: list[Fraction], delta: float) -> None:
    exact = sum(rhos, Fraction(0))
    found = total(rhos)
    assert exact <= found <= exact + Fraction(len(rhos), RHO_GRID)
    if exact > Fraction(1, 10**6):
        wanted = independent_epsilon(exact, delta)
        assert 0 <= epsilon_of(found, delta) - wanted <= 1e-6


@pytest.mark.parametrize("power", range(-50, 31))
def test_epsilon_lies_between_1_and_1_12_times_the_exact_gaussian(power: int) -> None:
    rho = Fraction(10 ** (power / 10))
    exact = analytic_gaussian(math.sqrt(2 * float(rho)), 1e-6)
    ratio = epsilon_of(rho, 1e-6) / exact
    assert 1.0 <= ratio <= 1.12


@given(st.floats(1e-5, 1e3).map(Fraction), st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3]))
def test_the_exact_gaussian_equals_an_independent_one(rho: Fraction, delta: float) -> None:
    wanted = analytic_gaussian(math.sqrt(2 * float(rho)), delta)
    assert gaussian_epsilon(rho, delta) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_a_negligible_rho_has_the_epsilon_0() -> None:
    # delta alone pays for it; the formula would fall below 0.
    assert epsilon_of(Fraction(0), 1e-6) == 0
    assert epsilon_of(Fraction(1, 10**30), 1e-6) == 0
    assert gaussian_epsilon(Fraction(0), 1e-6) == 0


@pytest.mark.parametrize("deviations", [0.8, 2.0, 10.0])
@pytest.mark.parametrize("releases", [1, 7, 300])
def test_dp_accounting_agrees(deviations: float, releases: int) -> None:
    rho = total([Fraction(1, 2) / Fraction(deviations) ** 2] * releases)
    event = dp_event.SelfComposedDpEvent(dp_event.GaussianDpEvent(deviations), releases)
    # Its orders are a grid: it cannot be below the least over all, and comes close.
    orders = [1 + 10 ** (x / 200) for x in range(-600, 800)]
    renyi = rdp.RdpAccountant(orders).compose(event).get_epsilon(1e-6)
    ours = epsilon_of(rho, 1e-6)
    assert ours <= renyi * (1 + 1e-12)
    assert renyi == pytest.approx(ours, rel=1e-4)
    # The distribution of the privacy loss itself: below ours, within its discretisation.
    exact = gaussian_epsilon(rho, 1e-6)
    losses = pld.PLDAccountant(value_discretization_interval=1e-3).compose(event)
    tight = losses.get_epsilon(1e-6)
    assert tight == pytest.approx(exact, abs=2e-3 + 1e-3 * math.sqrt(releases), rel=1e-3)
    assert tight <= ours * (1 + 1e-3)


@given(st.floats(0, 30), deltas)
def test_rho_of_is_the_largest_that_epsilon_allows(epsilon: float, delta: float) -> None:
    rho = rho_of(epsilon, delta)
    assert epsilon_of(rho, delta) <= epsilon
    assert epsilon_of(rho + Fraction(1, RHO_GRID) + rho / 10**12, delta) > epsilon or rho == 0


@given(rhos, rhos, deltas)
def test_more_rho_is_more_epsilon(one: Fraction, other: Fraction, delta: float) -> None:
    low, high = sorted((one, other))
    assert epsilon_of(low, delta) <= epsilon_of(high, delta) * (1 + 1e-15)


@given(st.fractions(0, 10, max_denominator=10**30))
def test_the_grid_rounds_up_by_less_than_a_step(rho: Fraction) -> None:
    assert 0 <= on_grid(rho) - rho < Fraction(1, RHO_GRID)
    assert on_grid(on_grid(rho)) == on_grid(rho)


def test_control_rounded_down_the_sum_understates() -> None:
    """Plain rounding of each release: ten thousand of them cost less than they do."""
    small = Fraction(2, 3) / RHO_GRID
    down = Fraction(math.floor(small * RHO_GRID), RHO_GRID)
    assert sum([down] * 10_000) < sum([small] * 10_000) < total([small] * 10_000)


@given(st.floats(0, 12), st.floats(1e-9, 1e-3), st.integers(1, 4096))
def test_the_tails_are_taken_from_delta_beforehand(epsilon: float, delta: float, runs: int) -> None:
    left = usable_delta(epsilon, delta, runs=runs)
    taken = Fraction(delta) - left
    assert taken >= runs * (1 + Fraction(math.exp(epsilon))) * TAIL_PROBABILITY
    assert taken <= runs * (3 + Fraction(math.exp(epsilon))) * TAIL_PROBABILITY


def test_what_is_out_of_range_is_refused() -> None:
    for delta in (0.0, 1.0, -1e-6, math.nan):
        with pytest.raises(ParameterError, match="delta is"):
            epsilon_of(Fraction(1), delta)
    with pytest.raises(ParameterError, match="rho is"):
        epsilon_of(Fraction(-1), 1e-6)
    for epsilon in (-1.0, math.nan, math.inf, 65.0):
        with pytest.raises(ParameterError, match="epsilon is"):
            rho_of(epsilon, 1e-6)
    with pytest.raises(ParameterError, match="the tails of 1 runs take more"):
        usable_delta(40.0, 1e-6)
