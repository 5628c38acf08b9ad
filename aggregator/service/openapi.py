"""What the aggregator's OpenAPI document says beside its endpoints."""

from collections.abc import Iterable
from typing import Any

from aggregator.api.declare import Access, Endpoint
from aggregator.caller import Role
from aggregator.guards.auth import SIGNATURE_DESCRIPTION
from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    DamagedError,
    ForbiddenError,
    FraudFedError,
    OverloadedError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    UnavailableError,
    VersionError,
)
from fraudfed.http.server.openapi import Description
from fraudfed.wire.messages import FrameHeader

_DESCRIPTION = """\
Banks train one model over an encrypted sum; this service multiplies their ciphertexts and keeps
runs and models. Binary bodies are frames (magic `FFED`, version byte, 4-byte header length,
`FrameHeader` as JSON, payload). Every error is an RFC 9457 problem document; `x-problems` lists
all types. The header `X-Request-Id` is echoed, or made up, on every answer."""


_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "API token of an operator or a viewer; a viewer may only read.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature",
        "description": SIGNATURE_DESCRIPTION,
    },
    "signatureInput": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature-Input",
        "description": "Covered components and parameters of the signature; see `signature`.",
    },
}


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document that describes ``endpoints``."""
    return Description[Endpoint](
        title="fraudfed aggregator",
        description=_DESCRIPTION,
        security_schemes=_SECURITY_SCHEMES,
        security=_security,
        callers=lambda endpoint: f"For {endpoint.access.value}.",
        errors=_errors,
        messages=(FrameHeader,),
    ).document(endpoints)


def _security(endpoint: Endpoint) -> list[dict[str, list[str]]]:
    access = endpoint.access
    signed: dict[str, list[str]] = {"signature": [], "signatureInput": []}
    if access is Access.CANDIDATE:
        return [signed]
    choices: list[dict[str, list[str]]] = [signed] if Role.BANK in access.roles else []
    # In OpenAPI 3.1 the list of a scheme that is not OAuth2 names roles: one of them suffices.
    roles = sorted(role.value for role in access.roles - {Role.BANK})
    return [*choices, {"token": roles}] if roles else choices


def _errors(endpoint: Endpoint) -> list[type[FraudFedError]]:
    """All errors of an endpoint: its own, and those of everything that is checked for it."""
    found: list[type[FraudFedError]] = [
        ProtocolError,
        BodyTooLargeError,
        ServerError,
        DamagedError,
        UnavailableError,
    ]
    if endpoint.reads is not None:
        found.append(VersionError)
    if endpoint.access is not Access.ANYONE:
        found += [AuthError, ForbiddenError]
    if endpoint.access is not Access.ANYONE or not endpoint.always:
        found.append(RateLimitedError)
    if not endpoint.always:
        found.append(OverloadedError)
    found += [cls for cls in endpoint.errors if cls not in found]
    return found
