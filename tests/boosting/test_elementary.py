"""exp and log: an error bound against longer arithmetic, edge cases, and fixed bytes."""

import hashlib
import math
from decimal import Context, Decimal

import numpy as np
import pytest
import xgboost
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraudfed.boosting.engine.elementary import exp, log, logit, sigmoid

ERROR_BOUND = Decimal(2) ** -48
CONTEXT = Context(prec=40)


def relative_error(value: float, exact: Decimal) -> Decimal:
    return abs(Decimal(value) - exact) / abs(exact) if exact else abs(Decimal(value))


@settings(deadline=None, max_examples=400)
@given(st.floats(-700.0, 700.0))
@example(0.0)
@example(-0.0)
@example(5e-324)
@example(math.log(2) / 64)
def test_exp_is_within_its_error_bound(x: float) -> None:
    found = float(exp(np.array([x]))[0])
    assert relative_error(found, CONTEXT.exp(Decimal(x))) < ERROR_BOUND


@settings(deadline=None, max_examples=400)
@given(st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False))
@example(1.0)
@example(math.sqrt(0.5))
@example(math.nextafter(1.0, 0.0))
@example(math.nextafter(1.0, 2.0))
@example(5e-324)
def test_log_is_within_its_error_bound(x: float) -> None:
    found = float(log(np.array([x]))[0])
    assert relative_error(found, CONTEXT.ln(Decimal(x))) < ERROR_BOUND


def test_millions_of_points_round_to_numpys_float32() -> None:
    # NumPy's float64 functions are good to 1 ulp; ours are rounded to float32 far from that error,
    # so the two may differ only where the exact value almost is a midpoint of two float32.
    rng = np.random.default_rng(7)
    x = rng.uniform(-88.7, 88.7, 2_000_000)
    assert np.count_nonzero(exp(x).astype(np.float32) != np.exp(x).astype(np.float32)) <= 2
    positive = np.exp(rng.uniform(-100.0, 100.0, 2_000_000))
    found, expected = log(positive), np.log(positive)
    assert np.count_nonzero(found.astype(np.float32) != expected.astype(np.float32)) <= 2
    np.testing.assert_allclose(found, expected, rtol=2.0**-48)


def test_edges() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 1e300, -1e300, 0.0, 709.79, -745.2])
    np.testing.assert_array_equal(exp(x), [np.inf, 0.0, np.nan, np.inf, 0.0, 1.0, np.inf, 0.0])
    np.testing.assert_array_equal(
        log(np.array([np.inf, 0.0, -0.0, -1.0, -np.inf, np.nan, 1.0])),
        [np.inf, -np.inf, -np.inf, np.nan, np.nan, np.nan, 0.0],
    )
    denormal = float(exp(np.array([-740.0]))[0])
    assert denormal == pytest.approx(math.exp(-740.0), abs=5e-324)
    assert exp(np.empty((0, 3))).shape == (0, 3)
    assert exp(np.zeros((2, 3))).shape == (2, 3)
    # Beyond one block, too.
    assert np.array_equal(exp(np.zeros(20_001)), np.ones(20_001))


def test_the_bytes_are_fixed() -> None:
    # A change of these digests changes the hash of every model: same data, other model bytes.
    x = np.linspace(-87.0, 87.0, 100_001)
    digest = hashlib.sha256(exp(x).tobytes() + log(np.abs(x)).tobytes()).hexdigest()
    assert digest == "0b0bff58b0f66fabbe4ac249c2268a2d55752cf0d8eff4c7cd2e16a2a42f90de"


def test_sigmoid_is_xgboosts() -> None:
    margins = np.concatenate(
        [np.linspace(-100.0, 100.0, 4001), [-16.7, 0.0, 16.7, 1e-8]], dtype=np.float64
    ).astype(np.float32)
    booster = xgboost.train(
        {"base_score": 0.5, "objective": "binary:logistic"},
        xgboost.DMatrix(np.zeros((2, 1)), label=np.array([0.0, 1.0])),
        num_boost_round=1,
    )
    data = xgboost.DMatrix(np.zeros((margins.size, 1)))
    data.set_base_margin(margins)
    expected = booster.predict(data)
    # The one tree has a single leaf of weight 0 here, so the margin is the base margin.
    found = sigmoid(margins)
    assert found.dtype == np.float32
    np.testing.assert_array_max_ulp(found, expected, maxulp=1)
    assert np.mean(found == expected) > 0.99
    assert found.min() >= 0.0
    assert found.max() == 1.0


@given(st.floats(0.0, 1.0))
def test_logit_inverts_the_sigmoid(p: float) -> None:
    margin = logit(p)
    assert isinstance(margin, np.float32)
    back = float(sigmoid(np.array([margin]))[0])
    kept = min(max(p, 1e-6), 1 - 1e-6)
    assert back == pytest.approx(kept, rel=2e-6, abs=2e-7)
