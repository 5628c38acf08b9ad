"""Score intervals against scipy, and against the likelihood that defines them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from fraudfed.gate.intervals import normal_quantile, paired_difference, score, wilson


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    got = wilson(hits, n, confidence=0.95)
    want = binomtest(hits, n).proportion_ci(confidence_level=0.9, method="wilson")
    assert (got.lower, got.upper) == pytest.approx((want.low, want.high), abs=1e-9)
    assert got.lower <= got.estimate <= got.upper


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 300), st.data())
def test_bounds_are_where_the_score_test_begins_to_reject(n: int, data: st.DataObject) -> None:
    more = data.draw(st.integers(0, n))
    less = data.draw(st.integers(0, n - more))
    got = paired_difference(more, less, n, confidence=0.95)
    assert got.lower <= got.estimate <= got.upper
    mirrored = paired_difference(less, more, n, confidence=0.95)
    assert (got.lower, got.upper) == (-mirrored.upper, -mirrored.lower)
    if more == less == 0:
        return
    for bound, first, second in ((got.lower, more, less), (-got.upper, less, more)):
        if -1 < bound < (first - second) / n - 1e-9:
            assert score_by_search(first, second, n, bound) == pytest.approx(
                normal_quantile(0.95), abs=1e-3
            )


def score_by_search(first: int, second: int, n: int, difference: float) -> float:
    """Return the score with the share of ``second`` found by maximising the likelihood."""

    def loss(share: float) -> float:
        shares = np.array([share + difference, share, 1 - 2 * share - difference])
        counts = np.array([first, second, n - first - second])
        return -float(np.sum(counts * np.log(np.maximum(shares, 1e-300))))

    low, high = max(0.0, -difference), (1 - difference) / 2
    share = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * share + difference - difference**2)
    return (first - second - n * difference) / np.sqrt(variance)


def test_at_no_difference_the_score_is_mcnemars() -> None:
    got = score(np.array([12, 3]), np.array([5, 3]), 100, 0.0)
    assert got == pytest.approx([7 / np.sqrt(17), 0.0])


def test_cases_that_never_differ_still_can() -> None:
    """What has not been seen in n cases is not excluded: the rule of three."""
    found = paired_difference(0, 0, 100, confidence=0.95)
    assert found.lower == -found.upper == pytest.approx(-0.03, abs=1e-3)
    assert (1 + found.lower) ** 100 == pytest.approx(0.05)
