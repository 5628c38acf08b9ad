"""Public bounds: never below what a node holds, and useful where fraud is rare."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import boost, random_rows

from fraudfed.boosting.bounds import MarginRange, NodeBounds
from fraudfed.boosting.elementary import sigmoid
from fraudfed.boosting.objective import gradient_bounds, gradients
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import Float32Array, Int64Array


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(1, 200),
    centre=st.floats(-9.0, 9.0),
    spread=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
    positive_rate=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    log_weight=st.floats(-12.0, 3.0),
    scale_pos_weight=st.sampled_from([1.0, 0.01, 30.0]),
    knows_labels=st.booleans(),
)
def test_no_node_exceeds_its_bounds(
    seed: int,
    n_rows: int,
    centre: float,
    spread: float,
    positive_rate: float,
    log_weight: float,
    scale_pos_weight: float,
    knows_labels: bool,
) -> None:
    rng = np.random.default_rng(seed)
    margins = (centre + spread * rng.normal(size=n_rows)).astype(np.float32)
    labels = (rng.random(n_rows) < positive_rate).astype(np.float32)
    max_weight = float(np.float32(np.exp(log_weight)))
    # Up to the limit itself, and some weights so small that fixed point rounds them away.
    weights = np.float32(max_weight) * rng.choice(np.float32([1.0, 0.5, 1e-7]), n_rows)
    pairs = gradients(margins, labels, weights, scale_pos_weight=scale_pos_weight)
    row = gradient_bounds(max_weight=max_weight, scale_pos_weight=scale_pos_weight)
    low, high = sigmoid(np.array([margins.min(), margins.max()]))
    bounds = NodeBounds(
        n_rows=n_rows,
        max_gradient=row.gradient,
        max_hessian=row.hessian,
        max_negative_gradient=row.negative_gradient,
        max_negative_hessian=row.negative_hessian,
        n_positives=int(labels.sum()) if knows_labels else None,
        min_probability=float(low),
        max_probability=float(high),
    )
    _check(pairs, bounds.root())
    for _ in range(4):
        in_node = rng.random(n_rows) < rng.random()
        node = pairs[in_node]
        gradient, hessian = node.sum(axis=0).tolist()
        _check(node, _of_set(bounds, gradient, hessian))
    # A label may decide who is in the node: the bound must not count on a mix.
    for label in (0.0, 1.0):
        node = pairs[labels == label]
        gradient, hessian = node.sum(axis=0).tolist()
        _check(node, _of_set(bounds, gradient, hessian))


def _of_set(bounds: NodeBounds, gradient: int, hessian: int) -> tuple[int, int]:
    limits = bounds.of_sets(np.array([gradient]), np.array([hessian]))
    return int(limits[0][0]), int(limits[1][0])


def _check(pairs: Int64Array, limits: tuple[int, int]) -> None:
    assert int(np.abs(pairs[:, 0]).sum()) <= limits[0]
    assert int(pairs[:, 1].sum()) <= limits[1]
    assert pairs[:, 1].min(initial=0) >= 0


def test_rare_fraud_in_a_small_node_needs_far_narrower_slots() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(-5.0, 0.5, 100_000).astype(np.float32)
    labels = (rng.random(100_000) < 0.007).astype(np.float32)
    pairs = gradients(margins, labels, None, scale_pos_weight=1.0)
    row = gradient_bounds(max_weight=1.0, scale_pos_weight=1.0)
    low, high = sigmoid(np.array([margins.min(), margins.max()]))
    bounds = NodeBounds(
        n_rows=100_000,
        max_gradient=row.gradient,
        max_hessian=row.hessian,
        max_negative_gradient=row.negative_gradient,
        max_negative_hessian=row.negative_hessian,
        n_positives=int(labels.sum()),
        min_probability=float(low),
        max_probability=float(high),
    )
    gradient, hessian = pairs[:5000].sum(axis=0).tolist()
    limit, _ = _of_set(bounds, gradient, hessian)
    assert limit < bounds.root()[0] / 500
    assert limit < 4 * int(np.abs(pairs[:5000, 0]).sum())


def test_nothing_known_of_the_probabilities_leaves_the_bound_by_rows() -> None:
    bounds = NodeBounds(n_rows=10, max_gradient=100, max_hessian=25)
    assert bounds.root() == (1000, 250)
    assert _of_set(bounds, -7, 3) == (1000, 3)


def test_margins_stay_within_the_range_of_the_published_leaves() -> None:
    rows = random_rows(np.random.default_rng(6), n_rows=2000, n_bins=(16, 8), weighted=True)
    margins = np.full(rows.n_rows, -1.5, dtype=np.float32)
    reached = MarginRange.at(-1.5)
    values: list[Float32Array] = []
    trees: list[Tree] = boost(
        rows,
        BoosterParams(max_depth=3),
        12,
        on_tree=lambda grown: values.append(grown.row_leaf_values),
    )
    for tree, value in zip(trees, values, strict=True):
        margins += value
        reached = reached.after(tree)
        assert reached.low <= margins.min()
        assert margins.max() <= reached.high
    assert -20.0 < reached.low < -1.5 < reached.high < 20.0
