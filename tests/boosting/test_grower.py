"""Trees against ``xgboost`` on the same bins, and the laws of growing over several banks."""

from typing import Any

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort
from cohorts.recording import RecordingCommunicator
from examples.shards import growing_over, grown_over
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import (
    Rows,
    assert_same_tree,
    boost,
    boost_xgboost,
    bounds_of,
    oracle_params,
    random_rows,
)

from fraudfed.boosting.bins import FLOAT32_MAX
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.growth.grower import grow_tree
from fraudfed.boosting.objective import gradient_bounds
from fraudfed.boosting.sampling import ColumnSampler, sample_rows
from fraudfed.boosting.shard.local import LocalGrowing
from fraudfed.boosting.shard.partition import assign_leaves
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import FIXED_POINT_ONE, Float32Array, Int64Array
from fraudfed.parameters import BoosterParams

NUMERIC = {"n_bins": (16, 32, 8, 20, 5)}
MISSING = {**NUMERIC, "missing": 0.15}
CATEGORICAL = {"n_bins": (3, 12, 8, 20, 5, 2, 6), "categorical": (0, 1, 5, 6)}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (NUMERIC, {"max_depth": 5}),
    "missing": (MISSING, {"max_depth": 5}),
    "weighted": ({**MISSING, "weighted": True}, {"max_depth": 5}),
    "scale_pos_weight": (MISSING, {"max_depth": 5, "scale_pos_weight": 7.5}),
    "rare positives": ({**MISSING, "positive_rate": 0.03}, {"max_depth": 4}),
    "one-hot and partition": (CATEGORICAL, {"max_depth": 5}),
    "categories and missing": ({**CATEGORICAL, "missing": 0.2}, {"max_depth": 5}),
    "one-hot only": ({**CATEGORICAL, "missing": 0.2}, {"max_depth": 4, "max_cat_to_onehot": 13}),
    "at the one-hot limit": ({**CATEGORICAL}, {"max_depth": 4, "max_cat_to_onehot": 6}),
    "few categories tried": (
        {**CATEGORICAL, "missing": 0.2},
        {"max_depth": 5, "max_cat_threshold": 4, "max_cat_to_onehot": 3},
    ),
    "small categories": (CATEGORICAL, {"max_depth": 5, "min_child_weight": 30.0}),
    "monotone": (MISSING, {"max_depth": 5, "monotone_constraints": [1, -1, 0, 1]}),
    "monotone with L1": (
        {**MISSING, "weighted": True},
        {"max_depth": 5, "alpha": 0.8, "monotone_constraints": [0, 1, -1]},
    ),
    "constraints of zero": (MISSING, {"max_depth": 4, "monotone_constraints": [0]}),
    "monotone and categories": (
        {**CATEGORICAL, "missing": 0.1},
        {"max_depth": 5, "monotone_constraints": [0, 0, 1, -1, 0, 0, 0]},
    ),
    "regularised": (
        MISSING,
        {"max_depth": 6, "alpha": 1.5, "lambda": 3.0, "gamma": 2.0, "min_child_weight": 20.0},
    ),
    # A little gamma: with none at all XGBoost splits for gains of pure rounding, near 1e-6.
    "not regularised": (
        MISSING,
        {"max_depth": 6, "lambda": 0.0, "min_child_weight": 0.0, "gamma": 1e-3},
    ),
    "short steps": (MISSING, {"max_depth": 5, "max_delta_step": 0.3}),
    "short steps and L1": (
        {**MISSING, "weighted": True},
        {"max_depth": 5, "max_delta_step": 0.7, "alpha": 0.8, "min_child_weight": 3.0},
    ),
    "short steps and categories": (CATEGORICAL, {"max_depth": 5, "max_delta_step": 0.05}),
    "short steps and monotone": (
        MISSING,
        {"max_depth": 5, "max_delta_step": 0.2, "monotone_constraints": [1, -1, 0, 1]},
    ),
    "small steps": (MISSING, {"max_depth": 3, "eta": 0.07}),
    "stump": (MISSING, {"max_depth": 1}),
    "root only": (MISSING, {"max_depth": 3, "gamma": 1e6}),
    "lossguide": (MISSING, {"max_depth": 0, "max_leaves": 20, "grow_policy": "lossguide"}),
    "lossguide with depth": (
        {**CATEGORICAL, "missing": 0.1},
        {"max_depth": 4, "max_leaves": 12, "grow_policy": "lossguide"},
    ),
    "lossguide by depth only": (MISSING, {"max_depth": 4, "grow_policy": "lossguide", "gamma": 1}),
    "depthwise with leaves": (MISSING, {"max_depth": 0, "max_leaves": 21}),
    "deep": ({"n_bins": (16, 32, 8, 20, 30), "missing": 0.1}, {"max_depth": 11, "lambda": 0.5}),
}


@pytest.mark.parametrize("case", CASES)
def test_trees_equal_those_of_xgboost(case: str) -> None:
    data, settings_ = CASES[case]
    rows = random_rows(np.random.default_rng(11), n_rows=4000, **data)
    theirs = dict(settings_)
    if "monotone_constraints" in theirs:
        theirs["monotone_constraints"] = str(tuple(theirs["monotone_constraints"]))
    expected = boost_xgboost(rows, theirs, 5)
    grown = boost(rows, oracle_params(settings_), 5)
    for tree, other in zip(grown, expected, strict=True):
        assert_same_tree(tree, other, n_bins=rows.n_bins)
    if case != "root only":
        assert sum(tree.n_nodes > 1 for tree in grown) >= 4


def test_a_level_of_more_than_256_nodes_is_expanded_in_parts() -> None:
    rng = np.random.default_rng(5)
    rows = random_rows(rng, n_rows=20_000, n_bins=(64, 64, 64, 64), positive_rate=0.5)
    params = {"max_depth": 11, "min_child_weight": 0.1, "lambda": 0.5}
    [tree] = boost(rows, oracle_params(params), 1)
    [expected] = boost_xgboost(rows, params, 1)
    assert_same_tree(tree, expected, n_bins=rows.n_bins)
    depth = _depths(tree)
    split = tree.left_children >= 0
    assert np.bincount(depth[split]).max() > 256


@pytest.mark.parametrize("missing_is_positive", [True, False])
def test_missing_against_present_publishes_no_value(missing_is_positive: bool) -> None:
    """Only whether the value is missing matters; the threshold must not be anybody's value."""
    rng = np.random.default_rng(3)
    bins = rng.integers(0, 4, (1, 2000)).astype(np.uint16)
    is_missing = rng.random(2000) < 0.3
    bins[0, is_missing] = 4
    labels = (is_missing == missing_is_positive).astype(np.float32)
    rows = Rows(bins=bins, n_bins=(4,), is_categorical=(False,), labels=labels)
    [tree] = boost(rows, oracle_params({"max_depth": 1}), 1)
    [expected] = boost_xgboost(rows, {"max_depth": 1}, 1)
    assert_same_tree(tree, expected, n_bins=rows.n_bins)
    # The forward scan is first and wins the tie with the backward one.
    assert tree.split_bins[0] == 3
    assert tree.split_conditions[0] == np.float32(FLOAT32_MAX)
    assert not tree.default_left[0]


def test_backward_before_the_first_bin_sends_all_present_values_right() -> None:
    """Monotone bounds make the backward scan's end win against the forward scan's."""
    rng = np.random.default_rng(4)
    bins = rng.integers(0, 4, (1, 2000)).astype(np.uint16)
    is_missing = rng.random(2000) < 0.3
    bins[0, is_missing] = 4
    rows = Rows(
        bins=bins, n_bins=(4,), is_categorical=(False,), labels=(~is_missing).astype(np.float32)
    )
    settings_ = {"max_depth": 1, "monotone_constraints": "(1)"}
    [tree] = boost(rows, oracle_params(settings_), 1)
    [expected] = boost_xgboost(rows, settings_, 1)
    assert_same_tree(tree, expected, n_bins=rows.n_bins)
    assert tree.split_bins[0] == -1
    assert tree.split_conditions[0] == np.float32(-FLOAT32_MAX)
    assert tree.default_left[0]


def test_every_row_gets_the_value_of_its_leaf() -> None:
    rows = random_rows(np.random.default_rng(8), n_rows=3000, **{**CATEGORICAL, "missing": 0.2})

    def check(tree: Tree, growing: LocalGrowing, margins: Float32Array) -> None:
        leaves = assign_leaves(tree, rows.binned()).of_rows()
        np.testing.assert_array_equal(growing.leaves().of_rows(), leaves)
        expected = margins + tree.split_conditions[leaves]
        before = margins.copy()
        growing.finish(tree.split_conditions)
        np.testing.assert_array_equal(margins, expected)
        margins[:] = before
        assert (tree.left_children[leaves] == -1).all()

    boost(rows, BoosterParams(max_depth=5), 3, on_tree=check)


def test_rows_outside_the_sample_do_not_shape_the_tree_but_get_its_values() -> None:
    rng = np.random.default_rng(9)
    rows = random_rows(rng, n_rows=3000, **MISSING)
    keys = rng.integers(0, 2**64, rows.n_rows, dtype=np.uint64)
    params = BoosterParams(max_depth=4, subsample=0.6, seed=3)
    binned = rows.binned()
    pairs = _pairs(rows)
    drawn = sample_rows(keys, seed=3, tree_index=2, fraction=params.subsample)
    assert 0.5 < drawn.mean() < 0.7
    growing = growing_over(binned, pairs, drawn)
    grown = grow_tree(
        growing,
        binned.cuts,
        params,
        SoloCommunicator(),
        engine=binned.engine,
        tree_index=2,
        bounds=_wide(rows),
    )
    only_drawn = grown_over(
        rows.take(drawn).binned(),
        pairs[drawn],
        BoosterParams(max_depth=4),
        SoloCommunicator(),
        tree_index=2,
        bounds=_wide(rows),
    )
    assert_equal_trees(grown.tree, only_drawn.tree)
    expected = assign_leaves(grown.tree, binned).of_rows()
    np.testing.assert_array_equal(growing.leaves().of_rows(), expected)


def test_a_draw_from_rows_without_keys_is_refused() -> None:
    rows = random_rows(np.random.default_rng(9), n_rows=100, **MISSING)
    with pytest.raises(ValueError, match="not binned for it"):
        boost(rows, BoosterParams(subsample=0.5), 1)


def test_a_column_sample_by_tree_is_a_table_with_fewer_columns() -> None:
    rows = random_rows(np.random.default_rng(12), n_rows=3000, n_bins=(9, 8, 7, 6, 5, 4))
    params = BoosterParams(max_depth=5, colsample_bytree=0.5, seed=1)
    tree = _grow_alone(rows, params, tree_index=4)
    kept = ColumnSampler(params, n_features=6, tree_index=4).tree_features
    assert kept.size == 3
    narrow = Rows(
        bins=np.ascontiguousarray(rows.bins[kept]),
        n_bins=tuple(rows.n_bins[f] for f in kept),
        is_categorical=(False,) * 3,
        labels=rows.labels,
    )
    expected = _grow_alone(narrow, BoosterParams(max_depth=5), tree_index=4)
    split = tree.left_children >= 0
    assert tree.split_features[split].tolist() == kept[expected.split_features[split]].tolist()
    np.testing.assert_array_equal(tree.split_bins, expected.split_bins)
    np.testing.assert_array_equal(tree.loss_changes, expected.loss_changes)


@pytest.mark.parametrize("policy", ["depthwise", "lossguide"])
@pytest.mark.parametrize("fractions", [(1.0, 0.5, 1.0), (1.0, 1.0, 0.4), (0.8, 0.7, 0.6)])
def test_each_node_splits_best_among_its_own_columns(
    fractions: tuple[float, float, float], policy: str
) -> None:
    """Sums that had to be derived, or taken for both children, must not change a split."""
    rows = random_rows(np.random.default_rng(13), n_rows=3000, n_bins=(9, 8, 7, 6, 5, 9, 8, 7))
    by_tree, by_level, by_node = fractions
    params = BoosterParams(
        max_depth=5,
        grow_policy=policy,
        colsample_bytree=by_tree,
        colsample_bylevel=by_level,
        colsample_bynode=by_node,
        seed=7,
    )
    tree = _grow_alone(rows, params, tree_index=0)
    columns = ColumnSampler(params, n_features=8, tree_index=0)
    depths = _depths(tree)
    position = {0: np.arange(rows.n_rows)}
    seen = set()
    for node in range(tree.n_nodes):
        here = rows.take(position[node])
        pairs = _pairs(rows)[position[node]]
        allowed = columns.node_features(depth=int(depths[node]), node=node)
        seen.add(tuple(allowed.tolist()))
        narrow = Rows(
            bins=np.ascontiguousarray(here.bins[allowed]),
            n_bins=tuple(rows.n_bins[f] for f in allowed),
            is_categorical=(False,) * allowed.size,
            labels=here.labels,
        )
        stump = grown_over(
            narrow.binned(),
            pairs,
            BoosterParams(max_depth=1),
            SoloCommunicator(),
            tree_index=0,
            bounds=_wide(rows),
        ).tree
        if tree.left_children[node] < 0:
            assert depths[node] == 5 or stump.n_nodes == 1
            continue
        assert allowed[stump.split_features[0]] == tree.split_features[node]
        assert stump.split_bins[0] == tree.split_bins[node]
        left = rows.bins[tree.split_features[node], position[node]] <= tree.split_bins[node]
        position[int(tree.left_children[node])] = position[node][left]
        position[int(tree.right_children[node])] = position[node][~left]
    assert tree.n_nodes > 30
    assert len(seen) > 1


@st.composite
def _problems(draw: st.DrawFn) -> tuple[int, int, BoosterParams]:
    params = BoosterParams(
        max_depth=draw(st.integers(1, 5)),
        max_leaves=draw(st.sampled_from([0, 5, 9])),
        grow_policy=draw(st.sampled_from(["depthwise", "lossguide"])),
        subsample=draw(st.sampled_from([1.0, 0.5])),
        colsample_bytree=draw(st.sampled_from([1.0, 0.7])),
        colsample_bylevel=draw(st.sampled_from([1.0, 0.6])),
        colsample_bynode=draw(st.sampled_from([1.0, 0.6])),
        min_child_weight=draw(st.sampled_from([0.0, 1.0, 5.0])),
        monotone_constraints=draw(st.sampled_from([(), (0, 0, 1)])),
        seed=draw(st.integers(0, 1000)),
    )
    return draw(st.integers(1, 7)), draw(st.integers(0, 2**32)), params


@settings(max_examples=40, deadline=None)
@given(problem=_problems())
def test_trees_do_not_depend_on_how_rows_lie_in_banks(
    problem: tuple[int, int, BoosterParams],
) -> None:
    n_banks, seed, params = problem
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, n_rows=300, n_bins=(3, 6, 8, 5), categorical=(0, 1), missing=0.2)
    keyed = Rows(
        bins=rows.bins,
        n_bins=rows.n_bins,
        is_categorical=rows.is_categorical,
        labels=rows.labels,
        keys=rng.integers(0, 2**64, rows.n_rows, dtype=np.uint64),
    )
    # Some banks may hold no row at all, and the order of rows is shuffled.
    shuffled = rng.permutation(rows.n_rows)
    bank_of_row = rng.integers(0, n_banks, rows.n_rows)
    alone = boost(keyed, params, 2)

    def program(bank: int, communicator: CohortCommunicator) -> list[Tree]:
        mine = keyed.take(shuffled[bank_of_row[shuffled] == bank])
        return boost(mine, params, 2, communicator, pooled_labels=rows.labels)

    for trees in run_cohort(n_banks, program):
        for tree, expected in zip(trees, alone, strict=True):
            assert_equal_trees(tree, expected)


def test_a_level_takes_one_sum_and_only_smaller_children_are_summed() -> None:
    rows = random_rows(np.random.default_rng(2), n_rows=4000, n_bins=(16, 32, 8))
    recorder = RecordingCommunicator()
    [tree] = boost(rows, BoosterParams(max_depth=4), 1, recorder)
    depth = _depths(tree)
    n_splits = np.bincount(depth[tree.left_children >= 0])
    assert n_splits[:3].tolist() == [1, 2, 4]
    slots = 2 * (16 + 32 + 8)
    assert [one.values.size for one in recorder.sums] == [slots + 2, slots, 2 * slots, 4 * slots]
    assert recorder.labels == [f"histogram:tree 0 step {step}" for step in range(4)]


def test_children_too_light_to_be_split_are_not_summed() -> None:
    rows = random_rows(np.random.default_rng(2), n_rows=4000, n_bins=(16, 32, 8))
    recorder = RecordingCommunicator()
    # 1000 in all (4000 rows of 1/4): no child of the root can hold two of 480.
    [tree] = boost(rows, BoosterParams(max_depth=4, min_child_weight=480.0), 1, recorder)
    assert tree.n_nodes == 3
    assert len(recorder.sums) == 1


def test_gradients_of_another_shape_are_refused() -> None:
    rows = random_rows(np.random.default_rng(2), n_rows=100, n_bins=(4,))
    with pytest.raises(ValueError, match=r"expected \(100, 2\)"):
        grown_over(
            rows.binned(),
            np.zeros((99, 2), dtype=np.int64),
            BoosterParams(),
            SoloCommunicator(),
            tree_index=0,
            bounds=_wide(rows),
        )


def assert_equal_trees(one: Tree, other: Tree) -> None:
    """Bit for bit, every field."""
    assert one.right_categories == other.right_categories
    for name in (
        "left_children",
        "right_children",
        "parents",
        "split_features",
        "split_conditions",
        "split_bins",
        "default_left",
        "is_categorical",
        "loss_changes",
        "sum_hessians",
        "base_weights",
    ):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def _pairs(rows: Rows) -> Int64Array:
    """Gradients of the logistic loss at probability 1/2."""
    gradient = np.where(rows.labels == 1, -(FIXED_POINT_ONE // 2), FIXED_POINT_ONE // 2)
    hessian = np.full(rows.n_rows, FIXED_POINT_ONE // 4)
    return np.stack((gradient, hessian), axis=1).astype(np.int64)


def _wide(rows: Rows) -> NodeBounds:
    return bounds_of(rows.labels, gradient_bounds(max_weight=1.0, scale_pos_weight=1.0))


def _grow_alone(rows: Rows, params: BoosterParams, *, tree_index: int) -> Tree:
    return grown_over(
        rows.binned(),
        _pairs(rows),
        params,
        SoloCommunicator(),
        tree_index=tree_index,
        bounds=_wide(rows),
    ).tree


def _depths(tree: Tree) -> Int64Array:
    depth = np.zeros(tree.n_nodes, dtype=np.int64)
    for node in range(1, tree.n_nodes):
        depth[node] = depth[tree.parents[node]] + 1
    return depth
