"""Train one model over the rows of all banks; every bank runs this and ends with the same bytes.

Law: the model depends on the parameters and on the pooled rows only, not on how the rows are split
over banks. All that passes between banks goes through ``Communicator.sum``; there is no clock, no
file and no random stream here.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bin_bounds import BinBounds
from fraudfed.boosting.bins import BinnedTable, Cuts, bin_table
from fraudfed.boosting.bounds import MarginRange, NodeBounds
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.elementary import sigmoid
from fraudfed.boosting.grower import grow_tree
from fraudfed.boosting.metrics import is_better, pooled_metrics
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import (
    GradientBounds,
    base_margin,
    estimate_base_score,
    gradient_bounds,
    gradients,
)
from fraudfed.boosting.pages import huge_empty
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.partition import assign_leaves
from fraudfed.boosting.sampling import row_keys
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.boosting.workers import Workers
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Float32Array, Int64Array, UInt64Array
from fraudfed.errors import DataError, ParameterError

__all__ = ["MAX_POOLED_ROWS", "PooledCounts", "TrainResult", "TreeProgress", "train"]

logger = logging.getLogger(__name__)

#: Bound of the very first sum, before anything is known of the rows.
MAX_POOLED_ROWS = 2**36

#: Rows looked through at a time for infinite values.
_CHECKED_ROWS = 1 << 14

#: XGBoost's Python package refuses these in a feature name.
_FORBIDDEN_IN_NAMES = "[]<"


@dataclass(frozen=True)
class PooledCounts:
    """Public number of rows of all banks together.

    Attributes
    ----------
    n_rows, n_positives : int
        Training rows, and those with label 1.
    n_validation_rows, n_validation_positives : int
        0 without validation.
    """

    n_rows: int
    n_positives: int
    n_validation_rows: int = 0
    n_validation_positives: int = 0


@dataclass(frozen=True)
class TreeProgress:
    """What is known after a tree; the same at every bank.

    Attributes
    ----------
    tree_index : int
        Number of the tree, from 0.
    n_trees : int
        Trees asked for (``num_boost_round``).
    n_leaves : int
    metrics : mapping of str to float
        Pooled validation metrics with this tree; empty without validation.
    best_iteration : int or None
        Best tree so far by the last metric; None without validation.
    """

    tree_index: int
    n_trees: int
    n_leaves: int
    metrics: Mapping[str, float]
    best_iteration: int | None


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The model and how it came about.

    Attributes
    ----------
    model : Model
        With early stopping, it ends with the best iteration.
    history : tuple of TreeProgress
        One for each tree that was grown, also those cut off again.
    cuts : Cuts
    counts : PooledCounts
    best_iteration : int or None
        Best tree by the last metric; None without validation.
    margins : ndarray of shape (n_rows,), dtype=float32
        Sum of base margin and leaf values of this bank's training rows over all trees grown.
        Private to the bank.
    """

    model: Model
    history: tuple[TreeProgress, ...]
    cuts: Cuts
    counts: PooledCounts
    best_iteration: int | None
    margins: Float32Array


def train(
    params: BoosterParams,
    table: TrainingTable,
    communicator: Communicator,
    *,
    validation: TrainingTable | None = None,
    on_tree: Callable[[TreeProgress], None] | None = None,
    threads: int | None = None,
) -> TrainResult:
    """Train a model over the rows of all banks.

    Parameters
    ----------
    params : BoosterParams
        The same at every bank.
    table : TrainingTable
        This bank's training rows; there may be none. Schema, ``max_weight`` and whether there are
        weights are the same at every bank.
    communicator : Communicator
    validation : TrainingTable or None
        This bank's rows for the metrics. Every bank of the cohort gives a table (it may have no
        rows), or none does.
    on_tree : callable or None
        Called after each tree.
    threads : int or None
        Threads for this bank's rows; they change no result. None is as many as the process may
        use cores.

    Raises
    ------
    ParameterError
        If the parameters do not fit the schema, or ask for early stopping without validation.
    DataError
        If a row breaks the contract of ``TrainingTable``, or the pooled rows have one class only.
    FraudFedError
        If a sum fails.
    """
    workers = Workers(threads)
    params.resolve_monotone_constraints(table.schema)
    if params.early_stopping_rounds is not None and validation is None:
        raise ParameterError(
            f"parameter early_stopping_rounds is {params.early_stopping_rounds} but there are no "
            "validation rows; give some at every bank, or leave the parameter out"
        )
    _check_schema(table.schema)
    _check_rows(table, what="training rows")
    if validation is not None:
        if validation.schema != table.schema:
            raise DataError(
                "validation rows have another schema than training rows; use the same features"
            )
        _check_rows(validation, what="validation rows")
    counts = _count_rows(table, validation, communicator)
    bounds = gradient_bounds(max_weight=table.max_weight, scale_pos_weight=params.scale_pos_weight)
    bounds.check_rows(counts.n_rows, counts.n_positives)
    base_score = params.base_score
    if base_score is None:
        base_score = float(
            estimate_base_score(
                table,
                communicator,
                scale_pos_weight=params.scale_pos_weight,
                n_rows=counts.n_rows,
                n_positives=counts.n_positives,
            )
        )
    cuts = find_cuts(
        table,
        communicator,
        max_bin=params.max_bin,
        n_rows_total=counts.n_rows,
        workers=workers,
    )
    binned = bin_table(table, cuts, workers=workers)
    boosting = _Boosting(params, table, binned, communicator, counts, bounds, base_score)
    watch = None
    if validation is not None:
        watch = _Watch(bin_table(validation, cuts, workers=workers), validation.labels, base_score)
    while boosting.n_trees < params.num_boost_round:
        tree = boosting.add_tree()
        progress = TreeProgress(
            tree_index=boosting.n_trees - 1,
            n_trees=params.num_boost_round,
            n_leaves=int(np.count_nonzero(tree.left_children == NO_CHILD)),
            metrics={} if watch is None else watch.add(tree, params, communicator, counts),
            best_iteration=None if watch is None else watch.best_iteration,
        )
        boosting.history.append(progress)
        logger.debug("tree %d: %s", progress.tree_index, progress)
        if on_tree is not None:
            on_tree(progress)
        if watch is not None and watch.is_exhausted(params, boosting.n_trees):
            break
    return boosting.result(watch)


class _Boosting:
    """Trees so far, and this bank's margins."""

    def __init__(
        self,
        params: BoosterParams,
        table: TrainingTable,
        binned: BinnedTable,
        communicator: Communicator,
        counts: PooledCounts,
        bounds: GradientBounds,
        base_score: float,
    ) -> None:
        self._params = params
        self._table = table
        self._communicator = communicator
        self._counts = counts
        self._bounds = bounds
        self._base_score = base_score
        self._binned = binned
        self._row_keys: UInt64Array | None = row_keys(table) if params.subsample < 1.0 else None
        start = base_margin(base_score)
        self._margins = np.full(table.n_rows, start, dtype=np.float32)
        self._margin_range = MarginRange.at(float(start))
        self._bins = BinBounds.before_training(binned.cuts, self._node_bounds())
        #: Gradients and hessians, written anew for each tree.
        self._pairs: Int64Array = huge_empty((table.n_rows, 2), np.int64)
        self._trees: list[Tree] = []
        self.history: list[TreeProgress] = []

    @property
    def n_trees(self) -> int:
        return len(self._trees)

    def add_tree(self) -> Tree:
        pair = gradients(
            self._margins,
            self._table.labels,
            self._table.weights,
            scale_pos_weight=self._params.scale_pos_weight,
            workers=self._binned.workers,
            out=self._pairs,
        )
        grown = grow_tree(
            self._binned,
            pair,
            self._params,
            self._communicator,
            tree_index=self.n_trees,
            bounds=self._node_bounds(),
            bins=self._bins,
            row_keys=self._row_keys,
        )
        if self._row_keys is None:
            # With row sampling each root is of other rows, and bounds none of the next.
            self._bins = grown.bounds.after(grown.tree, self._margin_range)
        grown.add_to(self._margins)
        self._margin_range = self._margin_range.after(grown.tree)
        self._trees.append(grown.tree)
        return grown.tree

    def _node_bounds(self) -> NodeBounds:
        ends = np.array([self._margin_range.low, self._margin_range.high], dtype=np.float32)
        low, high = sigmoid(ends)
        return NodeBounds(
            n_rows=self._counts.n_rows,
            n_positives=self._counts.n_positives,
            row=self._bounds,
            min_probability=float(low),
            max_probability=float(high),
        )

    def result(self, watch: "_Watch | None") -> TrainResult:
        kept = self._trees
        attributes: dict[str, str] = {}
        if watch is not None and self._params.early_stopping_rounds is not None:
            # The names under which XGBoost's Python package keeps and reads them.
            attributes = {
                "best_iteration": str(watch.best_iteration),
                "best_score": repr(watch.best_value),
            }
            kept = kept[: watch.best_iteration + 1]
        model = Model(
            trees=tuple(kept),
            base_score=self._base_score,
            schema=self._table.schema,
            scale_pos_weight=self._params.scale_pos_weight,
            attributes=attributes,
            statistics_bits=self._params.statistics_bits,
        )
        return TrainResult(
            model=model,
            history=tuple(self.history),
            cuts=self._binned.cuts,
            counts=self._counts,
            best_iteration=None if watch is None else watch.best_iteration,
            margins=self._margins,
        )


class _Watch:
    """Validation rows, their margins, and the best tree by the last metric."""

    def __init__(self, binned: BinnedTable, labels: Float32Array, base_score: float) -> None:
        self._labels = labels
        self._binned = binned
        self._margins = np.full(binned.n_rows, base_margin(base_score), dtype=np.float32)
        self._n_trees = 0
        self.best_iteration = 0
        self.best_value = 0.0

    def add(
        self, tree: Tree, params: BoosterParams, communicator: Communicator, counts: PooledCounts
    ) -> dict[str, float]:
        """Add a tree to the margins and return the pooled metrics."""
        assign_leaves(tree, self._binned).add_values(tree.split_conditions, self._margins)
        values = pooled_metrics(
            params.eval_metric,
            self._margins,
            self._labels,
            communicator,
            n_rows=counts.n_validation_rows,
            n_positives=counts.n_validation_positives,
        )
        deciding = params.eval_metric[-1]
        if self._n_trees == 0 or is_better(deciding, values[deciding], self.best_value):
            self.best_iteration, self.best_value = self._n_trees, values[deciding]
        self._n_trees += 1
        return values

    def is_exhausted(self, params: BoosterParams, n_trees: int) -> bool:
        patience = params.early_stopping_rounds
        return patience is not None and n_trees - 1 - self.best_iteration >= patience


def _count_rows(
    table: TrainingTable, validation: TrainingTable | None, communicator: Communicator
) -> PooledCounts:
    parts = [table] if validation is None else [table, validation]
    local = [count for part in parts for count in (part.n_rows, int(np.sum(part.labels == 1)))]
    pooled = communicator.sum(
        np.array(local, dtype=np.int64), bound=MAX_POOLED_ROWS, low=0, label="rows"
    ).tolist()
    counts = PooledCounts(*pooled)
    for what, n_rows, n_positives in (
        ("training rows", counts.n_rows, counts.n_positives),
        ("validation rows", counts.n_validation_rows, counts.n_validation_positives),
    )[: len(parts)]:
        if n_rows == 0:
            raise DataError(f"no bank has any {what}; expected rows of both classes")
        if n_positives in (0, n_rows):
            label = 0 if n_positives == 0 else 1
            raise DataError(
                f"the {n_rows} {what} of all banks have only one class, label {label}; expected "
                "labels 0 and 1, check the label column and the time window"
            )
    return counts


def _check_schema(schema: FeatureSchema) -> None:
    for name in schema.names:
        found = [character for character in _FORBIDDEN_IN_NAMES if character in name]
        if found:
            raise DataError(
                f"feature name {name!r} contains {found[0]!r}, which XGBoost does not accept; "
                "rename the feature in the data contract"
            )


def _check_rows(table: TrainingTable, *, what: str) -> None:
    """Check what the arrays' types cannot say; the message names row and column, no value."""
    bad = np.flatnonzero((table.labels != 0) & (table.labels != 1))
    if bad.size:
        raise DataError(
            f"{what}: the label of row {bad[0]} is not 0 or 1; correct the label column"
        )
    if table.weights is not None:
        bad = np.flatnonzero(~((table.weights > 0) & (table.weights <= table.max_weight)))
        if bad.size:
            raise DataError(
                f"{what}: the weight of row {bad[0]} is not in (0, {table.max_weight:g}]; "
                "correct the weight column or raise max_weight in the data contract"
            )
    any_infinite = _has_infinity(table.features)
    for feature, name in enumerate(table.schema.names):
        if not (any_infinite or table.schema.is_categorical(feature)):
            continue
        column = table.features[:, feature]
        if table.schema.is_categorical(feature):
            n_categories = table.schema.n_categories[feature]
            valid = np.isnan(column) | (
                (column >= 0) & (column < n_categories) & (np.floor(column) == column)
            )
            expected = f"a category code from 0 to {n_categories - 1} or missing"
        else:
            valid = ~np.isinf(column)
            expected = "a finite number or missing"
        if not valid.all():
            row = int(np.argmin(valid))
            raise DataError(f"{what}: feature {name!r} of row {row} is not {expected}")


def _has_infinity(features: Float32Array) -> bool:
    """Look through all values as they lie in memory, some rows at a time to need no memory."""
    return any(
        bool(np.isinf(features[start : start + _CHECKED_ROWS]).any())
        for start in range(0, len(features), _CHECKED_ROWS)
    )
