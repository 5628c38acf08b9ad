"""Where rows go: the left or right child of a split, the leaf of a tree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.boosting.shard.tables import table_of
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray, Float32Array, Int32Array, Int64Array, UInt32Array


@dataclass(frozen=True)
class RowRange:
    """The rows of one node, as places in the order of a ``RowPartition``.

    Attributes
    ----------
    begin, stop : int
    middle : int
        Rows before it are in the sample, rows from it on are not.
    """

    begin: int
    middle: int
    stop: int


@dataclass(frozen=True, eq=False)
class RowSplit:
    """A node's split, as far as rows are concerned.

    Attributes
    ----------
    rows : RowRange
    feature : int
    table : ndarray of shape (n_bins + 1,), dtype=bool
        From ``tables.goes_left``.
    """

    rows: RowRange
    feature: int
    table: BoolArray


class RowPartition:
    """Rows of one bank, sorted by node.

    Invariant: within a node the sampled rows come first, and either kind ascends.

    Parameters
    ----------
    binned : BinnedTable
    is_sampled : ndarray of shape (n_rows,), dtype=bool, or None
        None is every row.
    order : ndarray of shape (n_rows,), dtype=uint32, or None
        Where to keep the order; None is a new array.
    """

    def __init__(
        self,
        binned: BinnedTable,
        is_sampled: BoolArray | None = None,
        *,
        order: UInt32Array | None = None,
    ) -> None:
        self._engine = binned.engine
        n_rows = binned.n_rows
        self._order = np.empty(n_rows, dtype=np.uint32) if order is None else order
        if is_sampled is None:
            self._order[:] = np.arange(n_rows, dtype=np.uint32)
            self.root = RowRange(0, n_rows, n_rows)
        else:
            drawn = np.flatnonzero(is_sampled)
            self._order[: drawn.size] = drawn
            self._order[drawn.size :] = np.flatnonzero(~is_sampled)
            self.root = RowRange(0, drawn.size, n_rows)
        self._sorter = self._engine.row_sorter(binned.bins, self._order)

    def sampled(self, rows: RowRange) -> UInt32Array:
        """Return a node's sampled rows, ascending; shape (n_sampled,), dtype=uint32.

        It is a view that the next ``split`` may change.
        """
        return self._order[rows.begin : rows.middle]

    def split(self, splits: Sequence[RowSplit]) -> list[tuple[RowRange, RowRange]]:
        """Send the rows of some nodes to two children each, and return the children's rows.

        Parameters
        ----------
        splits : sequence of RowSplit
            In the order in which the nodes' ranges ascend.

        Returns
        -------
        list of (left child, right child)

        Raises
        ------
        ValueError
            If the nodes' ranges do not ascend, or a bin code is in no table.
        """
        tables = [split.table for split in splits]
        counts = self._sorter.split(
            np.array(
                [(s.rows.begin, s.rows.middle, s.rows.stop) for s in splits], dtype=np.int64
            ).reshape(-1, 3),
            np.array([split.feature for split in splits], dtype=np.int64),
            np.concatenate([np.empty(0, dtype=np.bool_), *tables]),
            np.cumsum([0, *(table.size for table in tables)], dtype=np.int64),
        )
        children = []
        for split, (n_sampled, n_left) in zip(splits, counts.tolist(), strict=True):
            rows = split.rows
            border = rows.begin + n_left
            right_middle = border + rows.middle - rows.begin - n_sampled
            left = RowRange(rows.begin, rows.begin + n_sampled, border)
            children.append((left, RowRange(border, right_middle, rows.stop)))
        return children

    def leaves(self, numbers: Sequence[int], ranges: Sequence[RowRange]) -> "LeafRows":
        """Return where the rows ended, once the nodes of these numbers are split no more."""
        ascending = sorted(
            zip(ranges, numbers, strict=True), key=lambda pair: (pair[0].begin, pair[0].stop)
        )
        return LeafRows(
            engine=self._engine,
            order=self._order,
            ranges=np.array(
                [(rows.begin, rows.stop) for rows, _ in ascending], dtype=np.int64
            ).reshape(-1, 2),
            numbers=np.array([number for _, number in ascending], dtype=np.int32),
        )


@dataclass(frozen=True, eq=False)
class LeafRows:
    """The leaf of each row.

    Attributes
    ----------
    engine : Engine
    order : ndarray of shape (n_rows,), dtype=uint32
        Row numbers, sorted by leaf.
    ranges : ndarray of shape (n_leaves, 2), dtype=int64
        Where each leaf's rows begin and stop in ``order``; ascending.
    numbers : ndarray of shape (n_leaves,), dtype=int32
        Node number of each leaf.
    """

    engine: Engine
    order: UInt32Array
    ranges: Int64Array
    numbers: Int32Array

    def of_rows(self) -> Int32Array:
        """Return the node number of each row's leaf; shape (n_rows,), dtype=int32."""
        numbers = np.empty(self.order.size, dtype=np.int32)
        numbers[self.order] = np.repeat(self.numbers, self.ranges[:, 1] - self.ranges[:, 0])
        return numbers

    def add_values(self, values: Float32Array, margins: Float32Array) -> None:
        """Add to the margin of each row, in place, the value of its leaf.

        Parameters
        ----------
        values : ndarray of shape (n_nodes,), dtype=float32
        margins : ndarray of shape (n_rows,), dtype=float32
        """
        self.engine.add_leaf_values(self.order, self.ranges, values[self.numbers], margins)


def assign_leaves(tree: Tree, binned: BinnedTable, *, order: UInt32Array | None = None) -> LeafRows:
    """Send every row down a tree; ``order`` as of ``RowPartition``."""
    partition = RowPartition(binned, order=order)
    level = {0: partition.root}
    leaves: dict[int, RowRange] = {}
    while level:
        leaves |= {node: rows for node, rows in level.items() if tree.is_leaf(node)}
        inner = [node for node in level if not tree.is_leaf(node)]
        pairs = partition.split(
            [
                RowSplit(
                    level[node], int(tree.split_features[node]), table_of(tree, node, binned.cuts)
                )
                for node in inner
            ]
        )
        level = {
            child: rows
            for node, pair in zip(inner, pairs, strict=True)
            for child, rows in zip(
                (int(tree.left_children[node]), int(tree.right_children[node])), pair, strict=True
            )
        }
    return partition.leaves(list(leaves), list(leaves.values()))
