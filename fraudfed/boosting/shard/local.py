"""A bank's rows on this machine, in one part: the calls of a shard, answered by an engine.

The arrays lie in a ``Room``. Each call enters it, works, and leaves it again.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from fraudfed.boosting.bins import BinnedTable, Cuts, bin_table
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.elementary import logit
from fraudfed.boosting.engine.logistic import effective_weights, to_fixed_point
from fraudfed.boosting.engine.protocol import Engine, KeyCounter
from fraudfed.boosting.sampling import row_keys, sample_rows
from fraudfed.boosting.shard import tallies, weights
from fraudfed.boosting.shard.capped import PrivateGradients, capped_masses, capped_rows
from fraudfed.boosting.shard.margins import add_tree
from fraudfed.boosting.shard.partition import LeafRows, RowPartition, RowRange, RowSplit
from fraudfed.boosting.shard.protocol import (
    GradientCap,
    NodeSplit,
    RowDraw,
    Shard,
    SumOrder,
    SumsOfNodes,
)
from fraudfed.boosting.shard.room import Memory, Room
from fraudfed.boosting.shard.sums import HistogramBuilder, HistogramOrder
from fraudfed.boosting.table import FeatureSchema, TrainingTable, check_rows
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array, UInt32Array, UInt64Array


@dataclass(frozen=True, eq=False)
class LocalShard:
    """Rows of a table; see ``protocol.Shard`` for what is not said here.

    Attributes
    ----------
    table : TrainingTable
    engine : Engine
    room : Room
        Where what is made of the table lies.
    """

    table: TrainingTable
    engine: Engine = field(default_factory=load_engine)
    room: Room = field(default_factory=Memory)

    @property
    def schema(self) -> FeatureSchema:
        """See ``Shard``."""
        return self.table.schema

    @property
    def max_weight(self) -> float:
        """See ``Shard``."""
        return self.table.max_weight

    @property
    def has_weights(self) -> bool:
        """See ``Shard``."""
        return self.table.weights is not None

    @property
    def caps_customers(self) -> bool:
        """See ``Shard``."""
        return self.table.customers is not None

    @property
    def n_rows(self) -> int:
        """See ``Shard``."""
        return self.table.n_rows

    @functools.cached_property
    def n_positives(self) -> int:
        """See ``Shard``."""
        with self.room:
            return int(np.count_nonzero(self.table.labels == 1))

    @functools.cached_property
    def keys(self) -> UInt64Array:
        """Hashes of the rows' content; shape (n_rows,), dtype=uint64."""
        with self.room:
            keys = self.room.empty((self.n_rows,), np.uint64)
            keys[:] = row_keys(self.table)
            return keys

    def check(self, what: str, *, first_row: int = 0) -> None:
        """See ``Shard``."""
        with self.room:
            check_rows(self.table, what=what, first_row=first_row)

    def weight_parts(self) -> Int64Array:
        """See ``Shard``."""
        with self.room:
            return weights.weight_parts(self.table.weights, self.n_rows)

    def scaled(self, factor: float) -> Self:
        """See ``Shard``."""
        with self.room:
            return replace(self, table=weights.scaled(self.table, factor))

    def masses(self, *, scale_pos_weight: float) -> Int64Array:
        """See ``Shard``."""
        with self.room:
            weight = effective_weights(
                self.table.labels, self.table.weights, scale_pos_weight=scale_pos_weight
            )
            fixed = to_fixed_point(weight)
            is_positive = self.table.labels == 1
            return np.array([fixed[is_positive].sum(), fixed[~is_positive].sum()], dtype=np.int64)

    def capped_masses(
        self, *, scale_pos_weight: float, row_norm: int, customer_rows: int | None
    ) -> Int64Array:
        """See ``Shard``."""
        with self.room:
            return capped_masses(
                self.table,
                scale_pos_weight=scale_pos_weight,
                row_norm=row_norm,
                customer_rows=customer_rows,
            )

    def key_counter(self, columns: Int64Array, *, customer_rows: int | None = None) -> KeyCounter:
        """See ``Shard``."""
        with self.room:
            table = self.table if customer_rows is None else capped_rows(self.table, customer_rows)
            return _LocalKeys(self.engine.key_counter(table.features, columns), self.room)

    def bin(self, cuts: Cuts, *, for_draws: bool = False) -> "LocalBinned":
        """See ``Shard``."""
        with self.room:
            table = bin_table(self.table, cuts, engine=self.engine)
            return LocalBinned(
                table=replace(table, bins=self.room.keep(table.bins)),
                labels=self.table.labels,
                weights=self.table.weights,
                customers=self.table.customers,
                keys=self.keys if for_draws else None,
                room=self.room,
            )


def shard_of(rows: TrainingTable | Shard, *, threads: int | None = None) -> Shard:
    """Return a table as a shard in memory, on as many threads; a shard as it is."""
    return LocalShard(rows, load_engine(threads)) if isinstance(rows, TrainingTable) else rows


class _LocalKeys:
    """Counts keys in a room."""

    def __init__(self, counter: KeyCounter, room: Room) -> None:
        self.columns = counter.columns
        self._counter = counter
        self._room = room

    def count(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        with self._room:
            return self._counter.count(lows, bits)


@dataclass(frozen=True, eq=False)
class LocalBinned:
    """Rows as bin numbers, and what trees grow from.

    Attributes
    ----------
    table : BinnedTable
    labels : ndarray of shape (n_rows,), dtype=float32
    weights : ndarray of shape (n_rows,), dtype=float32, or None
    customers : ndarray of shape (n_rows,), dtype=int64, or None
    keys : ndarray of shape (n_rows,), dtype=uint64, or None
        From ``sampling.row_keys``, if rows will be drawn.
    room : Room
    """

    table: BinnedTable
    labels: Float32Array
    weights: Float32Array | None = None
    customers: Int64Array | None = None
    keys: UInt64Array | None = None
    room: Room = field(default_factory=Memory)

    @property
    def cuts(self) -> Cuts:
        """See ``BinnedShard``."""
        return self.table.cuts

    @property
    def n_rows(self) -> int:
        """See ``BinnedShard``."""
        return self.table.n_rows

    @property
    def engine(self) -> Engine:
        """See ``BinnedShard``."""
        return self.table.engine

    def start(self, trees: Sequence[Tree], base_score: float) -> "LocalRows":
        """See ``BinnedShard``."""
        with self.room:
            margins = self.room.empty((self.n_rows,), np.float32)
            margins.fill(logit(base_score))
            rows = LocalRows(self, margins)
            for tree in trees:
                rows.add(tree)
            return rows

    def start_from(self, margins: Float32Array) -> "LocalRows":
        """Return the rows with given margins; shape (n_rows,), dtype=float32. They are changed."""
        return LocalRows(self, margins)


class LocalRows:
    """Rows with margins; see ``protocol.BoostedRows`` for the calls.

    Parameters
    ----------
    binned : LocalBinned
    margins : ndarray of shape (n_rows,), dtype=float32
        Changed in place.
    """

    def __init__(self, binned: LocalBinned, margins: Float32Array) -> None:
        self.binned = binned
        self._margins = margins
        self._room = binned.room
        self._capping: tuple[GradientCap, PrivateGradients] | None = None

    @functools.cached_property
    def _pairs(self) -> Int64Array:
        """Gradients and hessians, overwritten for each tree; shape (n_rows, 2)."""
        return self._room.empty((self.binned.n_rows, 2), np.int64)

    @functools.cached_property
    def _order(self) -> UInt32Array:
        """Row numbers, sorted anew for each tree; shape (n_rows,)."""
        return self._room.empty((self.binned.n_rows,), np.uint32)

    def grow(
        self,
        *,
        scale_pos_weight: float,
        draw: RowDraw | None = None,
        cap: GradientCap | None = None,
    ) -> "LocalGrowing":
        """See ``BoostedRows``."""
        binned = self.binned
        with self._room:
            is_sampled: BoolArray | None = None
            if draw is not None:
                if binned.keys is None:
                    raise ValueError("rows are to be drawn, and were not binned for it")
                is_sampled = sample_rows(
                    binned.keys,
                    seed=draw.seed,
                    tree_index=draw.tree_index,
                    fraction=draw.fraction,
                )
            binned.engine.logistic_gradients(
                self._margins,
                binned.labels,
                binned.weights,
                scale_pos_weight=scale_pos_weight,
                out=self._pairs,
            )
            if cap is not None:
                self._bound(cap)
            return LocalGrowing(
                binned.table,
                self._pairs,
                self._margins,
                is_sampled=is_sampled,
                order=self._order,
                room=self._room,
            )

    def _bound(self, cap: GradientCap) -> None:
        # Customers are numbered once, and all trees have one cap.
        if self._capping is None or self._capping[0] != cap:
            customers = None if cap.unit_norm is None else self.binned.customers
            self._capping = (cap, PrivateGradients(cap, customers))
        self._capping[1].bound(self._pairs)

    def add(self, tree: Tree) -> None:
        """See ``BoostedRows``."""
        with self._room:
            add_tree(tree, self.binned.table, self._margins, order=self._order)

    def metric_parts(self, names: Sequence[str]) -> dict[str, Int64Array]:
        """See ``BoostedRows``."""
        with self._room:
            return tallies.metric_parts(names, self._margins, self.binned.labels)

    def case_margins(self) -> tuple[Float32Array, Int64Array]:
        """See ``BoostedRows``."""
        with self._room:
            return tallies.case_margins(self._margins, self.binned.labels)

    def count_others(self, thresholds: Float32Array) -> Int64Array:
        """See ``BoostedRows``."""
        with self._room:
            return tallies.count_others(self._margins, self.binned.labels, thresholds)

    def margins(self) -> Float32Array:
        """See ``BoostedRows``; the array that the next tree changes."""
        return self._margins


class LocalGrowing:
    """Rows sorted by node while a tree grows; see ``protocol.GrowingRows`` for the calls.

    Parameters
    ----------
    binned : BinnedTable
    gradients : ndarray of shape (n_rows, 2), dtype=int64
    margins : ndarray of shape (n_rows,), dtype=float32
        The leaf values are added to them in the end.
    is_sampled : ndarray of shape (n_rows,), dtype=bool, or None
        None is every row.
    order : ndarray of shape (n_rows,), dtype=uint32, or None
        Where rows are sorted; None is a new array.
    room : Room or None
        None is memory.
    """

    def __init__(
        self,
        binned: BinnedTable,
        gradients: Int64Array,
        margins: Float32Array,
        *,
        is_sampled: BoolArray | None = None,
        order: UInt32Array | None = None,
        room: Room | None = None,
    ) -> None:
        if gradients.shape != (binned.n_rows, 2):
            raise ValueError(
                f"gradients have shape {gradients.shape}, expected ({binned.n_rows}, 2)"
            )
        self._bins = binned.bins
        self._hessians = gradients[:, 1]
        self._margins = margins
        self._room = Memory() if room is None else room
        self._histograms = HistogramBuilder(binned, gradients)
        self._partition = RowPartition(binned, is_sampled, order=order)
        self._ranges: dict[int, RowRange] = {0: self._partition.root}

    def split(self, splits: Sequence[NodeSplit]) -> None:
        """See ``GrowingRows``."""
        pairs = [(self._ranges.pop(each.node), each) for each in splits]
        pairs.sort(key=lambda pair: (pair[0].begin, pair[0].stop))
        with self._room:
            children = self._partition.split(
                [RowSplit(rows, each.feature, each.table) for rows, each in pairs]
            )
        for (_, each), (left, right) in zip(pairs, children, strict=True):
            self._ranges[each.left], self._ranges[each.right] = left, right

    def sums(self, orders: Sequence[SumOrder]) -> SumsOfNodes:
        """See ``GrowingRows``."""
        with self._room:
            return self._histograms.build(
                [HistogramOrder(self._sampled(each.node), each.features) for each in orders]
            )

    def sides(self, tried: Sequence[NodeSplit]) -> Int64Array:
        """See ``GrowingRows``."""
        found = np.empty((len(tried), 2, 2), dtype=np.int64)
        with self._room:
            for each, sides in zip(tried, found, strict=True):
                rows = self._sampled(each.node)
                is_left = each.table[self._bins[each.feature][rows]]
                hessians = self._hessians[rows]
                for side, is_here in zip(sides, (is_left, ~is_left), strict=True):
                    side[:] = np.count_nonzero(is_here), hessians[is_here].sum()
        return found

    def finish(self, values: Float32Array) -> None:
        """See ``GrowingRows``."""
        with self._room:
            self.leaves().add_values(values, self._margins)

    def leaves(self) -> LeafRows:
        """Return the leaf of each row, once no node is split any more."""
        return self._partition.leaves(list(self._ranges), list(self._ranges.values()))

    def _sampled(self, node: int) -> UInt32Array:
        return self._partition.sampled(self._ranges[node])
