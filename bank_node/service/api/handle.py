"""What is done around every view: who calls, and how often; the rest is every service's."""

import hashlib
import hmac
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from werkzeug.exceptions import ClientDisconnected

from bank_node.service.api.describe import TITLES
from bank_node.service.api.services import service
from fraudfed.errors import (
    AuthError,
    ForbiddenError,
    ProtocolError,
    RateLimitedError,
    UnavailableError,
)
from fraudfed.http.server import handling
from fraudfed.http.server.declare import Endpoint, Endpoints, View
from fraudfed.http.server.problems import Refusing
from fraudfed.http.server.rates import Rates

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


def install(app: Flask, groups: Iterable[Endpoints[Endpoint]], limits: Limits) -> None:
    """Let an application answer at the addresses of these endpoints, and refuse by documents."""
    Refusing(count=_count, titles=TITLES).install(app)
    app.before_request(handling.begin_request)
    app.after_request(_finish)

    def handle(endpoint: Endpoint, view: View, address: dict[str, Any]) -> Response:
        if not endpoint.always:
            _admit(limits)
        handling.read_query(endpoint)
        length = handling.body_length(
            endpoint,
            most=MOST_BODY_BYTES,
            service="scoring service",
            # Or any page that a browser on this machine shows could send a payment.
            typed=True,
        )
        return handling.respond(
            endpoint, view(**address, **handling.read_body(endpoint, _body(length)))
        )

    handling.install(app, groups, handle)


def _count(slug: str) -> None:
    service().measures.problems.labels(slug).inc()


def _admit(limits: Limits) -> None:
    if service().stopping:
        raise UnavailableError("the scoring service is stopping; ask again when it is back")
    _require_token(limits)
    wait = limits.rates.take(request.remote_addr or "")
    if wait > 0:
        raise RateLimitedError(
            "this address has sent more requests than --requests-per-second allows; slow down",
            retry_after_seconds=max(1, int(wait + 0.999)),
        )


def _body(length: int) -> bytes:
    try:
        found = request.get_data()
    except (ClientDisconnected, OSError):
        found = b""
    if len(found) != length:
        raise ProtocolError(
            f"body broke off after {len(found)} of the announced {length} bytes; send it again"
        )
    g.body_received = True
    return found


def _finish(response: Response) -> Response:
    seconds = handling.finish_headers(response)
    name = request.endpoint or "none"
    service().measures.requests.labels(name, str(response.status_code)).observe(seconds)
    # The endpoint and not the address: that may hold the identifier of a payment.
    # One line for each payment would take as long as to score it; metrics count them.
    level = logging.DEBUG if response.status_code < 400 else logging.INFO
    _log.log(
        level,
        "endpoint=%s status=%d duration_ms=%.1f request_id=%s",
        name,
        response.status_code,
        seconds * 1000,
        g.request_id,
    )
    return response


def _require_token(limits: Limits) -> None:
    if limits.token is None:
        if not request.is_secure:
            _require_own_name()
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Digests: their comparison takes the same time whatever was sent, and its length.
    sent = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
    expected = hashlib.sha256(limits.token.encode()).digest()
    if not hmac.compare_digest(sent, expected) or scheme.lower() != "bearer":
        raise AuthError("no valid token was sent; send 'Authorization: Bearer TOKEN'")


def _require_own_name() -> None:
    """Refuse a page in a browser here whose site lets its own name point to this machine.

    Raises
    ------
    ForbiddenError
        If the caller calls this machine by another name than loopback has (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
        is_own = name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        is_own = False
    if not is_own:
        raise ForbiddenError(
            "a service without a token is called by a name of loopback; call localhost or "
            "127.0.0.1, or set a token (--token-file)"
        )
