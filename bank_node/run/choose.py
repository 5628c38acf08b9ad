"""Which run this bank takes part in, and waiting until its cohort is complete."""

import logging
import time
from collections.abc import Callable

from bank_node.config import check_run_id
from bank_node.consortium.connection import connect
from bank_node.http.client import LONG_POLL_SECONDS, AggregatorClient
from bank_node.run.agreement.pinning import pin_run
from bank_node.run.job import Jobs
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import CohortError, ConfigurationError, RunFailedError
from fraudfed.wire.messages import RunKind, RunState, RunStatus

_log = logging.getLogger(__name__)


def choose_run(
    state: StateDirectory,
    client: AggregatorClient,
    run_id: str | None,
    *,
    kinds: tuple[RunKind, ...],
    jobs: Jobs,
) -> RunStatus:
    """Return the named run, else the only one this bank can take part in, else its last.

    Parameters
    ----------
    kinds : tuple of RunKind
        What the caller asks for; the last run of the first of them that this bank knows.
    jobs : Jobs
        Name the command for a run of another kind.

    Raises
    ------
    ConfigurationError
        If no run is named, and several are possible or none is; or if the named one is of another
        kind.
    NotFoundError
        If the aggregator does not know the run.
    """
    wanted = " or ".join(kinds)
    if run_id is None:
        name = state.config.name
        possible = [
            status
            for status in client.runs().runs
            if name in status.cohort
            and status.spec.kind in kinds
            and status.state in {RunState.OPEN, RunState.TRAINING, RunState.GATHERING}
        ]
        if len(possible) > 1:
            named = ", ".join(f"{status.run_id} ({status.spec.name})" for status in possible)
            raise ConfigurationError(
                f"{len(possible)} {wanted} runs are open to this bank: {named}; choose one with "
                "--run"
            )
        run_id = possible[0].run_id if possible else _last_run(state, kinds)
    if run_id is None:
        raise ConfigurationError(
            f"no {wanted} run is open to this bank; ask the operator for one, or name it with --run"
        )
    # It becomes a directory name, whether it was typed or came from the aggregator.
    status = client.run(check_run_id(run_id))
    if status.spec.kind not in kinds:
        raise ConfigurationError(
            f"run {run_id} ({status.spec.name}): is of kind {status.spec.kind}, expected {wanted}; "
            f"use 'bank-node {jobs[status.spec.kind].command}', or name another with --run"
        )
    return status


def _last_run(state: StateDirectory, kinds: tuple[RunKind, ...]) -> str | None:
    last = (state.config.last_run(kind) for kind in kinds)
    return next((run_id for run_id in last if run_id is not None), None)


def wait_for_cohort(
    client: AggregatorClient,
    status: RunStatus,
    *,
    timeout_seconds: float | None,
    on_members: Callable[[tuple[str, ...]], None],
    clock: Callable[[], float] = time.monotonic,
) -> RunStatus:
    """Wait until every bank of the cohort has joined.

    Raises
    ------
    CohortError
        If that takes longer than ``timeout_seconds``.
    RunFailedError
        If the run was ended meanwhile.
    """
    started = clock()
    seen: tuple[str, ...] | None = None
    while status.state is RunState.OPEN:
        if status.members != seen:
            seen = status.members
            on_members(seen)
            total = len(status.generation.banks)
            _log.info("%d of %d banks are in: %s", len(seen), total, ", ".join(seen))
        left = LONG_POLL_SECONDS
        if timeout_seconds is not None:
            left = min(left, started + timeout_seconds - clock())
            if left <= 0:
                missing = [name for name in status.generation.banks if name not in seen]
                raise CohortError(
                    f"run {status.run_id}: {len(seen)} of {len(status.cohort)} banks joined within "
                    f"{timeout_seconds:g} s, without {', '.join(missing)}; ask them, or wait "
                    "longer with --cohort-timeout"
                )
        # Short questions, so that newly joined banks are shown.
        status = client.run(status.run_id, while_state=RunState.OPEN, wait_seconds=min(left, 5.0))
    if status.state is RunState.FAILED:
        raise RunFailedError(f"run {status.run_id} has failed: {status.failure}")
    on_members(status.generation.banks)
    _log.info("the cohort is complete: %s", ", ".join(status.generation.banks))
    return status


def known_run(
    state: StateDirectory,
    run_id: str | None,
    kinds: tuple[RunKind, ...],
    jobs: Jobs,
    *,
    passphrase: Callable[[], str | None],
) -> PinnedRun:
    """Return a run this bank knows, after asking the aggregator for it if it knows none yet.

    Parameters
    ----------
    run_id : str or None
        None takes this bank's last run of the first of the kinds that it knows, else the one open
        to it.
    kinds : tuple of RunKind
    jobs : Jobs
    passphrase : callable
        Asked only if the aggregator is.

    Raises
    ------
    FraudFedError
        If the run cannot be chosen, or breaks a rule of this bank.
    """
    chosen = _last_run(state, kinds) if run_id is None else check_run_id(run_id)
    if chosen is not None and state.pinned_run(chosen) is not None:
        return state.current_run(chosen)
    with state.locked(), connect(state, passphrase()) as connection:
        status = choose_run(state, connection.client, run_id, kinds=kinds, jobs=jobs)
        kind = status.spec.kind
        jobs[kind].accept(PinnedRun.of(status), state.config.rules, state)
        run = pin_run(state, status)
        state.save_config(state.config.with_last_run(kind, run.run_id))
    return run
