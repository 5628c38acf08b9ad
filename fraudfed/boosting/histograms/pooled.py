"""Histograms over all banks: what is summed, what is derived, and within which bounds.

Of two siblings only the one with the smaller pooled hessian is summed; the other is parent minus
sibling, exactly. With column sampling that holds for features whose sums the parent has; the
others are summed for each child that wants them. A feature that no child wants is not summed.

Two kinds of bins take no slot: those that a split above has emptied, and one bin of each feature
that no pooled row is missing in, for it is what the node's total and the other bins leave.

Every sum is held to what sums of rows are (``fraudfed.held_sums``) before anything follows from it,
and so is what is derived from it.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.bins import BinBounds, TreeBounds
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.histograms.segments import Segments
from fraudfed.boosting.shard.protocol import GrowingRows, SumOrder
from fraudfed.communicator import Summing, SumRequest
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.held_sums import hold_gradients, hold_missing, hold_sets, hold_siblings


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
    node : int
        Number of the child.
    wanted : ndarray of shape (n_features,), dtype=bool
        Features on which the child may be split; none if it stays a leaf.
    possible : ndarray of shape (total_bins,), dtype=bool
        Bins that can hold rows of the child; the splits above it empty the others.
    """

    gradient: int
    hessian: int
    node: int
    wanted: BoolArray
    possible: BoolArray


@dataclass(frozen=True, eq=False)
class _Order:
    """One histogram to sum over all banks."""

    child: ChildDemand
    features: Int64Array
    parent: PooledHistogram

    @property
    def is_summed(self) -> bool:
        """Whether anything is to be summed."""
        return self.features.size > 0


@dataclass(frozen=True, eq=False)
class _Asked:
    """The bins of several orders, one order after the other.

    Attributes
    ----------
    orders : list of _Order
    places : list of ndarray of shape (n_bins of the order,), dtype=int64
        Position of each bin in a histogram.
    bins : ndarray of shape (n_bins,), dtype=int64
        All of them.
    sizes : ndarray of shape (n_orders,), dtype=int64
    totals : ndarray of shape (2, n_orders), dtype=int64
        Pooled sums of each child.
    """

    orders: list[_Order]
    places: list[Int64Array]
    bins: Int64Array
    sizes: Int64Array
    totals: Int64Array

    @functools.cached_property
    def parents(self) -> Int64Array:
        """Pooled sums of the same bins of the parents; shape (2, n_bins)."""
        found = [o.parent.sums[:, at] for o, at in zip(self.orders, self.places, strict=True)]
        return np.concatenate(found, axis=1)

    @functools.cached_property
    def possible(self) -> BoolArray:
        """Which of the bins can hold rows; shape (n_bins,)."""
        found = [o.child.possible[at] for o, at in zip(self.orders, self.places, strict=True)]
        return np.concatenate(found)

    @classmethod
    def of(cls, orders: list[_Order], places: list[Int64Array]) -> "_Asked":
        pairs = [(order.child.gradient, order.child.hessian) for order in orders]
        return cls(
            orders,
            places,
            bins=np.concatenate([np.empty(0, dtype=np.int64), *places]),
            sizes=np.array([bins.size for bins in places], dtype=np.int64),
            totals=np.array(pairs, dtype=np.int64).reshape(-1, 2).T,
        )


class HistogramSummer:
    """Builds this bank's histograms for one tree and asks for their sums over all banks.

    Parameters
    ----------
    rows : GrowingRows
        This bank's rows.
    cuts : Cuts
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
        rows: GrowingRows,
        cuts: Cuts,
        *,
        bounds: NodeBounds,
        bins: BinBounds,
        tree_index: int,
    ) -> None:
        self._bounds = bounds
        self._bins = bins
        self._tree_index = tree_index
        self._n_sums = 0
        self._rows = rows
        self._offsets = cuts.offsets
        self._is_complete = cuts.is_complete(bounds.n_rows)
        self._bin_features = np.repeat(np.arange(cuts.schema.n_features), np.diff(self._offsets))

    def sum_root(self, wanted: BoolArray) -> Summing[tuple[PooledHistogram, int, int]]:
        """Sum the root's histogram and its two totals in one secure sum.

        Parameters
        ----------
        wanted : ndarray of shape (n_features,), dtype=bool

        Returns
        -------
        PooledHistogram, gradient : int, hessian : int

        Raises
        ------
        SumError
            If the sums are none of rows.
        FraudFedError
            If the sum fails.
        """
        features = np.flatnonzero(wanted)
        here = self._rows.sums([SumOrder(0, features)])
        # The last set is all rows; the histogram has none.
        sets = np.append(self._bins_of(wanted), self._offsets[-1])
        limits = self._bins.of_root(self._bounds).take(sets)
        segments = self._segments([features])
        is_derived = np.append(segments.derived(limits.hessian[:-1]), False)
        local = np.column_stack((here.histograms[0], here.totals[0]))[:, sets]
        pooled = yield from self._sum(local, limits, is_derived)
        missing = segments.derive(pooled[:, :-1], is_derived[:-1], totals=pooled[:, -1:])
        hold_sets(pooled, limits.lows, limits.highs)
        sums = np.zeros((2, int(self._offsets[-1]) + 1), dtype=np.int64)
        sums[:, sets] = pooled
        is_known = np.append(wanted[self._bin_features], True)
        self.tree_bounds = self._bins.open_root(self._bounds, sums, is_known)
        parts = self.tree_bounds.root.take(sets)
        hold_sets(pooled, parts.lows, parts.highs)
        hold_missing(missing, parts.lows[:, -1:], parts.highs[:, -1:])
        gradient, hessian = sums[:, -1].tolist()
        return PooledHistogram(sums[:, :-1], wanted), gradient, hessian

    def sum_children(
        self, families: list[tuple[PooledHistogram, ChildDemand, ChildDemand]]
    ) -> Summing[list[tuple[PooledHistogram, PooledHistogram]]]:
        """Find the histograms of pairs of siblings with a single sum over all banks.

        Parameters
        ----------
        families : list of (parent, left child, right child)

        Returns
        -------
        list of (left child, right child)
            At least the wanted features are known. No sum takes place if none is wanted.

        Raises
        ------
        SumError
            If the sums are none of rows, or leave a sibling what is none of its parent's.
        FraudFedError
            If the sum fails.
        """
        plans = [_plan(*family) for family in families]
        orders = yield from self._sum_orders([order for plan in plans for order in plan])
        summed = iter(orders)
        found: list[tuple[PooledHistogram, PooledHistogram]] = []
        siblings: list[tuple[_Order, PooledHistogram]] = []
        for (parent, left, _), (_, order_of_large) in zip(families, plans, strict=True):
            small, large = next(summed), next(summed)
            is_derived = small.is_known & parent.is_known
            # Without column sampling it is all of them, which needs no index.
            derived = slice(None) if is_derived.all() else self._bins_of(is_derived)
            large.sums[:, derived] = parent.sums[:, derived] - small.sums[:, derived]
            order = _Order(order_of_large.child, np.flatnonzero(is_derived), parent)
            siblings.append((order, large))
            is_known = large.is_known | is_derived
            large = PooledHistogram(large.sums, is_known)
            found.append((large, small) if order_of_large.child is left else (small, large))
        self._hold_siblings(siblings)
        return found

    def _hold_siblings(self, siblings: list[tuple[_Order, PooledHistogram]]) -> None:
        """Hold what small children leave their siblings; an order names the derived features."""
        orders = [order for order, _ in siblings]
        places = [self._bins_of_features(order.features) for order in orders]
        asked = _Asked.of(orders, places)
        if asked.bins.size == 0:
            return
        sums = np.concatenate(
            [large.sums[:, bins] for (_, large), bins in zip(siblings, places, strict=True)], axis=1
        )
        segments = self._segments([order.features for order in orders])
        missing = segments.derive(sums, np.zeros(asked.bins.size, np.bool_), totals=asked.totals)
        hold_siblings(sums, asked.parents[1], asked.possible)
        self._hold(sums, asked, missing, segments.nodes)

    def _hold(
        self, sums: Int64Array, asked: "_Asked", missing: Int64Array, nodes: Int64Array
    ) -> None:
        """Hold bins of nodes to their own hessians, and what they leave to their nodes.

        Parameters
        ----------
        sums : ndarray of shape (2, n_bins), dtype=int64
        missing : ndarray of shape (2, n_segments), dtype=int64
        nodes : ndarray of shape (n_segments,), dtype=int64
            Node of each segment.
        """
        allowed = self.tree_bounds.of_hessians(sums[1], asked.bins)
        hold_gradients(sums[0], allowed.by_label)
        whole = self.tree_bounds.whole(asked.sizes.size)
        of_nodes = self.tree_bounds.of_parts(asked.totals, whole).take(nodes)
        hold_missing(missing, of_nodes.lows, of_nodes.highs)

    def _sum_orders(self, orders: list[_Order]) -> Summing[list[PooledHistogram]]:
        histograms: list[PooledHistogram] = []
        places: list[Int64Array] = []
        for order, here in zip(orders, self._own(orders), strict=True):
            is_known = np.zeros_like(order.child.wanted)
            is_known[order.features] = True
            histograms.append(PooledHistogram(here, is_known))
            places.append(self._bins_of(is_known))
        asked = _Asked.of(orders, places)
        if asked.bins.size == 0:
            return histograms
        limits = self._limits(asked)
        segments = self._segments([order.features for order in orders])
        is_derived = segments.derived(limits.hessian)
        local = np.concatenate(
            [each.sums[:, bins] for each, bins in zip(histograms, places, strict=True)], axis=1
        )
        pooled = yield from self._sum(local, limits, is_derived)
        missing = segments.derive(pooled, is_derived, totals=asked.totals)
        hold_sets(pooled, limits.lows, limits.highs)
        self._hold(pooled, asked, missing, segments.nodes)
        parts = np.split(pooled, np.cumsum(asked.sizes)[:-1], axis=1)
        for histogram, bins, part in zip(histograms, places, parts, strict=True):
            histogram.sums[:, bins] = part
        return histograms

    def _own(self, orders: list[_Order]) -> Iterator[Int64Array]:
        """Yield this bank's histogram of each order, shape (2, total_bins).

        It is zero, and no row is read, of a child whose sums all follow from its sibling's.
        """
        asked = [SumOrder(order.child.node, order.features) for order in orders if order.is_summed]
        summed = iter(self._rows.sums(asked).histograms if asked else ())
        for order in orders:
            if order.is_summed:
                yield next(summed)
            else:
                yield np.zeros((2, int(self._offsets[-1])), dtype=np.int64)

    def _limits(self, asked: "_Asked") -> SumBounds:
        """Return the bounds of all orders' bins, one order after the other."""
        found = self.tree_bounds.of_children(
            asked.bins,
            totals=asked.totals,
            sizes=asked.sizes,
            parents=asked.parents,
            is_known=np.concatenate(
                [
                    order.parent.is_known[self._bin_features[at]]
                    for order, at in zip(asked.orders, asked.places, strict=True)
                ]
            ),
        )
        return found.where(asked.possible, SumBounds.nothing(asked.bins.size))

    def _sum(
        self, local: Int64Array, limits: SumBounds, is_derived: BoolArray
    ) -> Summing[Int64Array]:
        """Sum over all banks what is not derived, which comes back as 0."""
        label = f"histogram:tree {self._tree_index} step {self._n_sums}"
        self._n_sums += 1
        sent = limits.where(~is_derived, SumBounds.nothing(is_derived.size))
        return (
            yield SumRequest(
                values=np.where(is_derived, 0, local),
                bound=sent.highs,
                low=sent.lows,
                label=label,
            )
        )

    def _segments(self, features: list[Int64Array]) -> Segments:
        """Return the segments of the bins of some features of each of several nodes."""
        nodes = np.repeat(np.arange(len(features)), [part.size for part in features])
        each = np.concatenate(features)
        return Segments(np.diff(self._offsets)[each], nodes, self._is_complete[each])

    def _bins_of(self, is_active: BoolArray) -> Int64Array:
        """Return the positions of the active features' bins in a histogram."""
        return np.flatnonzero(is_active[self._bin_features])

    def _bins_of_features(self, features: Int64Array) -> Int64Array:
        is_active = np.zeros(self._offsets.size - 1, dtype=np.bool_)
        is_active[features] = True
        return self._bins_of(is_active)


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
