"""The Flask application factory."""

import json
import logging
import re
import secrets
import time
from urllib.parse import quote

from flask import Flask, Response, g, request

from aggregator import problems
from aggregator.api import audit, banks, epochs, health, models, rounds, runs
from aggregator.api.endpoint import Endpoint, NumberConverter, Services
from aggregator.auth import Authenticator
from aggregator.bodies import Bodies
from aggregator.caller import ANONYMOUS, Caller
from aggregator.config import ServiceConfig
from aggregator.openapi import openapi_document
from aggregator.refusals import Refusals
from aggregator.run_service import RunService
from aggregator.store import Store
from aggregator.waiters import Waiters

__all__ = ["create_app", "declared_endpoints"]

_log = logging.getLogger("aggregator.request")

_GROUPS = (
    health.endpoints,
    banks.endpoints,
    epochs.endpoints,
    runs.endpoints,
    rounds.endpoints,
    models.endpoints,
    audit.endpoints,
)
#: A request id from outside goes into the log; anything else than these could forge a line.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def declared_endpoints() -> tuple[Endpoint, ...]:
    """Return the declaration of every endpoint of the service."""
    return tuple(endpoint for group in _GROUPS for endpoint in group.declared)


def create_app(config: ServiceConfig, store: Store, waiters: Waiters) -> Flask:
    """Build the application.

    Parameters
    ----------
    config : ServiceConfig
    store : Store
        Opened; it stays the caller's to close.
    waiters : Waiters
        The caller stops them when the service stops, so that no long poll holds it up.
    """
    app = Flask("aggregator", static_folder=None)
    # Flask would turn //v1/runs into a redirect; an address is right or unknown.
    app.url_map.merge_slashes = False
    app.url_map.converters["number"] = NumberConverter
    app.extensions["fraudfed"] = Services(
        config=config,
        database=store.database,
        authenticator=Authenticator(store.tokens, store.members, store.nonces),
        members=store.members,
        epochs=store.epochs,
        runs=RunService(
            store.runs,
            store.members,
            waiters,
            insecure_allow_small_keys=config.insecure_allow_small_keys,
        ),
        audit=store.audit,
        refusals=Refusals(store.audit),
        bodies=Bodies(store.database.directory),
        openapi=json.dumps(openapi_document(declared_endpoints()), indent=2).encode(),
    )
    app.before_request(_start)
    app.after_request(_finish)
    problems.install(app)
    for group in _GROUPS:
        app.register_blueprint(group.blueprint)
    return app


def _start() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    response.headers["Cache-Control"] = "no-store" if not response.get_etag()[0] else "no-cache"
    duration_ms = round((time.perf_counter() - g.started) * 1000, 1)
    caller: Caller = g.get("caller", ANONYMOUS)
    fields = {
        "method": request.method,
        # Quoted: a line break in an address must not forge a line of the log.
        "path": quote(request.path),
        "status": response.status_code,
        "bytes_in": request.content_length or 0,
        "bytes_out": response.content_length or 0,
        "duration_ms": duration_ms,
        "request_id": g.request_id,
        "caller": caller.actor,
    }
    _log.info(" ".join(f"{name}=%({name})s" for name in fields), fields, extra=fields)
    return response
