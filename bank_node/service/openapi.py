"""The OpenAPI 3.1 document of the scoring service, made of the declarations."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bank_node.service.api.declare import Endpoint
from fraudfed import __version__
from fraudfed.wire.media_types import JSON, PROBLEM
from fraudfed.wire.messages import Problem

_REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"<(\w+)>")


def openapi_document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document that describes ``endpoints``."""
    declared = list(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    classes: set[type[BaseModel]] = {Problem}
    for endpoint in declared:
        classes |= {body for body in (endpoint.reads, endpoint.answers) if isinstance(body, type)}
        path = _PARAMETER.sub(r"{\1}", endpoint.rule)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint)
    _, definitions = models_json_schema(
        [(cls, "validation") for cls in sorted(classes, key=lambda cls: cls.__name__)],
        ref_template=_REFERENCE,
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "fraudfed scoring service", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(definitions["$defs"].items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    problem = {PROBLEM: {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}}}
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PARAMETER.findall(endpoint.rule)
        ],
        "responses": {
            "200": {"description": "Done.", "content": _content(endpoint.answers)},
            "default": {"description": "A problem document.", "content": problem},
        },
        "security": [] if endpoint.always else [{"token": []}],
    }
    if endpoint.reads is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.reads)}
    return operation


def _content(body: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(body, str):
        return {body: {}}
    return {JSON: {"schema": {"$ref": _REFERENCE.format(model=body.__name__)}}}
