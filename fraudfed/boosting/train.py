"""Train one model over the rows of all banks; every bank runs this and ends with the same bytes.

Law: the model depends on the parameters and on the pooled rows only, not on how the rows are split
over banks. All that passes between banks goes through ``Communicator.sum``; there is no clock, no
file and no random stream here.

A training goes in steps: the preparation, then one tree after the other. After each step it can
stop and be resumed, also by another set of banks; ``resume.state`` says what that takes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from fraudfed.boosting.bank_weight import bound_weight
from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.booster import Booster
from fraudfed.boosting.bounds.pooled_counts import (
    PooledCounts,
    count_rows,
    count_validation_rows,
)
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.metrics import check_validation_rows, pooled_metrics
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import (
    estimate_base_score,
    gradient_bounds,
)
from fraudfed.boosting.resume.state import (
    TrainingState,
    TreeProgress,
    params_digest,
    progress_after,
)
from fraudfed.boosting.shard.local import shard_of
from fraudfed.boosting.shard.protocol import BoostedRows, Shard
from fraudfed.boosting.table import TrainingTable, check_schema
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Communicator, carry_out
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError, ParameterError, StateError
from fraudfed.parameters import BoosterParams

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The model and how it came about.

    Attributes
    ----------
    model : Model
        With early stopping, it ends with the best iteration.
    history : tuple of TreeProgress
        One for each tree that was grown, also those cut off again and those before ``start``.
    cuts : Cuts
    counts : PooledCounts
        Training rows of the banks of the preparation, validation rows of those of the last step.
    best_iteration : int or None
        Best tree by the last metric; None without validation.
    rows : BoostedRows
        This bank's training rows after all trees grown. Private to the bank.
    """

    model: Model
    history: tuple[TreeProgress, ...]
    cuts: Cuts
    counts: PooledCounts
    best_iteration: int | None
    rows: BoostedRows

    @property
    def margins(self) -> Float32Array:
        """Base margin and leaf values of this bank's training rows over all trees grown.

        Shape (n_rows,), dtype=float32; private to the bank. Not for rows that need more than one
        machine.
        """
        return self.rows.margins()


def train(
    params: BoosterParams,
    rows: TrainingTable | Shard,
    communicator: Communicator,
    *,
    validation: TrainingTable | Shard | None = None,
    start: TrainingState | None = None,
    on_step: Callable[[TrainingState], None] | None = None,
    on_tree: Callable[[TreeProgress], None] | None = None,
    threads: int | None = None,
) -> TrainResult:
    """Train a model over the rows of all banks.

    Parameters
    ----------
    params : BoosterParams
        The same at every bank.
    rows : TrainingTable or Shard
        This bank's training rows, in memory or wherever; there may be none. Schema, ``max_weight``
        and whether there are weights are the same at every bank.
    communicator : Communicator
    validation : TrainingTable, Shard or None
        This bank's rows for the metrics. Every bank of the cohort gives some (there may be none of
        them), or none does.
    start : TrainingState or None
        Where to continue, the same at every bank; None is from the beginning. With another set of
        banks it must be ``regrouped``. A finished training returns its result without any sum.
    on_step : callable or None
        Called with the state after each step that this call finishes: the preparation, and each
        tree with its metrics.
    on_tree : callable or None
        Called after each tree that this call grows, after ``on_step``.
    threads : int or None
        Threads for rows that come as a table; they change no result. None is as many as the process
        may use cores.

    Raises
    ------
    ParameterError, DataError
        As ``check_tables`` and ``train_checked``.
    StateError, FraudFedError
        As ``train_checked``.
    """
    rows = shard_of(rows, threads=threads)
    validation = None if validation is None else shard_of(validation, threads=threads)
    check_tables(params, rows, validation)
    return train_checked(
        params,
        rows,
        communicator,
        validation=validation,
        start=start,
        on_step=on_step,
        on_tree=on_tree,
        threads=threads,
    )


def check_tables(
    params: BoosterParams,
    rows: TrainingTable | Shard,
    validation: TrainingTable | Shard | None,
) -> None:
    """Check this bank's rows: all that can be wrong with them, before another bank waits for it.

    A bank that failed later would tell the others something of its rows, and they can choose when
    (``fraudfed.held_sums``).

    Parameters
    ----------
    params, rows, validation
        As ``train``.

    Raises
    ------
    ParameterError
        If the parameters do not fit the schema, or ask for early stopping without validation.
    DataError
        If a row breaks the contract of ``TrainingTable``, or there are so many that this bank's own
        sums could leave 62 bits.
    """
    rows = shard_of(rows)
    params.resolve_monotone_constraints(rows.schema)
    if params.early_stopping_rounds is not None and validation is None:
        raise ParameterError(
            f"parameter early_stopping_rounds is {params.early_stopping_rounds} but there are no "
            "validation rows; give some at every bank, or leave the parameter out"
        )
    check_schema(rows.schema)
    rows.check("training rows")
    if validation is not None:
        validation = shard_of(validation)
        if validation.schema != rows.schema:
            raise DataError(
                "validation rows have another schema than training rows; use the same features"
            )
        validation.check("validation rows")
        check_validation_rows(params.eval_metric, validation.n_rows)
    row = gradient_bounds(max_weight=rows.max_weight, scale_pos_weight=params.scale_pos_weight)
    row.check_rows(rows.n_rows, rows.n_positives)


def train_checked(
    params: BoosterParams,
    rows: TrainingTable | Shard,
    communicator: Communicator,
    *,
    validation: TrainingTable | Shard | None = None,
    start: TrainingState | None = None,
    on_step: Callable[[TrainingState], None] | None = None,
    on_tree: Callable[[TreeProgress], None] | None = None,
    threads: int | None = None,
) -> TrainResult:
    """Train on rows that ``check_tables`` has accepted: nothing fails by one bank's rows alone.

    Parameters
    ----------
    params, rows, communicator, validation, start, on_step, on_tree, threads
        As ``train``.

    Raises
    ------
    DataError
        If the pooled rows have one class only, or are too many for exact sums.
    StateError
        If ``start`` is of a training with other parameters, other features, or other use of
        validation.
    SumError
        If an opened sum is none of rows.
    FraudFedError
        If a sum fails.
    """
    shard = bound_weight(shard_of(rows, threads=threads), params.max_bank_weight)
    watched = None if validation is None else shard_of(validation, threads=threads)
    if start is not None:
        _check_start(start, params, shard, watched)
    state = _prepare(params, shard, watched, communicator) if start is None else start
    boosting = _Boosting(params, shard, communicator, state)
    if start is None and on_step is not None:
        on_step(state)
    if watched is not None and not boosting.is_finished:
        boosting.watch(watched)
    while not boosting.is_finished:
        progress = boosting.add_tree()
        logger.debug("tree %d: %s", progress.tree_index, progress)
        if on_step is not None:
            on_step(boosting.state())
        if on_tree is not None:
            on_tree(progress)
    return boosting.result()


def _check_start(
    start: TrainingState,
    params: BoosterParams,
    shard: Shard,
    validation: Shard | None,
) -> None:
    if start.of_params != params_digest(params):
        raise StateError(
            "training state is of a training with other parameters; resume it with those that it "
            "began with"
        )
    if start.cuts.schema != shard.schema:
        raise StateError(
            "training state is of a training with other features; resume it with the data "
            "contract that it began with"
        )
    if start.has_validation != (validation is not None):
        with_or_without = "with" if start.has_validation else "without"
        raise StateError(
            f"training state is of a training {with_or_without} validation rows; resume it "
            f"{with_or_without} them, at every bank"
        )


def _prepare(
    params: BoosterParams,
    shard: Shard,
    validation: Shard | None,
    communicator: Communicator,
) -> TrainingState:
    """Count the rows, estimate the base score and find the cuts: step 0."""
    counts = count_rows(shard, validation, communicator)
    bounds = gradient_bounds(max_weight=shard.max_weight, scale_pos_weight=params.scale_pos_weight)
    bounds.check_rows(counts.n_rows, counts.n_positives)
    check_validation_rows(params.eval_metric, counts.n_validation_rows)
    base_score = params.base_score
    if base_score is None:
        base_score = float(
            estimate_base_score(
                shard,
                communicator,
                scale_pos_weight=params.scale_pos_weight,
                n_rows=counts.n_rows,
                n_positives=counts.n_positives,
            )
        )
    cuts = find_cuts(shard, communicator, max_bin=params.max_bin, n_rows_total=counts.n_rows)
    return TrainingState(
        of_params=params_digest(params),
        num_boost_round=params.num_boost_round,
        counts=counts,
        base_score=base_score,
        cuts=cuts,
    )


class _Boosting:
    """The state as it grows, and this bank's rows: their bins and their margins."""

    def __init__(
        self,
        params: BoosterParams,
        shard: Shard,
        communicator: Communicator,
        state: TrainingState,
    ) -> None:
        self._params = params
        self._communicator = communicator
        self._start = state
        self._counts = state.counts
        self._history = list(state.history)
        binned = shard.bin(state.cuts, for_draws=params.subsample < 1.0)
        self._booster = Booster(params, binned, state, max_weight=shard.max_weight)
        self._watched: BoostedRows | None = None

    @property
    def _trees(self) -> list[Tree]:
        return self._booster.trees

    @property
    def is_finished(self) -> bool:
        """Whether all trees have grown, or too many since the best one."""
        return self.state().is_finished(patience=self._params.early_stopping_rounds)

    @property
    def _best_iteration(self) -> int | None:
        return self._history[-1].best_iteration if self._history else None

    def watch(self, validation: Shard) -> None:
        """Compute metrics after each coming tree; counts the rows if the banks are others now."""
        if self._start.counts_validation:
            n_rows, n_positives = count_validation_rows(validation, self._communicator)
            check_validation_rows(self._params.eval_metric, n_rows)
            self._counts = replace(
                self._counts, n_validation_rows=n_rows, n_validation_positives=n_positives
            )
        binned = validation.bin(self._start.cuts)
        self._watched = binned.start(self._trees, self._start.base_score)

    def add_tree(self) -> TreeProgress:
        """Grow the next tree."""
        tree = carry_out(self._booster.adding_tree(), self._communicator)
        metrics: dict[str, float] = {}
        if self._watched is not None:
            self._watched.add(tree)
            metrics = pooled_metrics(
                self._params.eval_metric,
                self._watched.metric_parts(self._params.eval_metric),
                self._communicator,
                n_rows=self._counts.n_validation_rows,
                n_positives=self._counts.n_validation_positives,
            )
        progress = progress_after(
            self._history, tree, metrics, n_trees=self._params.num_boost_round
        )
        self._history.append(progress)
        return progress

    def state(self) -> TrainingState:
        """Return the state after the last tree."""
        return replace(
            self._start,
            counts=self._counts,
            trees=tuple(self._trees),
            history=tuple(self._history),
            bins=self._booster.learnt,
            counts_validation=False,
        )

    def result(self) -> TrainResult:
        """Return the model and how it came about."""
        kept = self._trees
        best = self._best_iteration
        attributes: dict[str, str] = {}
        if best is not None and self._params.early_stopping_rounds is not None:
            # The names under which XGBoost's Python package keeps and reads them.
            attributes = {
                "best_iteration": str(best),
                "best_score": repr(self._history[best].metrics[self._params.eval_metric[-1]]),
            }
            kept = kept[: best + 1]
        model = Model(
            trees=tuple(kept),
            base_score=self._start.base_score,
            schema=self._start.cuts.schema,
            scale_pos_weight=self._params.scale_pos_weight,
            attributes=attributes,
            statistics_bits=self._params.statistics_bits,
        )
        return TrainResult(
            model=model,
            history=tuple(self._history),
            cuts=self._start.cuts,
            counts=self._counts,
            best_iteration=best,
            rows=self._booster.rows,
        )
