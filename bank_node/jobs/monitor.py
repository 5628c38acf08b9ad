"""Count a model's payments week by week with the other banks: the job of a monitor run."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bank_node.approval.facts import RunFacts
from bank_node.approval.findings import Finding
from bank_node.approval.monitor import monitor_facts, weigh_monitor
from bank_node.approval_rules import ApprovalRules
from bank_node.config import CohortRules
from bank_node.jobs.one_step import OneStepWork
from bank_node.jobs.risk.history import scoring_tables
from bank_node.jobs.rows import run_row_keys
from bank_node.run.agreement.partners import check_visibility
from bank_node.run.context import RunContext
from bank_node.run.record import RunRecord, RunResult
from bank_node.serving.watched_rows import watch_file
from bank_node.state.adopted import accepted_sha256
from bank_node.state.directory import MONITOR_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.catalogue.run_check import check_contract
from fraudfed.communicator import Communicator
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.evaluation.drift.cells import watched_features
from fraudfed.evaluation.drift.pooled import PooledWatch, pool_watch
from fraudfed.evaluation.drift.rows import DAY, Weeks
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.statistics.counts import entered
from fraudfed.wire.messages import RunKind

_log = logging.getLogger(__name__)


class MonitorResult(RunResult):
    """What the record of a monitor run says of its result.

    Attributes
    ----------
    weeks : int
    payments : int
        Of all banks and weeks together, as they were entered.
    """

    kind: Literal[RunKind.MONITOR] = RunKind.MONITOR
    weeks: int
    payments: int


MonitorRecord = RunRecord[MonitorResult]


def empty_watch(run: PinnedRun) -> Watch:
    """Return what a run counts, all 0; raises ConfigurationError for another kind of run."""
    spec = run.monitor
    weeks = Weeks.ending(
        spec.until, reference_until=spec.reference_until, n_reference=spec.reference_weeks
    )
    return Watch(weeks, watched_features(run.contract), slot_seconds=DAY)


def accepted_counts(state: StateDirectory, run: PinnedRun) -> PooledWatch:
    """Return the accepted counts of a run.

    Raises
    ------
    StateError
        If this bank does not hold them, or they are damaged.
    """
    path = state.path / "runs" / run.run_id / MONITOR_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); take part in the run with "
            f"'bank-node monitor-run --state {state.path} --data FILE --run {run.run_id}' first"
        ) from None
    return PooledWatch.from_bytes(content, empty=empty_watch(run))


def _model_of(run: PinnedRun, state: StateDirectory) -> Path:
    """Return where the model lies that a run watches.

    Raises
    ------
    ConfigurationError
        If this bank does not hold it, or another one of that run, or its contract is another one.
    """
    spec = run.monitor
    accepted = accepted_sha256(state, spec.model_run)
    if accepted is None:
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): watches the model of run {spec.model_run}, which "
            "this bank has not finished; take part in that run first, or leave this one to the "
            "others"
        )
    if accepted != spec.model_sha256:
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): watches model {spec.model_sha256} of run "
            f"{spec.model_run}, this bank has accepted {accepted} there; the "
            "operator must publish a corrected run"
        )
    if state.current_run(spec.model_run).contract != run.contract:
        raise ConfigurationError(
            f"run {run.run_id} ({run.spec.name}): has another data contract than run "
            f"{spec.model_run}, whose model it watches; the operator must publish a corrected run"
        )
    return state.model_path(spec.model_run)


class MonitorJob:
    """Monitor runs; see ``bank_node.run.job.Job``."""

    kind = RunKind.MONITOR
    command = "monitor-run"
    record_type = MonitorRecord

    def accept(self, run: PinnedRun, rules: CohortRules, state: StateDirectory) -> None:
        """Accept a run's description.

        Raises
        ------
        ConfigurationError
            If it is no monitor run, this bank allows no results for the members alone, the
            contract cannot be met by this release or is of a plain table, or this bank does not
            hold the model.
        """
        _ = run.monitor
        check_visibility(run, rules)
        check_contract(run.contract)
        if run.contract.kind == "table":
            raise ConfigurationError(
                f"run {run.run_id} ({run.spec.name}): watches a plain table, expected "
                "transactions: rows without times have no weeks to compare"
            )
        _model_of(run, state)

    def weigh(self, run: PinnedRun, approval: ApprovalRules) -> tuple[Finding, ...]:
        """Weigh columns and the smallest count."""
        return weigh_monitor(run, approval)

    def facts(self, run: PinnedRun, *, key_bits: int) -> RunFacts:
        """Return weeks, columns, cost and what they reveal."""
        return monitor_facts(run, empty_watch(run), key_bits=key_bits)

    def load(self, context: RunContext) -> "MonitorWork":
        """Score this bank's payments and count them.

        Raises
        ------
        DataError
            If they do not meet the data contract.
        ConfigurationError, StateError
            As ``scoring_tables``; or if the model cannot be read.
        """
        run, options = context.run, context.options
        spec = run.monitor
        found = watch_file(
            options.data,
            run.contract,
            model=_model_of(run, context.state),
            mapping=options.mapping,
            shared=scoring_tables(context.state, run.contract),
            threads=options.threads,
        )
        watch = empty_watch(run)
        watch.update(found.with_alerts(spec.alert_score))
        least = max(spec.min_count, context.rules.min_statistics_count)
        _log.info(
            "%d payments are counted; counts below %d are entered as 0",
            int(watch.totals.counts[:, -1, 0].sum()),
            least,
        )
        return MonitorWork(
            own=entered_by(watch, least),
            empty=lambda: empty_watch(run),
            row_keys=run_row_keys(context),
            progress=context.progress,
        )

    def describe(self, run: PinnedRun, content: bytes) -> MonitorResult:
        """Return weeks and payments; raises StateError if the result cannot be read."""
        return _result(PooledWatch.from_bytes(content, empty=empty_watch(run)))

    def files(
        self, context: RunContext, content: bytes, *, registry_sha256: str
    ) -> dict[str, bytes]:
        """Return the counts."""
        del context, registry_sha256
        return {MONITOR_FILE: content}


def entered_by(watch: Watch, least: int) -> Watch:
    """Return what this bank enters: no count below ``least``, and all others rounded."""
    for metric in watch.metrics:
        metric.counts = entered(metric.counts, least)
    return watch


def _result(pooled: PooledWatch) -> MonitorResult:
    return MonitorResult(weeks=pooled.watch.weeks.n_weeks, payments=pooled.payments)


@dataclass(frozen=True, eq=False, kw_only=True)
class MonitorWork(OneStepWork[PooledWatch, MonitorResult]):
    """A bank's part in a monitor run.

    Attributes
    ----------
    own : Watch
        What this bank enters.
    empty : callable
        Returns the run's watch, all 0.
    """

    own: Watch
    empty: Callable[[], Watch]

    @property
    def data_sha256(self) -> str:
        """Digest of what this bank enters."""
        content = PooledWatch(self.own).to_bytes()
        return hashlib.sha256(b"fraudfed monitor counts v1\0" + content).hexdigest()

    def decode(self, data: bytes) -> PooledWatch:
        """Read the counts; raises StateError if the bytes are damaged, or of another run."""
        return PooledWatch.from_bytes(data, empty=self.empty())

    def add_up(self, communicator: Communicator) -> PooledWatch:
        """Sum the counts; raises as ``pool_watch``."""
        return pool_watch(self.own, communicator)

    def result(self, pooled: PooledWatch) -> MonitorResult:
        """Return weeks and payments."""
        return _result(pooled)
