"""Sum daily tables of payments and frauds with the other banks: the work of a risk run."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.data.contract import load_transactions
from bank_node.data.risk_days import day_text
from bank_node.run.job import Load, WorkResult
from bank_node.run.lifecycle import RunOptions, take_part
from bank_node.run.progress import RunProgress
from bank_node.run.rules import check_risk_run
from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed.communicator import Communicator
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.errors import StateError
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.shared_risk import RiskEntries, RiskTables, risk_entries, sum_tables
from fraudfed.features.shared_risk.entries import CUSTOMER_DAYS
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.wire.messages import RiskSpec, RunKind

_log = logging.getLogger(__name__)


def update_risk(
    state: StateDirectory,
    options: RunOptions,
    progress: RunProgress,
    *,
    passphrase: str | None = None,
) -> dict[str, Any]:
    """Sum the tables of a risk run, have them accepted, keep them; return the run's record.

    Raises
    ------
    FraudFedError
        As ``take_part``.
    """
    return take_part(
        state,
        options,
        RunKind.RISK,
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
) -> Load[RiskTables]:
    """Accept a risk run; what is returned loads this bank's payments."""
    counted = check_risk_run(run, rules, before=state.sealed_runs())
    return partial(_load, options, progress, run, counted)


def _load(
    options: RunOptions,
    progress: RunProgress,
    run: PinnedRun,
    counted: RiskSpec,
    epoch: AcceptedEpoch,
) -> "RiskWork":
    transactions = load_transactions(options.data, mapping=options.mapping)
    hash_key = derive_risk_key(epoch.package)
    entries = risk_entries(transactions, counted, hash_key=hash_key)
    _log.info(
        "%d payments meet the schema; %d counts of payments and %d of frauds are entered",
        *(len(transactions), entries.transactions.counts.sum(), entries.frauds.counts.sum()),
    )
    _warn(transactions, entries, counted)
    return RiskWork(
        entries=entries,
        begin=RiskTables(run.risk, hash_key_id(hash_key)),
        progress=progress,
    )


def _warn(transactions: pd.DataFrame, entries: RiskEntries, counted: RiskSpec) -> None:
    """Say what is allowed and probably not meant."""
    if entries.transactions.counts.size == 0:
        _log.warning("no payment is entered: is this the file of the run's days?")
    begins = int(transactions["event_time"].min()) // SECONDS_PER_DAY
    needed = counted.first_day - counted.delay_days - (CUSTOMER_DAYS - 1)
    if begins > needed and counted.min_customers > 1:
        _log.warning(
            "the payments begin on %s, the minimum count of the first day looks back to %s: too "
            "few customers may be found",
            *(day_text(begins), day_text(needed)),
        )


@dataclass(frozen=True, eq=False)
class RiskStates:
    """How the states of a risk run are read; see ``RunStates``.

    Attributes
    ----------
    begin : RiskTables
        The run's, without days.
    """

    begin: RiskTables

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

    def regrouped(self, state: RiskTables, *, more_rows: int) -> RiskTables:
        """Return the tables as they are: no later bound rests on who was there before."""
        del more_rows
        return state


@dataclass(frozen=True, eq=False)
class RiskWork:
    """A bank's part in a risk run; see ``RunWork``.

    Attributes
    ----------
    entries : RiskEntries
        What this bank enters.
    begin : RiskTables
        The run's tables without days.
    progress : RunProgress
    """

    entries: RiskEntries
    begin: RiskTables
    progress: RunProgress

    @property
    def states(self) -> RiskStates:
        """How its states are read."""
        return RiskStates(self.begin)

    @property
    def data_sha256(self) -> str:
        """Digest of what this bank enters."""
        digest = hashlib.sha256(b"fraudfed risk entries v1\0")
        for entries in (self.entries.transactions, self.entries.frauds):
            digest.update(len(entries.days).to_bytes(8, "little"))
            digest.update(entries.days.astype("<i8").tobytes())
            digest.update(entries.counts.astype("<i8").tobytes())
            digest.update(entries.hashes.astype("<u4").tobytes())
        return digest.hexdigest()

    @property
    def n_rows(self) -> int:
        """0: each step announces the totals that bound its own sums."""
        return 0

    def run(
        self,
        communicator: Communicator,
        *,
        start: RiskTables | None,
        on_step: Callable[[RiskTables], None],
    ) -> WorkResult:
        """Sum the days that are left; raises as ``sum_tables``."""
        begin = self.begin if start is None else start
        self._show(begin)

        def after(tables: RiskTables) -> None:
            on_step(tables)
            self._show(tables)
            _log.info("days finished", extra={"days": len(tables.days), "of": tables.n_days})

        tables = sum_tables(self.entries, communicator, start=begin, on_step=after)
        return WorkResult(tables.to_bytes(), {})

    def _show(self, tables: RiskTables) -> None:
        self.progress.steps("days", len(tables.days), tables.n_days, "")
