"""Sum daily tables of payments and frauds with the other banks: the job of a risk run."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bank_node.approval.facts import RunFacts
from bank_node.approval.findings import Finding
from bank_node.approval.risk import risk_facts, weigh_risk
from bank_node.approval_rules import ApprovalRules
from bank_node.config import CohortRules
from bank_node.data.risk_days import day_text
from bank_node.data.source_keys import day_keys
from bank_node.jobs.risk.counting import count_payments
from bank_node.run.agreement.partners import check_visibility
from bank_node.run.context import RunContext
from bank_node.run.job import Outcome
from bank_node.run.progress import RunProgress
from bank_node.run.record import RunRecord, RunResult
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.risk_file import RiskFile
from fraudfed.communicator import Communicator
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.features.shared_risk import RiskEntries, RiskTables, sum_tables
from fraudfed.features.shared_risk.entries import CUSTOMER_DAYS
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.wire.messages import RiskSpec, RunKind

_log = logging.getLogger(__name__)


class RiskResult(RunResult):
    """What the record of a risk run says of its tables.

    Attributes
    ----------
    first_day, last_day : int
        Days since 1970-01-01 UTC.
    table_bytes : int
    """

    kind: Literal[RunKind.RISK] = RunKind.RISK
    first_day: int
    last_day: int
    table_bytes: int


RiskRecord = RunRecord[RiskResult]


def check_risk_run(run: PinnedRun, rules: CohortRules) -> None:
    """Accept the description of a risk run.

    Raises
    ------
    ConfigurationError
        If it is no risk run, this bank allows no results for the members alone, or it has a
        minimum of customers where tables carry noise.
    """
    check_visibility(run, rules)
    if run.risk.privacy is not None and (rules.min_risk_customers or 1) > 1:
        raise ConfigurationError(
            f"run {run.spec.name!r}: its tables carry noise, and this bank counts payments only "
            f"where {rules.min_risk_customers} customers paid (min_risk_customers): one customer "
            "would decide what of others is counted, which the noise does not cover; take the line "
            "out of bank.toml, or ask for a run without privacy"
        )


def counted_spec(run: PinnedRun, rules: CohortRules) -> RiskSpec:
    """Return what this bank counts: the run's, with ``min_customers`` no lower than its rule."""
    own = rules.min_risk_customers or 1
    return run.risk.model_copy(update={"min_customers": max(run.risk.min_customers, own)})


class RiskJob:
    """Risk runs; see ``bank_node.run.job.Job``."""

    kind = RunKind.RISK
    command = "risk update"
    record_type = RiskRecord

    def accept(self, run: PinnedRun, rules: CohortRules, state: StateDirectory) -> None:
        """Accept a run's description; raises as ``check_risk_run``."""
        del state
        check_risk_run(run, rules)

    def weigh(self, run: PinnedRun, approval: ApprovalRules) -> tuple[Finding, ...]:
        """Weigh days, customers and entities."""
        return weigh_risk(run, approval)

    def facts(self, run: PinnedRun, *, key_bits: int) -> RunFacts:
        """Return days, entities, cost and what they reveal."""
        return risk_facts(run, key_bits=key_bits)

    def load(self, context: RunContext) -> "RiskWork":
        """Read this bank's payments, and count what it enters.

        Raises
        ------
        DataError
            If they do not meet the schema of transactions.
        """
        options, counted = context.options, counted_spec(context.run, context.rules)
        corrections = [kept.correction for kept in context.state.corrections().all()]
        found = count_payments(options, counted, corrections=corrections)
        hash_key = derive_risk_key(context.epoch.package)
        # Which rows of a customer count is drawn anew at each start, by this bank alone; the digest
        # is of all that there are, and what was sealed is sent again as it was.
        entries, unbounded = (
            each.entries(counted, hash_key=hash_key, corrections=corrections)
            for each in (found.counted, found.unbounded)
        )
        _log.info(
            "%d payments meet the schema; %d counts of payments, %d of frauds and %d of "
            "corrections are entered",
            found.n_rows,
            *(
                int(each.counts.sum())
                for each in (entries.transactions, entries.frauds, entries.corrections)
            ),
        )
        _warn(found.first_day, entries, counted)
        return RiskWork(
            entries=entries,
            begin=RiskTables(context.run.risk, hash_key_id(hash_key)),
            day_keys=day_keys(counted.first_day, counted.last_day, context.ledger),
            progress=context.progress,
            unbounded=unbounded,
        )

    def describe(self, run: PinnedRun, content: bytes) -> RiskResult:
        """Return the days and the size of the tables; raises StateError if they are damaged."""
        del run
        return _result(RiskTables.from_bytes(content).spec, content)

    def files(
        self, context: RunContext, content: bytes, *, registry_sha256: str
    ) -> dict[str, bytes]:
        """Return the tables with the key that reads them."""
        kept = RiskFile(
            run_id=context.run_id,
            registry_sha256=registry_sha256,
            keyed=KeyedTables(
                RiskTables.from_bytes(content), derive_risk_key(context.epoch.package)
            ),
        )
        return {TABLES_FILE: kept.to_bytes()}


def _result(spec: RiskSpec, content: bytes) -> RiskResult:
    return RiskResult(first_day=spec.first_day, last_day=spec.last_day, table_bytes=len(content))


def _warn(begins: int, entries: RiskEntries, counted: RiskSpec) -> None:
    """Say what is allowed and probably not meant of payments from some day on."""
    if entries.transactions.counts.size == 0:
        _log.warning("no payment is entered: is this the file of the run's days?")
    needed = counted.first_day - counted.delay_days - (CUSTOMER_DAYS - 1)
    if begins > needed and counted.min_customers > 1:
        _log.warning(
            "the payments begin on %s, the minimum count of the first day looks back to %s: too "
            "few customers may be found",
            *(day_text(begins), day_text(needed)),
        )


@dataclass(frozen=True, eq=False)
class RiskWork:
    """A bank's part in a risk run; see ``bank_node.run.job.Work``.

    Attributes
    ----------
    entries : RiskEntries
        What this bank enters.
    begin : RiskTables
        The run's tables without days.
    day_keys : tuple of str
        The ledger's key of each day of the run.
    progress : RunProgress
    unbounded : RiskEntries or None
        What it would enter without bounds for each customer; None: the same.
    """

    entries: RiskEntries
    begin: RiskTables
    day_keys: tuple[str, ...]
    progress: RunProgress
    unbounded: RiskEntries | None = None

    @property
    def data_sha256(self) -> str:
        """Digest of what this bank enters, or may enter."""
        digest = hashlib.sha256(b"fraudfed risk entries v2\0")
        of = self.entries if self.unbounded is None else self.unbounded
        entered = (of.transactions, of.frauds, of.corrections)
        for entries in entered:
            digest.update(len(entries.days).to_bytes(8, "little"))
            digest.update(entries.days.astype("<i8").tobytes())
            digest.update(entries.counts.astype("<i8").tobytes())
            digest.update(entries.hashes.astype("<u4").tobytes())
        return digest.hexdigest()

    @property
    def n_rows(self) -> int:
        """0: each step announces the totals that bound its own sums."""
        return 0

    def sources(self, step: int | None) -> tuple[str, ...]:
        """Return the keys of the days that a step sums; no key behind the last."""
        if step is None:
            return self.day_keys
        size = self.begin.spec.days_per_step
        return self.day_keys[step * size : (step + 1) * size]

    def decode(self, data: bytes) -> RiskTables:
        """Read the tables so far.

        Raises
        ------
        StateError
            If the bytes are damaged, or tables of another run description or hash key.
        """
        found = RiskTables.from_bytes(data)
        if (found.spec, found.key_id) != (self.begin.spec, self.begin.key_id):
            raise StateError(
                "risk tables are of another run description or hash key than this run's; take "
                "those of this run, or update them anew"
            )
        return found

    def regroup(self, state: RiskTables, *, more_rows: int) -> RiskTables:
        """Return the tables as they are: no later bound depends on which banks were there."""
        del more_rows
        return state

    def run(
        self,
        communicator: Communicator,
        *,
        start: RiskTables | None,
        on_step: Callable[[RiskTables], None],
    ) -> Outcome[RiskResult]:
        """Sum the days that are left; raises as ``sum_tables``."""
        begin = self.begin if start is None else start
        self._show(begin)

        def after(tables: RiskTables) -> None:
            on_step(tables)
            self._show(tables)
            _log.info("days finished", extra={"days": len(tables.days), "of": tables.n_days})

        tables = sum_tables(self.entries, communicator, start=begin, on_step=after)
        content = tables.to_bytes()
        return Outcome(content, _result(tables.spec, content))

    def _show(self, tables: RiskTables) -> None:
        self.progress.steps("days", len(tables.days), tables.n_days, "")
