"""Train the run's model with the other banks: the job of a training."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from bank_node.approval.facts import RunFacts
from bank_node.approval.findings import Finding
from bank_node.approval.training import training_facts, weigh_training
from bank_node.approval_rules import ApprovalRules
from bank_node.config import CohortRules
from bank_node.data.contract import TableShares
from bank_node.jobs.judging import JudgedState, Judging, Verdict
from bank_node.jobs.risk.history import training_tables
from bank_node.jobs.risk.private_history import check_private_history
from bank_node.jobs.rows import job_rows, run_row_keys
from bank_node.run.agreement.partners import check_visibility
from bank_node.run.context import RunContext
from bank_node.run.job import Outcome
from bank_node.run.progress import RunProgress
from bank_node.run.record import RecordPart, RunRecord, RunResult
from bank_node.state.directory import FEATURES_FILE, MODEL_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.private.state import check_private_start
from fraudfed.boosting.private.train import check_private, train_private_checked
from fraudfed.boosting.resume.held_state import check_state
from fraudfed.boosting.resume.state import TrainingState, TreeProgress
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import TrainingTable, check_schema
from fraudfed.boosting.train import TrainResult, check_tables, train_checked
from fraudfed.catalogue.run_check import check_contract, check_parameters
from fraudfed.communicator import Communicator, NoisingCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.features.publication import features_file
from fraudfed.intake.plain_table import contract_schema, declared_edges
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit
from fraudfed.wire.messages import RunKind

_log = logging.getLogger(__name__)


class TreeRecord(RecordPart):
    """What the log and the run's record say of a tree.

    Attributes
    ----------
    tree, leaves : int
    metrics : dict of str to float
    """

    tree: int
    leaves: int
    metrics: dict[str, float]


class TrainingResult(RunResult):
    """What the record of a training says of its model.

    Attributes
    ----------
    parameters : dict
        All of them, under XGBoost's names.
    trees : int
    rows : int or None
        Rows of this bank, of all windows; None, as the two below, if this bank took
        the model from the registry.
    best_iteration : int or None
        With early stopping.
    history : tuple of TreeRecord or None
    verdict : Verdict or None
        What all banks' rows say of the model.
    """

    kind: Literal[RunKind.TRAINING] = RunKind.TRAINING
    parameters: dict[str, Any]
    trees: int
    rows: int | None = None
    best_iteration: int | None = None
    history: tuple[TreeRecord, ...] | None = None
    verdict: Verdict | None = None


TrainingRecord = RunRecord[TrainingResult]


def check_run(run: PinnedRun, rules: CohortRules) -> BoosterParams:
    """Accept the description of a training and return its checked parameters.

    Raises
    ------
    ParameterError, ConfigurationError, DataError
        If the model's visibility is not what this bank allows, or a parameter or the data contract
        cannot be met by any bank.
    """
    contract = run.contract
    check_visibility(run, rules)
    check_contract(contract)
    check_schema(contract_schema(contract))
    return check_parameters(run.spec)


class TrainingJob:
    """Trainings; see ``bank_node.run.job.Job``."""

    kind = RunKind.TRAINING
    command = "train"
    record_type = TrainingRecord

    def accept(self, run: PinnedRun, rules: CohortRules, state: StateDirectory) -> None:
        """Accept a run's description; raises as ``check_run`` and ``check_private_history``."""
        check_run(run, rules)
        check_private_history(run, state)

    def weigh(self, run: PinnedRun, approval: ApprovalRules) -> tuple[Finding, ...]:
        """Weigh columns, limits and parameters; raises as ``weigh_training``."""
        return weigh_training(run, approval)

    def facts(self, run: PinnedRun, *, key_bits: int) -> RunFacts:
        """Return columns, parameters, cost and what they reveal."""
        return training_facts(run, key_bits=key_bits)

    def load(self, context: RunContext) -> "TrainingWork":
        """Read this bank's rows.

        Raises
        ------
        DataError
            If they do not meet the data contract, or are too many for exact sums.
        ConfigurationError, StateError
            As ``training_tables``.
        """
        run, options = context.run, context.options
        params = check_run(run, context.rules)
        terms = None if run.spec.privacy is None else run.spec.privacy.terms()
        shared = training_tables(context.state, run.contract)
        rows = job_rows(
            context,
            TableShares.of_run(run.spec),
            shared=shared,
            terms=terms,
            with_customers=terms is not None and terms.unit is PrivacyUnit.CUSTOMER,
        )
        table = rows.train
        validation = rows.validation if params.early_stopping_rounds is not None else None
        _log.info("%d rows meet the data contract", rows.n_rows)
        # Once this bank has joined, nothing may depend on its own rows.
        if terms is None:
            check_tables(params, table, validation)
        else:
            check_private(params, terms, table, edges=declared_edges(run.contract))
        return TrainingWork(
            params=params,
            table=table,
            validation=validation,
            judging=rows.judging,
            rows_read=rows.n_rows,
            data_sha256=rows.digest,
            row_keys=run_row_keys(context, piece_rows=rows.piece_rows),
            progress=context.progress,
            threads=options.threads,
            terms=terms,
            edges=declared_edges(run.contract),
        )

    def describe(self, run: PinnedRun, content: bytes) -> TrainingResult:
        """Return what a model itself says: its parameters and its number of trees.

        Raises
        ------
        StateError
            If it is no model of the run's features.
        """
        schema = contract_schema(run.contract)
        model = read_model(content, schema=schema, source=f"run {run.run_id}: what was registered")
        return TrainingResult(
            parameters=BoosterParams.parse(run.spec.parameters).to_mapping(),
            trees=len(model.trees),
        )

    def files(
        self, context: RunContext, content: bytes, *, registry_sha256: str
    ) -> dict[str, bytes]:
        """Return the model, and what its columns mean."""
        del registry_sha256
        return {MODEL_FILE: content, FEATURES_FILE: features_file(context.run.contract)}


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingWork:
    """A bank's part in a training; see ``bank_node.run.job.Work``.

    Attributes
    ----------
    params : BoosterParams
    table : TrainingTable or Shard
        Rows to train on.
    validation : TrainingTable, Shard or None
        Rows for the metrics.
    judging : Judging
        Rows that the model is judged by.
    rows_read : int
        Rows of all windows.
    data_sha256 : str
        ``windows_digest`` of all windows.
    row_keys : tuple of str
        The ledger's keys of the file.
    progress : RunProgress
    threads : int
    terms : PrivacyTerms or None
        Of a training under differential privacy.
    edges : mapping of str to ndarray of shape (n,), dtype=float32
        Cuts that the contract declares; only a training with terms takes them.
    """

    params: BoosterParams
    table: TrainingTable | Shard
    validation: TrainingTable | Shard | None
    judging: Judging = field(default_factory=Judging)
    rows_read: int
    data_sha256: str
    row_keys: tuple[str, ...]
    progress: RunProgress
    threads: int
    terms: PrivacyTerms | None = None
    edges: Mapping[str, Float32Array] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows to train on."""
        return self.table.n_rows

    def sources(self, step: int | None) -> tuple[str, ...]:
        """Return the keys of the file: every step sums over its rows."""
        del step
        return self.row_keys

    def decode(self, data: bytes) -> JudgedState[TrainingState]:
        """Read a state.

        Raises
        ------
        StateError
            As ``JudgedState.from_bytes`` and ``TrainingState.from_bytes``; or if the run cannot
            have come to it.
        """
        state = JudgedState.from_bytes(data, self._decode, is_finished=self._is_finished)
        if state.verdict is not None and self.judging.rows is None:
            raise StateError("the state holds a verdict, and this run keeps no rows to judge by")
        return state

    def _decode(self, data: bytes) -> TrainingState:
        state = TrainingState.from_bytes(data, schema=self.table.schema)
        if self.terms is not None:
            check_private_start(state, self.params, self.terms, self.table.schema)
            return state
        check_state(
            state,
            self.params,
            max_weight=self.table.max_weight,
            has_validation=self.validation is not None,
        )
        return state

    def _is_finished(self, state: TrainingState) -> bool:
        return state.is_finished(patience=self.params.early_stopping_rounds)

    def regroup(
        self, state: JudgedState[TrainingState], *, more_rows: int
    ) -> JudgedState[TrainingState]:
        """Return the state from which another set of banks continues; a verdict stays.

        Under privacy terms the declared rows bound all sets of banks: nothing changes.
        """
        if self.terms is not None:
            return state
        return JudgedState(state.work.regrouped(more_rows=more_rows), state.verdict)

    def run(
        self,
        communicator: Communicator,
        *,
        start: JudgedState[TrainingState] | None,
        on_step: Callable[[JudgedState[TrainingState]], None],
    ) -> Outcome[TrainingResult]:
        """Train to the end and judge the model.

        Raises
        ------
        FraudFedError
            As ``train_checked`` or ``train_private_checked``, and ``judge``.
        """
        last = None if start is None else start.work
        done = 0 if last is None else len(last.trees)
        self.progress.steps("trees", done, self.params.num_boost_round, "")

        def on_training_step(state: TrainingState) -> None:
            nonlocal last
            last = state
            on_step(JudgedState(state))

        result = self._train(communicator, last, on_training_step)
        verdict = self.judging.without_rows if start is None else start.verdict
        if verdict is None:
            verdict = self.judging.judge(
                result.model, communicator, self.progress, threads=self.threads
            )
            if last is None:
                raise ValueError("a training has no state")
            if self.judging.rows is not None:
                on_step(JudgedState(last, verdict))
        return Outcome(
            result.model.to_json(),
            TrainingResult(
                parameters=self.params.to_mapping(),
                trees=len(result.model.trees),
                rows=self.rows_read,
                best_iteration=result.best_iteration,
                history=tuple(_tree_record(tree) for tree in result.history),
                verdict=verdict,
            ),
        )

    def _train(
        self,
        communicator: Communicator,
        start: TrainingState | None,
        on_step: Callable[[TrainingState], None],
    ) -> TrainResult:
        if self.terms is None:
            return train_checked(
                self.params,
                self.table,
                communicator,
                validation=self.validation,
                start=start,
                on_step=on_step,
                on_tree=self._on_tree,
                threads=self.threads,
            )
        return train_private_checked(
            self.params,
            self.terms,
            self.table,
            # That of a run with privacy terms adds noise.
            cast(NoisingCommunicator, communicator),
            edges=self.edges,
            start=start,
            on_step=on_step,
            on_tree=self._on_tree,
            threads=self.threads,
        )

    def _on_tree(self, tree: TreeProgress) -> None:
        note = " ".join(f"{name} {value:.5f}" for name, value in tree.metrics.items())
        self.progress.steps("trees", tree.tree_index + 1, tree.n_trees, note)
        _log.info("tree finished", extra=_tree_record(tree).model_dump())


def _tree_record(tree: TreeProgress) -> TreeRecord:
    return TreeRecord(tree=tree.tree_index, leaves=tree.n_leaves, metrics=dict(tree.metrics))
