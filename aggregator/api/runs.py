"""Runs: opened by the operator, joined by banks, watched and ended by both."""

from pydantic import Field

from aggregator.api.declare import Access, Endpoint, WaitQuery
from aggregator.api.services import services
from aggregator.caller import Caller
from fraudfed.catalogue.run_check import check_run
from fraudfed.errors import (
    ConfirmationNeededError,
    ConflictError,
    KeyMaterialError,
    NotFoundError,
    RunDescriptionError,
    RunFailedError,
)
from fraudfed.http.server.declare import MAX_NUMBER, Endpoints, Query
from fraudfed.wire.messages import (
    Abort,
    Join,
    RoundList,
    RunCreated,
    RunList,
    RunSpec,
    RunState,
    RunStatus,
)

endpoints = Endpoints(Endpoint)


class StatusQuery(WaitQuery):
    """Query of a run's status."""

    state: RunState | None = Field(
        default=None, description="Wait while the run is in this state; without it, do not wait."
    )
    generation: int | None = Field(
        default=None, ge=0, le=MAX_NUMBER, description="Wait only while it is at this generation."
    )


class RoundsQuery(Query):
    """Query of the rounds on record."""

    start: int = Field(default=0, ge=0, le=MAX_NUMBER, description="First round.")
    limit: int = Field(default=1000, ge=1, le=1000, description="Most rounds in one answer.")


@endpoints.add(
    method="POST",
    rule="/runs",
    summary="Open a run for the banks of an active key epoch.",
    access=Access.OPERATOR,
    kind="run-created",
    takes_two=True,
    status=201,
    reads=RunSpec,
    refusal=RunDescriptionError,
    checks=check_run,
    answers=RunCreated,
    errors=(ConfirmationNeededError, NotFoundError, ConflictError, RunDescriptionError),
)
def create_run(caller: Caller, body: RunSpec) -> RunCreated:
    """Bind the run to an active key epoch and store it."""
    return services().runs.create_run(body, caller)


@endpoints.add(
    method="GET",
    rule="/runs",
    summary="List runs, newest first: the operator sees all, a bank those of its cohorts.",
    access=Access.READER,
    answers=RunList,
)
def list_runs(caller: Caller) -> RunList:
    """List what the caller may see."""
    return services().runs.list_runs(caller)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>",
    summary="Status of a run; with 'wait' and 'state', answers when the run leaves that state.",
    access=Access.READER,
    query=StatusQuery,
    answers=RunStatus,
    errors=(NotFoundError, RunFailedError),
)
def show_run(caller: Caller, run_id: str, query: StatusQuery) -> RunStatus:
    """Tell a bank of a failure as an error; the operator sees it in the status."""
    return services().runs.status(
        run_id,
        caller,
        while_state=query.state,
        while_generation=query.generation,
        seconds=query.wait,
    )


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/members",
    summary="Join a run: it starts when all have joined; later ones come in at the next step, or "
    "at once while a generation is being formed.",
    access=Access.BANK,
    kind="join",
    reads=Join,
    answers=RunStatus,
    errors=(NotFoundError, ConflictError, KeyMaterialError, RunFailedError),
)
def join_run(caller: Caller, run_id: str, body: Join) -> RunStatus:
    """Join, or come back; a bank that takes part changes nothing."""
    return services().runs.join(run_id, caller, body)


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/abort",
    summary="End a run for all without a model: a bank with one of the constants of AbortReason, "
    "the operator with a text for the banks.",
    access=Access.PARTICIPANT,
    kind="abort",
    reads=Abort,
    answers=RunStatus,
    errors=(NotFoundError, ConflictError, RunFailedError),
)
def abort_run(caller: Caller, run_id: str, body: Abort) -> RunStatus:
    """Fail the run as '<bank>: <constant>' or 'operator: <text>'."""
    return services().runs.abort(run_id, caller, body.reason)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/rounds",
    summary="What is on record of a run's rounds.",
    access=Access.READER,
    query=RoundsQuery,
    answers=RoundList,
    errors=(NotFoundError, RunFailedError),
)
def list_rounds(caller: Caller, run_id: str, query: RoundsQuery) -> RoundList:
    """List labels, sizes and times."""
    return services().runs.rounds(run_id, caller, start=query.start, limit=query.limit)
