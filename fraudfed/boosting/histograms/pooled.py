"""Histograms over all banks: what is summed, what is derived, and within which bounds.

Of two siblings only the one with the smaller pooled hessian is summed; the other is parent minus
sibling, exactly. With column sampling that holds for features whose sums the parent has; the
others are summed for each child that wants them. A feature that no child wants is not summed.

Two kinds of bins take no slot: those that a split above has emptied, and one bin of each feature
that no pooled row is missing in, for it is what the node's total and the other bins leave.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.bounds.bins import BinBounds, TreeBounds
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.histograms.local import HistogramBuilder, HistogramOrder
from fraudfed.communicator import Communicator
from fraudfed.dtypes import BoolArray, Int64Array, UInt32Array


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
    possible : ndarray of shape (total_bins,), dtype=bool
        Bins that can hold rows of the child; the splits above it empty the others.
    """

    gradient: int
    hessian: int
    rows: UInt32Array
    wanted: BoolArray
    possible: BoolArray


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

    Attributes
    ----------
    tree_bounds : TreeBounds
        What is known since the root was summed.
    """

    tree_bounds: TreeBounds

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
        self._is_complete = binned.cuts.is_complete(bounds.n_rows)
        self._bin_features = np.repeat(
            np.arange(binned.cuts.schema.n_features), np.diff(self._offsets)
        )

    def sum_root(self, rows: UInt32Array, wanted: BoolArray) -> tuple[PooledHistogram, int, int]:
        """Sum the root's histogram and its two totals in one secure sum.

        Parameters
        ----------
        rows : ndarray of shape (n_sampled,), dtype=uint32
        wanted : ndarray of shape (n_features,), dtype=bool

        Returns
        -------
        PooledHistogram, gradient : int, hessian : int
        """
        features = np.flatnonzero(wanted)
        (here,) = self._local.build([HistogramOrder(rows, features)])
        # The last set is all rows; the histogram has none.
        sets = np.append(self._bins_of(wanted), self._offsets[-1])
        limits = self._bins.of_root(self._bounds).take(sets)
        segments = self._segments([features])
        is_derived = np.append(segments.derived(limits.hessian[:-1]), False)
        local = np.column_stack((here.histogram, here.total))[:, sets]
        pooled = self._sum(local, limits, is_derived)
        segments.derive(pooled[:, :-1], is_derived[:-1], totals=pooled[:, -1:])
        sums = np.zeros((2, int(self._offsets[-1]) + 1), dtype=np.int64)
        sums[:, sets] = pooled
        is_known = np.append(wanted[self._bin_features], True)
        self.tree_bounds = self._bins.open_root(self._bounds, sums, is_known)
        gradient, hessian = sums[:, -1].tolist()
        return PooledHistogram(sums[:, :-1], wanted), gradient, hessian

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
        built = self._local.build([order.local for order in orders])
        histograms: list[PooledHistogram] = []
        places: list[Int64Array] = []
        for order, here in zip(orders, built, strict=True):
            is_known = np.zeros_like(order.child.wanted)
            is_known[order.features] = True
            histograms.append(PooledHistogram(here.histogram, is_known))
            places.append(self._bins_of(is_known))
        sizes = np.array([bins.size for bins in places], dtype=np.int64)
        if sizes.sum() == 0:
            return histograms
        totals = np.array([(o.child.gradient, o.child.hessian) for o in orders], dtype=np.int64).T
        limits = self._limits(orders, places, totals, sizes)
        segments = self._segments([order.features for order in orders])
        is_derived = segments.derived(limits.hessian)
        local = np.concatenate(
            [each.sums[:, bins] for each, bins in zip(histograms, places, strict=True)], axis=1
        )
        pooled = self._sum(local, limits, is_derived)
        segments.derive(pooled, is_derived, totals=totals)
        parts = np.split(pooled, np.cumsum(sizes)[:-1], axis=1)
        for histogram, bins, part in zip(histograms, places, parts, strict=True):
            histogram.sums[:, bins] = part
        return histograms

    def _limits(
        self, orders: list[_Order], places: list[Int64Array], totals: Int64Array, sizes: Int64Array
    ) -> SumBounds:
        """Return the bounds of all orders' bins, one order after the other."""
        bins = np.concatenate(places)
        found = self.tree_bounds.of_children(
            bins,
            totals=totals,
            sizes=sizes,
            parents=np.concatenate(
                [order.parent.sums[:, at] for order, at in zip(orders, places, strict=True)], axis=1
            ),
            is_known=np.concatenate(
                [
                    order.parent.is_known[self._bin_features[at]]
                    for order, at in zip(orders, places, strict=True)
                ]
            ),
        )
        possible = [o.child.possible[at] for o, at in zip(orders, places, strict=True)]
        return found.where(np.concatenate(possible), SumBounds.nothing(bins.size))

    def _sum(self, local: Int64Array, limits: SumBounds, is_derived: BoolArray) -> Int64Array:
        """Sum over all banks what is not derived, which comes back as 0."""
        label = f"histogram:tree {self._tree_index} step {self._n_sums}"
        self._n_sums += 1
        sent = limits.where(~is_derived, SumBounds.nothing(is_derived.size))
        return self._communicator.sum(
            np.where(is_derived, 0, local), bound=sent.highs, low=sent.lows, label=label
        )

    def _segments(self, features: list[Int64Array]) -> "_Segments":
        """Return the segments of the bins of some features of each of several nodes."""
        nodes = np.repeat(np.arange(len(features)), [part.size for part in features])
        each = np.concatenate(features)
        return _Segments(np.diff(self._offsets)[each], nodes, self._is_complete[each])

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


@dataclass(frozen=True, eq=False)
class _Segments:
    """Bins of several features of several nodes, in a row: one segment for each pair.

    Attributes
    ----------
    sizes : ndarray of shape (n_segments,), dtype=int64
        Bins of each, at least 1.
    nodes : ndarray of shape (n_segments,), dtype=int64
        Node of each, ascending from 0.
    is_complete : ndarray of shape (n_segments,), dtype=bool
        Whether the bins hold all rows of the node.
    """

    sizes: Int64Array
    nodes: Int64Array
    is_complete: BoolArray

    def derived(self, weights: Int64Array) -> BoolArray:
        """Choose from each complete segment the first bin of the largest weight."""
        chosen = np.zeros(weights.size, dtype=np.bool_)
        if self.sizes.size == 0:
            return chosen
        largest = np.maximum.reduceat(weights, self._starts)
        numbers = np.repeat(np.arange(self.sizes.size), self.sizes)
        candidates = np.flatnonzero((weights == largest[numbers]) & self.is_complete[numbers])
        firsts = np.flatnonzero(np.diff(numbers[candidates], prepend=-1))
        chosen[candidates[firsts]] = True
        return chosen

    def derive(self, sums: Int64Array, is_derived: BoolArray, *, totals: Int64Array) -> None:
        """Put what the other bins leave of the node's total into each chosen bin, which holds 0.

        Parameters
        ----------
        sums : ndarray of shape (2, n_bins), dtype=int64
        is_derived : ndarray of shape (n_bins,), dtype=bool
            From ``derived``.
        totals : ndarray of shape (2, n_nodes), dtype=int64
        """
        if not is_derived.any():
            return
        rest = totals[:, self.nodes] - np.add.reduceat(sums, self._starts, axis=1)
        sums[:, is_derived] = rest[:, self.is_complete]

    @property
    def _starts(self) -> Int64Array:
        starts: Int64Array = np.cumsum(self.sizes) - self.sizes
        return starts
