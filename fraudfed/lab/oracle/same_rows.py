"""Whether two trees send the same training rows the same way, their sides exchanged or not.

A split parts the rows of a node in two groups. Which group is called left, and where values go that
no row of the node has (a category that is absent there, a missing value where none is missing, a
cut within empty bins), changes no row's leaf. Trees can differ in that for two reasons. XGBoost may
enumerate a category's splits one against the rest where we sort them, since it counts categories
by the highest that occurs (``same_trees`` tells it of all). And it adds up in floating point: where
nothing damps the gain of an empty child (``min_child_weight`` and ``lambda`` both 0), the rounding
of its sums decides, and XGBoost itself grows another tree when its rows are shuffled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array

#: A tree as it stands in XGBoost's JSON.
JsonTree = dict[str, Any]


class Agreement(Enum):
    """How far a tree of ours and one of XGBoost's agree.

    Attributes
    ----------
    EXACT
        The same splits, whichever value comes.
    UNREACHED
        The same but for values that no training row of the node has.
    EXCHANGED
        The same once the sides of some splits are exchanged; also with such values.
    NONE
        Some training row takes another way.
    """

    EXACT = "exact"
    UNREACHED = "unreached"
    EXCHANGED = "exchanged"
    NONE = "none"


@dataclass(frozen=True, eq=False)
class SplitTables:
    """The splits of a tree, each as a table over the bins of its feature.

    Attributes
    ----------
    tree : dict
    left : mapping of node to ndarray of shape (n_bins + 1,), dtype=bool
        Which bins go left; the last entry is for a missing value.
    """

    tree: JsonTree
    left: dict[int, BoolArray]

    @classmethod
    def of_ours(cls, tree: JsonTree, cuts: Cuts) -> "SplitTables":
        """Read a tree of ours, whose thresholds are values: edges of bins."""
        left = {}
        for node, feature, condition in _numeric_splits(tree):
            edges = cuts.values[feature]
            # A bin goes left iff its upper edge lies at or below the threshold.
            n_left = int(np.searchsorted(edges, condition, side="right"))
            left[node] = _table(tree, node, np.arange(edges.size) < n_left)
        return cls(tree, left | _categorical_splits(tree, cuts))

    @classmethod
    def of_xgboost(cls, tree: JsonTree, cuts: Cuts) -> "SplitTables":
        """Read a tree that was trained on the numbers of bins."""
        left = {
            node: _table(tree, node, np.arange(cuts.values[feature].size) < condition)
            for node, feature, condition in _numeric_splits(tree)
        }
        return cls(tree, left | _categorical_splits(tree, cuts))

    def feature(self, node: int) -> int:
        """Return the feature that a node splits by."""
        return int(self.tree["split_indices"][node])

    def children(self, node: int) -> tuple[int, int]:
        """Return the left child and the right one."""
        return self.tree["left_children"][node], self.tree["right_children"][node]

    def leaf_value(self, node: int) -> float:
        """Return what a leaf adds to the margin."""
        return float(self.tree["split_conditions"][node])


def compare(
    ours: SplitTables, theirs: SplitTables, codes: Float32Array, present: list[BoolArray]
) -> tuple[Agreement, float]:
    """Compare two trees, by their splits if these say it, else by the ways of the rows.

    Parameters
    ----------
    ours, theirs : SplitTables
    codes : ndarray of shape (n_rows, n_features), dtype=float32
        Bin numbers of the rows that the trees were trained on; NaN where a value is missing.
    present : list of ndarray of shape (n_bins + 1,), dtype=bool
        For each feature, the bins in which any row lies; the last entry is always set.

    Returns
    -------
    Agreement
    float
        Largest absolute difference between corresponding leaves; 0 if the trees do not agree.
    """
    if _same_shape(ours.tree, theirs.tree) and all(
        not ((table ^ theirs.left[node]) & present[ours.feature(node)]).any()
        for node, table in ours.left.items()
    ):
        nodes = range(len(ours.tree["left_children"]))
        leaves = [(node, node) for node in nodes if node not in ours.left]
        return Agreement.EXACT, _leaf_difference(ours, theirs, leaves)
    return _follow(ours, theirs, codes)


def _follow(ours: SplitTables, theirs: SplitTables, codes: Float32Array) -> tuple[Agreement, float]:
    """Send the rows down both trees at once."""
    leaves: list[tuple[int, int]] = []
    is_exchanged = False
    waiting = [(0, 0, np.arange(codes.shape[0], dtype=np.int64))]
    while waiting:
        mine, other, rows = waiting.pop()
        if mine not in ours.left and other not in theirs.left:
            leaves.append((mine, other))
            continue
        if mine not in ours.left or other not in theirs.left:
            return Agreement.NONE, 0.0
        left = _goes_left(ours, mine, rows, codes)
        left_there = _goes_left(theirs, other, rows, codes)
        pair = theirs.children(other)
        if np.array_equal(left, ~left_there):
            pair = pair[::-1]
            is_exchanged = True
        elif not np.array_equal(left, left_there):
            return Agreement.NONE, 0.0
        sides = (rows[left], rows[~left])
        waiting += list(zip(ours.children(mine), pair, sides, strict=True))
    agreement = Agreement.EXCHANGED if is_exchanged else Agreement.UNREACHED
    return agreement, _leaf_difference(ours, theirs, leaves)


def _goes_left(tables: SplitTables, node: int, rows: Int64Array, codes: Float32Array) -> BoolArray:
    table = tables.left[node]
    column = codes[rows, tables.feature(node)]
    return table[np.where(np.isnan(column), table.size - 1, column).astype(np.int64)]


def _same_shape(tree: JsonTree, other: JsonTree) -> bool:
    if any(tree[name] != other[name] for name in ("left_children", "right_children")):
        return False
    is_split = np.array(tree["left_children"]) >= 0
    return all(
        np.array_equal(np.array(tree[name])[is_split], np.array(other[name])[is_split])
        for name in ("split_indices", "split_type")
    )


def _leaf_difference(
    ours: SplitTables, theirs: SplitTables, leaves: list[tuple[int, int]]
) -> float:
    return max(abs(ours.leaf_value(mine) - theirs.leaf_value(other)) for mine, other in leaves)


def _table(tree: JsonTree, node: int, left: BoolArray) -> BoolArray:
    return np.append(left, bool(tree["default_left"][node]))


def _numeric_splits(tree: JsonTree) -> Iterator[tuple[int, int, np.float32]]:
    for node, child in enumerate(tree["left_children"]):
        if child >= 0 and tree["split_type"][node] == 0:
            condition = np.float32(tree["split_conditions"][node])
            yield node, tree["split_indices"][node], condition


def _categorical_splits(tree: JsonTree, cuts: Cuts) -> dict[int, BoolArray]:
    tables = {}
    for node, start, size in zip(
        tree["categories_nodes"],
        tree["categories_segments"],
        tree["categories_sizes"],
        strict=True,
    ):
        left = np.ones(cuts.values[tree["split_indices"][node]].size, dtype=np.bool_)
        left[tree["categories"][start : start + size]] = False
        tables[node] = _table(tree, node, left)
    return tables
