"""What a split is, and the sums of the node that it splits."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array


@dataclass(frozen=True)
class NodeSums:
    """Pooled sums of one node.

    Attributes
    ----------
    gradient, hessian : int
        Fixed-point sums.
    gain : float32
        Gain of the node as a leaf; a split must beat it.
    """

    gradient: int
    hessian: int
    gain: np.float32


@dataclass(frozen=True)
class Split:
    """One way to split a node.

    Attributes
    ----------
    loss_change : float32
        Gain of the children over the node; above 0.
    feature : int
    split_bin : int
        Numeric split: bins ``<= split_bin`` go left; -1 at a categorical one.
    right_categories : tuple of int
        Categorical split: the codes that go right, ascending; empty at a numeric one.
    is_categorical : bool
    default_left : bool
        Where a missing value goes.
    left, right : tuple of int
        Fixed-point sums of gradients and of hessians of the children.
    """

    loss_change: np.float32
    feature: int
    split_bin: int
    right_categories: tuple[int, ...]
    is_categorical: bool
    default_left: bool
    left: tuple[int, int]
    right: tuple[int, int]

    def precedes(self, other: "Split") -> bool:
        """Tell whether this split wins: larger gain, at a tie the lower feature."""
        if self.loss_change == other.loss_change:
            return self.feature < other.feature
        return bool(self.loss_change > other.loss_change)


def first_best(loss_changes: Float32Array, is_valid: BoolArray) -> int | None:
    """Return the position of the first valid candidate with the largest gain above 0."""
    usable = np.where(is_valid & np.isfinite(loss_changes), loss_changes, np.float32(0.0))
    if usable.size == 0:
        return None
    position = int(np.argmax(usable))
    return position if usable[position] > 0.0 else None
