"""Where the bins of a split feature go: left or right."""

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray


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


def table_of(tree: Tree, node: int, cuts: Cuts) -> BoolArray:
    """Tabulate the split of a node of a tree; shape (n_bins of its feature + 1,)."""
    return goes_left(
        len(cuts.values[int(tree.split_features[node])]),
        split_bin=int(tree.split_bins[node]),
        right_categories=tree.right_categories[node],
        is_categorical=bool(tree.is_categorical[node]),
        default_left=bool(tree.default_left[node]),
    )
