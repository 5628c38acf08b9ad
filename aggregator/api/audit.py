"""The audit log, for those whom it concerns."""

from pydantic import Field

from aggregator.api.declare import Access, Endpoint
from aggregator.api.services import services
from aggregator.caller import Caller
from fraudfed.errors import ForbiddenError, NotFoundError
from fraudfed.http.server.declare import MAX_NUMBER, Endpoints, Query
from fraudfed.wire.messages import AuditKey, AuditLog

endpoints = Endpoints(Endpoint)


class AuditQuery(Query):
    """Query of the audit log."""

    run: str | None = Field(
        default=None,
        max_length=100,
        description="Only entries of this run; a bank must name a run of one of its cohorts.",
    )
    start: int = Field(default=1, ge=1, le=MAX_NUMBER, description="First entry's number.")
    limit: int = Field(default=1000, ge=1, le=1000, description="Most entries in one answer.")


@endpoints.add(
    method="GET",
    rule="/audit",
    summary="Entries of the audit log in order, from a number on.",
    access=Access.READER,
    query=AuditQuery,
    answers=AuditLog,
    errors=(NotFoundError,),
)
def show_audit(caller: Caller, query: AuditQuery) -> AuditLog:
    """Also those of a run that has failed."""
    if query.run is not None:
        services().runs.require_cohort(query.run, caller)
    elif caller.bank is not None:
        raise ForbiddenError(
            f"{caller.bank} asked for the whole audit log; a bank names one of its runs: ?run=ID"
        )
    entries = services().audit.entries(run_id=query.run, start=query.start, limit=query.limit)
    return AuditLog(entries=entries)


@endpoints.add(
    method="GET",
    rule="/audit/key",
    summary="The public key that the audit log is signed with.",
    access=Access.READER,
    answers=AuditKey,
)
def audit_key(caller: Caller) -> AuditKey:  # noqa: ARG001
    """Tell what stays the same for the whole life of an aggregator."""
    return AuditKey(audit_key=services().audit.public_key)
