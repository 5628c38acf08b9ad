"""Histograms of rows on this machine: exact sums of gradients and hessians per bin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.shard.protocol import SumsOfNodes
from fraudfed.dtypes import Int64Array, UInt32Array


@dataclass(frozen=True, eq=False)
class HistogramOrder:
    """What is to be summed of one node.

    Attributes
    ----------
    rows : ndarray of shape (n_selected,), dtype=uint32
        Distinct row numbers.
    features : ndarray of shape (n_active,), dtype=int64
        Ascending.
    """

    rows: UInt32Array
    features: Int64Array


class HistogramBuilder:
    """Sums fixed-point gradients over rows, bin by bin.

    Parameters
    ----------
    binned : BinnedTable
        Its codes are checked once; they must not change afterwards.
    gradients : ndarray of shape (n_rows, 2), dtype=int64
        Gradient and hessian of each row in fixed point.

    Raises
    ------
    ValueError
        If there is a bin code above that of a missing value.
    """

    def __init__(self, binned: BinnedTable, gradients: Int64Array) -> None:
        self._n_bins = int(binned.cuts.offsets[-1])
        self._sums = binned.packed.sums_of(gradients)

    def build(self, orders: Sequence[HistogramOrder]) -> SumsOfNodes:
        """Sum the gradients of several sets of rows, each over the bins of some features.

        All in one call, so that threads share many small nodes as well as a single large one.
        """
        histograms = np.zeros((len(orders), 2, self._n_bins), dtype=np.int64)
        totals = np.zeros((len(orders), 2), dtype=np.int64)
        self._sums.add(
            [order.rows for order in orders],
            [order.features for order in orders],
            histograms,
            totals,
        )
        return SumsOfNodes(histograms, totals)
