"""What is done around every view: who calls, how often, what was sent; refusal and answer."""

import hashlib
import hmac
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from bank_node.service.api.declare import Endpoint, Endpoints, View
from bank_node.service.api.services import service
from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    FraudFedError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    UnavailableError,
)
from fraudfed.http.server.problems import problem_of
from fraudfed.http.server.rates import Rates
from fraudfed.wire.media_types import JSON, PROBLEM
from fraudfed.wire.messages import Problem, parse

_log = logging.getLogger("bank_node.request")

#: A thousand payments of the largest size.
MOST_BODY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Who may call, and how often.

    Attributes
    ----------
    token : str or None
        None: every caller that can reach the address.
    rates : Rates
    """

    token: str | None
    rates: Rates


def install(app: Flask, groups: Iterable[Endpoints], limits: Limits) -> None:
    """Let an application answer at the addresses of these endpoints, and refuse by documents."""
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    for group in groups:
        for endpoint, view in group.declared:
            _add(app, endpoint, view, limits)
    app.register_error_handler(FraudFedError, _refusal)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.perf_counter()


def _finish(response: Response) -> Response:
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    response.headers["Cache-Control"] = "no-store"
    name = request.endpoint or "none"
    service().measures.requests.labels(name, str(response.status_code)).observe(seconds)
    # The endpoint and not the address: that may hold the identifier of a payment.
    # One line for each payment would take as long as to score it; metrics count them.
    level = logging.DEBUG if response.status_code < 400 else logging.INFO
    _log.log(
        level, "endpoint=%s status=%d duration_ms=%.1f", name, response.status_code, seconds * 1000
    )
    return response


def _add(app: Flask, endpoint: Endpoint, view: View, limits: Limits) -> None:
    def handle(**address: Any) -> Response:
        if not endpoint.always:
            if service().stopping:
                raise UnavailableError("the scoring service is stopping; ask again when it is back")
            _require_token(limits)
            wait = limits.rates.take(request.remote_addr or "")
            if wait > 0:
                raise RateLimitedError(
                    "this address has sent more requests than --requests-per-second allows; slow "
                    "down",
                    retry_after_seconds=max(1, int(wait + 0.999)),
                )
        if request.args:
            raise ProtocolError("a query string was sent, but this address takes none")
        arguments = dict(address)
        if endpoint.reads is not None:
            if request.mimetype != JSON:
                raise ProtocolError(
                    f"body has media type {request.mimetype[:60]!r}, expected {JSON}"
                )
            arguments["body"] = parse(endpoint.reads, request.get_data(), source="request body")
        found = view(**arguments)
        if isinstance(found, tuple):
            return Response(found[0], content_type=found[1])
        return Response(found.model_dump_json(), content_type=JSON)

    app.add_url_rule(
        endpoint.rule,
        endpoint=endpoint.name,
        view_func=handle,
        methods=[endpoint.method],
        provide_automatic_options=False,
    )


def _require_token(limits: Limits) -> None:
    if limits.token is None:
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Digests: their comparison takes the same time whatever was sent, and its length.
    sent = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
    expected = hashlib.sha256(limits.token.encode()).digest()
    if not hmac.compare_digest(sent, expected) or scheme.lower() != "bearer":
        raise AuthError("no valid token was sent; send 'Authorization: Bearer TOKEN'")


def _refusal(error: FraudFedError) -> Response:
    response = _respond(problem_of(error))
    if isinstance(error, UnavailableError):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, AuthError):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    where = f"{request.method} {quote(request.path)}"
    if status == 404:
        return _respond(problem_of(NotFoundError(f"{where}: no such address")))
    if status == 413:
        return _refusal(
            BodyTooLargeError(f"body is above {MOST_BODY_BYTES} bytes; send fewer payments at once")
        )
    if status >= 500:
        return _unexpected(error)
    response = _respond(problem_of(ProtocolError(f"{where}: {error.description}"), status=status))
    if status == 405:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


def _unexpected(error: Exception) -> Response:
    _log.error("a request failed unexpectedly", exc_info=error)
    return _respond(problem_of(ServerError("the request failed unexpectedly; see the log")))


def _respond(document: Problem) -> Response:
    service().measures.problems.labels(document.type.rpartition(":")[2]).inc()
    return Response(
        document.model_dump_json(exclude_none=True), document.status, content_type=PROBLEM
    )
