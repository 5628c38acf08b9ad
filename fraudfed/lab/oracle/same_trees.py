"""Compare a model of ours, tree by tree, with stock XGBoost trained on the same bins.

XGBoost chooses its own cuts, so it is given the bin *numbers* as feature values: with one value per
bin its cuts separate exactly our bins. A node of ours and one of XGBoost's are the same if they
split by the same feature, send the same bins (or categories) left and the same way when the value
is missing. Thresholds cannot be compared as numbers, only by the bins they separate.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.bins import BinnedTable, Cuts, bin_table
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.xgboost_rules import version_of_release
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.parameters import NOT_XGBOOST, BoosterParams


@dataclass(frozen=True)
class TreeComparison:
    """How far two models agree.

    Attributes
    ----------
    identical, trees : int
        Trees with the same splits, of all.
    max_leaf_difference : float
        Largest absolute difference between corresponding leaves of identical trees.
    """

    identical: int
    trees: int
    max_leaf_difference: float


def installed_rules() -> str:
    """Return the ``xgboost_version`` whose trees the installed XGBoost grows.

    For comparisons with that XGBoost only: a run takes the rules from its parameters.
    """
    return version_of_release(xgboost.__version__)


def xgboost_parameters(settings: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
    """Return a run's parameters as ``xgboost.train`` takes them."""
    chosen = {name: value for name, value in settings.items() if name not in NOT_XGBOOST}
    return {"objective": "binary:logistic", "tree_method": "hist", "nthread": threads, **chosen}


def table_of_bins(table: TrainingTable, cuts: Cuts) -> TrainingTable:
    """Replace every value by the number of its bin; missing stays missing."""
    codes = _codes(bin_table(table, cuts))
    return TrainingTable(table.schema, codes, table.labels, table.weights, table.max_weight)


def train_on_bins(
    codes: TrainingTable, params: BoosterParams, settings: Mapping[str, Any], *, threads: int
) -> xgboost.Booster:
    """Train stock XGBoost ``hist`` on a table of bin numbers.

    Parameters
    ----------
    codes : TrainingTable
        From :func:`table_of_bins`.
    params : BoosterParams
        Gives ``max_bin`` and ``num_boost_round``.
    settings : mapping
        The run's parameters under XGBoost's names; those that are ours alone are left out.
    threads : int
        XGBoost's ``nthread``.
    """
    return xgboost.train(
        xgboost_parameters(settings, threads=threads),
        quantile_matrix(codes, max_bin=params.max_bin, threads=threads),
        num_boost_round=params.num_boost_round,
    )


def quantile_matrix(table: TrainingTable, *, max_bin: int, threads: int) -> xgboost.QuantileDMatrix:
    """Let XGBoost find cuts and bins of a table, of values or of bin numbers."""
    return xgboost.QuantileDMatrix(
        table.features,
        label=table.labels,
        weight=table.weights,
        feature_names=list(table.schema.names),
        feature_types=["c" if count else "q" for count in table.schema.n_categories],
        enable_categorical=True,
        max_bin=max_bin,
        nthread=threads,
    )


def compare_trees(
    ours: bytes, theirs: xgboost.Booster, cuts: Cuts, codes: TrainingTable
) -> TreeComparison:
    """Compare our ``model.json``, trained on values, with a booster trained on bin numbers."""
    mine = _trees(ours)
    others = _trees(bytes(theirs.save_raw("json")))
    present = [_present(codes.features[:, f]) for f in range(codes.schema.n_features)]
    identical = 0
    leaf_difference = 0.0
    for tree, other in zip(mine, others, strict=True):
        if not _same_splits(tree, other, cuts, present):
            continue
        identical += 1
        is_leaf = np.array(tree["left_children"]) < 0
        leaves = [np.array(t["split_conditions"], dtype=np.float64)[is_leaf] for t in (tree, other)]
        leaf_difference = max(leaf_difference, float(np.abs(leaves[0] - leaves[1]).max()))
    return TreeComparison(identical, len(mine), leaf_difference)


def _codes(binned: BinnedTable) -> Float32Array:
    codes = binned.bins.T.astype(np.float32)
    for feature, edges in enumerate(binned.cuts.values):
        codes[binned.bins[feature] == len(edges), feature] = np.nan
    return codes


def _present(codes: Float32Array) -> Float32Array:
    return np.unique(codes[~np.isnan(codes)])


def _trees(model: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
    return found


def _same_splits(
    tree: dict[str, Any], other: dict[str, Any], cuts: Cuts, present: list[Float32Array]
) -> bool:
    shape = ("left_children", "right_children", "split_type")
    if any(tree[name] != other[name] for name in shape):
        return False
    split: BoolArray = np.array(tree["left_children"]) >= 0
    for name in ("split_indices", "default_left"):
        if not np.array_equal(np.array(tree[name])[split], np.array(other[name])[split]):
            return False
    if _right_categories(tree, present) != _right_categories(other, present):
        return False
    numeric = np.flatnonzero(split & (np.array(tree["split_type"]) == 0)).tolist()
    return all(
        _bins_left(tree, node, cuts, present) == _codes_left(other, node, present)
        for node in numeric
    )


def _bins_left(tree: dict[str, Any], node: int, cuts: Cuts, present: list[Float32Array]) -> int:
    """Count the present bins that our node sends left."""
    feature = tree["split_indices"][node]
    condition = np.float32(tree["split_conditions"][node])
    # A bin goes left iff its upper edge lies at or below the threshold.
    bins = int(np.searchsorted(cuts.values[feature], condition, side="right"))
    return int(np.searchsorted(present[feature], bins, side="left"))


def _codes_left(tree: dict[str, Any], node: int, present: list[Float32Array]) -> int:
    """Count the present bin numbers that XGBoost's node sends left."""
    condition = np.float32(tree["split_conditions"][node])
    return int(np.searchsorted(present[tree["split_indices"][node]], condition, side="left"))


def _right_categories(tree: dict[str, Any], present: list[Float32Array]) -> dict[int, list[int]]:
    """Return the present categories that each categorical node sends right.

    XGBoost knows no category beyond the highest that a row has; the data contract may name more.
    """
    features = tree["split_indices"]
    categories: Int64Array = np.array(tree["categories"], dtype=np.int64)
    return {
        node: np.intersect1d(categories[start : start + size], present[features[node]]).tolist()
        for node, start, size in zip(
            tree["categories_nodes"],
            tree["categories_segments"],
            tree["categories_sizes"],
            strict=True,
        )
    }
