"""Categorical splits: one category against the rest, or a partition of sorted categories."""

import numpy as np

from fraudfed.boosting.gain import GainFormula, NodeSums, WeightBounds, first_best, to_double
from fraudfed.boosting.splits.candidate import Split
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.parameters import BoosterParams


def best_categorical_split(
    sums: Int64Array,
    node: NodeSums,
    *,
    feature: int,
    bounds: WeightBounds,
    formula: GainFormula,
    params: BoosterParams,
) -> Split | None:
    """Return the best split of one categorical feature, or None if none has a positive gain.

    With fewer than ``max_cat_to_onehot`` categories each is tried against the rest. Otherwise
    categories are sorted by their weight (ties keep the order of the codes), and a prefix of
    the sorted order goes right (Fisher, "On grouping for maximum homogeneity", JASA 53, 1958).

    Parameters
    ----------
    sums : ndarray of shape (2, n_categories), dtype=int64
        Pooled fixed-point gradients and hessians of each category in the node.
    node : NodeSums
    feature : int
    bounds : WeightBounds
    formula : GainFormula
    params : BoosterParams
        ``max_cat_to_onehot`` and ``max_cat_threshold``.
    """
    totals = np.array([[node.gradient], [node.hessian]], dtype=np.int64)
    n_categories = sums.shape[1]
    if n_categories < params.max_cat_to_onehot:
        order = np.arange(n_categories, dtype=np.int64)
        right, default_left = _one_against_rest(sums, totals)
    else:
        order = _order_by_weight(sums, formula)
        n_tried = min(params.max_cat_threshold, n_categories) - 1
        right, default_left = _partitions(sums[:, order], totals, n_tried)

    left_sums, right_sums = to_double(totals - right), to_double(right)
    gains = formula.split_gain(
        (left_sums[0], left_sums[1]),
        (right_sums[0], right_sums[1]),
        bounds,
        formula.directions[feature : feature + 1],
    )
    loss_changes = gains - node.gain
    is_valid = formula.is_valid_child(left_sums[1]) & formula.is_valid_child(right_sums[1])
    best = first_best(loss_changes, is_valid)
    if best is None:
        return None
    if n_categories < params.max_cat_to_onehot:
        chosen = order[best // 2 : best // 2 + 1]
    elif default_left[best]:
        chosen = order[: best + 1]
    else:
        chosen = order[: n_categories - 1 - (best - n_tried)]
    gradient, hessian = int(right[0, best]), int(right[1, best])
    return Split(
        loss_change=loss_changes[best],
        feature=feature,
        split_bin=-1,
        right_categories=tuple(sorted(chosen.tolist())),
        is_categorical=True,
        default_left=bool(default_left[best]),
        left=(node.gradient - gradient, node.hessian - hessian),
        right=(gradient, hessian),
    )


def _one_against_rest(sums: Int64Array, totals: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Return the right child's sums; per category missing values left, then right."""
    missing = totals - sums.sum(axis=1, keepdims=True)
    right = np.stack((sums, sums + missing), axis=2).reshape(2, -1)
    return right, np.arange(right.shape[1]) % 2 == 0


def _order_by_weight(sums: Int64Array, formula: GainFormula) -> Int64Array:
    """Sort categories by weight; monotone constraints do not enter."""
    gradients, hessians = to_double(sums)
    order: Int64Array = np.argsort(formula.free_weight(gradients, hessians), kind="stable")
    return order


def _partitions(
    ordered: Int64Array, totals: Int64Array, n_tried: int
) -> tuple[Int64Array, BoolArray]:
    """Return the right child's sums of growing prefixes, then of shrinking ones.

    Each scan tries ``n_tried`` partitions. Growing from one category, missing values go left; the
    second scan starts with all categories but one on the right, where missing values go, too.
    """
    growing = np.cumsum(ordered, axis=1)[:, :n_tried]
    left = np.cumsum(ordered[:, ::-1], axis=1)[:, :n_tried]
    right = np.concatenate((growing, totals - left), axis=1)
    return right, np.arange(right.shape[1]) < n_tried
