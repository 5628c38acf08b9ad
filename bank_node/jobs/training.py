"""Train the run's model with the other banks: the work of a training run."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.data.contract import load_training_rows
from bank_node.data.digest import data_digest
from bank_node.jobs.risk.history import training_tables
from bank_node.jobs.validation import split_validation
from bank_node.run.job import Load, WorkResult
from bank_node.run.lifecycle import RunOptions, take_part
from bank_node.run.progress import RunProgress
from bank_node.run.rules import check_run
from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.resume.state import TrainingState, TreeProgress
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import Communicator
from fraudfed.wire.messages import RunKind

_log = logging.getLogger(__name__)


def train_run(
    state: StateDirectory,
    options: RunOptions,
    progress: RunProgress,
    *,
    passphrase: str | None = None,
) -> dict[str, Any]:
    """Train, have the model accepted, keep it; return the record of the run.

    Raises
    ------
    FraudFedError
        As ``take_part``.
    """
    return take_part(
        state,
        options,
        RunKind.TRAINING,
        partial(_check, state, options, progress),
        on_banks=progress.banks,
        passphrase=passphrase,
    )


def _check(
    state: StateDirectory,
    options: RunOptions,
    progress: RunProgress,
    run: PinnedRun,
    rules: CohortRules,
) -> Load[TrainingState]:
    """Accept a training; what is returned loads this bank's rows."""
    return partial(_load, state, options, progress, run, check_run(run, rules))


def _load(
    state: StateDirectory,
    options: RunOptions,
    progress: RunProgress,
    run: PinnedRun,
    params: BoosterParams,
    _epoch: AcceptedEpoch,
) -> "TrainingWork":
    shared = training_tables(state, run.contract)
    rows = load_training_rows(options.data, run.contract, mapping=options.mapping, shared=shared)
    _log.info("%d rows meet the data contract", rows.table.n_rows)
    table, validation = rows.table, None
    # Before it is split: what a bank begins a run with is its file.
    data_sha256 = data_digest(table)
    if params.early_stopping_rounds is not None:
        table, validation = split_validation(table, seed=params.seed)
    return TrainingWork(
        params=params,
        table=table,
        validation=validation,
        rows_read=rows.table.n_rows,
        data_sha256=data_sha256,
        progress=progress,
        threads=options.threads,
    )


@dataclass(frozen=True, eq=False)
class TrainingStates:
    """How the states of a training are read; see ``RunStates``."""

    schema: FeatureSchema

    def decode(self, data: bytes) -> TrainingState:
        """Read a state; raises StateError as ``TrainingState.from_bytes``."""
        return TrainingState.from_bytes(data, schema=self.schema)

    def regrouped(self, state: TrainingState, *, more_rows: int) -> TrainingState:
        """Return the state from which another set of banks goes on."""
        return state.regrouped(more_rows=more_rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingWork:
    """A bank's part in a training; see ``RunWork``.

    Attributes
    ----------
    params : BoosterParams
    table : TrainingTable
        Rows that are trained on.
    validation : TrainingTable or None
        Rows for the metrics.
    rows_read : int
        Rows of both.
    data_sha256 : str
        ``data_digest`` of both.
    progress : RunProgress
    threads : int
    """

    params: BoosterParams
    table: TrainingTable
    validation: TrainingTable | None
    rows_read: int
    data_sha256: str
    progress: RunProgress
    threads: int

    @property
    def states(self) -> TrainingStates:
        """How its states are read."""
        return TrainingStates(self.table.schema)

    @property
    def n_rows(self) -> int:
        """Rows that are trained on."""
        return self.table.n_rows

    def run(
        self,
        communicator: Communicator,
        *,
        start: TrainingState | None,
        on_step: Callable[[TrainingState], None],
    ) -> WorkResult:
        """Train to the end; raises as ``train``."""
        done = 0 if start is None else len(start.trees)
        self.progress.steps("trees", done, self.params.num_boost_round, "")
        result = train(
            self.params,
            self.table,
            communicator,
            validation=self.validation,
            start=start,
            on_step=on_step,
            on_tree=self._on_tree,
            threads=self.threads,
        )
        facts = {
            "parameters": self.params.to_mapping(),
            "rows": self.rows_read,
            "trees": len(result.model.trees),
            "best_iteration": result.best_iteration,
            "history": [_tree_record(tree) for tree in result.history],
        }
        return WorkResult(result.model.to_json(), facts)

    def _on_tree(self, tree: TreeProgress) -> None:
        note = " ".join(f"{name} {value:.5f}" for name, value in tree.metrics.items())
        self.progress.steps("trees", tree.tree_index + 1, tree.n_trees, note)
        _log.info("tree finished", extra=_tree_record(tree))


def _tree_record(tree: TreeProgress) -> dict[str, Any]:
    """Return what the log and the run's record say of a tree."""
    return {"tree": tree.tree_index, "leaves": tree.n_leaves, "metrics": dict(tree.metrics)}
