"""Find the best of several sets of parameters with the other banks: the job of a search."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from bank_node.approval.facts import RunFacts
from bank_node.approval.findings import Finding
from bank_node.approval.search import search_facts, weigh_search
from bank_node.approval_rules import ApprovalRules
from bank_node.config import CohortRules
from bank_node.data.contract import TableShares
from bank_node.jobs.judging import JudgedState, Judging, Verdict
from bank_node.jobs.risk.history import training_tables
from bank_node.jobs.rows import job_rows, run_row_keys
from bank_node.run.agreement.partners import check_visibility
from bank_node.run.context import RunContext
from bank_node.run.job import Outcome
from bank_node.run.progress import RunProgress
from bank_node.run.record import RecordPart, RunRecord, RunResult
from bank_node.state.directory import FEATURES_FILE, MODEL_FILE, SEARCH_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import TrainingTable, check_schema
from fraudfed.catalogue.run_check import check_candidates, check_contract, check_select_window
from fraudfed.communicator import Communicator
from fraudfed.errors import StateError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.publication import features_file
from fraudfed.intake.plain_table import contract_schema
from fraudfed.parameters import BoosterParams
from fraudfed.search.held_state import check_search_state
from fraudfed.search.running import SearchProgress, is_finished
from fraudfed.search.search import check_search, search_checked
from fraudfed.search.selection import SelectRows
from fraudfed.search.state import SearchState
from fraudfed.wire.messages import RunKind, SearchSpec, SelectBy
from fraudfed.wire.search_results import decode, encode

_log = logging.getLogger(__name__)


class CurvePoint(RecordPart):
    """How good a candidate was after so many trees; ``pooled`` is None where it was not asked."""

    trees: int
    mean_of_banks: float
    pooled: float | None


class CandidateRecord(RecordPart):
    """What became of a candidate.

    Attributes
    ----------
    name : str
    trees : int
        Grown.
    best : float
        The largest value of its curve, by ``select_by``.
    best_trees : int
        After so many trees.
    curve : tuple of CurvePoint
    """

    name: str
    trees: int
    best: float
    best_trees: int
    curve: tuple[CurvePoint, ...]


class SearchRunResult(RunResult):
    """What the record of a search says of its result.

    Attributes
    ----------
    select_by : SelectBy
    winner : str
        The candidate that was chosen.
    parameters : dict
        The winner's, under XGBoost's names; ``num_boost_round`` is its best number of trees.
    trees : int
        Of the model.
    candidates : tuple of CandidateRecord
        In the order of the run.
    rows : int or None
        Rows of this bank, of all windows; None, as the next, if it took the result from the
        registry.
    verdict : Verdict or None
        What all banks' rows say of the winner's model.
    """

    kind: Literal[RunKind.SEARCH] = RunKind.SEARCH
    select_by: SelectBy
    winner: str
    parameters: dict[str, Any]
    trees: int
    candidates: tuple[CandidateRecord, ...]
    rows: int | None = None
    verdict: Verdict | None = None


SearchRecord = RunRecord[SearchRunResult]


def check_run(run: PinnedRun, rules: CohortRules) -> tuple[BoosterParams, ...]:
    """Accept the description of a search and return the parameters of its candidates.

    Raises
    ------
    ParameterError, ConfigurationError, DataError
        If it is no search, the model's visibility is not what this bank allows, or a candidate or
        the data contract cannot be met by any bank.
    """
    spec, contract = run.search, run.contract
    check_visibility(run, rules)
    check_contract(contract)
    check_select_window(contract)
    check_schema(contract_schema(contract))
    return check_candidates(contract, spec, run.spec.parameters)


class SearchJob:
    """Searches; see ``bank_node.run.job.Job``."""

    kind = RunKind.SEARCH
    command = "search"
    record_type = SearchRecord

    def accept(self, run: PinnedRun, rules: CohortRules, state: StateDirectory) -> None:
        """Accept a run's description; raises as ``check_run``."""
        del state
        check_run(run, rules)

    def weigh(self, run: PinnedRun, approval: ApprovalRules) -> tuple[Finding, ...]:
        """Weigh columns, size and every candidate; raises as ``weigh_search``."""
        return weigh_search(run, approval)

    def facts(self, run: PinnedRun, *, key_bits: int) -> RunFacts:
        """Return columns, candidates, cost and what they reveal."""
        return search_facts(run, key_bits=key_bits)

    def load(self, context: RunContext) -> "SearchWork":
        """Read this bank's rows.

        Raises
        ------
        DataError
            If they do not meet the data contract, or are too many for exact sums.
        ConfigurationError, StateError
            As ``training_tables``.
        """
        run, options = context.run, context.options
        spec, common = run.search, run.spec.parameters
        params = check_run(run, context.rules)
        rows = job_rows(
            context,
            TableShares(seed=params[0].seed, select=True, judge=True),
            shared=training_tables(context.state, run.contract),
        )
        if rows.select is None:
            raise ValueError("a search has rows to select by")
        # Once this bank has joined, nothing may depend on its own rows.
        check_search(spec, common, rows.train, rows.select)
        _log.info("%d rows meet the data contract", rows.n_rows)
        return SearchWork(
            spec=spec,
            common=common,
            table=rows.train,
            select=rows.select,
            judging=rows.judging,
            rows_read=rows.n_rows,
            data_sha256=rows.digest,
            row_keys=run_row_keys(context, piece_rows=rows.piece_rows),
            progress=context.progress,
            threads=options.threads,
        )

    def describe(self, run: PinnedRun, content: bytes) -> SearchRunResult:
        """Return what a result itself says.

        Raises
        ------
        StateError
            If it is no result of this search, or its model is none of the run's features.
        """
        source = f"run {run.run_id}: what was registered"
        found, model = decode(content, source=source)
        read_model(model, schema=contract_schema(run.contract), source=source)
        result = _result(found, source=source)
        names = tuple(candidate.name for candidate in run.search.candidates)
        if tuple(each.name for each in result.candidates) != names:
            raise StateError(f"{source} is of a search with other candidates; ask the operator")
        return result

    def files(
        self, context: RunContext, content: bytes, *, registry_sha256: str
    ) -> dict[str, bytes]:
        """Return what was found, the winner's model, and what its columns mean."""
        del registry_sha256
        found, model = decode(content, source=f"run {context.run_id}")
        return {
            SEARCH_FILE: found,
            MODEL_FILE: model,
            FEATURES_FILE: features_file(context.run.contract),
        }


def _result(found: bytes, *, source: str) -> SearchRunResult:
    """Read ``search.json``; raises StateError if it is none."""
    try:
        document = json.loads(found)
        select_by = SelectBy(document["select_by"])
        choice = document["choice"]
        return SearchRunResult(
            select_by=select_by,
            winner=choice["name"],
            parameters=choice["parameters"],
            trees=choice["trees"],
            candidates=tuple(_candidate(each, select_by) for each in document["candidates"]),
        )
    except (ValidationError, ValueError, RecursionError, KeyError, TypeError) as error:
        _log.debug("%s: %s", source, error)
        raise StateError(
            f"{source}: search.json is not readable; take another copy of it"
        ) from None


def _candidate(document: dict[str, Any], select_by: SelectBy) -> CandidateRecord:
    curve = tuple(CurvePoint.model_validate(point) for point in document["curve"])
    values = [
        (point.mean_of_banks if select_by is SelectBy.MEAN_OF_BANKS else point.pooled, point.trees)
        for point in curve
    ]
    # Of equal ones the first: the simpler model.
    best, trees = max(
        ((value, trees) for value, trees in values if value is not None),
        key=lambda each: (each[0], -each[1]),
    )
    return CandidateRecord(
        name=document["name"], trees=document["trees"], best=best, best_trees=trees, curve=curve
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchWork:
    """A bank's part in a search; see ``bank_node.run.job.Work``.

    Attributes
    ----------
    spec : SearchSpec
    common : dict
        Parameters that all candidates share.
    table : TrainingTable or Shard
        Rows to train on.
    select : JudgedRows or SelectRows
        The rows that candidates are compared on.
    judging : Judging
        Rows that the winner is judged by.
    rows_read : int
        Rows of all windows.
    data_sha256 : str
        ``windows_digest`` of all windows.
    row_keys : tuple of str
        The ledger's keys of the file.
    progress : RunProgress
    threads : int
    """

    spec: SearchSpec
    common: dict[str, Any]
    table: TrainingTable | Shard
    select: JudgedRows | SelectRows
    judging: Judging
    rows_read: int
    data_sha256: str
    row_keys: tuple[str, ...]
    progress: RunProgress
    threads: int

    @property
    def n_rows(self) -> int:
        """Rows to train on."""
        return self.table.n_rows

    def sources(self, step: int | None) -> tuple[str, ...]:
        """Return the keys of the file: every step sums over its rows."""
        del step
        return self.row_keys

    def decode(self, data: bytes) -> JudgedState[SearchState]:
        """Read a state.

        Raises
        ------
        StateError
            As ``JudgedState.from_bytes`` and ``SearchState.from_bytes``; or if the run cannot have
            come to it.
        """
        state = JudgedState.from_bytes(
            data, self._decode, is_finished=lambda found: is_finished(found, self.spec)
        )
        if state.verdict is not None and self.judging.rows is None:
            raise StateError("the state holds a verdict, and this run keeps no rows to judge by")
        return state

    def _decode(self, data: bytes) -> SearchState:
        table = self.table
        state = SearchState.from_bytes(data, schema=table.schema)
        check_search_state(
            state, self.spec, self.common, schema=table.schema, max_weight=table.max_weight
        )
        return state

    def regroup(
        self, state: JudgedState[SearchState], *, more_rows: int
    ) -> JudgedState[SearchState]:
        """Return the state from which another set of banks continues; a verdict stays."""
        return JudgedState(state.work.regrouped(more_rows=more_rows), state.verdict)

    def run(
        self,
        communicator: Communicator,
        *,
        start: JudgedState[SearchState] | None,
        on_step: Callable[[JudgedState[SearchState]], None],
    ) -> Outcome[SearchRunResult]:
        """Search to the end and judge the winner; raises as ``search_checked`` and ``judge``."""
        last = None if start is None else start.work
        n_trees = self.spec.rungs[-1].trees
        done = 0 if last is None else last.n_trees

        def on_search_step(state: SearchState) -> None:
            nonlocal last
            last = state
            on_step(JudgedState(state))

        self.progress.steps("trees", done, n_trees, f"{len(self.spec.candidates)} candidates")
        found = search_checked(
            self.spec,
            self.common,
            self.table,
            self.select,
            communicator,
            start=last,
            on_step=on_search_step,
            on_progress=self._on_progress,
            threads=self.threads,
        )
        verdict = self.judging.without_rows if start is None else start.verdict
        if verdict is None:
            verdict = self.judging.judge(
                found.model, communicator, self.progress, threads=self.threads
            )
            if last is None:
                raise ValueError("a search has no state")
            if self.judging.rows is not None:
                on_step(JudgedState(last, verdict))
        document = found.to_json()
        own = {"rows": self.rows_read, "verdict": verdict}
        result = _result(document, source="search").model_copy(update=own)
        return Outcome(encode(document, found.model.to_json()), result)

    def _on_progress(self, step: SearchProgress) -> None:
        best = "" if step.value is None else f", best {step.leader} {step.value:.4f}"
        trees, alive = step.tree_index + 1, len(step.alive)
        number, rungs = self._rung(trees), len(self.spec.rungs)
        note = f"rung {number} of {rungs}, {alive} alive{best}"
        self.progress.steps("trees", trees, step.n_trees, note)
        _log.info(
            "tree of each candidate finished",
            extra={
                "tree": step.tree_index,
                "rung": number,
                "alive": alive,
                "leader": step.leader,
                "metric": step.value,
            },
        )

    def _rung(self, trees: int) -> int:
        """Return the number of the rung, from 1, that a number of trees belongs to."""
        ends = [rung.trees for rung in self.spec.rungs]
        return next((at for at, end in enumerate(ends, 1) if trees <= end), len(ends))
