"""What is done around every view of every service: addresses, query, body and answer.

All of it follows from the endpoint's declaration (``declare``). Who may call, and how often, is a
program's own.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, request
from pydantic import BaseModel
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.routing import IntegerConverter, Map

from fraudfed.errors import BodyTooLargeError, ProtocolError
from fraudfed.http.server.declare import MAX_NUMBER, Binary, E, Endpoint, Endpoints, Query, View
from fraudfed.wire.media_types import JSON
from fraudfed.wire.messages import parse

#: A request id from outside goes into the log; anything else than these could forge a line.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _NumberConverter(IntegerConverter):
    """A number in an address; what is too large for the database is no such address."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=MAX_NUMBER)


def install(
    app: Flask,
    groups: Iterable[Endpoints[E]],
    handle: Callable[[E, View, dict[str, Any]], Response],
) -> None:
    """Let an application answer at the addresses of these endpoints.

    Parameters
    ----------
    app : Flask
    groups : iterable of Endpoints
    handle : callable
        Answers a request, given its endpoint, view and the parameters of its address.
    """
    # Flask would turn //v1/runs into a redirect; an address is right or unknown.
    app.url_map.merge_slashes = False
    app.url_map.converters["number"] = _NumberConverter
    for group in groups:
        for endpoint, view in group.declared:
            _add(app, endpoint, view, handle)


def _add(
    app: Flask, endpoint: E, view: View, handle: Callable[[E, View, dict[str, Any]], Response]
) -> None:
    app.add_url_rule(
        endpoint.prefix + endpoint.rule,
        endpoint=endpoint.name,
        view_func=lambda **address: handle(endpoint, view, address),
        methods=[endpoint.method],
        provide_automatic_options=False,
    )


def begin_request() -> None:
    """Note when the current request began, and its id: the caller's, or one made up."""
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    g.started = time.perf_counter()


def finish_headers(response: Response) -> float:
    """Set the headers of every answer; return the seconds since the request began."""
    response.headers["X-Request-Id"] = g.request_id
    response.headers["Cache-Control"] = "no-store" if not response.get_etag()[0] else "no-cache"
    return float(time.perf_counter() - g.started)


def read_query(endpoint: Endpoint) -> Query | None:
    """Return the query string, None if the endpoint takes none.

    Raises
    ------
    ProtocolError
        If it is not what the endpoint declares.
    """
    found = request.args.to_dict(flat=False)
    if endpoint.query is not None:
        return parse(endpoint.query, _single(found), source="query string")
    if found:
        raise ProtocolError(
            f"query string holds {sorted(found)[0]!r}, but this address takes none; leave it out"
        )
    return None


def _single(query: dict[str, list[str]]) -> dict[str, str]:
    for name, values in query.items():
        if len(values) > 1:
            raise ProtocolError(f"query string holds {name!r} {len(values)} times, expected once")
    return {name: values[0] for name, values in query.items()}


def body_length(
    endpoint: Endpoint, *, most: int, service: str, setting: str | None = None, typed: bool = False
) -> int:
    """Return the length of the body, which is announced and one that the endpoint takes.

    Parameters
    ----------
    endpoint : Endpoint
    most : int
        Bytes.
    service : str
        What refuses it.
    setting : str or None
        Its setting of that limit.
    typed : bool
        A body without a media type is refused. A page of any other site may let a browser send one
        without asking this service first, so one that trusts all callers of its address has to.

    Raises
    ------
    ProtocolError, BodyTooLargeError, UnsupportedMediaType
        If it is not.
    """
    if request.headers.get("Transfer-Encoding"):
        raise ProtocolError(
            "body was sent with Transfer-Encoding; send it whole, with its Content-Length"
        )
    if isinstance(endpoint.reads, tuple):
        _require_media_type(endpoint.reads, typed=typed)
    elif endpoint.reads is not None:
        _require_media_type((JSON,), typed=typed)
    announced = request.content_length or 0
    if announced > most:
        raise BodyTooLargeError(
            f"body has {announced} bytes, this {service} accepts {most} at "
            f"{quote(request.path)}; split the work or ask the operator to raise "
            f"{setting or 'the limit'}"
        )
    if announced and endpoint.reads is None:
        raise ProtocolError(
            f"{request.method} {quote(request.path)} takes no body, but one was sent"
        )
    return announced


def _require_media_type(expected: tuple[str, ...], *, typed: bool) -> None:
    # Elsewhere a body without a type is taken at its word; one of another type is a mistake.
    if request.mimetype not in (*expected, *(() if typed else ("",))):
        raise UnsupportedMediaType(
            f"body has media type {request.mimetype!r}, expected {' or '.join(expected)}"
        )


def read_body(endpoint: Endpoint, data: bytes) -> dict[str, Any]:
    """Return what a view gets of a body: nothing, or ``body``.

    Raises
    ------
    FraudFedError
        If it is not what the endpoint declares.
    """
    if isinstance(endpoint.reads, type):
        body = parse(endpoint.reads, data, source="request body", refusal=endpoint.refusal)
        if endpoint.checks is not None:
            endpoint.checks(body)
        return {"body": body}
    return {} if endpoint.reads is None else {"body": data}


def respond(endpoint: Endpoint, result: BaseModel | Binary | None) -> Response:
    """Return the answer that a view's result is."""
    match result:
        case None:
            return Response(status=204)
        case Binary():
            response = Response(result.data, endpoint.status, content_type=result.media_type)
            if result.etag is not None:
                response.set_etag(result.etag)
                response.make_conditional(request)
            return response
        case _:
            return Response(result.model_dump_json(), endpoint.status, content_type=JSON)
