"""The OpenAPI 3.1 document of a service, made of its endpoint declarations and message types."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fraudfed import __version__
from fraudfed.errors import FraudFedError, ProtocolError, RateLimitedError, UnavailableError
from fraudfed.errors import error_classes as all_error_classes
from fraudfed.http.server.declare import MAX_NUMBER, E, Endpoint
from fraudfed.http.server.problems import Titles, problem_type, title_of
from fraudfed.wire.media_types import JSON, PROBLEM
from fraudfed.wire.messages import Problem

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


@dataclass(frozen=True, kw_only=True)
class Description(Generic[E]):
    """What a service's document says beside its endpoints.

    Attributes
    ----------
    title, description : str
    security_schemes : mapping
        Of OpenAPI.
    security : callable
        Which of these an endpoint takes.
    callers : callable
        For whom an endpoint is, one sentence.
    errors : callable
        All errors of an endpoint: its own, and those of everything that is checked for it.
    problems : tuple of classes of FraudFedError
        Those that the document explains; all of the product unless it is narrowed.
    titles : mapping
        Of errors whose own title is another service's.
    messages : tuple of message classes
        That no endpoint names.
    """

    title: str
    description: str
    security_schemes: Mapping[str, Any]
    security: Callable[[E], list[dict[str, list[str]]]]
    callers: Callable[[E], str]
    errors: Callable[[E], list[type[FraudFedError]]]
    problems: tuple[type[FraudFedError], ...] = field(
        default_factory=lambda: tuple(cls for _, cls in sorted(all_error_classes().items()))
    )
    titles: Titles = field(default_factory=dict)
    messages: tuple[type[BaseModel], ...] = ()

    def document(self, endpoints: Iterable[E]) -> dict[str, Any]:
        """Return the document that describes ``endpoints``."""
        declared = list(endpoints)
        paths: dict[str, dict[str, Any]] = {}
        for endpoint in declared:
            path = endpoint.prefix + _PARAMETER.sub(r"{\2}", endpoint.rule)
            paths.setdefault(path, {})[endpoint.method.lower()] = self._operation(endpoint)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": __version__,
                "description": self.description,
                "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {
                "schemas": self._schemas(declared),
                "securitySchemes": dict(self.security_schemes),
            },
            "x-problems": [
                {
                    "type": problem_type(cls),
                    "title": title_of(cls, self.titles),
                    "status": cls.http_status,
                    "exitCode": cls.exit_code,
                    "description": (cls.__doc__ or "").strip(),
                }
                for cls in self.problems
            ],
        }

    def _schemas(self, declared: list[E]) -> dict[str, Any]:
        classes: list[type[Any]] = [Problem, *self.messages]
        for endpoint in declared:
            bodies = (endpoint.reads, endpoint.answers, endpoint.accepted)
            classes += [c for c in bodies if isinstance(c, type)]
        unique = sorted(set(classes), key=lambda cls: cls.__name__)
        _, definitions = models_json_schema(
            [(cls, "validation") for cls in unique], ref_template=_REFERENCE
        )
        schemas: dict[str, Any] = definitions["$defs"]
        return dict(sorted(schemas.items()))

    def _operation(self, endpoint: E) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": endpoint.name,
            "summary": endpoint.summary,
            "description": self.callers(endpoint),
            "parameters": _parameters(endpoint),
            "responses": _responses(endpoint, self.errors(endpoint)),
        }
        operation["security"] = self.security(endpoint)
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
        for name, said in schema["properties"].items():
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in required,
                    "description": said["description"],
                    "schema": _inline(
                        {k: v for k, v in said.items() if k not in ("title", "description")},
                        definitions,
                    ),
                }
            )
    return found


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by what they name: query parameters stand outside the components."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    return schema


def _content(body: type[BaseModel] | tuple[str, ...]) -> dict[str, Any]:
    if isinstance(body, tuple):
        return {media_type: {} for media_type in body}
    return {JSON: {"schema": {"$ref": _REFERENCE.format(model=body.__name__)}}}


def _responses(endpoint: Endpoint, errors: list[type[FraudFedError]]) -> dict[str, Any]:
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
    for cls in errors:
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
