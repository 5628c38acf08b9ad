"""What a split is."""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.shard.tables import goes_left
from fraudfed.dtypes import BoolArray


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

    def table(self, cuts: Cuts) -> BoolArray:
        """Tabulate it over the bins of its feature; see ``goes_left``."""
        return goes_left(
            len(cuts.values[self.feature]),
            split_bin=self.split_bin,
            right_categories=self.right_categories,
            is_categorical=self.is_categorical,
            default_left=self.default_left,
        )

    def precedes(self, other: "Split") -> bool:
        """Tell whether this split wins: larger gain, at a tie the lower feature."""
        if self.loss_change == other.loss_change:
            return self.feature < other.feature
        return bool(self.loss_change > other.loss_change)
