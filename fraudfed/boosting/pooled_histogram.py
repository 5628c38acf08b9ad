"""Histograms over all banks: what is summed, what is derived, and within which bounds.

Of two siblings only the one with the smaller pooled hessian is summed; the other is parent minus
sibling, exactly. With column sampling that holds for features whose sums the parent has; the
others are summed for each child that wants them. A feature that no child wants is not summed.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bin_bounds import BinBounds
from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.bounds import NodeBounds
from fraudfed.boosting.histogram import HistogramBuilder, HistogramOrder
from fraudfed.communicator import Communicator
from fraudfed.dtypes import BoolArray, Int64Array, UInt32Array

__all__ = ["ChildDemand", "HistogramSummer", "PooledHistogram"]


@dataclass(frozen=True, eq=False)
class PooledHistogram:
    """Sums of one node over all banks.

    Attributes
    ----------
    sums : ndarray of shape (2, total_bins), dtype=int64
        Fixed-point gradients and hessians; right where the feature is known.
    is_known : ndarray of shape (n_features,), dtype=bool
    """

    sums: Int64Array
    is_known: BoolArray


@dataclass(frozen=True, eq=False)
class ChildDemand:
    """What is wanted of one child.

    Attributes
    ----------
    gradient, hessian : int
        The child's pooled fixed-point sums.
    rows : ndarray of shape (n_sampled,), dtype=uint32
        This bank's sampled rows in the child.
    wanted : ndarray of shape (n_features,), dtype=bool
        Features on which the child may be split; none if it stays a leaf.
    """

    gradient: int
    hessian: int
    rows: UInt32Array
    wanted: BoolArray


@dataclass(frozen=True, eq=False)
class _Order:
    """One histogram to sum over all banks."""

    child: ChildDemand
    features: Int64Array
    parent: PooledHistogram

    @property
    def local(self) -> HistogramOrder:
        """What this bank adds up: nothing of a child whose sums all follow from its sibling's."""
        rows = self.child.rows if self.features.size else self.child.rows[:0]
        return HistogramOrder(rows, self.features)


class HistogramSummer:
    """Builds this bank's histograms for one tree and sums them over all banks.

    Parameters
    ----------
    binned : BinnedTable
    gradients : ndarray of shape (n_rows, 2), dtype=int64
    communicator : Communicator
    bounds : NodeBounds
    bins : BinBounds
    tree_index : int
        Part of the label of each sum.
    """

    def __init__(
        self,
        binned: BinnedTable,
        gradients: Int64Array,
        communicator: Communicator,
        *,
        bounds: NodeBounds,
        bins: BinBounds,
        tree_index: int,
    ) -> None:
        self._communicator = communicator
        self._bounds = bounds
        self._bins = bins
        self._tree_index = tree_index
        self._n_sums = 0
        self._local = HistogramBuilder(binned, gradients)
        self._offsets = binned.cuts.offsets
        self._bin_features = np.repeat(
            np.arange(binned.cuts.schema.n_features), np.diff(self._offsets)
        )

    def sum_root(self, rows: UInt32Array, wanted: BoolArray) -> tuple[PooledHistogram, int, int]:
        """Sum the root's histogram and, in the same round, its two totals.

        Parameters
        ----------
        rows : ndarray of shape (n_sampled,), dtype=uint32
        wanted : ndarray of shape (n_features,), dtype=bool

        Returns
        -------
        PooledHistogram, gradient : int, hessian : int
        """
        bins = self._bins_of(wanted)
        (here,) = self._local.build([HistogramOrder(rows, np.flatnonzero(wanted))])
        local, totals = here.histogram, here.total
        limits = self._bounds.root()
        of_bins = self._bins.limit_root(limits)[:, bins]
        pooled = self._sum(
            np.concatenate((local[:, bins].ravel(), totals)),
            np.concatenate((of_bins.ravel(), np.array(limits, dtype=np.int64))),
        )
        sums = np.zeros_like(local)
        sums[:, bins] = pooled[:-2].reshape(2, -1)
        return PooledHistogram(sums, wanted), int(pooled[-2]), int(pooled[-1])

    def sum_children(
        self, families: list[tuple[PooledHistogram, ChildDemand, ChildDemand]]
    ) -> list[tuple[PooledHistogram, PooledHistogram]]:
        """Find the histograms of pairs of siblings with a single sum over all banks.

        Parameters
        ----------
        families : list of (parent, left child, right child)

        Returns
        -------
        list of (left child, right child)
            At least the wanted features are known. No sum takes place if none is wanted.
        """
        plans = [_plan(*family) for family in families]
        summed = iter(self._sum_orders([order for plan in plans for order in plan]))
        found: list[tuple[PooledHistogram, PooledHistogram]] = []
        for (parent, left, _), (_, order_of_large) in zip(families, plans, strict=True):
            small, large = next(summed), next(summed)
            is_derived = small.is_known & parent.is_known
            # Without column sampling it is all of them, which needs no index.
            derived = slice(None) if is_derived.all() else self._bins_of(is_derived)
            large.sums[:, derived] = parent.sums[:, derived] - small.sums[:, derived]
            is_known = large.is_known | is_derived
            large = PooledHistogram(large.sums, is_known)
            found.append((large, small) if order_of_large.child is left else (small, large))
        return found

    def _sum_orders(self, orders: list[_Order]) -> list[PooledHistogram]:
        histograms: list[PooledHistogram] = []
        positions: list[Int64Array] = []
        values: list[Int64Array] = []
        limits: list[Int64Array] = []
        built = self._local.build([order.local for order in orders])
        for order, here in zip(orders, built, strict=True):
            child, local = order.child, here.histogram
            is_known = np.zeros_like(child.wanted)
            is_known[order.features] = True
            bins = self._bins_of(is_known)
            histograms.append(PooledHistogram(local, is_known))
            positions.append(bins)
            values.append(local[:, bins].ravel())
            limits.append(self._limits(order, bins).ravel())
        if sum(part.size for part in values) == 0:
            return histograms
        pooled = self._sum(np.concatenate(values), np.concatenate(limits))
        parts = np.split(pooled, np.cumsum([part.size for part in values])[:-1])
        for histogram, bins, part in zip(histograms, positions, parts, strict=True):
            histogram.sums[:, bins] = part.reshape(2, -1)
        return histograms

    def _limits(self, order: _Order, bins: Int64Array) -> Int64Array:
        """Return the bounds of a child's bins: those of the child, and of the parent's same bins.

        Returns
        -------
        ndarray of shape (2, n_bins), dtype=int64
        """
        child, parent = order.child, order.parent
        sums = np.array([child.gradient, child.hessian], dtype=np.int64).reshape(2, 1)
        of_child = np.stack(self._bounds.of_sets(*sums))
        of_bins = np.stack(
            self._bounds.of_sets(
                *parent.sums[:, bins],
                negative_mass=self._bins.negative_mass[bins],
                positive_mass=self._bins.positive_mass[bins],
            )
        )
        is_known = self.is_known_bin(parent)[bins]
        return np.where(is_known, np.minimum(of_child, of_bins), of_child)

    def _sum(self, values: Int64Array, bound: Int64Array) -> Int64Array:
        label = f"histogram:tree {self._tree_index} step {self._n_sums}"
        self._n_sums += 1
        return self._communicator.sum(values, bound=bound, label=label)

    def is_known_bin(self, pooled: PooledHistogram) -> BoolArray:
        """Tell which bins' sums are known; shape (total_bins,)."""
        return pooled.is_known[self._bin_features]

    def _bins_of(self, is_active: BoolArray) -> Int64Array:
        """Return the positions of the active features' bins in a histogram."""
        return np.flatnonzero(is_active[self._bin_features])


def _plan(parent: PooledHistogram, left: ChildDemand, right: ChildDemand) -> tuple[_Order, _Order]:
    """Return what to sum of the smaller child and of the larger one."""
    small, large = (left, right) if left.hessian <= right.hessian else (right, left)
    # With the parent's sums known, the smaller child's give the larger child's as well.
    of_small = small.wanted | (large.wanted & parent.is_known)
    of_large = large.wanted & ~parent.is_known
    return (
        _Order(small, np.flatnonzero(of_small), parent),
        _Order(large, np.flatnonzero(of_large), parent),
    )
