"""What the scoring service's OpenAPI document says beside its endpoints, and its errors' titles."""

from collections.abc import Iterable
from typing import Any

from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    ConflictError,
    DamagedError,
    DataError,
    FraudFedError,
    NotFoundError,
    OverloadedError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    StateError,
    TransportError,
    UnavailableError,
    error_classes,
)
from fraudfed.http.server.declare import Endpoint
from fraudfed.http.server.openapi import Description
from fraudfed.http.server.problems import Titles

#: Of errors whose own title names the aggregator, which this service never asks.
TITLES: Titles = {
    DamagedError: "Store of the scoring service is damaged",
    TransportError: "Not reachable from the scoring service",
    UnavailableError: "Scoring service cannot serve now",
    OverloadedError: "Scoring service is overloaded",
    ServerError: "Unexpected failure in the scoring service",
}
_DESCRIPTION = """\
Answers about a bank's payments, on the bank's own machine. Every error is an RFC 9457 problem
document. The header `X-Request-Id` is echoed, or made up, on every answer."""
_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of `--token-file`; without the option no token is needed.",
    }
}
#: What is refused at every address but those of probes.
_GUARDS = (ProtocolError, AuthError, RateLimitedError, UnavailableError)
#: What a payment, a label or a file of the bank may be refused with.
_OF_BODIES = (BodyTooLargeError, ConflictError, DataError, StateError)


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document that describes ``endpoints``."""
    declared = list(endpoints)
    possible = {cls for endpoint in declared for cls in errors_of(endpoint)}
    return Description[Endpoint](
        title="fraudfed scoring service",
        description=_DESCRIPTION,
        security_schemes=_SECURITY_SCHEMES,
        security=lambda endpoint: [] if endpoint.always else [{"token": []}],
        callers=lambda endpoint: (
            "For anyone." if endpoint.always else "For callers with the token, if one is set."
        ),
        errors=errors_of,
        problems=tuple(
            cls
            for _, cls in sorted(error_classes().items())
            if cls in possible or cls is NotFoundError
        ),
        titles=TITLES,
    ).document(declared)


def errors_of(endpoint: Endpoint) -> list[type[FraudFedError]]:
    """Return all errors of an endpoint: its own, and those of what is checked for it."""
    found: list[type[FraudFedError]] = [ServerError]
    if not endpoint.always:
        found += _GUARDS
    if endpoint.reads is not None:
        found += _OF_BODIES
    return found + [cls for cls in endpoint.errors if cls not in found]
