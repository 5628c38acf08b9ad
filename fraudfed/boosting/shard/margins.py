"""Adds a tree to the margins of rows; of a tree over one feature, by a look at each row's bin."""

import numpy as np

from fraudfed.boosting.bins import BinnedTable, Cuts
from fraudfed.boosting.shard.partition import assign_leaves
from fraudfed.boosting.shard.tables import table_of
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Float32Array, UInt32Array

#: Rows at a time, so that their values stay in the caches.
_ROWS_AT_A_TIME = 1 << 16


def add_tree(
    tree: Tree, binned: BinnedTable, margins: Float32Array, *, order: UInt32Array | None = None
) -> None:
    """Add to the margin of each row, in place and in float32, the value of its leaf.

    Parameters
    ----------
    tree : Tree
    binned : BinnedTable
    margins : ndarray of shape (n_rows,), dtype=float32
    order : ndarray of shape (n_rows,), dtype=uint32, or None
        Where rows are sorted; None is a new array.
    """
    features = np.unique(tree.split_features[tree.left_children != NO_CHILD])
    if features.size == 0:
        margins += tree.split_conditions[0]
    elif features.size == 1:
        feature = int(features[0])
        values = values_of_bins(tree, binned.cuts, feature)
        codes = binned.bins[feature]
        for start in range(0, margins.size, _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            margins[rows] += values[codes[rows]]
    else:
        assign_leaves(tree, binned, order=order).add_values(tree.split_conditions, margins)


def values_of_bins(tree: Tree, cuts: Cuts, feature: int) -> Float32Array:
    """Return where a tree over one feature sends each bin of it, the last one of missing values.

    Returns
    -------
    ndarray of shape (n_bins of the feature + 1,), dtype=float32
    """
    nodes = np.zeros(len(cuts.values[feature]) + 1, dtype=np.int64)
    for node in np.flatnonzero(tree.left_children != NO_CHILD).tolist():
        left = table_of(tree, node, cuts)
        here = nodes == node
        nodes[here & left] = tree.left_children[node]
        nodes[here & ~left] = tree.right_children[node]
    values: Float32Array = tree.split_conditions[nodes]
    return values
