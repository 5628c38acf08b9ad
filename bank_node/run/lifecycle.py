"""Take part in a run, from the first check to the accepted result: the same for every kind."""

import logging
import os
import time
from collections import Counter
from typing import Any

from bank_node.approval.decision import require_approved
from bank_node.consortium.ceremony import accept_epoch
from bank_node.consortium.connection import Connection, connect
from bank_node.consortium.members import ObservedRoster, observe_roster, warn_of_first_use
from bank_node.http.retry import RetryPolicy
from bank_node.logs import RUN
from bank_node.run.abort import abort_reason, tell_others
from bank_node.run.agreeing import Agreeing
from bank_node.run.agreement.epoch_check import check_epoch
from bank_node.run.agreement.exactness import check_exact
from bank_node.run.agreement.partners import check_members
from bank_node.run.agreement.pinning import pin_run
from bank_node.run.attempt import have_accepted, work_to_the_end
from bank_node.run.choose import choose_run, wait_for_cohort
from bank_node.run.context import RunContext, RunOptions
from bank_node.run.generations import Generations
from bank_node.run.job import Job, Jobs, S, Work
from bank_node.run.progress import RunProgress
from bank_node.run.record import LastProcess, R, RunRecord, WholeRun, read_record, save_result
from bank_node.run.reveals import check_joinable
from bank_node.run.sums.phases import PhaseTimes
from bank_node.run.vote import Accepted, take_from_registry
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed import __version__
from fraudfed.errors import (
    CohortChangedError,
    ConflictError,
    FraudFedError,
    NotFoundError,
    RunFailedError,
    StateError,
)
from fraudfed.machine.usage import usage_of
from fraudfed.paillier.kernels.kernel import kernel_note, select_kernel
from fraudfed.reading.location import open_data
from fraudfed.wire.messages import RunKind, RunState, RunStatus

_log = logging.getLogger(__name__)


def take_part(
    state: StateDirectory,
    options: RunOptions,
    kind: RunKind,
    jobs: Jobs,
    progress: RunProgress,
    *,
    passphrase: str | None = None,
) -> RunRecord[Any]:
    """Work to the end, have the result accepted, keep it; return the record of the run.

    The bank checks its own file, the members' keys, its rules and that the run is approved here
    before any other bank has to wait for it. It may be killed at any instant: the same call
    continues where it was. Once that is checked and the cohort is complete, this bank tells the
    others of every failure that no new start can cure, without any of its values. A member whose
    keys have changed is one exception: nothing more is sent.

    Parameters
    ----------
    state : StateDirectory
        Locked by this process.
    options : RunOptions
    kind : RunKind
        Of the run.
    jobs : Jobs
        The job of each kind of run.
    progress : RunProgress
    passphrase : str or None

    Raises
    ------
    FraudFedError
        As ``fraudfed.errors`` says; the state directory holds what is needed to continue.
    """
    job = jobs[kind]
    open_data(options.data)
    with connect(state, passphrase) as connection:
        client = connection.client
        observed = observe_roster(state, client)
        status = choose_run(state, client, options.run_id, kinds=(kind,), jobs=jobs)
        run_id = status.run_id
        RUN.set(run_id)
        if status.state is RunState.FINISHED:
            kept = read_record(state, run_id, job.record_type)
            if kept is not None:
                return _of_finished_run(kept, status)
        # Whatever the aggregator says of the run's state: what is wrong with this bank's file,
        # rules or approval is told to nobody. It would say something of the rows, and can be cured.
        others_wait = False
        try:
            context = _checked(state, options, job, status, connection, observed, progress)
            work = job.load(context)
            check_joinable(context, work, status)
            # For as long as the others wait for this bank.
            patience = float(status.spec.deadline_seconds)
            client.be_patient(RetryPolicy(patience_seconds=patience))
            state.save_config(state.config.with_last_run(kind, run_id))
            if status.state is RunState.OPEN:
                status = Agreeing(context, work).join(status)
                total = len(status.generation.banks)
                status = wait_for_cohort(
                    client,
                    status,
                    timeout_seconds=options.cohort_timeout_seconds,
                    on_members=lambda names: progress.banks(names, total),
                )
            others_wait = True
            # What was joined is what was checked.
            pin_run(state, status)
            return work_with_others(context, job, work)
        except BaseException as error:
            if others_wait:
                tell_others(client, run_id, error)
            has_ended = others_wait and abort_reason(error) is not None
            if has_ended or isinstance(error, RunFailedError):
                _erase_key(state, run_id)
            raise


def _erase_key(state: StateDirectory, run_id: str) -> None:
    """Erase the secrets of a run that has ended for this bank; raises no fraudfed error."""
    try:
        state.agreements(run_id).end()
        run = state.pinned_run(run_id)
        if run is not None and run.spec.noise_terms is not None:
            # Nobody opens what this bank has not revealed: it need not be paid for.
            state.outbox(run_id).forget_payloads()
            state.privacy_ledger().release_unrevealed(run_id)
    except FraudFedError as failure:
        _log.warning("the secrets of the run could not be erased: %s", failure)


def _of_finished_run(record: RunRecord[R], status: RunStatus) -> RunRecord[R]:
    """Return the record of a run that this bank has finished before.

    Raises
    ------
    StateError
        If the aggregator has accepted another result.
    """
    if record.registry_sha256 != status.model_sha256:
        raise StateError(
            f"run {status.run_id}: is finished at the aggregator, but this state directory does "
            "not hold its result; restore the directory, or ask the operator for a new run"
        )
    _log.info("run %s was finished before; nothing to do", status.run_id)
    return record


def _checked(
    state: StateDirectory,
    options: RunOptions,
    job: Job[S, R],
    status: RunStatus,
    connection: Connection,
    observed: ObservedRoster,
    progress: RunProgress,
) -> RunContext:
    """Check everything that needs neither the bank's data nor another bank; pin the run."""
    run, rules = PinnedRun.of(status), state.config.rules
    check_exact(run, state.config.privacy)
    job.accept(run, rules, state)
    # At every start, on the very bytes that this start works with.
    require_approved(state, run, job.weigh(run, state.config.approval))
    epoch = accept_epoch(state, connection, observed, run.spec.key_epoch)
    check_epoch(run, epoch.key_epoch, latest=max(state.epochs()))
    check_members(run, observed.trust)
    warn_of_first_use(observed.trust)
    pin_run(state, status)
    return RunContext(
        state=state,
        connection=connection,
        run=run,
        epoch=epoch,
        rules=rules,
        trust=observed.trust,
        options=options,
        progress=progress,
        agreements=state.agreements(run.run_id),
        checkpoints=state.checkpoints(run.run_id),
        ledger=state.ledger(),
        outbox=state.outbox(run.run_id),
        log=state.round_log(run.run_id),
        privacy_ledger=None if run.spec.noise_terms is None else state.privacy_ledger(),
    )


def work_with_others(context: RunContext, job: Job[S, R], work: Work[S, R]) -> RunRecord[R]:
    """Work with the banks of each generation in turn, until every one has the same result.

    Raises
    ------
    FraudFedError
        As ``take_part``.
    """
    started, times = time.time(), PhaseTimes()
    before = context.client.requests.copy()
    _log.info("Paillier kernel: %s; %d threads", kernel_note(), context.options.threads)
    generations = Generations(context, work)
    while True:
        try:
            entry = generations.next_entry()
            if entry is None:
                break
            outcome = work_to_the_end(context, work, entry, times)
            accepted = have_accepted(context, entry, outcome.content)
        except CohortChangedError as change:
            # Also while this bank agrees or hands over: the next generation may be formed already.
            _log.info("%s", change)
            continue
        except (ConflictError, NotFoundError) as error:
            # The refusal may mean that the others have finished without this bank.
            if not generations.was_finished_by_others():
                raise
            _log.info("%s", error)
            continue
        times.mark("accept")
        process = _last_process(context, times, started=started, before=before)
        generation = entry.checkpoint.generation
        return _keep(context, job, accepted, outcome.result, process, generation=generation)
    accepted = take_from_registry(context)
    process = _last_process(context, times, started=started, before=before)
    result = job.describe(context.run, accepted.content)
    return _keep(context, job, accepted, result, process, generation=None)


def _last_process(
    context: RunContext, times: PhaseTimes, *, started: float, before: Counter[str]
) -> LastProcess:
    return LastProcess(
        started_at=int(started),
        finished_at=int(time.time()),
        threads=context.options.threads,
        process_cpu_seconds=round(time.process_time(), 3),
        peak_memory_bytes=usage_of(os.getpid()).peak_bytes,
        requests=dict(sorted((context.client.requests - before).items())),
        **times.to_dict(),
    )


def _keep(
    context: RunContext,
    job: Job[S, R],
    accepted: Accepted,
    result: R,
    process: LastProcess,
    *,
    generation: int | None,
) -> RunRecord[R]:
    """Keep an accepted result with the record of its run; return the record.

    Parameters
    ----------
    generation : int or None
        That this bank finished the run with; None if the result is from the registry.
    """
    state, run, epoch = context.state, context.run, context.epoch
    public, signatures = epoch.package.public_key, accepted.signatures
    record = job.record_type(
        run_id=run.run_id,
        name=run.spec.name,
        bank=context.bank,
        members=accepted.banks,
        generation=generation,
        taken_from_registry=generation is None,
        fraudfed_version=__version__,
        result=result,
        model_sha256=signatures.plain_sha256,
        registry_sha256=signatures.sha256,
        model_visibility=run.spec.model_visibility,
        key_epoch=epoch.key_epoch.epoch,
        key_bits=public.key_bits,
        key_fingerprint=public.fingerprint,
        kernel=select_kernel().name,
        trust=context.trust.kind,
        transport="https" if state.config.aggregator.startswith("https:") else "loopback",
        whole_run=WholeRun.model_validate(context.log.summary()),
        last_process=process,
    )
    files = job.files(context, accepted.content, registry_sha256=signatures.sha256)
    save_result(state, files, signatures, record)
    return record
