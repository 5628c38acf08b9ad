"""Where rows go: the left or right child of a split, the leaf of a tree."""

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import BoolArray, Int32Array

__all__ = ["assign_leaves", "goes_left"]


def goes_left(
    n_bins: int,
    *,
    split_bin: int,
    right_categories: tuple[int, ...],
    is_categorical: bool,
    default_left: bool,
) -> BoolArray:
    """Tabulate a split over the bins of its feature.

    Returns
    -------
    ndarray of shape (n_bins + 1,), dtype=bool
        The last entry is for a missing value.
    """
    left = np.empty(n_bins + 1, dtype=np.bool_)
    if is_categorical:
        left[:n_bins] = True
        left[list(right_categories)] = False
    else:
        left[:n_bins] = np.arange(n_bins) <= split_bin
    left[n_bins] = default_left
    return left


def assign_leaves(tree: Tree, binned: BinnedTable) -> Int32Array:
    """Return the leaf in which each row ends.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=int32
        Node numbers.
    """
    leaves = np.zeros(binned.n_rows, dtype=np.int32)
    pending = [(0, np.arange(binned.n_rows, dtype=np.int64))]
    while pending:
        node, rows = pending.pop()
        if tree.left_children[node] == NO_CHILD:
            leaves[rows] = node
            continue
        feature = int(tree.split_features[node])
        table = goes_left(
            len(binned.cuts.values[feature]),
            split_bin=int(tree.split_bins[node]),
            right_categories=tree.right_categories[node],
            is_categorical=bool(tree.is_categorical[node]),
            default_left=bool(tree.default_left[node]),
        )
        left = table[binned.bins[feature].take(rows)]
        pending.append((int(tree.left_children[node]), rows[left]))
        pending.append((int(tree.right_children[node]), rows[~left]))
    return leaves
