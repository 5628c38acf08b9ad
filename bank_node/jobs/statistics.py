"""Sum what the columns of a contract hold with the other banks: the job of a statistics run."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bank_node.approval.facts import RunFacts
from bank_node.approval.findings import Finding
from bank_node.approval.statistics import statistics_facts, weigh_statistics
from bank_node.approval_rules import ApprovalRules
from bank_node.config import CohortRules
from bank_node.data.statistics import Thresholds, count_file
from bank_node.jobs.one_step import OneStepWork
from bank_node.jobs.risk.history import training_tables
from bank_node.jobs.rows import run_row_keys
from bank_node.run.agreement.partners import check_visibility
from bank_node.run.context import RunContext
from bank_node.run.record import RunRecord, RunResult
from bank_node.state.directory import STATISTICS_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.catalogue.run_check import check_contract
from fraudfed.communicator import Communicator
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.errors import StateError
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.statistics.counts import Counts
from fraudfed.statistics.layout import Layout
from fraudfed.statistics.pooled import Statistics
from fraudfed.statistics.rounds import pool
from fraudfed.wire.messages import RunKind

_log = logging.getLogger(__name__)


class StatisticsResult(RunResult):
    """What the record of a statistics run says of its result.

    Attributes
    ----------
    columns : int
        Columns that were counted.
    rows : int
        Rows of all banks together, as they were entered.
    """

    kind: Literal[RunKind.STATISTICS] = RunKind.STATISTICS
    columns: int
    rows: int


StatisticsRecord = RunRecord[StatisticsResult]


def layout_of(run: PinnedRun) -> Layout:
    """Return what a run counts; raises ConfigurationError for another kind of run."""
    return Layout.of(run.contract, run.statistics, n_banks=len(run.cohort))


class StatisticsJob:
    """Statistics runs; see ``bank_node.run.job.Job``."""

    kind = RunKind.STATISTICS
    command = "statistics"
    record_type = StatisticsRecord

    def accept(self, run: PinnedRun, rules: CohortRules, state: StateDirectory) -> None:
        """Accept a run's description.

        Raises
        ------
        ConfigurationError
            If it is no statistics run, this bank allows no results for the members alone, or the
            contract cannot be met by this release.
        """
        del state
        _ = run.statistics
        check_visibility(run, rules)
        check_contract(run.contract)

    def weigh(self, run: PinnedRun, approval: ApprovalRules) -> tuple[Finding, ...]:
        """Weigh columns, thresholds and entities."""
        return weigh_statistics(run, approval)

    def facts(self, run: PinnedRun, *, key_bits: int) -> RunFacts:
        """Return columns, thresholds, cost and what they reveal."""
        return statistics_facts(run, layout_of(run), key_bits=key_bits)

    def load(self, context: RunContext) -> "StatisticsWork":
        """Read this bank's rows and count them.

        Raises
        ------
        DataError
            If they do not meet the data contract.
        ConfigurationError, StateError
            As ``training_tables``.
        """
        run, options = context.run, context.options
        layout = layout_of(run)
        least = Thresholds.of(run.statistics, context.rules)
        hash_key = derive_risk_key(context.epoch.package)
        counts = count_file(
            options.data,
            run.contract,
            layout,
            min_customers=least.customers,
            hash_key=hash_key,
            mapping=options.mapping,
            shared=training_tables(context.state, run.contract),
        )
        _log.info("%d rows are counted; counts below %d are entered as 0", counts.rows, least.count)
        return StatisticsWork(
            counts=counts,
            layout=layout,
            least=least.count,
            hash_key=hash_key,
            row_keys=run_row_keys(context),
            keep_own=lambda own: context.state.keep_own_statistics(run.run_id, own),
            progress=context.progress,
        )

    def describe(self, run: PinnedRun, content: bytes) -> StatisticsResult:
        """Return columns and rows; raises StateError if the result cannot be read."""
        return _result(Statistics.from_bytes(content, layout=layout_of(run)))

    def files(
        self, context: RunContext, content: bytes, *, registry_sha256: str
    ) -> dict[str, bytes]:
        """Return the sums."""
        del context, registry_sha256
        return {STATISTICS_FILE: content}


def _result(pooled: Statistics) -> StatisticsResult:
    return StatisticsResult(columns=len(pooled.columns), rows=pooled.rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class StatisticsWork(OneStepWork[Statistics, StatisticsResult]):
    """A bank's part in a statistics run.

    Attributes
    ----------
    counts : Counts
        This bank's, exact.
    layout : Layout
    least : int
        Smallest count that it enters.
    hash_key : bytes
        For identifiers.
    keep_own : callable
        Keeps what this bank has entered, so that ``check-data`` can take it out of the sums.
    """

    counts: Counts
    layout: Layout
    least: int
    hash_key: bytes
    keep_own: Callable[[bytes], None]

    @property
    def data_sha256(self) -> str:
        """Digest of this bank's counts."""
        counts = self.counts
        digest = hashlib.sha256(b"fraudfed statistics counts v1\0")
        totals = [counts.rows, counts.labelled, counts.frauds, self.least]
        arrays = [np.array([*totals, *counts.n_identifiers.values()], dtype=np.int64)]
        for column in counts.columns:
            arrays += [np.array([column.missing], dtype=np.int64), column.cells, column.frauds]
            arrays += [] if column.fine is None else [column.fine.ravel()]
        arrays += counts.cells.values()
        for array in arrays:
            digest.update(array.size.to_bytes(8, "little") + array.astype("<i8").tobytes())
        return digest.hexdigest()

    def decode(self, data: bytes) -> Statistics:
        """Read the sums.

        Raises
        ------
        StateError
            If the bytes are damaged, or of another run description or hash key.
        """
        found = Statistics.from_bytes(data, layout=self.layout)
        if found.key_id != hash_key_id(self.hash_key):
            raise StateError(
                "statistics are of another hash key than this run's; take those of this run"
            )
        return found

    def add_up(self, communicator: Communicator) -> Statistics:
        """Sum the counts; raises as ``pool``."""
        found = pool(
            self.counts, self.layout, communicator, least=self.least, hash_key=self.hash_key
        )
        # Before the step counts as finished: it is not summed again then.
        self.keep_own(found.own.to_bytes())
        return found.pooled

    def result(self, pooled: Statistics) -> StatisticsResult:
        """Return columns and rows."""
        return _result(pooled)
