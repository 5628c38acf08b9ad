"""Trees of ``xgboost`` itself on the very same bins, and a small boosting loop of ours.

XGBoost is given the bin number as the feature value (NaN where missing), so that its own cuts
separate exactly the same bins; every bin must occur in the data.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.bins import FLOAT32_MAX, BinnedTable, Cuts
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.growth.grower import grow_tree
from fraudfed.boosting.objective import GradientBounds, gradient_bounds
from fraudfed.boosting.shard.local import LocalBinned, LocalGrowing
from fraudfed.boosting.shard.protocol import RowDraw
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.dtypes import BinArray, Float32Array, UInt64Array
from fraudfed.lab.oracle.same_trees import installed_rules
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True, eq=False)
class Rows:
    """Binned rows with labels; what one bank, or all banks together, hold.

    ``bins`` has shape (n_features, n_rows); ``n_bins[f]`` is the code of a missing value, and
    ``is_categorical[f]`` says what the feature is.
    """

    bins: BinArray
    n_bins: tuple[int, ...]
    is_categorical: tuple[bool, ...]
    labels: Float32Array
    weights: Float32Array | None = None
    keys: UInt64Array | None = None

    @property
    def n_rows(self) -> int:
        return self.labels.size

    def take(self, rows: Any) -> "Rows":
        return Rows(
            bins=np.ascontiguousarray(self.bins[:, rows]),
            n_bins=self.n_bins,
            is_categorical=self.is_categorical,
            labels=self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
            keys=None if self.keys is None else self.keys[rows],
        )

    def binned(self) -> BinnedTable:
        values = []
        for n_bins, categorical in zip(self.n_bins, self.is_categorical, strict=True):
            if categorical:
                values.append(np.arange(n_bins, dtype=np.float32))
            else:
                edges = np.arange(1, n_bins + 1, dtype=np.float32)
                edges[-1] = FLOAT32_MAX
                values.append(edges)
        schema = FeatureSchema(
            names=tuple(f"f{feature}" for feature in range(len(self.n_bins))),
            n_categories=tuple(
                n if c else 0 for n, c in zip(self.n_bins, self.is_categorical, strict=True)
            ),
        )
        return BinnedTable(cuts=Cuts(schema=schema, values=tuple(values)), bins=self.bins)


def random_rows(
    rng: np.random.Generator,
    *,
    n_rows: int,
    n_bins: tuple[int, ...],
    categorical: tuple[int, ...] = (),
    missing: float = 0.0,
    weighted: bool = False,
    positive_rate: float = 0.3,
) -> Rows:
    """Draw rows whose label depends on the features, on missingness and on chance."""
    bins = np.empty((len(n_bins), n_rows), dtype=np.uint16)
    score = rng.normal(0.0, 0.7, n_rows)
    for feature, size in enumerate(n_bins):
        column = rng.integers(0, size, n_rows)
        effect = rng.normal(0.0, 0.8, size + 1)
        if feature not in categorical:
            effect = np.cumsum(effect) / np.sqrt(size)
        if missing and feature % 3 != 1:
            column[rng.random(n_rows) < missing] = size
        # Every bin occurs, or xgboost would not know it.
        column[rng.permutation(n_rows)[:size]] = np.arange(size)
        bins[feature] = column
        score += effect[column]
    labels = (score > np.quantile(score, 1.0 - positive_rate)).astype(np.float32)
    weights = rng.gamma(2.0, 0.5, n_rows).astype(np.float32) + 0.01 if weighted else None
    return Rows(
        bins=bins,
        n_bins=n_bins,
        is_categorical=tuple(feature in categorical for feature in range(len(n_bins))),
        labels=labels,
        weights=None if weights is None else weights.astype(np.float32),
    )


def oracle_params(settings: Mapping[str, Any]) -> BoosterParams:
    """Return our parameters with the split rules of the installed ``xgboost``."""
    return BoosterParams.parse({"xgboost_version": installed_rules(), **settings})


def bounds_of(labels: Float32Array, row: GradientBounds) -> NodeBounds:
    """Return what is known of rows with these labels when nothing is known of their margins."""
    n_positives = int((labels == 1).sum())
    return NodeBounds(labels.size, labels.size - n_positives, n_positives, row=row)


def boost(
    rows: Rows,
    params: BoosterParams,
    n_trees: int,
    communicator: Communicator | None = None,
    *,
    pooled_labels: Float32Array | None = None,
    max_weight: float = 64.0,
    on_tree: Callable[[Tree, LocalGrowing, Float32Array], None] | None = None,
) -> list[Tree]:
    """Grow trees one after the other on the logistic loss; labels of all banks, if several.

    ``on_tree`` gets each tree, the rows in its leaves before they are finished, and their margins.
    """
    binned = LocalBinned(rows.binned(), rows.labels, rows.weights, keys=rows.keys)
    boosted = binned.start((), 0.5)
    bounds = bounds_of(
        rows.labels if pooled_labels is None else pooled_labels,
        gradient_bounds(max_weight=max_weight, scale_pos_weight=params.scale_pos_weight),
    )
    trees = []
    for tree_index in range(n_trees):
        draw = None
        if params.subsample < 1.0:
            draw = RowDraw(params.seed, tree_index, params.subsample)
        growing = boosted.grow(scale_pos_weight=params.scale_pos_weight, draw=draw)
        tree = grow_tree(
            growing,
            binned.cuts,
            params,
            SoloCommunicator() if communicator is None else communicator,
            engine=binned.engine,
            tree_index=tree_index,
            bounds=bounds,
        ).tree
        trees.append(tree)
        if on_tree is not None:
            on_tree(tree, growing, boosted.margins())
        growing.finish(tree.split_conditions)
    return trees


def boost_xgboost(rows: Rows, params: dict[str, Any], n_trees: int) -> list[dict[str, Any]]:
    """Return the trees of ``xgboost``'s own JSON for the same rows and parameters."""
    missing = np.array(rows.n_bins)[:, None] == rows.bins
    features = np.where(missing, np.nan, rows.bins).T.astype(np.float32)
    matrix = xgboost.DMatrix(
        features,
        label=rows.labels,
        weight=rows.weights,
        feature_types=["c" if c else "q" for c in rows.is_categorical],
        enable_categorical=True,
    )
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": 1024,
        "base_score": 0.5,
        "nthread": 1,
        **params,
    }
    booster = xgboost.train(settings, matrix, num_boost_round=n_trees)
    model = json.loads(bytes(booster.save_raw("json")))
    trees: list[dict[str, Any]] = model["learner"]["gradient_booster"]["model"]["trees"]
    return trees


def assert_same_tree(ours: Tree, theirs: dict[str, Any], *, n_bins: tuple[int, ...]) -> None:
    """Compare structure exactly and numbers to float32."""
    assert ours.left_children.tolist() == theirs["left_children"]
    assert ours.right_children.tolist() == theirs["right_children"]
    assert ours.parents.tolist() == theirs["parents"]
    assert ours.split_features.tolist() == theirs["split_indices"]
    assert ours.default_left.astype(int).tolist() == theirs["default_left"]
    assert ours.is_categorical.astype(int).tolist() == theirs["split_type"]
    conditions = np.array(theirs["split_conditions"], dtype=np.float32)
    leaf = ours.left_children == -1
    categorical = ours.is_categorical
    numeric = ~leaf & ~categorical
    # x < t, x a bin number: the last bin that goes left is the last whole number below t, which
    # since 3.3 may be minus infinity.
    sizes = np.array(n_bins)[ours.split_features[numeric]]
    last_left = np.clip(np.ceil(conditions[numeric]) - 1, -1, sizes - 1)
    assert ours.split_bins[numeric].tolist() == last_left.astype(np.int64).tolist()
    np.testing.assert_array_equal(ours.split_conditions[categorical], conditions[categorical])
    assert list(ours.right_categories) == _categories(theirs)
    np.testing.assert_allclose(ours.split_conditions[leaf], conditions[leaf], rtol=0, atol=1e-6)
    for name, values in (("sum_hessian", ours.sum_hessians), ("base_weights", ours.base_weights)):
        np.testing.assert_allclose(values, np.float32(theirs[name]), rtol=2e-6, atol=2e-6)
    # A loss change is the small difference of two large gains, each rounded to float32.
    gain = ours.loss_changes + np.square(ours.base_weights) * (ours.sum_hessians + 10.0)
    slack = 8 * np.finfo(np.float32).eps * np.maximum(gain, 1.0)
    difference = np.abs(ours.loss_changes - np.float32(theirs["loss_changes"]))
    assert (difference <= slack).all(), (difference / slack).max()


def _categories(tree: dict[str, Any]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()] * len(tree["left_children"])
    for node, start, size in zip(
        tree["categories_nodes"],
        tree["categories_segments"],
        tree["categories_sizes"],
        strict=True,
    ):
        found[node] = tuple(tree["categories"][start : start + size])
    return found
