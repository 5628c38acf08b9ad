"""The Flask application factory."""

import functools
import json
import logging
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request
from sqlalchemy import func, select

from aggregator.api import (
    audit,
    banks,
    epochs,
    generations,
    handle,
    health,
    metrics,
    models,
    rounds,
    runs,
)
from aggregator.api.declare import Endpoint
from aggregator.api.services import Services, services
from aggregator.audit.push import AuditPush, Collector
from aggregator.caller import ANONYMOUS, Caller, Role
from aggregator.config import ServiceConfig
from aggregator.guards.addresses import OUTSIDE, under_prefix
from aggregator.guards.admission import Admission
from aggregator.guards.auth import ACCEPT_SIGNATURE, Authenticator
from aggregator.guards.bodies import Bodies
from aggregator.guards.forwarded import Forwarded
from aggregator.guards.refusals import BURST, PER_MINUTE, Refusals
from aggregator.monitoring.logs import add_to_context, clear_context
from aggregator.monitoring.metrics import Metrics
from aggregator.monitoring.readiness import Readiness
from aggregator.pages.blueprint import install as install_pages
from aggregator.runs.changes import RunChanges
from aggregator.runs.deadlines import Deadlines
from aggregator.runs.generations import GenerationService
from aggregator.runs.service import RunService
from aggregator.runs.waiters import Waiters
from aggregator.service.openapi import openapi_document
from aggregator.service.store import Store
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import RunRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import FraudFedError, NotFoundError
from fraudfed.http.server.arrivals import ANSWER_SECONDS, BODY_BYTES_PER_SECOND
from fraudfed.http.server.handling import begin_request, finish_headers
from fraudfed.http.server.problems import Refusing
from fraudfed.wire.messages import RunState

_log = logging.getLogger("aggregator.request")

_GROUPS = (
    health.endpoints,
    banks.endpoints,
    epochs.endpoints,
    runs.endpoints,
    generations.endpoints,
    rounds.endpoints,
    models.endpoints,
    audit.endpoints,
    metrics.endpoints,
)
#: Bodies of the largest size for which there must be room.
_ROOM_FOR_BODIES = 2
#: What every socket holds of an answer that nobody reads.
_LONG_ANSWER = 16 * 1024
_CHALLENGE = {"WWW-Authenticate": "Bearer", "Accept-Signature": ACCEPT_SIGNATURE}


def declared_endpoints() -> tuple[Endpoint, ...]:
    """Return the declaration of every endpoint of the service."""
    return tuple(endpoint for group in _GROUPS for endpoint, _ in group.declared)


@functools.lru_cache(maxsize=8)
def _document(prefix: str) -> bytes:
    """Return the OpenAPI document of a service under a path (empty for none)."""
    document = openapi_document(declared_endpoints())
    document["servers"] = [{"url": prefix or "/"}]
    return json.dumps(document, indent=2).encode()


def create_app(
    config: ServiceConfig,
    store: Store,
    waiters: Waiters,
    *,
    metrics_directory: Path | None = None,
    session_key: bytes | None = None,
) -> Flask:
    """Build the application.

    Parameters
    ----------
    config : ServiceConfig
    store : Store
        Opened; it stays the caller's to close.
    waiters : Waiters
        The caller stops them when the service stops, so that no long poll holds it up.
    metrics_directory : Path or None
        Shared by the worker processes of one service; None if this is the only one.
    session_key : bytes or None
        Of the sessions of pages, likewise shared.
    """
    measured = Metrics(
        lambda: _count_runs(store.database), directory=metrics_directory, workers=config.workers
    )
    measured.watch(store.database)
    app = Flask("aggregator", static_folder=None)
    changes = RunChanges(store.runs, waiters, observe=measured.observe)
    run_service = RunService(
        store.runs,
        changes,
        store.members,
        waiters,
        insecure_allow_small_keys=config.insecure_allow_small_keys,
    )
    generation_service = GenerationService(
        store.runs, changes, store.handovers, store.members, waiters
    )
    app.extensions["fraudfed"] = Services(
        config=config,
        database=store.database,
        authenticator=Authenticator(store.tokens, store.members, store.nonces),
        confirmations=store.confirmations,
        members=store.members,
        epochs=store.epochs,
        runs=run_service,
        generations=generation_service,
        deadlines=Deadlines(generation_service),
        audit=store.audit,
        audit_push=_audit_push(config, store),
        # The bound is one for the service, whatever the number of its workers.
        refusals=Refusals(
            store.audit,
            burst=max(1, BURST // config.workers),
            per_minute=PER_MINUTE / config.workers,
        ),
        bodies=Bodies(store.database.directory),
        admission=Admission(
            working=config.threads,
            waiting=config.max_waiting,
            per_second=config.requests_per_second,
            anonymous_per_second=config.anonymous_requests_per_second,
            on_change=measured.at_once,
        ),
        readiness=Readiness(
            store.database,
            store.database.directory,
            room_bytes=_ROOM_FOR_BODIES * config.max_body_bytes,
        ),
        metrics=measured,
        openapi=_document,
        forwarded=Forwarded(config.trusted_proxies),
    )
    application: Any = under_prefix(app.wsgi_app, config.path_prefix)
    app.wsgi_app = application  # type: ignore[method-assign]
    app.before_request(_start)
    app.after_request(_finish)
    app.teardown_request(lambda _error: clear_context())
    Refusing(count=measured.problem, challenge=_CHALLENGE, advice=_advice).install(app)
    handle.install(app, _GROUPS)
    found: Services = app.extensions["fraudfed"]
    install_pages(app, found, key=session_key or secrets.token_bytes(32))
    return app


def _audit_push(config: ServiceConfig, store: Store) -> AuditPush | None:
    if config.audit_push is None:
        return None
    collector = Collector(config.audit_push)
    return AuditPush(store.audit, collector, config.audit_push_format, store.database.directory)


def _count_runs(database: Database) -> Mapping[str, int]:
    """Return the number of runs in each state; none if the database fails, as readiness tells."""
    query = select(RunRow.state, func.count()).group_by(RunRow.state)

    def count(read: Transaction) -> dict[str, int]:
        return {row[0]: row[1] for row in read.connection.execute(query)}

    try:
        found = database.transaction("count-runs", Kind.READ, count)
    except FraudFedError:
        return {}
    return {state.value: found.get(state.value, 0) for state in RunState}


def _advice(path: str) -> str:
    prefix, found, _ = path.partition("/v1/")
    if prefix and found:
        return f"if the service stands under {quote(prefix)}, serve with --path-prefix"
    return "see /v1/openapi.json"


def _start() -> None:
    clear_context()
    begin_request()
    add_to_context(request_id=g.request_id)
    outside = request.environ.get(OUTSIDE)
    if outside is not None:
        raise NotFoundError(
            f"{request.method} {quote(outside)}: this aggregator stands under "
            f"{services().config.path_prefix} (--path-prefix); call it there, or serve without the "
            "option if a proxy takes the path away"
        )


def _give_time(response: Response, caller: Caller) -> None:
    """Let a caller read its answer at a modem's speed; an unknown one gets it from a buffer.

    A thread sends, and an unknown caller could hold it by not reading.
    """
    sock: socket.socket | None = request.environ.get("gunicorn.socket")
    length = response.content_length or 0
    if sock is None or length < _LONG_ANSWER:
        return
    if caller.role is Role.ANONYMOUS:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, length + _LONG_ANSWER)
    else:
        sock.settimeout(ANSWER_SECONDS + length / BODY_BYTES_PER_SECOND)


def _finish(response: Response) -> Response:
    seconds = finish_headers(response)
    services().metrics.request(
        # An unknown address has none.
        request.endpoint or "none",
        response.status_code,
        seconds=max(0.0, seconds - g.get("waited_seconds", 0.0)),
        sent_bytes=response.content_length or 0,
    )
    caller: Caller = g.get("caller", ANONYMOUS)
    _give_time(response, caller)
    fields = {
        "method": request.method,
        # Quoted: a line break in an address must not forge a line of the log.
        "path": quote(request.path),
        "status": response.status_code,
        "bytes_in": request.content_length or 0,
        "bytes_out": response.content_length or 0,
        "duration_ms": round(seconds * 1000, 1),
        "request_id": g.request_id,
        "caller": caller.actor,
    }
    _log.info(" ".join(f"{name}=%({name})s" for name in fields), fields, extra=fields)
    return response
