"""Public bounds: never below what a set of rows holds, and useful where fraud is rare."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import boost, bounds_of, random_rows

from fraudfed.boosting.bounds.rows import MarginRange, NodeBounds
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.engine.logistic import to_fixed_point
from fraudfed.boosting.objective import GradientBounds, gradient_bounds, gradients
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.parameters import BoosterParams


def _sums(pairs: Int64Array) -> Int64Array:
    """Sum g and h, as of a single set; shape (2, 1)."""
    return pairs.sum(axis=0).reshape(2, 1)


def _masses(labels: Float32Array, fixed_weights: Int64Array) -> Int64Array:
    return np.array([[int(fixed_weights[labels == label].sum())] for label in (0, 1)])


def _check(
    pairs: Int64Array, labels: Float32Array, found: SumBounds, *, hessian: bool = True
) -> None:
    """Compare with the sums by label, which no part of the rows exceeds."""
    for label in (0, 1):
        own = pairs[labels == label, 0]
        assert int(np.abs(own).sum()) <= int(found.by_label[label, 0])
        assert ((own >= 0) if label == 0 else (own <= 0)).all()
    assert pairs[:, 1].min(initial=0) >= 0
    if hessian:
        assert int(pairs[:, 1].sum()) <= int(found.hessian[0])


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(1, 200),
    centre=st.one_of(st.floats(-9.0, 9.0), st.sampled_from([-60.0, -20.0, 17.0, 40.0])),
    spread=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
    positive_rate=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    log_weight=st.floats(-12.0, 11.0),
    scale_pos_weight=st.sampled_from([1.0, 0.01, 30.0]),
)
def test_no_set_of_rows_exceeds_its_bounds(
    seed: int,
    n_rows: int,
    centre: float,
    spread: float,
    positive_rate: float,
    log_weight: float,
    scale_pos_weight: float,
) -> None:
    rng = np.random.default_rng(seed)
    margins = (centre + spread * rng.normal(size=n_rows)).astype(np.float32)
    labels = (rng.random(n_rows) < positive_rate).astype(np.float32)
    max_weight = float(np.float32(np.exp(log_weight)))
    # Up to the limit itself, and some weights so small that fixed point rounds them away.
    weights = np.float32(max_weight) * rng.choice(np.float32([1.0, 0.5, 1e-7]), n_rows)
    pairs = gradients(margins, labels, weights, scale_pos_weight=scale_pos_weight)
    low, high = sigmoid(np.array([margins.min(), margins.max()]))
    bounds = replace(
        bounds_of(
            labels, gradient_bounds(max_weight=max_weight, scale_pos_weight=scale_pos_weight)
        ),
        min_probability=float(low),
        max_probability=float(high),
    )
    effective = weights * np.where(labels == 1, np.float32(scale_pos_weight), np.float32(1))
    fixed_weights = to_fixed_point(effective.astype(np.float32))

    def count(chosen: BoolArray) -> Int64Array:
        return np.array([int(chosen.sum())])

    is_in = rng.random(n_rows) < rng.choice([0.1, 0.6, 1.0])
    # A label may decide who is in a set: the bounds must not count on a mix.
    sets = [is_in, np.ones(n_rows, dtype=np.bool_), is_in & (labels == 0), is_in & (labels == 1)]
    for whole in sets:
        n_whole, sums = count(whole), _sums(pairs[whole])
        _check(pairs[whole], labels[whole], bounds.of_counts(n_whole))
        # Claim 3, and that masses bound gradients at any other margins.
        masses = bounds.masses(sums, n_whole)
        true = _masses(labels[whole], fixed_weights[whole])
        assert (true <= masses).all()
        elsewhere = gradients(-margins, labels, weights, scale_pos_weight=scale_pos_weight)
        _check(elsewhere[whole], labels[whole], SumBounds(masses, sums[1]), hessian=False)
        # Claims 1, 2 and 4, with masses as narrow as they can be, and as wide.
        for known_masses in (true, np.minimum(masses, bounds.of_counts(n_whole).by_label * 2)):
            wide = SumBounds(np.full((2, 1), 2**62), sums[1])
            excesses = bounds.excesses(sums, np.maximum(known_masses, true), n_whole)
            _check(pairs[whole], labels[whole], bounds.of_sums(sums, wide, excesses, n_whole))
            part = whole & (rng.random(n_rows) < 0.3)
            of_part = SumBounds(wide.by_label, _sums(pairs[part])[1])
            _check(pairs[part], labels[part], bounds.within(of_part, excesses, n_whole))


@pytest.mark.parametrize("claim", ["of_counts", "masses", "excesses", "within"])
def test_control_a_claim_that_is_too_good_is_noticed(
    claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(NodeBounds, claim)

    def too_good(self: NodeBounds, *arguments: Any) -> Any:
        found = right(self, *arguments)
        if isinstance(found, SumBounds):
            return SumBounds(found.by_label * 3 // 5, found.hessian * 3 // 5)
        return found * 2 // 5

    monkeypatch.setattr(NodeBounds, claim, too_good)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_no_set_of_rows_exceeds_its_bounds()


def test_rare_fraud_in_a_small_node_needs_far_narrower_slots() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(-5.0, 0.5, 100_000).astype(np.float32)
    labels = (rng.random(100_000) < 0.007).astype(np.float32)
    pairs = gradients(margins, labels, None, scale_pos_weight=1.0)
    low, high = sigmoid(np.array([margins.min(), margins.max()]))
    bounds = replace(
        bounds_of(labels, gradient_bounds(max_weight=1.0, scale_pos_weight=1.0)),
        min_probability=float(low),
        max_probability=float(high),
    )
    n_rows = np.array([100_000])
    most = bounds.of_counts(n_rows)
    node = pairs[:5000]
    limits = bounds.of_sums(_sums(node), most, most.by_label, n_rows)
    assert limits.by_label.sum() < most.by_label.sum() / 80
    assert limits.by_label.sum() < 4 * int(np.abs(node[:, 0]).sum())


def test_nothing_known_of_the_probabilities_leaves_the_bound_by_rows() -> None:
    bounds = NodeBounds(
        n_rows=10, n_negatives=7, n_positives=3, row=GradientBounds(100, 25, 40, 10)
    )
    counts = np.array([10, 2, 5, 0])
    most = bounds.of_counts(counts)
    assert most.by_label.tolist() == [[280, 80, 200, 0], [300, 200, 300, 0]]
    assert most.hessian.tolist() == [3 * 25 + 7 * 10, 50, 3 * 25 + 2 * 10, 0]
    assert bounds.masses(np.array([[5], [3]]), np.array([10])).tolist() == [[2**62], [2**62]]


def test_a_set_of_no_rows_needs_no_slot() -> None:
    bounds = NodeBounds(
        n_rows=10, n_negatives=7, n_positives=3, row=GradientBounds(100, 25, 40, 10)
    )
    nothing = bounds.of_counts(np.array([0]))
    assert (nothing.lows == 0).all()
    assert (nothing.highs == 0).all()


def test_margins_stay_within_the_range_of_the_published_leaves() -> None:
    rows = random_rows(np.random.default_rng(6), n_rows=2000, n_bins=(16, 8), weighted=True)
    margins = np.full(rows.n_rows, -1.5, dtype=np.float32)
    reached = MarginRange.at(-1.5)
    values: list[Float32Array] = []
    trees: list[Tree] = boost(
        rows,
        BoosterParams(max_depth=3),
        12,
        on_tree=lambda tree, growing, _margins: values.append(
            tree.split_conditions[growing.leaves().of_rows()]
        ),
    )
    for tree, value in zip(trees, values, strict=True):
        margins += value
        reached = reached.after(tree)
        assert reached.low <= margins.min()
        assert margins.max() <= reached.high
    assert -20.0 < reached.low < -1.5 < reached.high < 20.0
