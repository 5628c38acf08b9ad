"""Take part in a run, from the first check to the accepted result: the same for every kind."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import accept_epoch
from bank_node.consortium.connection import Connection, connect
from bank_node.consortium.members import ObservedRoster, observe_roster, unconfirmed
from bank_node.data.file import DataFile
from bank_node.http.retry import RetryPolicy
from bank_node.logs import RUN
from bank_node.run.abort import tell_others
from bank_node.run.attempt import Accepted, Prepared, Stretch
from bank_node.run.choose import choose_run, wait_for_cohort
from bank_node.run.finished import fetch_result, finished_record
from bank_node.run.generations import Entry, Participation
from bank_node.run.job import Check, S
from bank_node.run.result import keep_result, result_facts
from bank_node.run.rules import check_epoch, pin_run
from bank_node.state.directory import PinnedRun, StateDirectory
from fraudfed import __version__
from fraudfed.errors import CohortChangedError, ConflictError, NotFoundError
from fraudfed.features.mapping import Mapping
from fraudfed.paillier.kernel import kernel_note, select_kernel
from fraudfed.usage import usage_of
from fraudfed.wire.messages import RunKind, RunState, RunStatus

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """What the command line says.

    Attributes
    ----------
    data : Path
    mapping : Mapping or None
        How the columns of ``data`` become those that the run wants.
    run_id : str or None
        None takes the only run there is for this bank.
    min_cohort : int or None
        None takes ``bank.toml``'s.
    round_timeout_seconds : float or None
        None waits for as long as the run does.
    cohort_timeout_seconds : float or None
        None waits without limit.
    threads : int
        Cores that this bank's work may use at once; no result depends on it.
    """

    data: Path
    mapping: Mapping | None = None
    run_id: str | None = None
    min_cohort: int | None = None
    round_timeout_seconds: float | None = None
    cohort_timeout_seconds: float | None = None
    threads: int = 1

    def rules(self, configured: CohortRules) -> CohortRules:
        """Return the bank's rules under these options."""
        if self.min_cohort is None:
            return configured
        return configured.model_copy(update={"min_cohort": self.min_cohort})


def take_part(
    state: StateDirectory,
    options: RunOptions,
    kind: RunKind,
    check: Check[S],
    *,
    on_banks: Callable[[tuple[str, ...], int], None],
    passphrase: str | None = None,
) -> dict[str, Any]:
    """Work to the end, have the result accepted, keep it; return the record of the run.

    The bank checks its own file, the members' keys and its rules before it lets anybody wait for
    it. It may be killed at any instant: the same call goes on where it was. From the moment the
    cohort is complete every failure that no new start can cure is told to the others, without any
    of its values. A member whose keys have changed is one exception: nothing more is sent.

    Parameters
    ----------
    state : StateDirectory
    options : RunOptions
    kind : RunKind
        Of the run that is looked for when none is named.
    check : callable
        Accepts the run under this bank's rules; what it returns loads the bank's data.
    on_banks : callable
        Called with the names of those who are in, and the number of all, while this bank waits.
    passphrase : str or None

    Raises
    ------
    FraudFedError
        As ``fraudfed.errors`` says; the state directory holds what is needed to go on.
    """
    DataFile.open(options.data)
    with connect(state, passphrase) as connection:
        client = connection.client
        observed = observe_roster(state, client)
        status = choose_run(state, client, options.run_id, kind=kind)
        run_id = status.run_id
        RUN.set(run_id)
        if status.state is RunState.FINISHED and state.record(run_id) is not None:
            return finished_record(state, status)
        # The others wait for this bank already. If it has begun, its file and rules were good then:
        # what is wrong with them now can be cured, and must not cost all of them the run.
        others_wait = (
            status.state in {RunState.TRAINING, RunState.GATHERING}
            and state.config.name in status.generation.banks
            and state.checkpoints(run_id).latest() is None
        )
        try:
            ready = _prepare(state, options, check, status, connection, observed)
            # For as long as the others wait for this bank.
            patience = float(status.spec.deadline_seconds)
            client.be_patient(RetryPolicy(patience_seconds=patience))
            state.save_config(state.config.with_last_run(kind, run_id))
            if status.state is RunState.OPEN:
                status = client.join(run_id)
                status = wait_for_cohort(
                    client,
                    status,
                    timeout_seconds=options.cohort_timeout_seconds,
                    on_members=lambda names: on_banks(names, len(status.generation.banks)),
                )
            others_wait = True
            return _work_with_others(state, options, connection, status, ready, on_banks)
        except BaseException as error:
            if others_wait:
                tell_others(client, run_id, error)
            raise


def _prepare(
    state: StateDirectory,
    options: RunOptions,
    check: Check[S],
    status: RunStatus,
    connection: Connection,
    observed: ObservedRoster,
) -> Prepared[S]:
    """Check everything that needs no other bank."""
    run, rules = PinnedRun.of(status), options.rules(state.config.rules)
    load = check(run, rules)
    epoch = accept_epoch(state, connection, observed, run.spec.key_epoch)
    check_epoch(run, epoch.key_epoch, latest=max(state.epochs()))
    if run.spec.require_confirmed_roster or rules.require_confirmed_roster:
        observed.pins.require_confirmed(run.cohort)
    pin_run(state, status)
    return Prepared(run, epoch, observed, load(epoch))


def _work_with_others(
    state: StateDirectory,
    options: RunOptions,
    connection: Connection,
    status: RunStatus,
    ready: Prepared[S],
    on_banks: Callable[[tuple[str, ...], int], None],
) -> dict[str, Any]:
    """Work with the banks of each generation in turn, until every one has the same result."""
    # What was joined is what was checked.
    run, client = pin_run(state, status), connection.client
    started = time.time()
    _log.info("Paillier kernel: %s; %d threads", kernel_note(), options.threads)
    stretch = Stretch(
        state,
        connection,
        run,
        ready,
        round_timeout_seconds=options.round_timeout_seconds,
        threads=options.threads,
    )
    participation = Participation(
        client,
        stretch.checkpoints,
        stretch.log,
        run=run,
        key_epoch=ready.epoch.key_epoch,
        package=ready.epoch.package,
        bank=state.config.name,
        states=ready.work.states,
        data_sha256=ready.work.data_sha256,
        n_rows=ready.work.n_rows,
        min_cohort=options.rules(state.config.rules).min_cohort,
        timeout_seconds=options.cohort_timeout_seconds,
        on_banks=on_banks,
    )
    while True:
        try:
            entry = participation.next_entry()
            if entry is None:
                return fetch_result(state, client, run, ready.epoch)
            accepted = stretch.take_part(entry)
        except CohortChangedError as change:
            # Also while this bank agrees or hands over: the next generation may be formed already.
            _log.info("%s", change)
            continue
        except (ConflictError, NotFoundError) as error:
            # What is refused may be refused because the others have finished without this bank.
            if not participation.was_finished_by_others():
                raise
            _log.info("%s", error)
            continue
        record = _record(state, ready, stretch, entry, accepted)
        record["started_at"], record["finished_at"] = int(started), int(time.time())
        record["threads"] = options.threads
        record["process_cpu_seconds"] = round(time.process_time(), 3)
        record["peak_memory_bytes"] = usage_of(os.getpid()).peak_bytes
        keep_result(state, run, ready.epoch, accepted.content, accepted.signatures, record)
        return record


def _record(
    state: StateDirectory,
    ready: Prepared[S],
    stretch: Stretch[S],
    entry: Entry[S],
    accepted: Accepted,
) -> dict[str, Any]:
    """Say what was done, what protected it and what it cost; holds no value of a row.

    Times and values are of this process; what was sent and what protected it, of the whole run.
    """
    public, run = ready.epoch.package.public_key, ready.run
    return {
        "run_id": run.run_id,
        "name": run.spec.name,
        "bank": state.config.name,
        "members": list(entry.banks),
        "generation": entry.checkpoint.generation,
        "fraudfed_version": __version__,
        **result_facts(run, accepted.content),
        **accepted.facts,
        "model_sha256": accepted.vote.plain_sha256,
        "registry_sha256": accepted.vote.sha256,
        "model_visibility": run.spec.model_visibility.value,
        "key_epoch": ready.epoch.key_epoch.epoch,
        "key_bits": public.key_bits,
        "key_fingerprint": public.fingerprint,
        "kernel": select_kernel().name,
        "roster_confirmed": not unconfirmed(ready.observed.pins, run.cohort),
        "transport": "https" if state.config.aggregator.startswith("https:") else "loopback",
        **stretch.times.to_dict(),
        **stretch.log.summary(),
    }
