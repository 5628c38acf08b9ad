"""A grown tree as parallel arrays over its nodes, in XGBoost's node numbering."""

from dataclasses import dataclass

from fraudfed.dtypes import BoolArray, Float32Array, Int32Array

#: What ``left_children`` and ``right_children`` hold at a leaf, as in XGBoost's JSON.
NO_CHILD = -1
#: What ``parents`` holds at the root, as in XGBoost's JSON: 2^31 - 1.
NO_PARENT = 2147483647


@dataclass(frozen=True, eq=False)
class Tree:
    """One regression tree. All arrays have shape (n_nodes,); node 0 is the root.

    Attributes
    ----------
    left_children, right_children : ndarray, dtype=int32
        ``NO_CHILD`` at a leaf.
    parents : ndarray, dtype=int32
        ``NO_PARENT`` at the root.
    split_features : ndarray, dtype=int32
        0 at a leaf.
    split_conditions : ndarray, dtype=float32
        Numeric split: ``x < condition`` goes left. Leaf: the leaf value (eta included).
        Categorical split: the smallest positive float32, as in XGBoost's JSON.
    split_bins : ndarray, dtype=int32
        Numeric split: bins ``<= split_bin`` go left (-1: all present values go right).
        -1 at leaves and categorical splits. Used while training; not exported.
    default_left : ndarray, dtype=bool
        Where a missing value goes.
    right_categories : tuple of tuple of int
        Categorical split: the sorted category codes that go right (XGBoost's ``categories``);
        the empty tuple elsewhere.
    is_categorical : ndarray, dtype=bool
    loss_changes : ndarray, dtype=float32
        Gain of the split; 0 at a leaf.
    sum_hessians : ndarray, dtype=float32
    base_weights : ndarray, dtype=float32
        Weight of the node as if it were a leaf. As in XGBoost's JSON without eta at split nodes
        (and at a root that is a leaf), and with eta at leaves.
    """

    left_children: Int32Array
    right_children: Int32Array
    parents: Int32Array
    split_features: Int32Array
    split_conditions: Float32Array
    split_bins: Int32Array
    default_left: BoolArray
    right_categories: tuple[tuple[int, ...], ...]
    is_categorical: BoolArray
    loss_changes: Float32Array
    sum_hessians: Float32Array
    base_weights: Float32Array

    @property
    def n_nodes(self) -> int:
        """Number of nodes, leaves included."""
        return int(self.left_children.shape[0])

    def is_leaf(self, node: int) -> bool:
        """Tell whether ``node`` has no children."""
        return bool(self.left_children[node] == NO_CHILD)
