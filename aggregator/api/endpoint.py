"""One declaration per endpoint, from which both its checks and its documentation follow.

A view states who may call it, what it reads and what it answers. The wrapper enforces exactly
that, and the OpenAPI document is generated from the same declaration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from flask import Blueprint, Response, current_app, g, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import ClientDisconnected, UnsupportedMediaType
from werkzeug.routing import IntegerConverter, Map

from aggregator.auth import Principal, authenticate
from aggregator.config import MAX_WAIT_SECONDS, ServiceConfig
from aggregator.run_service import RunService
from aggregator.store import Store
from fraudfed.errors import BodyTooLargeError, ForbiddenError, FraudFedError, ProtocolError
from fraudfed.wire.messages import Message, parse

__all__ = [
    "BINARY",
    "JSON",
    "MAX_ROUND_NUMBER",
    "Access",
    "Binary",
    "Endpoint",
    "Endpoints",
    "Query",
    "Result",
    "RoundNumberConverter",
    "Services",
    "WaitQuery",
    "services",
]

JSON = "application/json"
BINARY = "application/octet-stream"

#: Far above any run's rounds, and within every database's integers.
MAX_ROUND_NUMBER = 2**31 - 1


class Access(Enum):
    """Who may call an endpoint."""

    ANYONE = "anyone, without a token"
    BANK = "a bank"
    OPERATOR = "the operator"
    CALLER = "a bank or the operator"


@dataclass(frozen=True)
class Binary:
    """A body that is bytes."""

    data: bytes
    media_type: str = BINARY
    etag: str | None = None


class RoundNumberConverter(IntegerConverter):
    """A round number in an address; what is too large for the database is no such address."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, max=MAX_ROUND_NUMBER)


#: What a view returns: a message, bytes, or None for "204, nothing yet".
Result: TypeAlias = Message | Binary | None


class Query(BaseModel):
    """Base of all query strings: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WaitQuery(Query):
    """Query of a long poll."""

    wait: float = Field(
        default=0, ge=0, le=MAX_WAIT_SECONDS, description="Longest time to wait in seconds."
    )


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Declaration of one method at one address."""

    method: str
    rule: str
    name: str
    summary: str
    access: Access
    status: int = 200
    reads: type[Message] | str | None = None
    """Message class, or media type of a body that is bytes, or None for no body."""
    query: type[Query] | None = None
    answers: type[Message] | str
    """Message class, or media type."""
    empty: str = ""
    """When the answer is 204; empty if never."""
    cached: bool = False
    """The answer has an ETag and is 304 for a caller that names it."""
    errors: tuple[type[FraudFedError], ...] = ()
    """Refusals beyond those of every endpoint (authentication, malformed request)."""


@dataclass(frozen=True)
class Services:
    """What views work with."""

    config: ServiceConfig
    store: Store
    runs: RunService
    openapi: bytes
    """The OpenAPI document, JSON."""


def services() -> Services:
    """Return the services of the application that handles the current request."""
    found: Services = current_app.extensions["fraudfed"]
    return found


class Endpoints:
    """The endpoints of one blueprint."""

    def __init__(self, name: str) -> None:
        self.blueprint = Blueprint(name, __name__, url_prefix="/v1")
        self.declared: list[Endpoint] = []

    def add(self, **declaration: Any) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Register the decorated view under an ``Endpoint`` with these fields.

        The view gets the address's parameters, and by keyword: ``caller`` (``Principal``) unless
        anyone may call; ``query`` if declared; ``body`` (message or bytes) if it reads one.
        """

        def register(view: Callable[..., Result]) -> Callable[..., Result]:
            endpoint = Endpoint(name=view.__name__, **declaration)
            self.declared.append(endpoint)
            self.blueprint.add_url_rule(
                endpoint.rule,
                endpoint=endpoint.name,
                view_func=lambda **address: _handle(endpoint, view, address),
                methods=[endpoint.method],
                provide_automatic_options=False,
            )
            return view

        return register


def _handle(endpoint: Endpoint, view: Callable[..., Result], address: dict[str, Any]) -> Response:
    arguments = dict(address)
    if endpoint.access is not Access.ANYONE:
        arguments["caller"] = _caller(endpoint.access)
    query = request.args.to_dict(flat=False)
    if endpoint.query is not None:
        arguments["query"] = parse(endpoint.query, _single(query), source="query string")
    elif query:
        raise ProtocolError(
            f"query string holds {sorted(query)[0]!r}, but this address takes none; leave it out"
        )
    body = _body(endpoint)
    if endpoint.reads is not None:
        arguments["body"] = body
    return _respond(endpoint, view(**arguments))


def _caller(access: Access) -> Principal:
    principal = authenticate(request.headers.get("Authorization"), services().store)
    g.principal = principal.name
    if access is Access.BANK and principal.bank is None:
        raise ForbiddenError("the operator's token was sent, but only a bank may do this")
    if access is Access.OPERATOR and not principal.is_operator:
        raise ForbiddenError(
            f"{principal.name}'s token was sent, but only the operator may do this"
        )
    return principal


def _single(query: dict[str, list[str]]) -> dict[str, str]:
    for name, values in query.items():
        if len(values) > 1:
            raise ProtocolError(f"query string holds {name!r} {len(values)} times, expected once")
    return {name: values[0] for name, values in query.items()}


def _body(endpoint: Endpoint) -> Message | bytes | None:
    config = services().config
    if endpoint.reads is None:
        if _read(config.max_json_bytes):
            raise ProtocolError(f"{request.method} {request.path} takes no body, but one was sent")
        return None
    if isinstance(endpoint.reads, str):
        _require_media_type(endpoint.reads)
        return _read(config.max_body_bytes)
    _require_media_type(JSON)
    return parse(endpoint.reads, _read(config.max_json_bytes), source="request body")


def _require_media_type(expected: str) -> None:
    # A body without a type is taken at its word; one of another type is a mistake.
    if request.mimetype not in ("", expected):
        raise UnsupportedMediaType(
            f"body has media type {request.mimetype!r}, expected {expected!r}"
        )


def _read(limit: int) -> bytes:
    """Read the body, at most ``limit`` bytes, all of it or none."""
    if request.headers.get("Transfer-Encoding"):
        raise ProtocolError(
            "body was sent with Transfer-Encoding; send it whole, with its Content-Length"
        )
    announced = request.content_length or 0
    if announced > limit:
        raise BodyTooLargeError(
            f"body has {announced} bytes, this aggregator accepts {limit} at {request.path}; "
            "split the work or ask the operator to raise the limit"
        )
    try:
        data = request.get_data(cache=False)
    except (ClientDisconnected, OSError) as error:
        raise ProtocolError(
            f"body broke off before the announced {announced} bytes ({type(error).__name__}); "
            "send it again"
        ) from None
    if len(data) != announced:
        raise ProtocolError(
            f"body has {len(data)} bytes, {announced} were announced; send it again"
        )
    return data


def _respond(endpoint: Endpoint, result: Result) -> Response:
    match result:
        case None:
            return Response(status=204)
        case Binary():
            response = Response(result.data, endpoint.status, content_type=result.media_type)
            if result.etag is not None:
                response.set_etag(result.etag)
                response.make_conditional(request)
            return response
        case Message():
            return Response(result.model_dump_json(), endpoint.status, content_type=JSON)
