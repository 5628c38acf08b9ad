"""What is done around every view: admission, authentication, body, refusal and answer.

All of it follows from the endpoint's declaration (``declare``).
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from aggregator.api.confirming import content_of
from aggregator.api.declare import Access, Endpoint, Exchange, WaitQuery
from aggregator.api.services import services
from aggregator.audit.log import AuditRecord, round_subject
from aggregator.caller import ANONYMOUS, Caller, Role
from aggregator.config import MetricsAccess
from aggregator.guards.addresses import target_of
from aggregator.guards.admission import Place
from aggregator.guards.auth import RequestHead, require_digest
from aggregator.guards.bodies import MOST_UNKNOWN_BYTES
from aggregator.guards.certificates import require_certificate_of
from aggregator.monitoring.logs import add_to_context
from fraudfed.errors import (
    AuthError,
    CohortChangedError,
    ConfirmationNeededError,
    DamagedError,
    ForbiddenError,
    FraudFedError,
    NotFoundError,
    ProtocolError,
    RunFailedError,
    UnavailableError,
)
from fraudfed.http.server import handling
from fraudfed.http.server.declare import Endpoints, Query, Result, View
from fraudfed.wire.media_types import BINARY, JSON
from fraudfed.wire.messages import AuditStatus, BankRegistration


def install(app: Flask, groups: Iterable[Endpoints[Endpoint]]) -> None:
    """Let an application answer at the addresses of these endpoints."""
    handling.install(app, groups, _handle)


def _handle(endpoint: Endpoint, view: View, address: dict[str, Any]) -> Response:
    g.caller = ANONYMOUS
    _add_subject_to_log(address)
    try:
        if endpoint.always:
            return _respond(endpoint, _call(endpoint, view, address, None), None)
        with services().admission.place() as place:
            return _respond(endpoint, _call(endpoint, view, address, place), place)
    except UnavailableError:
        # Nothing was judged; and to write it down would be the work that there is no room for.
        raise
    except (FraudFedError, HTTPException) as error:
        _record_refusal(endpoint, address, error)
        raise


def _call(endpoint: Endpoint, view: View, address: dict[str, Any], place: Place | None) -> Any:
    """Check the caller and what was sent, and call the view; the body is gone afterwards."""
    arguments = dict(address)
    head = _head()
    if _asks_who(endpoint):
        # Before the body is read: an unknown sender cannot make us take in megabytes.
        g.caller = _authenticated(head)
        add_to_context(caller=g.caller.actor)
        services().admission.charge(g.caller.actor)
        _require_role(endpoint.access, g.caller)
        if g.caller.bank is not None:
            _require_certificate(g.caller.bank)
    elif not endpoint.always:
        services().admission.charge_anonymous(_sender())
    if place is not None:
        place.assign(g.caller.actor)
    query = handling.read_query(endpoint)
    if isinstance(query, WaitQuery):
        # Answered before a proxy in between gives it up: the caller asks again.
        longest = services().config.max_wait_seconds
        query = query.model_copy(update={"wait": min(query.wait, longest)})
    if query is not None:
        arguments["query"] = query
    length = _body_length(endpoint)
    bodies = services().bodies
    with contextlib.ExitStack() as held:
        body = held.enter_context(bodies.received(request.stream, length))
        g.body_received = True
        if length:
            in_file = body.file is not None
            held.enter_context(services().metrics.body(endpoint.name, length, in_file=in_file))
        if g.caller.bank is not None:
            require_digest(head, body.sha256)
        elif length:
            g.caller = replace(g.caller, body_sha256=body.sha256.hex())
        with bodies.loaded(body) as data:
            arguments |= handling.read_body(endpoint, data)
            if endpoint.access is Access.CANDIDATE:
                registration: BankRegistration = arguments["body"]
                arguments["signed"] = services().authenticator.check_candidate(head, registration)
                require_digest(head, body.sha256)
                _require_certificate(registration.name)
                # Its key is proven; that it is invited is for the view to find out.
                arguments["caller"] = replace(g.caller, name=registration.name, role=Role.BANK)
            elif endpoint.access.roles and endpoint.access is not Access.MONITOR:
                arguments["caller"] = g.caller
            if endpoint.takes_two and services().config.two_operators:
                content = content_of(request.method, quote(request.path), arguments.get("body"))
                services().confirmations.require(
                    g.caller, endpoint.kind, _subject(address), content
                )
            if place is not None and endpoint.accepted is None and _waits(arguments.get("query")):
                place.require_wait()
                with _waiting(endpoint):
                    return view(**arguments)
            return view(**arguments)


def _sender() -> str:
    """Return the address that the request came from, behind proxies that are trusted."""
    return services().forwarded.sender(request.environ)


def _asks_who(endpoint: Endpoint) -> bool:
    if endpoint.access is Access.MONITOR:
        return services().config.metrics is not MetricsAccess.OPEN
    return bool(endpoint.access.roles)


def _authenticated(head: RequestHead) -> Caller:
    try:
        return services().authenticator.authenticate(head)
    except AuthError:
        # Only the one that fails: a bank behind the same address is not held up.
        services().admission.charge_anonymous(_sender())
        raise


def _require_certificate(bank: str) -> None:
    if services().config.client_ca is not None:
        require_certificate_of(bank, request.environ.get("gunicorn.socket"))


def _waits(query: Query | None) -> bool:
    return isinstance(query, WaitQuery) and query.wait > 0


@contextlib.contextmanager
def _waiting(endpoint: Endpoint) -> Iterator[None]:
    """Measure how long a request waits."""
    started = time.perf_counter()
    try:
        yield
    finally:
        g.waited_seconds = time.perf_counter() - started
        services().metrics.waited(endpoint.name, g.waited_seconds)


def _head() -> RequestHead:
    # The target as it was sent: what is signed must not depend on how it is decoded.
    return RequestHead(
        method=request.method,
        target=target_of(request.environ),
        headers=tuple(request.headers.items()),
        has_body=bool(request.content_length),
    )


def _require_role(access: Access, caller: Caller) -> None:
    if caller.role not in access.roles:
        raise ForbiddenError(f"{caller.actor} sent this request, but only {access.value} may")


def _record_refusal(
    endpoint: Endpoint, address: dict[str, Any], error: FraudFedError | HTTPException
) -> None:
    if isinstance(error, RunFailedError) and endpoint.kind == "read":
        return  # the answer to a question about the run
    if isinstance(error, ConfirmationNeededError):
        return  # the log says already that it was asked for
    if isinstance(error, UnavailableError | DamagedError):
        return  # no refusal of what was sent, and nowhere to write it down
    if isinstance(error, FraudFedError):
        status, slug, text = error.http_status, error.slug, str(error)
    else:
        status, slug, text = error.code or 400, ProtocolError.slug, str(error.description)
    caller: Caller = g.caller
    detail = f"{request.method} {quote(request.path)}: {status} {slug}: {text}"
    services().refusals.record(
        AuditRecord.of(caller, endpoint.kind, _subject(address), detail, status=AuditStatus.REFUSED)
    )


def _add_subject_to_log(address: dict[str, Any]) -> None:
    if "run_id" in address:
        # Quoted as in the line of the request: it is what was sent, whether there is such a run.
        add_to_context(run_id=quote(address["run_id"]))
    if "number" in address:
        add_to_context(round_number=address["number"])


def _subject(address: dict[str, Any]) -> str:
    match address:
        case {"run_id": run_id, "number": number}:
            return round_subject(run_id, number)
        case {"run_id": run_id}:
            return f"run/{run_id}"
        case {"epoch": epoch}:
            return f"epoch/{epoch}"
        case {"name": name}:
            return f"bank/{name}"
        case _:
            return "service"


def _body_length(endpoint: Endpoint) -> int:
    config = services().config
    setting = "max_body_bytes" if isinstance(endpoint.reads, tuple) else "max_json_bytes"
    limit = getattr(config, setting)
    if not endpoint.access.roles:
        limit = min(limit, MOST_UNKNOWN_BYTES)
    return handling.body_length(endpoint, most=limit, service="aggregator", setting=setting)


def _respond_to(endpoint: Endpoint, exchange: Exchange, place: Place | None) -> Response:
    found = None
    # If there is no room to wait, the receipt says that the change was accepted all the same.
    if exchange.wait is not None and place is not None and place.wait():
        # The run failed, or is past this round, or other banks take part: no refusal of what was
        # just accepted.
        with (
            _waiting(endpoint),
            contextlib.suppress(RunFailedError, NotFoundError, CohortChangedError),
        ):
            found = exchange.wait()
    if found is not None:
        return Response(found, endpoint.status, content_type=BINARY)
    return Response(exchange.receipt.model_dump_json(), 202, content_type=JSON)


def _respond(endpoint: Endpoint, result: Result | Exchange, place: Place | None) -> Response:
    if isinstance(result, Exchange):
        return _respond_to(endpoint, result, place)
    return handling.respond(endpoint, result)
