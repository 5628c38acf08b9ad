"""Gradients, initial score and bounds against XGBoost's own."""

import json
import math

import numpy as np
import pytest
import xgboost
from cohorts.exact import run_cohort
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.engine.logistic import to_fixed_point
from fraudfed.boosting.objective import (
    base_margin,
    estimate_base_score,
    gradient_bounds,
    gradients,
)
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import FIXED_POINT_ONE
from fraudfed.errors import DataError

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def table_of(labels: np.ndarray, weights: np.ndarray | None, max_weight: float) -> TrainingTable:
    return TrainingTable(
        schema=FeatureSchema(names=("x",), n_categories=(0,)),
        features=np.zeros((labels.size, 1), dtype=np.float32),
        labels=labels,
        weights=weights,
        max_weight=max_weight,
    )


def test_gradients_equal_the_formula_within_rounding() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 4, 5000).astype(np.float32)
    labels = (rng.random(5000) < 0.3).astype(np.float32)
    weights = rng.uniform(0.1, 3.0, 5000).astype(np.float32)
    found = gradients(margins, labels, weights, scale_pos_weight=2.5) / FIXED_POINT_ONE
    p = 1.0 / (1.0 + np.exp(-margins.astype(np.float64)))
    w = weights * np.where(labels == 1, 2.5, 1.0)
    np.testing.assert_allclose(found[:, 0], (p - labels) * w, atol=2e-6)
    np.testing.assert_allclose(found[:, 1], p * (1 - p) * w, atol=2e-6)


def test_no_weights_are_weights_of_one() -> None:
    margins = np.linspace(-20, 20, 999, dtype=np.float32)
    labels = (np.arange(999) % 2).astype(np.float32)
    ones = np.ones(999, dtype=np.float32)
    np.testing.assert_array_equal(
        gradients(margins, labels, None, scale_pos_weight=3.0),
        gradients(margins, labels, ones, scale_pos_weight=3.0),
    )


def test_fixed_point_rounds_ties_to_even() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5], dtype=np.float64) / FIXED_POINT_ONE
    assert to_fixed_point(halves).tolist() == [0, 2, 2, 0, -2]


@settings(deadline=None)
@given(
    margin=float32,
    label=st.sampled_from([0.0, 1.0]),
    share=st.floats(0.0, 1.0, exclude_min=True, width=32),
    max_weight=st.floats(2.0**-10, 2.0**16, width=32),
    scale_pos_weight=st.floats(2.0**-10, 2.0**16, width=32),
)
def test_no_row_exceeds_the_bounds(
    margin: float, label: float, share: float, max_weight: float, scale_pos_weight: float
) -> None:
    bounds = gradient_bounds(max_weight=max_weight, scale_pos_weight=scale_pos_weight)
    # Training is refused otherwise, even for a single row.
    assume(bounds.gradient <= 2**62)
    for weight in (max_weight, np.float32(share) * np.float32(max_weight)):
        pair = gradients(
            np.array([margin], dtype=np.float32),
            np.array([label], dtype=np.float32),
            np.array([weight], dtype=np.float32),
            scale_pos_weight=scale_pos_weight,
        )[0]
        assert abs(int(pair[0])) <= bounds.gradient
        assert 0 <= int(pair[1]) <= bounds.hessian


def test_hessians_near_one_half_stay_at_a_quarter() -> None:
    # All float32 next to 1/2, where 1 - p is rounded.
    p = (np.float32(0.5).view(np.uint32) + np.arange(-200_000, 200_000)).astype(np.uint32)
    p = p.view(np.float32)
    assert (p * (np.float32(1.0) - p)).max() == np.float32(0.25)
    assert gradient_bounds(max_weight=1.0, scale_pos_weight=1.0).hessian == FIXED_POINT_ONE // 4


def test_too_large_sums_are_refused() -> None:
    bounds = gradient_bounds(max_weight=65536.0, scale_pos_weight=65536.0)
    with pytest.raises(DataError, match="lower max_weight or scale_pos_weight"):
        bounds.check_rows(10_000_000, 5_000_000)
    bounds.check_rows(4, 0)


def test_the_weight_of_rare_positives_does_not_count_for_every_row() -> None:
    bounds = gradient_bounds(max_weight=1.0, scale_pos_weight=500.0)
    assert bounds.negative_gradient == FIXED_POINT_ONE
    bounds.check_rows(100_000_000, 200_000)
    with pytest.raises(DataError):
        bounds.check_rows(100_000_000, 20_000_000)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale_pos_weight", [1.0, 7.5, 0.25])
@pytest.mark.parametrize("n_banks", [1, 3])
def test_base_score_is_xgboosts_estimate(
    weighted: bool, scale_pos_weight: float, n_banks: int
) -> None:
    rng = np.random.default_rng(11)
    n_rows = 3000
    labels = (rng.random(n_rows) < 0.07).astype(np.float32)
    weights = rng.uniform(0.5, 2.0, n_rows).astype(np.float32) if weighted else None
    data = xgboost.DMatrix(rng.normal(size=(n_rows, 1)), label=labels, weight=weights)
    booster = xgboost.train(
        {"objective": "binary:logistic", "scale_pos_weight": scale_pos_weight, "max_depth": 1},
        data,
        num_boost_round=1,
    )
    config = json.loads(booster.save_config())
    stored = json.loads(config["learner"]["learner_model_param"]["base_score"])
    expected = np.float32(stored[0] if isinstance(stored, list) else stored)

    # The last of several banks has no row at all.
    bank_of_row = rng.integers(0, max(1, n_banks - 1), n_rows)

    def program(bank: int, communicator: object) -> np.float32:
        mine = bank_of_row == bank
        part = table_of(labels[mine], None if weights is None else weights[mine], 2.0)
        return estimate_base_score(
            LocalShard(part),
            communicator,
            scale_pos_weight=scale_pos_weight,
            n_rows=n_rows,
            n_positives=int(labels.sum()),
        )

    found = run_cohort(n_banks, program)
    assert len(set(found)) == 1
    assert found[0] == pytest.approx(expected, rel=3e-7)


def test_weights_that_vanish_in_fixed_point_are_refused() -> None:
    labels = np.array([0.0, 1.0], dtype=np.float32)
    table = table_of(labels, np.full(2, 1e-12, dtype=np.float32), 1.0)
    with pytest.raises(DataError, match="scale the weights up"):
        estimate_base_score(
            LocalShard(table), SoloCommunicator(), scale_pos_weight=1.0, n_rows=2, n_positives=1
        )


@given(st.floats(0.001, 0.999))
def test_base_margin_is_the_logit(p: float) -> None:
    assert float(base_margin(p)) == pytest.approx(math.log(p / (1 - p)), rel=1e-5, abs=1e-6)
    back = sigmoid(np.array([base_margin(p)]))[0]
    assert back == pytest.approx(p, rel=1e-5)
