"""Grow one tree, as XGBoost's ``hist`` does, with every sum taken over all banks.

One secure sum gives the root, and one more each batch of split nodes (a level, if it has at most
256 of them); with ``min_child_banks``, sums that count banks follow each of them. The order of
steps is that of ``src/tree/updater_quantile_hist.cc``.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.bounds.bins import BinBounds, TreeBounds
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.boosting.gain import (
    UNBOUNDED,
    BoundsOfNodes,
    GainFormula,
    NodeSums,
    WeightBounds,
    to_double,
)
from fraudfed.boosting.growth.expansion_queue import (
    Candidate,
    ExpansionQueue,
    gains_something,
)
from fraudfed.boosting.growth.presence import MOST_TRIES, BankCounter, TriedSplit
from fraudfed.boosting.growth.tree_builder import TreeBuilder
from fraudfed.boosting.histograms.pooled import ChildDemand, HistogramSummer, PooledHistogram
from fraudfed.boosting.sampling import ColumnSampler
from fraudfed.boosting.shard.protocol import GrowingRows, NodeSplit
from fraudfed.boosting.splits.best import SplitFinder
from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Communicator, Summing, carry_out
from fraudfed.dtypes import FIXED_POINT_ONE, BoolArray, Float32Array, Int64Array
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True, eq=False)
class GrownTree:
    """A tree, equal at every bank. The rows that it grew over are not finished yet.

    Attributes
    ----------
    tree : Tree
    bounds : TreeBounds
        What its root says of the coming ones, if all rows were sampled.
    """

    tree: Tree
    bounds: TreeBounds


def grow_tree(
    rows: GrowingRows,
    cuts: Cuts,
    params: BoosterParams,
    communicator: Communicator,
    *,
    engine: Engine,
    tree_index: int,
    bounds: NodeBounds,
    bins: BinBounds | None = None,
) -> GrownTree:
    """Grow one tree over the rows of all banks.

    Parameters
    ----------
    rows : GrowingRows
        This bank's rows, all in node 0; afterwards in the leaves of the tree, and not finished.
    cuts : Cuts
        That the rows are binned by.
    params : BoosterParams
    communicator : Communicator
    engine : Engine
        Scans the pooled sums.
    tree_index : int
        Number of the tree in the model; with ``params.seed`` it chooses rows and columns.
    bounds : NodeBounds
        Public bounds of the rows before this tree.
    bins : BinBounds or None
        What is publicly known of single bins; None is what counts say. With row sampling it must
        not be from other trees.

    Raises
    ------
    FraudFedError
        If a sum fails.
    """
    growing = growing_tree(
        rows, cuts, params, engine=engine, tree_index=tree_index, bounds=bounds, bins=bins
    )
    return carry_out(growing, communicator)


def growing_tree(
    rows: GrowingRows,
    cuts: Cuts,
    params: BoosterParams,
    *,
    engine: Engine,
    tree_index: int,
    bounds: NodeBounds,
    bins: BinBounds | None = None,
) -> Summing[GrownTree]:
    """Grow one tree as ``grow_tree`` does, and leave its sums to the caller."""
    if bins is None:
        bins = BinBounds.before_training(cuts, bounds)
    histograms = HistogramSummer(rows, cuts, bounds=bounds, bins=bins, tree_index=tree_index)
    columns = ColumnSampler(params, n_features=cuts.schema.n_features, tree_index=tree_index)
    banks = BankCounter(rows, params, tree_index=tree_index)
    grower = _Grower(rows, cuts, params, engine, histograms, columns, banks)
    return (yield from grower.grow())


@dataclass(frozen=True, eq=False)
class _Node:
    """A node while its tree grows; ``possible`` are the bins that can hold rows of it."""

    depth: int
    sums: NodeSums
    bounds: WeightBounds
    possible: BoolArray


class _Grower:
    def __init__(
        self,
        rows: GrowingRows,
        cuts: Cuts,
        params: BoosterParams,
        engine: Engine,
        histograms: HistogramSummer,
        columns: ColumnSampler,
        banks: BankCounter,
    ) -> None:
        self._cuts = cuts
        self._banks = banks
        self._histograms = histograms
        self._columns = columns
        self._rows = rows
        self._formula = GainFormula(params, cuts.schema)
        self._finder = SplitFinder(params, cuts, self._formula, engine)
        self._queue = ExpansionQueue(params)
        self._tree = TreeBuilder(eta=params.eta)
        #: Leaves of the tree so far, and what is known of those that wait in the queue.
        self._leaves: dict[int, _Node] = {}
        self._pooled: dict[int, PooledHistogram] = {}

    def grow(self) -> Summing[GrownTree]:
        yield from self._start_root()
        while batch := self._queue.pop():
            families = [
                (candidate, self._pooled.pop(candidate.node), numbers)
                for candidate, numbers in zip(batch, self._split(batch), strict=True)
            ]
            yield from self._find_splits(
                [
                    (pooled, children)
                    for candidate, pooled, children in families
                    if self._queue.may_split_children(candidate)
                ]
            )
        return GrownTree(tree=self._tree.build(), bounds=self._histograms.tree_bounds)

    def _start_root(self) -> Summing[None]:
        features = self._columns.node_features(depth=0, node=0)
        pooled, gradient, hessian = yield from self._histograms.sum_root(self._mask(features))
        sums = np.array([[gradient], [hessian]], dtype=np.int64)
        ((weight,), (gain,)) = self._weights_and_gains(sums, [UNBOUNDED])
        self._leaves[0] = _Node(
            depth=0,
            sums=NodeSums(gradient=gradient, hessian=hessian, gain=gain),
            bounds=UNBOUNDED,
            possible=np.ones(int(self._cuts.offsets[-1]), dtype=np.bool_),
        )
        self._tree.add_root(weight, _as_float(hessian))
        yield from self._queue_best_splits([(0, pooled, features)])

    def _split(self, batch: list[Candidate]) -> list[tuple[int, int]]:
        """Turn leaves into splits, send their rows to two new leaves each; return the numbers."""
        nodes = [self._leaves.pop(candidate.node) for candidate in batch]
        # XGBoost takes the children's weights, and their gains as leaves, within the bounds of
        # the parent; the children's own bounds hold from their own splits on.
        sums = np.array(
            [
                (node.sums.gradient, node.sums.hessian, *c.split.left, *c.split.right)
                for node, c in zip(nodes, batch, strict=True)
            ],
            dtype=np.int64,
        )
        weights, gains = self._weights_and_gains(
            sums.reshape(-1, 2).T, [bounds for node in nodes for bounds in (node.bounds,) * 3]
        )
        tables = [candidate.split.table(self._cuts) for candidate in batch]
        children = [
            self._add_children(
                candidate,
                node,
                weights[3 * i : 3 * i + 3],
                gains[3 * i : 3 * i + 3],
                self._possible(node.possible, candidate.split.feature, tables[i]),
            )
            for i, (candidate, node) in enumerate(zip(batch, nodes, strict=True))
        ]
        self._rows.split(
            [
                NodeSplit(candidate.node, candidate.split.feature, table, *numbers)
                for candidate, table, numbers in zip(batch, tables, children, strict=True)
            ]
        )
        return children

    def _add_children(
        self,
        candidate: Candidate,
        node: _Node,
        weights: Float32Array,
        gains: Float32Array,
        possible: tuple[BoolArray, BoolArray],
    ) -> tuple[int, int]:
        """Add two leaves in place of one; weights and gains are of the node, left and right."""
        split = candidate.split
        base_weight, left_weight, right_weight = weights
        numbers = self._tree.add_split(
            candidate.node,
            split,
            condition=self._condition(split),
            base_weight=base_weight,
            child_weights=(left_weight, right_weight),
            child_hessians=(_as_float(split.left[1]), _as_float(split.right[1])),
        )
        bounds = self._child_bounds(node.bounds, split.feature, left_weight, right_weight)
        for side, sums in enumerate((split.left, split.right)):
            self._leaves[numbers[side]] = _Node(
                depth=node.depth + 1,
                sums=NodeSums(*sums, gain=gains[1 + side]),
                bounds=bounds[side],
                possible=possible[side],
            )
        return numbers

    def _possible(
        self, of_node: BoolArray, feature: int, table: BoolArray
    ) -> tuple[BoolArray, BoolArray]:
        """Return the bins that can hold rows of the left child, and of the right one."""
        start, stop = self._cuts.offsets[feature : feature + 2]
        left, right = of_node.copy(), of_node.copy()
        # The last entry of the table is for missing values, which lie in no bin.
        left[start:stop] &= table[:-1]
        right[start:stop] &= ~table[:-1]
        return left, right

    def _find_splits(
        self, families: list[tuple[PooledHistogram, tuple[int, int]]]
    ) -> Summing[None]:
        """Sum what is needed of all the children in one go, and queue their best splits."""
        features = {
            number: self._features_of(number) for _, numbers in families for number in numbers
        }
        pairs = yield from self._histograms.sum_children(
            [
                (
                    parent,
                    self._demand(numbers[0], features[numbers[0]]),
                    self._demand(numbers[1], features[numbers[1]]),
                )
                for parent, numbers in families
            ]
        )
        yield from self._queue_best_splits(
            [
                (number, histogram, features[number])
                for (_, numbers), pooled in zip(families, pairs, strict=True)
                for number, histogram in zip(numbers, pooled, strict=True)
            ]
        )

    def _features_of(self, number: int) -> Int64Array:
        """Return the features on which a node may be split; none if it surely stays a leaf."""
        node = self._leaves[number]
        if not self._formula.can_split(node.sums.hessian):
            return np.empty(0, dtype=np.int64)
        return self._columns.node_features(depth=node.depth, node=number)

    def _demand(self, number: int, features: Int64Array) -> ChildDemand:
        node = self._leaves[number]
        return ChildDemand(
            gradient=node.sums.gradient,
            hessian=node.sums.hessian,
            node=number,
            wanted=self._mask(features),
            possible=node.possible,
        )

    def _queue_best_splits(
        self, found: list[tuple[int, PooledHistogram, Int64Array]]
    ) -> Summing[None]:
        """Queue the best split of each of some nodes: on which of their features it may be."""
        waiting = found
        for _ in range(MOST_TRIES):
            best = [
                (number, pooled, features, split)
                for number, pooled, features in waiting
                if (split := self._best_split(number, pooled, features)) is not None
            ]
            if not best:
                return
            if not self._banks.is_on:
                enough = np.ones(len(best), dtype=np.bool_)
            else:
                enough = yield from self._banks.counting(
                    [self._tried(number, split) for number, _, _, split in best]
                )
            waiting = []
            for (number, pooled, features, split), is_enough in zip(best, enough, strict=True):
                if is_enough:
                    node = self._leaves[number]
                    self._queue.push(Candidate(node=number, depth=node.depth, split=split))
                    self._pooled[number] = pooled
                else:
                    # The next best is on another column: edges beside this one are as thin.
                    waiting.append((number, pooled, features[features != split.feature]))

    def _best_split(
        self, number: int, pooled: PooledHistogram, features: Int64Array
    ) -> Split | None:
        """Return the best split of a node that gains something."""
        node = self._leaves[number]
        split = self._finder.find(pooled.sums, node.sums, features, node.bounds)
        return split if split is not None and gains_something(split) else None

    def _tried(self, number: int, split: Split) -> TriedSplit:
        return TriedSplit(
            NodeSplit(number, split.feature, split.table(self._cuts)),
            hessians=(split.left[1], split.right[1]),
        )

    def _weights_and_gains(
        self, sums: Int64Array, bounds: list[WeightBounds]
    ) -> tuple[Float32Array, Float32Array]:
        """Return weights and gains of nodes with the sums of shape (2, n_nodes)."""
        gradients, hessians = to_double(sums)
        each = BoundsOfNodes.of(bounds)
        weights = self._formula.weight(gradients, hessians, each)
        return weights, self._formula.gain(gradients, hessians, each)

    def _child_bounds(
        self, bounds: WeightBounds, feature: int, left: np.float32, right: np.float32
    ) -> tuple[WeightBounds, WeightBounds]:
        """Part the node's interval at the middle of the children's weights."""
        direction = int(self._formula.directions[feature])
        if direction == 0:
            return bounds, bounds
        middle = (left + right) / np.float32(2.0)
        below = WeightBounds(lower=bounds.lower, upper=middle)
        above = WeightBounds(lower=middle, upper=bounds.upper)
        return (below, above) if direction > 0 else (above, below)

    def _condition(self, split: Split) -> np.float32:
        """Return the threshold of a split: smaller values go left."""
        if split.is_categorical:
            # What XGBoost stores where there is no threshold (``DftBadValue``).
            return np.float32(np.finfo(np.float32).smallest_subnormal)
        if split.split_bin < 0:
            # XGBoost stores the feature's least value here, since 3.3 minus infinity. We publish
            # no row's value, and a model of finite numbers is JSON to any reader.
            return np.float32(-FLOAT32_MAX)
        return np.float32(self._cuts.values[split.feature][split.split_bin])

    def _mask(self, features: Int64Array) -> BoolArray:
        mask = np.zeros(self._cuts.schema.n_features, dtype=np.bool_)
        mask[features] = True
        return mask


def _as_float(hessian: int) -> np.float32:
    # Rounded to double first, as to_double does; Python's int / int would round only once.
    return np.float32(float(hessian) / FIXED_POINT_ONE)
