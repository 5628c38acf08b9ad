"""Becoming a member of a run: register, choose and pin the run, join, wait for the others."""

import logging
import time
from collections.abc import Callable

from bank_node.client import LONG_POLL_SECONDS, AggregatorClient, check_url
from bank_node.config import check_run_id
from bank_node.run_rules import check_run, pin_run
from bank_node.state import StateDirectory
from fraudfed.errors import (
    CohortError,
    ConfigurationError,
    ConflictError,
    RunFailedError,
    StateError,
)
from fraudfed.wire.messages import RunState, RunStatus

__all__ = ["join_run", "register", "require_membership", "wait_for_cohort"]

_log = logging.getLogger(__name__)


def register(state: StateDirectory, url: str) -> None:
    """Make the bank known to the aggregator, once; keep URL and token.

    Raises
    ------
    StateError
        If the bank is registered at another aggregator already.
    ConflictError
        If another bank has taken the name.
    """
    url = check_url(url)
    known = state.config.aggregator
    if known is not None and known != url:
        raise StateError(
            f"{state.path}: this bank belongs to the aggregator {known}, got {url}; use that URL, "
            "or another state directory"
        )
    # The token is shown once, so it is kept first: a crash between the two writes loses nothing.
    if state.token() is None:
        with AggregatorClient(url) as client:
            try:
                token = client.register(state.config.name).token
            except ConflictError as error:
                raise ConflictError(
                    f"{error}; if it is this bank's own, restore its state directory, or make one "
                    "with another --name"
                ) from error
        state.save_token(token)
        _log.info("registered as %s at %s", state.config.name, url)
    if known is None:
        state.save_config(state.config.model_copy(update={"aggregator": url}))


def join_run(
    state: StateDirectory, client: AggregatorClient, run_id: str | None, *, min_cohort: int
) -> RunStatus | None:
    """Join a run after checking it by this bank's own rules.

    Parameters
    ----------
    run_id : str or None
        None joins the one open run there is.

    Returns
    -------
    RunStatus, or None when no run was named and none is open

    Raises
    ------
    ConfigurationError
        If no run is named and several are open.
    FraudFedError
        If the run breaks a rule of this bank, or the aggregator refuses.
    """
    if run_id is None:
        run_id = _only_open_run(client)
        if run_id is None:
            return None
    # It becomes a directory name, whether it was typed or came from the aggregator.
    status = client.run(check_run_id(run_id))
    package = state.key_package()
    check_run(status.spec, public_key=package.public_key, min_cohort=min_cohort)
    pin_run(state, status)
    if state.config.name not in status.members:
        status = client.join(run_id)
    state.save_config(state.config.model_copy(update={"run_id": run_id}))
    _log.info("joined run %s (%s)", run_id, status.spec.name)
    return status


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
            _log.info(
                "%d of %d banks are in: %s", len(seen), status.spec.cohort_size, ", ".join(seen)
            )
        left = LONG_POLL_SECONDS
        if timeout_seconds is not None:
            left = min(left, started + timeout_seconds - clock())
            if left <= 0:
                raise CohortError(
                    f"run {status.run_id}: {len(seen)} of {status.spec.cohort_size} banks "
                    f"({', '.join(seen)}) joined within {timeout_seconds:g} s; ask the missing "
                    "banks, or wait longer with --cohort-timeout"
                )
        # Short questions, so that newly joined banks are shown.
        status = client.run(status.run_id, while_state=RunState.OPEN, wait_seconds=min(left, 5.0))
    if status.state is RunState.FAILED:
        raise RunFailedError(f"run {status.run_id} has failed: {status.failure}")
    on_members(status.members)
    _log.info("the cohort is complete: %s", ", ".join(status.members))
    return status


def _only_open_run(client: AggregatorClient) -> str | None:
    runs = [status for status in client.runs().runs if status.state is RunState.OPEN]
    if len(runs) > 1:
        named = ", ".join(f"{status.run_id} ({status.spec.name})" for status in runs)
        raise ConfigurationError(f"{len(runs)} runs are open: {named}; choose one with --run")
    return runs[0].run_id if runs else None


def require_membership(state: StateDirectory) -> tuple[str, str, str]:
    """Return aggregator URL, token and run of a bank that has joined.

    Raises
    ------
    StateError
        If it has not.
    """
    url, token, run_id = state.config.aggregator, state.token(), state.config.run_id
    if url is None or token is None or run_id is None:
        raise StateError(
            f"{state.path}: this bank has joined no run; run "
            f"'bank-node join --state {state.path} --aggregator URL --run RUN_ID' first"
        )
    return url, token, run_id
