"""Whether a training lost anything: trees on our draws, and trees up to exchanged sides."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import BoolArray
from fraudfed.lab.oracle.same_rows import Agreement, SplitTables, compare
from fraudfed.lab.oracle.same_trees import (
    compare_trees,
    installed_rules,
    json_trees,
    quantile_matrix,
    table_of_bins,
    with_all_categories,
    xgboost_parameters,
)
from fraudfed.lab.oracle.verification import verify_training
from fraudfed.parameters import BoosterParams

COMMON = {"xgboost_version": installed_rules(), "max_bin": 32, "max_depth": 4}


def rare_categories(n_rows: int = 6000, seed: int = 5) -> TrainingTable:
    """Draw a table with 19 categories: some of a few rows, the last of none.

    Of another feature the contract names six categories, and rows have two.
    """
    rng = np.random.default_rng(seed)
    shares = np.append(rng.permutation(np.append(rng.uniform(1, 3, 12), np.full(6, 0.004))), 0.0)
    category = rng.choice(19, n_rows, p=shares / shares.sum())
    pair = rng.integers(0, 2, n_rows)
    amount = np.round(rng.lognormal(3.0, 1.0, n_rows), 2)
    hour = rng.integers(0, 24, n_rows)
    score = rng.normal(size=19)[category] + 0.6 * np.log(amount) + (hour < 5) * pair
    score += rng.normal(size=n_rows)
    features = np.column_stack([amount, hour, category, pair]).astype(np.float32)
    features[rng.random(n_rows) < 0.02, 2] = np.nan
    schema = FeatureSchema(("amount", "hour", "category", "pair"), (0, 0, 19, 6))
    labels = (score > np.quantile(score, 0.95)).astype(np.float32)
    return TrainingTable(schema, features, labels)


def trained(table: TrainingTable, parameters: dict[str, Any]) -> TrainResult:
    return train(BoosterParams.parse(parameters), table, SoloCommunicator(), threads=1)


@pytest.mark.parametrize(
    "draws",
    [
        {"subsample": 0.6},
        {"colsample_bytree": 0.5},
        {"subsample": 0.8, "colsample_bytree": 0.75, "max_delta_step": 1.0, "scale_pos_weight": 3},
        {"subsample": 0.7, "grow_policy": "lossguide", "max_depth": 0, "max_leaves": 9},
        {"colsample_bytree": 0.75, "monotone_constraints": [1, 0]},
    ],
    ids=lambda draws: "-".join(draws),
)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_tree_on_our_draws_is_xgboosts(draws: dict[str, Any], weighted: bool) -> None:
    table = rare_categories(3000)
    if weighted:
        rng = np.random.default_rng(2)
        weights = rng.uniform(0.25, 2.0, table.n_rows).astype(np.float32)
        table = replace(table, weights=weights, max_weight=2.0)
    parameters = {**COMMON, "num_boost_round": 6, "seed": 4, **draws}
    model = trained(table, parameters).model.to_json()
    found = verify_training(model, table, parameters, threads=1)
    assert found.is_lossless
    assert found.our_draws
    assert found.stock is not None
    assert found.stock.max_leaf_difference < 1e-6
    assert found.sentence == (
        "6 of 6 trees are identical to stock XGBoost's on the same bins, given the rows and "
        "columns that each tree draws; our own training on the one pooled table gives the same "
        "model, byte for byte"
    )
    # Control: other draws grow other trees, and the comparison notices.
    other = verify_training(model, table, {**parameters, "seed": 5}, threads=1)
    assert other.identical is not None
    assert other.identical < 6
    assert not other.same_bytes
    assert not other.is_lossless
    assert "gives ANOTHER model" in other.sentence


def test_a_tree_splits_by_none_but_the_drawn_columns() -> None:
    table = rare_categories(3000)
    parameters = {**COMMON, "num_boost_round": 8, "colsample_bytree": 0.25}
    model = trained(table, parameters).model.to_json()
    assert verify_training(model, table, parameters, threads=1).is_lossless
    for tree in json_trees(model):
        inner = np.array(tree["left_children"]) >= 0
        assert np.unique(np.array(tree["split_indices"])[inner]).size <= 1


@pytest.mark.parametrize("draw", ["colsample_bylevel", "colsample_bynode"])
def test_draws_that_xgboost_cannot_be_given_are_said(draw: str) -> None:
    table = rare_categories(2000)
    parameters = {**COMMON, "num_boost_round": 3, draw: 0.5}
    model = trained(table, parameters).model.to_json()
    found = verify_training(model, table, parameters, threads=1)
    assert found.stock is None
    assert found.identical is None
    assert found.same_bytes
    assert found.is_lossless
    assert "so it was not compared; our own training" in found.sentence
    other = verify_training(model, table, {**parameters, "eta": 0.2}, threads=1)
    assert not other.is_lossless


def test_rows_in_another_order_and_early_stopping() -> None:
    table, validation = rare_categories(3000), rare_categories(1500, seed=6)
    parameters = {**COMMON, "num_boost_round": 40, "early_stopping_rounds": 3, "subsample": 0.8}
    params = BoosterParams.parse(parameters)
    result = train(params, table, SoloCommunicator(), validation=validation, threads=1)
    order = np.random.default_rng(0).permutation(table.n_rows)
    shuffled = replace(table, features=table.features[order], labels=table.labels[order])
    found = verify_training(
        result.model.to_json(), shuffled, parameters, validation=validation, threads=1
    )
    assert found.is_lossless
    assert found.trees == len(result.model.trees) < 40


def test_thirty_of_thirty_with_rare_categories() -> None:
    table = rare_categories()
    parameters = {**COMMON, "max_depth": 5, "num_boost_round": 30}
    result = trained(table, parameters)
    model = result.model.to_json()
    found = verify_training(model, table, parameters, threads=1)
    assert found.is_lossless
    assert not found.our_draws
    assert found.sentence.startswith(
        "30 of 30 trees are identical to stock XGBoost's on the pooled rows and the same bins; our"
    )
    # An XGBoost that takes six categories for two splits them one against the rest, with other
    # sides; the rows' ways are the same as long as no other split differs.
    codes = table_of_bins(table, result.cuts)
    assert with_all_categories(codes).n_rows == codes.n_rows + 1
    unaware = xgboost.train(
        xgboost_parameters(parameters, threads=1),
        quantile_matrix(codes, max_bin=32, threads=1),
        num_boost_round=1,
    )
    first = trained(table, {**parameters, "num_boost_round": 1}).model.to_json()
    compared = compare_trees(first, unaware, result.cuts, codes)
    assert (compared.identical, compared.exchanged, compared.trees) == (1, 1, 1)
    assert compared.remarks == " (1 of them with sides exchanged)"
    assert compared.max_leaf_difference < 1e-6


def test_xgboost_is_told_of_categories_only_if_it_must() -> None:
    table = rare_categories(500)
    complete = replace(table, schema=FeatureSchema(table.schema.names, (0, 0, 18, 2)))
    complete.features[0, 2] = 17
    assert with_all_categories(complete) is complete
    told = with_all_categories(replace(table, weights=np.full(500, 0.5, np.float32)))
    assert told.features[-1].tolist() == [*table.features[0, :2].tolist(), 18.0, 5.0]
    assert told.weights is not None
    assert told.weights[-2:].tolist() == [0.5, 0.0]


def _first_tree() -> tuple[SplitTables, TrainingTable, list[BoolArray]]:
    table = rare_categories(1500)
    result = trained(table, {**COMMON, "num_boost_round": 1})
    (tree,) = json_trees(result.model.to_json())
    codes = table_of_bins(table, result.cuts)
    return SplitTables.of_ours(tree, result.cuts), codes, _everywhere(result.cuts)


def _everywhere(cuts: Cuts) -> list[BoolArray]:
    return [np.ones(edges.size + 1, dtype=np.bool_) for edges in cuts.values]


def _changed(
    tables: SplitTables, node: int, change: Callable[[BoolArray], BoolArray], *, swap: bool
) -> SplitTables:
    tree = {name: list(values) for name, values in tables.tree.items() if isinstance(values, list)}
    if swap:
        left, right = tree["left_children"], tree["right_children"]
        left[node], right[node] = right[node], left[node]
    return SplitTables(tree, tables.left | {node: change(tables.left[node])})


def test_sides_may_be_exchanged_at_any_nodes() -> None:
    ours, codes, present = _first_tree()
    rng = np.random.default_rng(3)
    for _ in range(10):
        other = ours
        for node in ours.left:
            if rng.random() < 0.5 or node == 0:
                other = _changed(other, node, np.logical_not, swap=True)
        assert compare(ours, other, codes.features, present) == (Agreement.EXCHANGED, 0.0)
    assert compare(ours, ours, codes.features, present) == (Agreement.EXACT, 0.0)


def test_a_side_without_its_subtree_is_no_exchange() -> None:
    ours, codes, present = _first_tree()
    for node in ours.left:
        other = _changed(ours, node, np.logical_not, swap=False)
        found = compare(ours, other, codes.features, present)
        # Of two leaves, the values tell.
        is_last = all(child not in ours.left for child in ours.children(node))
        assert found[0] is (Agreement.EXCHANGED if is_last else Agreement.NONE)
        assert not is_last or found[1] > 1e-3


def test_values_that_no_row_has_change_nothing_and_those_of_rows_do() -> None:
    ours, codes, present = _first_tree()
    root = ours.feature(0)
    column = codes.features[:, root]
    n_bins = ours.left[0].size - 1
    here = np.unique(np.where(np.isnan(column), n_bins, column)).astype(int)
    for code in range(n_bins + 1):

        def flip(table: BoolArray, code: int = code) -> BoolArray:
            flipped = table.copy()
            flipped[code] = not table[code]
            return flipped

        other = _changed(ours, 0, flip, swap=False)
        expected = Agreement.NONE if code in here else Agreement.UNREACHED
        assert compare(ours, other, codes.features, present)[0] is expected


@st.composite
def small_tables(draw: st.DrawFn) -> tuple[TrainingTable, dict[str, Any]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows = draw(st.sampled_from([30, 100, 400]))
    counts = draw(st.lists(st.integers(2, 19), min_size=1, max_size=3))
    columns = [
        rng.choice(count, n_rows, p=rng.dirichlet(np.full(count, draw(st.sampled_from([0.2, 2])))))
        for count in counts
    ]
    n_numeric = draw(st.integers(0, 2))
    columns += [rng.integers(0, 6, n_rows) for _ in range(n_numeric)]
    features = np.column_stack(columns).astype(np.float32)
    features[rng.random(features.shape) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    labels = (rng.random(n_rows) < 0.4).astype(np.float32)
    labels[:2] = 0.0, 1.0
    names = tuple(f"f{feature}" for feature in range(len(columns)))
    schema = FeatureSchema(names, (*counts, *[0] * n_numeric))
    parameters = {
        **COMMON,
        "num_boost_round": 4,
        "max_depth": draw(st.integers(1, 6)),
        "max_cat_to_onehot": draw(st.sampled_from([4, 25])),
        "max_cat_threshold": draw(st.sampled_from([4, 64])),
        "min_child_weight": draw(st.sampled_from([0.0, 1.0, 3.0])),
        "subsample": draw(st.sampled_from([1.0, 0.7])),
        "colsample_bytree": draw(st.sampled_from([1.0, 0.6])),
    }
    return TrainingTable(schema, features, labels), parameters


@settings(max_examples=25)
@given(small_tables())
def test_every_small_table_with_categories_is_lossless(
    drawn: tuple[TrainingTable, dict[str, Any]],
) -> None:
    table, parameters = drawn
    found = verify_training(
        trained(table, parameters).model.to_json(), table, parameters, threads=1
    )
    assert found.is_lossless, found.sentence
