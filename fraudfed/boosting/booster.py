"""One model as it grows at one bank: its trees so far, and the margins of this bank's rows."""

from collections.abc import Sequence

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.bounds.bins import BinBounds
from fraudfed.boosting.bounds.rows import MarginRange, NodeBounds
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.engine.pages import huge_empty
from fraudfed.boosting.growth.grower import growing_tree
from fraudfed.boosting.growth.partition import assign_leaves
from fraudfed.boosting.objective import (
    GradientBounds,
    base_margin,
    gradient_bounds,
    gradients,
)
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Summing
from fraudfed.dtypes import Float32Array, Int64Array, UInt64Array
from fraudfed.parameters import BoosterParams


class Booster:
    """Grows trees one after the other; what follows from trees and rows alone.

    Parameters
    ----------
    params : BoosterParams
    table : TrainingTable
        This bank's rows.
    state : TrainingState
        Where to begin.
    binned : BinnedTable
        The rows on the cuts of ``state``; several models may share it.
    row_keys : ndarray of shape (n_rows,), dtype=uint64, or None
        From ``sampling.row_keys``; needed if ``params.subsample`` is below 1.

    Attributes
    ----------
    trees : list of Tree
    margins : ndarray of shape (n_rows,), dtype=float32
        After the last tree. Private to the bank.
    learnt : BinBounds or None
        What the sums so far say of single bins; None if there is no more than counts say.

    Raises
    ------
    DataError
        If there are so many rows that sums could leave 62 bits.
    """

    def __init__(
        self,
        params: BoosterParams,
        table: TrainingTable,
        state: TrainingState,
        *,
        binned: BinnedTable,
        row_keys: UInt64Array | None,
    ) -> None:
        self._params = params
        self._table = table
        self._binned = binned
        self._start = state
        self.trees: list[Tree] = list(state.trees)
        self._row: GradientBounds = gradient_bounds(
            max_weight=table.max_weight, scale_pos_weight=params.scale_pos_weight
        )
        # With more rows since the preparation, labels have bounds that add up to more than all.
        self._row.check_rows(state.most_negatives + state.most_positives, state.most_positives)
        self._row_keys = row_keys if params.subsample < 1.0 else None
        self.margins: Float32Array = margins_after(binned, state.trees, state.base_score)
        self._margin_range = MarginRange.at(float(base_margin(state.base_score)))
        for tree in state.trees:
            self._margin_range = self._margin_range.after(tree)
        self.learnt: BinBounds | None = state.bins
        self._by_counts = BinBounds.before_training(state.cuts, self._node_bounds())
        #: Gradients and hessians, overwritten for each tree.
        self._pairs: Int64Array = huge_empty((table.n_rows, 2), np.int64)

    def adding_tree(self) -> Summing[Tree]:
        """Grow the next tree and add it to the margins."""
        pairs = gradients(
            self.margins,
            self._table.labels,
            self._table.weights,
            scale_pos_weight=self._params.scale_pos_weight,
            engine=self._binned.engine,
            out=self._pairs,
        )
        grown = yield from growing_tree(
            self._binned,
            pairs,
            self._params,
            tree_index=len(self.trees),
            bounds=self._node_bounds(),
            bins=self._by_counts if self.learnt is None else self.learnt,
            row_keys=self._row_keys,
        )
        if self._row_keys is None:
            # With row sampling each root is of other rows, and bounds none of the next.
            self.learnt = grown.bounds.after(grown.tree, self._margin_range)
        grown.add_to(self.margins)
        self._margin_range = self._margin_range.after(grown.tree)
        self.trees.append(grown.tree)
        return grown.tree

    def _node_bounds(self) -> NodeBounds:
        ends = np.array([self._margin_range.low, self._margin_range.high], dtype=np.float32)
        low, high = sigmoid(ends)
        return NodeBounds(
            n_rows=self._start.most_rows,
            n_negatives=self._start.most_negatives,
            n_positives=self._start.most_positives,
            row=self._row,
            min_probability=float(low),
            max_probability=float(high),
        )


def margins_after(binned: BinnedTable, trees: Sequence[Tree], base_score: float) -> Float32Array:
    """Return the margins of rows after some trees, added up in float32 as each tree came.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    margins = np.full(binned.n_rows, base_margin(base_score), dtype=np.float32)
    for tree in trees:
        assign_leaves(tree, binned).add_values(tree.split_conditions, margins)
    return margins
