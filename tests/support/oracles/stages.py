"""A training whose set of banks changes between steps, and what must come of it.

``train_in_stages`` runs each stage as a cohort of threads that ends at a given step, or in the
middle of one, and hands the last state, as bytes, to the banks of the next. ``simulate`` grows the
same trees one by one over the pooled rows of the present banks; it knows no state, no bounds and no
bins of earlier steps, and finds each row's margin anew from its raw values.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from cohorts.exact import CohortCommunicator, SumCall, run_cohort
from examples.shards import grown_over

from fraudfed.boosting.bins import Cuts, bin_table
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.metrics import pooled_metrics
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import base_margin, estimate_base_score, gradient_bounds, gradients
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.sampling import row_keys, sample_rows
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.tallies import metric_parts
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True)
class Bank:
    """Rows of one bank."""

    table: TrainingTable
    validation: TrainingTable | None = None


@dataclass(frozen=True)
class Stage:
    """Banks that train together for a while.

    Attributes
    ----------
    banks : tuple of int
    n_steps : int or None
        Finished steps with which the stage ends; None is the end of the training.
    n_sums : int
        Sums of the next step that still take place before it breaks off.
    """

    banks: tuple[int, ...]
    n_steps: int | None = None
    n_sums: int = 0


@dataclass
class StagedTraining:
    """What came of the stages.

    Attributes
    ----------
    results : list of TrainResult
        Of the banks of the last stage.
    states : list of bytes
        After each finished step.
    calls : list of (list of SumCall)
        Of each stage.
    """

    results: list[TrainResult]
    states: list[bytes]
    calls: list[list[SumCall]]


class _BrokenOffError(Exception):
    """Ends the stage at a bank; at the same place at each of them."""


class _Breaking:
    """A bank's end of a cohort that breaks off after some sums of one step."""

    def __init__(self, communicator: CohortCommunicator, n_sums: int) -> None:
        self._communicator = communicator
        self._left = n_sums
        self.is_last_step = False

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        if self.is_last_step:
            if self._left == 0:
                raise _BrokenOffError
            self._left -= 1
        return self._communicator.sum(values, bound=bound, low=low, label=label)


def train_in_stages(
    params: BoosterParams, banks: Sequence[Bank], stages: Sequence[Stage], *, spare_rows: int = 0
) -> StagedTraining:
    """Train through all stages; banks that come late are let in with ``spare_rows`` to spare."""
    counted = set(stages[0].banks)
    states: list[bytes] = []
    calls: list[list[SumCall]] = []
    results: list[TrainResult] = []
    schema = banks[0].table.schema
    last: bytes | None = None
    for stage in stages:
        start: TrainingState | None = None
        if last is not None:
            new = set(stage.banks) - counted
            counted |= new
            n_new = sum(banks[bank].table.n_rows for bank in new) + (spare_rows if new else 0)
            start = TrainingState.from_bytes(last, schema=schema).regrouped(more_rows=n_new)
            # Also if the stage finishes no step: who was let in stays counted.
            last = start.to_bytes()
        log: list[SumCall] = []

        def program(
            place: int,
            communicator: CohortCommunicator,
            stage: Stage = stage,
            start: TrainingState | None = start,
            log: list[SumCall] = log,
        ) -> tuple[TrainResult | None, list[bytes]]:
            bank = banks[stage.banks[place]]
            breaking = _Breaking(communicator, stage.n_sums)
            # A stage may be over before it has finished a step.
            breaking.is_last_step = start is not None and start.n_steps == stage.n_steps
            found: list[bytes] = []

            def on_step(state: TrainingState) -> None:
                if breaking.is_last_step:
                    # The step had no more sums than that: it breaks off before it is kept.
                    raise _BrokenOffError
                found.append(state.to_bytes())
                if state.n_steps == stage.n_steps:
                    if stage.n_sums == 0:
                        raise _BrokenOffError
                    breaking.is_last_step = True

            result = None
            with contextlib.suppress(_BrokenOffError):
                result = train(
                    params,
                    bank.table,
                    breaking,
                    validation=bank.validation,
                    start=start,
                    on_step=on_step,
                )
            if place == 0:
                log.extend(communicator.log)
            return result, found

        outcomes = run_cohort(len(stage.banks), program)
        for _, found in outcomes:
            assert found == outcomes[0][1]
        states += outcomes[0][1]
        last = states[-1] if outcomes[0][1] else last
        calls.append(log)
        results = [result for result, _ in outcomes if result is not None]
    return StagedTraining(results, states, calls)


@dataclass(frozen=True)
class Simulated:
    """Model and metrics as the pooled rows of each tree give them."""

    model: Model
    trees: list[Tree]
    metrics: list[dict[str, float]]


def simulate(params: BoosterParams, banks: Sequence[Bank], stages: Sequence[Stage]) -> Simulated:
    """Grow the trees of ``train_in_stages`` in the simplest way."""
    solo = SoloCommunicator()
    first = pool([banks[bank].table for bank in stages[0].banks])
    base_score = params.base_score
    if base_score is None:
        base_score = float(
            estimate_base_score(
                LocalShard(first),
                solo,
                scale_pos_weight=params.scale_pos_weight,
                n_rows=first.n_rows,
                n_positives=int(first.labels.sum()),
            )
        )
    found = find_cuts(LocalShard(first), solo, max_bin=params.max_bin, n_rows_total=first.n_rows)
    cuts = Cuts(schema=found.schema, values=found.values)
    trees: list[Tree] = []
    metrics: list[dict[str, float]] = []
    best = 0
    while len(trees) < params.num_boost_round:
        stage = _stage_of_step(stages, 1 + len(trees))
        here = pool([banks[bank].table for bank in stage.banks])
        trees.append(_grow(params, here, cuts, trees, base_score))
        parts = [banks[bank].validation for bank in stage.banks]
        if parts[0] is None:
            continue
        validation = pool([part for part in parts if part is not None])
        metrics.append(
            pooled_metrics(
                params.eval_metric,
                metric_parts(
                    params.eval_metric,
                    _margins(validation, trees, base_score),
                    validation.labels,
                ),
                solo,
                n_rows=validation.n_rows,
                n_positives=int(validation.labels.sum()),
            )
        )
        values = [each[params.eval_metric[-1]] for each in metrics]
        sign = -1.0 if params.eval_metric[-1] in ("auc", "aucpr") else 1.0
        best = int(np.argmin(sign * np.array(values)))
        patience = params.early_stopping_rounds
        if patience is not None and len(trees) - 1 - best >= patience:
            break
    attributes: dict[str, str] = {}
    kept = trees
    if params.early_stopping_rounds is not None:
        kept = trees[: best + 1]
        score = metrics[best][params.eval_metric[-1]]
        attributes = {"best_iteration": str(best), "best_score": repr(score)}
    model = Model(
        trees=tuple(kept),
        base_score=base_score,
        schema=first.schema,
        scale_pos_weight=params.scale_pos_weight,
        attributes=attributes,
        statistics_bits=params.statistics_bits,
    )
    return Simulated(model, trees, metrics)


def _stage_of_step(stages: Sequence[Stage], step: int) -> Stage:
    """Return the stage that finishes a step."""
    return next(s for s in stages if s.n_steps is None or step < s.n_steps)


def _grow(
    params: BoosterParams, here: TrainingTable, cuts: Cuts, trees: list[Tree], base_score: float
) -> Tree:
    pairs = gradients(
        _margins(here, trees, base_score),
        here.labels,
        here.weights,
        scale_pos_weight=params.scale_pos_weight,
    )
    drawn = sample_rows(
        row_keys(here), seed=params.seed, tree_index=len(trees), fraction=params.subsample
    )
    row = gradient_bounds(max_weight=here.max_weight, scale_pos_weight=params.scale_pos_weight)
    return grown_over(
        bin_table(here, cuts),
        pairs,
        params,
        SoloCommunicator(),
        tree_index=len(trees),
        # As many rows of either label as there are in all: no bound is of interest here.
        bounds=NodeBounds(here.n_rows, here.n_rows, here.n_rows, row),
        is_sampled=drawn,
    ).tree


def _margins(table: TrainingTable, trees: list[Tree], base_score: float) -> Float32Array:
    margins = np.full(table.n_rows, base_margin(base_score), dtype=np.float32)
    for tree in trees:
        nodes = np.zeros(table.n_rows, dtype=np.int64)
        while (inner := tree.left_children[nodes] >= 0).any():
            for node in np.unique(nodes[inner]).tolist():
                rows = np.flatnonzero(nodes == node)
                left = _goes_left(tree, node, table.features[rows])
                nodes[rows] = np.where(left, tree.left_children[node], tree.right_children[node])
        margins += tree.split_conditions[nodes]
    return margins


def _goes_left(tree: Tree, node: int, features: Float32Array) -> BoolArray:
    values = features[:, tree.split_features[node]]
    if tree.is_categorical[node]:
        left = ~np.isin(values, np.array(tree.right_categories[node], dtype=np.float32))
    else:
        left = values < tree.split_conditions[node]
    return np.where(np.isnan(values), tree.default_left[node], left)


def pool(parts: Sequence[TrainingTable]) -> TrainingTable:
    """Return the rows of all parts in one table."""
    weights = [part.weights for part in parts if part.weights is not None]
    return replace(
        parts[0],
        features=np.concatenate([part.features for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        weights=np.concatenate(weights) if weights else None,
    )
