"""Without noise each way gives the trees that an independent, simple program gives."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts.noising import ChosenNoise, no_noise
from private_tables import PARAMS, table_of, terms_of

from fraudfed.boosting.objective import base_margin
from fraudfed.boosting.private import noised_gain
from fraudfed.boosting.private.cyclic import feature_of_tree
from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.train import TrainResult
from fraudfed.boosting.tree import Tree
from fraudfed.privacy.plan import plan_of, variance_of
from fraudfed.privacy.terms import TrainingWay


def leaf_of(tree: Tree, row: np.ndarray) -> int:
    node = 0
    while tree.left_children[node] >= 0:
        value = row[tree.split_features[node]]
        if np.isnan(value):
            left = bool(tree.default_left[node])
        elif tree.is_categorical[node]:
            left = int(value) not in tree.right_categories[node]
        else:
            left = bool(value < tree.split_conditions[node])
        node = int((tree.left_children if left else tree.right_children)[node])
    return node


def trained(way: TrainingWay) -> tuple[TrainResult, list[np.ndarray]]:
    """Train without noise; also return the margins before each tree, row by row in plain Python."""
    table = table_of(400)
    result = train_private(PARAMS, terms_of(way=way), table, ChosenNoise(no_noise))
    margins = np.full(table.n_rows, base_margin(result.model.base_score), dtype=np.float32)
    before = []
    for tree in result.model.trees:
        before.append(margins.copy())
        for row in range(table.n_rows):
            margins[row] += tree.split_conditions[leaf_of(tree, table.features[row])]
    assert np.allclose(margins, result.margins, atol=1e-5)
    return result, before


@pytest.mark.parametrize("way", list(TrainingWay))
def test_leaves_are_newton_steps_of_their_rows(way: TrainingWay) -> None:
    table = table_of(400)
    result, before = trained(way)
    plan = plan_of(terms_of(way=way), PARAMS, n_features=3, n_numeric=2)
    planned = plan.bins if plan.leaves is None else plan.leaves
    assert planned is not None
    sigma = variance_of(planned.release) ** 0.5 / 2**16
    n_checked = 0
    for tree, margins in zip(result.model.trees, before, strict=True):
        p = 1.0 / (1.0 + np.exp(-margins.astype(float)))
        g, h = p - table.labels, p * (1 - p)
        leaves = np.array([leaf_of(tree, row) for row in table.features])
        for leaf in np.flatnonzero(tree.left_children < 0):
            inside = leaves == leaf
            cells = 1.0
            if way is TrainingWay.CYCLIC:
                cells = float(cells_of(tree, leaf, result))
            ridge = noised_gain.RIDGE_SIGMAS * 5 / 16 * sigma * cells**0.5
            weight = -g[inside].sum() / (h[inside].sum() + PARAMS.reg_lambda + ridge)
            expected = PARAMS.eta * np.clip(weight, -2.0, 2.0)
            if way is not TrainingWay.CYCLIC and abs(g[inside].sum()) < 2 * sigma:
                expected = 0.0
            assert tree.split_conditions[leaf] == pytest.approx(expected, rel=1e-3, abs=1e-4)
            n_checked += 1
    assert n_checked > len(result.model.trees)


def cells_of(tree: Tree, leaf: int, result: TrainResult) -> int:
    """Count the bins of the tree's feature, with that of missing values, that end in a leaf."""
    if tree.n_nodes == 1:
        number = [each is tree for each in result.model.trees].index(True)
        feature = feature_of_tree(number, n_features=3, seed=PARAMS.seed)
        return len(result.cuts.values[feature]) + 1
    feature = int(tree.split_features[0])
    row = np.full(3, np.nan, dtype=np.float32)
    found = int(leaf_of(tree, row) == leaf)
    edges = result.cuts.values[feature]
    for code in range(len(edges)):
        if result.cuts.schema.is_categorical(feature):
            row[feature] = code
        else:
            # A value of the bin: just below its upper edge.
            row[feature] = np.nextafter(edges[code], np.float32(-np.inf))
        found += leaf_of(tree, row) == leaf
    return found


def test_with_hardly_any_noise_a_stump_is_the_best_of_all_cuts() -> None:
    """Way cyclic, depth 1, one feature: tried by hand over all edges and both sides of missing."""
    table = table_of(600)
    params = replace(PARAMS, num_boost_round=3, max_depth=1)
    result = train_private(params, terms_of(), table, ChosenNoise(no_noise))
    plan = plan_of(terms_of(), params, n_features=3, n_numeric=2)
    assert plan.bins is not None
    sigma = variance_of(plan.bins.release) ** 0.5 / 2**16
    tree = next(t for t in result.model.trees if t.n_nodes > 1 and not t.is_categorical[0])
    number = [each is tree for each in result.model.trees].index(True)
    margins = np.full(table.n_rows, base_margin(result.model.base_score), dtype=np.float32)
    for earlier in result.model.trees[:number]:
        leaves = [leaf_of(earlier, row) for row in table.features]
        margins += earlier.split_conditions[leaves]
    p = 1.0 / (1.0 + np.exp(-margins.astype(float)))
    g, h = p - table.labels, p * (1 - p)
    feature = int(tree.split_features[0])
    values, edges = table.features[:, feature], result.cuts.values[feature]
    missing = np.isnan(values)

    def gain(inside: np.ndarray, cells: int) -> float:
        divisor = h[inside].sum() + 1 + noised_gain.RIDGE_SIGMAS * 5 / 16 * sigma * cells**0.5
        weight = np.clip(-g[inside].sum() / divisor, -2, 2)
        return float(
            -2 * g[inside].sum() * weight - divisor * weight**2 - cells * sigma**2 / divisor
        )

    gains = {}
    for count, edge in enumerate(edges, start=1):
        for missing_left in (False, True):
            left = (values < edge) | (missing & missing_left)
            cells = count + missing_left
            rest = len(edges) + 1 - cells
            if rest:
                gains[float(edge), missing_left] = gain(left, cells) + gain(~left, rest)
    best = max(gains, key=lambda key: gains[key])
    assert best == (float(tree.split_conditions[0]), bool(tree.default_left[0]))
