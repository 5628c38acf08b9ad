"""What it costs that noise is the sum of the banks' parts, against the paper's formula."""

from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ParameterError
from fraudfed.privacy.accounting import RHO_GRID
from fraudfed.privacy.distance import (
    LEAST_PART_VARIANCE,
    extra_rho,
    part_of,
    rho_of_release,
    tau,
)

mpmath.mp.dps = 50


def independent_tau(variance: mpmath.mpf, honest: int) -> mpmath.mpf:
    ks = range(1, honest)
    return 10 * mpmath.fsum(
        mpmath.exp(-2 * mpmath.pi**2 * variance * mpmath.mpf(k) / (k + 1)) for k in ks
    )


@given(st.fractions(Fraction(1, 4), 20, max_denominator=4), st.integers(1, 60))
def test_tau_equals_the_formula_and_is_never_below(variance: Fraction, honest: int) -> None:
    wanted = independent_tau(mpmath.mpf(variance.numerator) / variance.denominator, honest)
    if variance.denominator in (1, 2, 4):
        found = mpmath.mpf(str(tau(variance, honest=honest)))
        assert wanted <= found <= wanted * (1 + mpmath.mpf(10) ** -35)


def test_at_the_least_sigma_it_is_below_anything_a_float_holds() -> None:
    assert 0 < tau(LEAST_PART_VARIANCE, honest=1000) < Decimal("1e-280000")
    assert tau(LEAST_PART_VARIANCE, honest=1) == 0
    # A larger sigma is bounded by a smaller one: never 0 by underflow.
    assert 0 < tau(10**40, honest=2) <= tau(LEAST_PART_VARIANCE, honest=2)


@given(
    st.fractions(0, 4, max_denominator=10**6),
    st.integers(1, 10**7),
    st.integers(LEAST_PART_VARIANCE, 10**15),
    st.integers(1, 50),
)
def test_a_release_costs_half_its_movement_and_a_step(
    moved: Fraction, n_values: int, part: int, honest: int
) -> None:
    rho = rho_of_release(moved, n_values=n_values, part_variance=part, honest=honest)
    assert moved / 2 <= rho <= moved / 2 + Fraction(2, RHO_GRID)
    assert (rho * RHO_GRID).denominator == 1
    if honest > 1:
        assert rho > moved / 2


@given(
    st.fractions(Fraction(1, 100), 4, max_denominator=1000),
    st.integers(1, 1000),
    st.integers(2, 10),
)
def test_the_extra_equals_the_formula(moved: Fraction, n_values: int, honest: int) -> None:
    """At a sigma so small that the term is large."""
    found = extra_rho(moved, n_values=n_values, tau=tau(1, honest=honest))
    t = independent_tau(mpmath.mpf(1), honest)
    square = mpmath.mpf(moved.numerator) / moved.denominator
    wanted = (mpmath.sqrt(square) + t * mpmath.sqrt(n_values)) ** 2 / 2 - square / 2
    exact = mpmath.mpf(found.numerator) / found.denominator
    assert wanted <= exact <= wanted * (1 + mpmath.mpf(10) ** -30)


def test_the_bound_holds_for_sums_that_are_computed() -> None:
    """Renyi divergences of a sum of three parts of a small sigma, by convolution."""
    support = np.arange(-60, 61)
    one = np.exp(-(support**2) / 2.0)
    one /= one.sum()
    three = np.convolve(np.convolve(one, one), one)
    for moved_by in (1, 2, 3):
        p, q = three[moved_by:], three[:-moved_by]
        usable = (p > 1e-200) & (q > 1e-200)
        p, q = np.log(p[usable]), np.log(q[usable])
        moved = Fraction(moved_by**2, 3)
        rho = moved / 2 + extra_rho(moved, n_values=1, tau=tau(1, honest=3))
        for order in (1.5, 2.0, 4.0, 10.0):
            divergence = np.log(np.sum(np.exp(order * p + (1 - order) * q))) / (order - 1)
            assert divergence <= float(rho) * order * (1 + 1e-9)


@pytest.mark.parametrize("banks", [3, 5, 10])
@pytest.mark.parametrize("colluders", [0, 1, 2])
def test_without_the_colluders_parts_the_variance_is_left(banks: int, colluders: int) -> None:
    for variance in (65_536 * 10, 10**9 + 7, 2**45 + 1):
        honest = banks - colluders
        part = part_of(variance, honest=honest)
        assert honest * part >= variance > honest * (part - 1)


def test_a_sigma_below_2_8_units_and_a_set_without_an_honest_bank_are_refused() -> None:
    with pytest.raises(ParameterError, match="a bank's own noise is 65535"):
        rho_of_release(Fraction(1), n_values=1, part_variance=65_535, honest=3)
    with pytest.raises(ParameterError, match="0 banks are left"):
        rho_of_release(Fraction(1), n_values=1, part_variance=65_536, honest=0)
    with pytest.raises(ParameterError, match="expected at least 1/4"):
        tau(Fraction(1, 5), honest=3)
