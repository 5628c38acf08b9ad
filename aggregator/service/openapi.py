"""The OpenAPI 3.1 document, generated from the endpoint declarations and the message types."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from aggregator.api.declare import MAX_NUMBER, Access, Endpoint
from aggregator.caller import Role
from aggregator.guards.auth import SIGNATURE_DESCRIPTION
from fraudfed import __version__
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
    error_classes,
)
from fraudfed.http.server.problems import problem_type
from fraudfed.wire.media_types import JSON, PROBLEM
from fraudfed.wire.messages import FrameHeader, Message, Problem

_REFERENCE = "#/components/schemas/{model}"
_CONVERTERS = {
    "number": {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER},
    "": {"type": "string"},
}
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_TRY_AGAIN = (RateLimitedError.http_status, UnavailableError.http_status)
_RETRY_AFTER = {
    "description": "Whole seconds to hold off.",
    "schema": {"type": "integer", "minimum": 1},
}
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
    declared = list(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in declared:
        path = endpoint.prefix + _PARAMETER.sub(r"{\2}", endpoint.rule)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fraudfed aggregator",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(declared),
            "securitySchemes": _SECURITY_SCHEMES,
        },
        "x-problems": [
            {
                "type": problem_type(cls),
                "title": cls.title,
                "status": cls.http_status,
                "exitCode": cls.exit_code,
                "description": (cls.__doc__ or "").strip(),
            }
            for _, cls in sorted(error_classes().items())
        ],
    }


def _schemas(declared: list[Endpoint]) -> dict[str, Any]:
    classes: list[type[Any]] = [Problem, FrameHeader]
    for endpoint in declared:
        bodies = (endpoint.reads, endpoint.answers, endpoint.accepted)
        classes += [c for c in bodies if isinstance(c, type)]
    unique = sorted(set(classes), key=lambda cls: cls.__name__)
    _, definitions = models_json_schema(
        [(cls, "validation") for cls in unique], ref_template=_REFERENCE
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return dict(sorted(schemas.items()))


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": f"For {endpoint.access.value}.",
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
    }
    operation["security"] = _security(endpoint.access)
    if endpoint.reads is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.reads)}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": _CONVERTERS[converter]}
        for converter, name in _PARAMETER.findall(endpoint.rule)
    ]
    found += [
        {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": {"type": "string", "pattern": f"^{header.pattern}$"},
        }
        for header in endpoint.headers
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema()
        required = schema.get("required", [])
        definitions = schema.get("$defs", {})
        for name, field in schema["properties"].items():
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in required,
                    "description": field["description"],
                    "schema": _inline(
                        {k: v for k, v in field.items() if k not in ("title", "description")},
                        definitions,
                    ),
                }
            )
    return found


def _security(access: Access) -> list[dict[str, list[str]]]:
    signed: dict[str, list[str]] = {"signature": [], "signatureInput": []}
    if access is Access.CANDIDATE:
        return [signed]
    choices: list[dict[str, list[str]]] = [signed] if Role.BANK in access.roles else []
    # In OpenAPI 3.1 the list of a scheme that is not OAuth2 names roles: one of them suffices.
    roles = sorted(role.value for role in access.roles - {Role.BANK})
    return [*choices, {"token": roles}] if roles else choices


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by what they name: query parameters stand outside the components."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    return schema


def _content(body: type[Message] | tuple[str, ...]) -> dict[str, Any]:
    if isinstance(body, tuple):
        return {media_type: {} for media_type in body}
    return {JSON: {"schema": {"$ref": _REFERENCE.format(model=body.__name__)}}}


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(endpoint.status): {"description": "Done.", "content": _content(endpoint.answers)}
    }
    if endpoint.accepted is not None:
        responses["202"] = {
            "description": "Accepted and durable; there is no answer to wait for, or not in time.",
            "content": _content(endpoint.accepted),
        }
    if endpoint.empty:
        responses["204"] = {"description": endpoint.empty}
    if endpoint.cached:
        responses[str(endpoint.status)]["headers"] = {
            "ETag": {"description": "SHA-256 of the body.", "schema": {"type": "string"}}
        }
        responses["304"] = {"description": "The caller named this ETag in If-None-Match."}
    by_status: dict[int, list[str]] = {}
    for cls in _errors(endpoint):
        by_status.setdefault(cls.http_status, []).append(cls.slug)
    if endpoint.reads is not None:
        by_status[415] = [ProtocolError.slug]
    for status, slugs in sorted(by_status.items()):
        responses[str(status)] = {
            "description": f"Problem of type {', '.join(slugs)}.",
            "content": {PROBLEM: {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}}},
        }
        if status in _TRY_AGAIN:
            responses[str(status)]["headers"] = {"Retry-After": _RETRY_AFTER}
    return responses


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
