"""Every error as one RFC 9457 problem document."""

import logging
from urllib.parse import quote

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from aggregator.api.services import services
from aggregator.guards.auth import ACCEPT_SIGNATURE
from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    DamagedError,
    ForbiddenError,
    FraudFedError,
    NotFoundError,
    ProtocolError,
    ServerError,
    UnavailableError,
)
from fraudfed.http.server.problems import problem_of
from fraudfed.wire.media_types import PROBLEM
from fraudfed.wire.messages import Problem

_log = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Answer every error of the application with a problem document."""
    app.register_error_handler(FraudFedError, _fraudfed_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)


def _cause(error: FraudFedError) -> str:
    """Return the first line of what the driver or the system said."""
    cause = error.__cause__
    lines = str(getattr(cause, "orig", None) or cause or "").strip().splitlines()
    return lines[0] if lines else "no cause"


def _fraudfed_error(error: FraudFedError) -> Response:
    response = _respond(problem_of(error))
    if isinstance(error, DamagedError) or type(error) is UnavailableError:
        # What the database or the disk said is for the operator, not for the caller.
        _log.error("request %s: %s: %s", g.get("request_id", "-"), error, _cause(error))
    if isinstance(error, UnavailableError):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, AuthError) and not isinstance(error, ForbiddenError):
        response.headers["WWW-Authenticate"] = "Bearer"
        response.headers["Accept-Signature"] = ACCEPT_SIGNATURE
    return response


def _http_error(error: HTTPException) -> Response:
    """Translate what Flask itself refuses: unknown address, method, media type, broken body."""
    status = error.code or ServerError.http_status
    where = f"{request.method} {quote(request.path)}"
    match status:
        case 404:
            advice = "see /v1/openapi.json"
            prefix, found, _ = request.path.partition("/v1/")
            if prefix and found:
                advice = f"if the service stands under {quote(prefix)}, serve with --path-prefix"
            document = problem_of(NotFoundError(f"{where}: no such address; {advice}"))
        case 413:
            return _fraudfed_error(BodyTooLargeError(f"{where}: {error.description}"))
        case _ if status >= 500:
            return _unexpected_error(error)
        case _:
            document = problem_of(ProtocolError(f"{where}: {error.description}"), status=status)
    response = _respond(document)
    if status == 405:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


def _unexpected_error(error: Exception) -> Response:
    _log.error("request %s failed unexpectedly", g.get("request_id", "-"), exc_info=error)
    return _respond(
        problem_of(
            ServerError(
                f"{request.method} {quote(request.path)} failed unexpectedly; nothing was stored; "
                f"tell the operator request id {g.get('request_id', '-')}"
            )
        )
    )


def _respond(document: Problem) -> Response:
    services().metrics.problem(document.type.rpartition(":")[2])
    response = Response(
        document.model_copy(
            update={"instance": f"urn:fraudfed:request:{g.get('request_id', '-')}"}
        ).model_dump_json(),
        status=document.status,
        content_type=PROBLEM,
    )
    announced = request.content_length or request.headers.get("Transfer-Encoding")
    if announced and not g.get("body_received", False):
        # A body that is not read is not waited for either: no other request can follow it.
        response.headers["Connection"] = "close"
    return response
