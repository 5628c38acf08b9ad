"""Grow one tree, as XGBoost's ``hist`` does, with every sum taken over all banks.

One secure sum gives the root, and one each batch of split nodes (a level, if it has no more than
256 of them). The order of steps is that of ``src/tree/updater_quantile_hist.cc``.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, BinnedTable
from fraudfed.boosting.bounds import NodeBounds
from fraudfed.boosting.driver import Candidate, ExpansionQueue
from fraudfed.boosting.gain import UNBOUNDED, GainFormula, WeightBounds, to_double
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.partition import goes_left
from fraudfed.boosting.pooled_histogram import ChildDemand, HistogramSummer, PooledHistogram
from fraudfed.boosting.sampling import ColumnSampler, sample_rows
from fraudfed.boosting.split import SplitFinder
from fraudfed.boosting.split_candidate import NodeSums, Split
from fraudfed.boosting.tree import Tree
from fraudfed.boosting.tree_builder import TreeBuilder
from fraudfed.communicator import Communicator
from fraudfed.dtypes import BoolArray, Float32Array, Int32Array, Int64Array, UInt64Array

__all__ = ["GrownTree", "grow_tree"]


@dataclass(frozen=True, eq=False)
class GrownTree:
    """A tree and where this bank's rows ended.

    Attributes
    ----------
    tree : Tree
        Equal at every bank.
    row_leaves : ndarray of shape (n_rows,), dtype=int32
        Leaf of each row, also of rows outside the sample.
    """

    tree: Tree
    row_leaves: Int32Array

    @property
    def row_leaf_values(self) -> Float32Array:
        """What the tree adds to each row's margin; shape (n_rows,)."""
        return self.tree.split_conditions[self.row_leaves]


def grow_tree(
    binned: BinnedTable,
    gradients: Int64Array,
    params: BoosterParams,
    communicator: Communicator,
    *,
    tree_index: int,
    bounds: NodeBounds,
    row_keys: UInt64Array | None = None,
) -> GrownTree:
    """Grow one tree over the rows of all banks.

    Parameters
    ----------
    binned : BinnedTable
        This bank's rows.
    gradients : ndarray of shape (n_rows, 2), dtype=int64
        Gradient and hessian of each row in fixed point.
    params : BoosterParams
    communicator : Communicator
    tree_index : int
        Number of the tree in the model; with ``params.seed`` it chooses rows and columns.
    bounds : NodeBounds
        Public bounds of this boosting round.
    row_keys : ndarray of shape (n_rows,), dtype=uint64, or None
        From ``sampling.row_keys``; needed if ``params.subsample`` is below 1.

    Raises
    ------
    ValueError
        If rows are to be sampled and ``row_keys`` is None, or shapes do not fit.
    FraudFedError
        If a sum fails.
    """
    if gradients.shape != (binned.n_rows, 2):
        raise ValueError(f"gradients have shape {gradients.shape}, expected ({binned.n_rows}, 2)")
    is_sampled = np.ones(binned.n_rows, dtype=np.bool_)
    if params.subsample < 1.0:
        if row_keys is None or row_keys.shape != (binned.n_rows,):
            raise ValueError(f"subsample is {params.subsample}: give one row key per row")
        is_sampled = sample_rows(
            row_keys, seed=params.seed, tree_index=tree_index, fraction=params.subsample
        )
    histograms = HistogramSummer(
        binned, gradients, communicator, bounds=bounds, tree_index=tree_index
    )
    columns = ColumnSampler(params, n_features=binned.cuts.schema.n_features, tree_index=tree_index)
    return _Grower(binned, params, histograms, columns).grow(is_sampled)


@dataclass(eq=False)
class _Node:
    """A node while its tree grows.

    ``rows`` holds this bank's rows, the ``n_sampled`` sampled ones first.
    """

    depth: int
    sums: NodeSums
    bounds: WeightBounds
    rows: Int64Array
    n_sampled: int


class _Grower:
    def __init__(
        self,
        binned: BinnedTable,
        params: BoosterParams,
        histograms: HistogramSummer,
        columns: ColumnSampler,
    ) -> None:
        self._binned = binned
        self._histograms = histograms
        self._columns = columns
        self._formula = GainFormula(params, binned.cuts.schema)
        self._finder = SplitFinder(params, binned.cuts, self._formula)
        self._queue = ExpansionQueue(params)
        self._tree = TreeBuilder(eta=params.eta)
        #: Leaves of the tree so far, and what is known of those that wait in the queue.
        self._leaves: dict[int, _Node] = {}
        self._pooled: dict[int, PooledHistogram] = {}

    def grow(self, is_sampled: BoolArray) -> GrownTree:
        self._start_root(is_sampled)
        while batch := self._queue.pop():
            families = [(c, self._pooled.pop(c.node), self._split(c)) for c in batch]
            self._find_splits(
                [
                    (pooled, children)
                    for candidate, pooled, children in families
                    if self._queue.may_split_children(candidate)
                ]
            )
        row_leaves = np.empty(self._binned.n_rows, dtype=np.int32)
        for number, node in self._leaves.items():
            row_leaves[node.rows] = number
        return GrownTree(tree=self._tree.build(), row_leaves=row_leaves)

    def _start_root(self, is_sampled: BoolArray) -> None:
        rows = np.concatenate((np.flatnonzero(is_sampled), np.flatnonzero(~is_sampled)))
        n_sampled = int(np.count_nonzero(is_sampled))
        features = self._columns.node_features(depth=0, node=0)
        pooled, gradient, hessian = self._histograms.sum_root(
            rows[:n_sampled], self._mask(features)
        )
        weight, gain = self._weight_and_gain((gradient, hessian), UNBOUNDED)
        sums = NodeSums(gradient=gradient, hessian=hessian, gain=gain)
        root = _Node(depth=0, sums=sums, bounds=UNBOUNDED, rows=rows, n_sampled=n_sampled)
        self._leaves[0] = root
        self._tree.add_root(weight, _as_float(hessian))
        self._queue_best_split(0, pooled, features)

    def _split(self, candidate: Candidate) -> tuple[int, int]:
        """Turn a leaf into a split, send its rows to two new leaves and return their numbers."""
        node, split = self._leaves.pop(candidate.node), candidate.split
        # XGBoost takes the children's weights, and their gains as leaves, within the bounds of
        # the parent; the children's own bounds hold from their own splits on.
        left_weight, left_gain = self._weight_and_gain(split.left, node.bounds)
        right_weight, right_gain = self._weight_and_gain(split.right, node.bounds)
        base_weight, _ = self._weight_and_gain((node.sums.gradient, node.sums.hessian), node.bounds)
        numbers = self._tree.add_split(
            candidate.node,
            split,
            condition=self._condition(split),
            base_weight=base_weight,
            child_weights=(left_weight, right_weight),
            child_hessians=(_as_float(split.left[1]), _as_float(split.right[1])),
        )
        table = goes_left(
            len(self._binned.cuts.values[split.feature]),
            split_bin=split.split_bin,
            right_categories=split.right_categories,
            is_categorical=split.is_categorical,
            default_left=split.default_left,
        )
        is_left = table[self._binned.bins[split.feature].take(node.rows)]
        n_left = int(np.count_nonzero(is_left[: node.n_sampled]))
        left_bounds, right_bounds = self._child_bounds(
            node.bounds, split.feature, left_weight, right_weight
        )
        # Selecting by a mask keeps order, so the sampled rows stay in front.
        self._leaves[numbers[0]] = _Node(
            depth=node.depth + 1,
            sums=NodeSums(*split.left, gain=left_gain),
            bounds=left_bounds,
            rows=node.rows[is_left],
            n_sampled=n_left,
        )
        self._leaves[numbers[1]] = _Node(
            depth=node.depth + 1,
            sums=NodeSums(*split.right, gain=right_gain),
            bounds=right_bounds,
            rows=node.rows[~is_left],
            n_sampled=node.n_sampled - n_left,
        )
        return numbers

    def _find_splits(self, families: list[tuple[PooledHistogram, tuple[int, int]]]) -> None:
        """Sum what is needed of all the children in one go, and queue their best splits."""
        features = {
            number: self._features_of(number) for _, numbers in families for number in numbers
        }
        pairs = self._histograms.sum_children(
            [
                (
                    parent,
                    self._demand(numbers[0], features[numbers[0]]),
                    self._demand(numbers[1], features[numbers[1]]),
                )
                for parent, numbers in families
            ]
        )
        for (_, numbers), pooled in zip(families, pairs, strict=True):
            for number, histogram in zip(numbers, pooled, strict=True):
                self._queue_best_split(number, histogram, features[number])

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
            rows=node.rows[: node.n_sampled],
            wanted=self._mask(features),
        )

    def _queue_best_split(self, number: int, pooled: PooledHistogram, features: Int64Array) -> None:
        node = self._leaves[number]
        split = self._finder.find(pooled.sums, node.sums, features, node.bounds)
        if split is None:
            return
        if self._queue.push(Candidate(node=number, depth=node.depth, split=split)):
            self._pooled[number] = pooled

    def _weight_and_gain(
        self, sums: tuple[int, int], bounds: WeightBounds
    ) -> tuple[np.float32, np.float32]:
        gradient, hessian = to_double(np.array(sums, dtype=np.int64).reshape(2, 1))
        weight = self._formula.weight(gradient, hessian, bounds)
        return weight[0], self._formula.gain(gradient, hessian, bounds)[0]

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
            # nobody's value, and a model of finite numbers is JSON to any reader.
            return np.float32(-FLOAT32_MAX)
        return np.float32(self._binned.cuts.values[split.feature][split.split_bin])

    def _mask(self, features: Int64Array) -> BoolArray:
        mask = np.zeros(self._binned.cuts.schema.n_features, dtype=np.bool_)
        mask[features] = True
        return mask


def _as_float(hessian: int) -> np.float32:
    return np.float32(to_double(np.array([hessian], dtype=np.int64))[0])
