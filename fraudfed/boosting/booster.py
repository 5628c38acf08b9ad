"""One model as it grows at one bank: its trees so far, and the margins of this bank's rows."""

import numpy as np

from fraudfed.boosting.bounds.bins import BinBounds
from fraudfed.boosting.bounds.rows import MarginRange, NodeBounds
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.growth.grower import growing_tree
from fraudfed.boosting.objective import GradientBounds, base_margin, gradient_bounds
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.shard.protocol import BinnedShard, BoostedRows, RowDraw
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Summing
from fraudfed.parameters import BoosterParams


class Booster:
    """Grows trees one after the other; what follows from trees and rows alone.

    Parameters
    ----------
    params : BoosterParams
    binned : BinnedShard
        This bank's rows on the cuts of ``state``; several models may share it. It is binned for
        draws if ``params.subsample`` is below 1.
    state : TrainingState
        Where to begin.
    max_weight : float
        Public bound of the weights.

    Attributes
    ----------
    trees : list of Tree
    rows : BoostedRows
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
        binned: BinnedShard,
        state: TrainingState,
        *,
        max_weight: float,
    ) -> None:
        self._params = params
        self._binned = binned
        self._start = state
        self.trees: list[Tree] = list(state.trees)
        self._row: GradientBounds = gradient_bounds(
            max_weight=max_weight, scale_pos_weight=params.scale_pos_weight
        )
        # With more rows since the preparation, labels have bounds that add up to more than all.
        self._row.check_rows(state.most_negatives + state.most_positives, state.most_positives)
        self._is_sampled = params.subsample < 1.0
        self.rows: BoostedRows = binned.start(state.trees, state.base_score)
        self._margin_range = MarginRange.at(float(base_margin(state.base_score)))
        for tree in state.trees:
            self._margin_range = self._margin_range.after(tree)
        self.learnt: BinBounds | None = state.bins
        self._by_counts = BinBounds.before_training(state.cuts, self._node_bounds())

    def adding_tree(self) -> Summing[Tree]:
        """Grow the next tree and add it to the margins."""
        params, tree_index = self._params, len(self.trees)
        draw = RowDraw(params.seed, tree_index, params.subsample) if self._is_sampled else None
        growing = self.rows.grow(scale_pos_weight=params.scale_pos_weight, draw=draw)
        grown = yield from growing_tree(
            growing,
            self._binned.cuts,
            params,
            engine=self._binned.engine,
            tree_index=tree_index,
            bounds=self._node_bounds(),
            bins=self._by_counts if self.learnt is None else self.learnt,
        )
        if not self._is_sampled:
            # With row sampling each root is of other rows, and bounds none of the next.
            self.learnt = grown.bounds.after(grown.tree, self._margin_range)
        growing.finish(grown.tree.split_conditions)
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
