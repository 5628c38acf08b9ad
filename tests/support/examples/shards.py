"""Rows of a bank behind the interface of a shard, for tests that begin inside a training."""

from collections.abc import Mapping, Sequence

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.growth.grower import GrownTree, grow_tree
from fraudfed.boosting.shard.local import LocalBinned, LocalGrowing, LocalRows
from fraudfed.boosting.shard.protocol import NodeSplit, SumOrder, SumsOfNodes
from fraudfed.boosting.shard.sums import HistogramBuilder, HistogramOrder
from fraudfed.communicator import Communicator
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array, UInt32Array
from fraudfed.parameters import BoosterParams


def growing_over(
    binned: BinnedTable, pairs: Int64Array, is_sampled: BoolArray | None = None
) -> LocalGrowing:
    """Return rows with given gradients; their margins are 0 and stay in the object."""
    margins = np.zeros(binned.n_rows, dtype=np.float32)
    return LocalGrowing(binned, pairs, margins, is_sampled=is_sampled)


def grown_over(
    binned: BinnedTable,
    pairs: Int64Array,
    params: BoosterParams,
    communicator: Communicator,
    *,
    is_sampled: BoolArray | None = None,
    **more,
) -> GrownTree:
    """Grow one tree from given gradients."""
    rows = growing_over(binned, pairs, is_sampled)
    return grow_tree(rows, binned.cuts, params, communicator, engine=binned.engine, **more)


def rows_with(margins: Float32Array, labels: Float32Array) -> LocalRows:
    """Return rows that nothing is known of but labels and margins."""
    nothing = BinnedTable.__new__(BinnedTable)
    return LocalRows(LocalBinned(nothing, labels), margins)


class RowSets:
    """Growing rows of which each node is any set of rows.

    Parameters
    ----------
    binned : BinnedTable
    pairs : ndarray of shape (n_rows, 2), dtype=int64
    sets : mapping of node to ndarray of shape (n,), dtype=uint32
        A node that is not there is all rows.
    """

    def __init__(
        self,
        binned: BinnedTable,
        pairs: Int64Array,
        sets: Mapping[int, UInt32Array] | None = None,
    ) -> None:
        self.sets = dict(sets or {})
        self._every = np.arange(binned.n_rows, dtype=np.uint32)
        self._builder = HistogramBuilder(binned, pairs)

    def split(self, splits: Sequence[NodeSplit]) -> None:
        raise NotImplementedError

    def sums(self, orders: Sequence[SumOrder]) -> SumsOfNodes:
        return self._builder.build(
            [
                HistogramOrder(self.sets.get(order.node, self._every), order.features)
                for order in orders
            ]
        )

    def sides(self, tried: Sequence[NodeSplit]) -> Int64Array:
        raise NotImplementedError

    def finish(self, values: Float32Array) -> None:
        raise NotImplementedError
