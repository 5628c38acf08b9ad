"""The OpenAPI document says all of the API and nothing else."""

import json
import re
from typing import Any

import pytest
from flask import Flask

from aggregator.service.app import declared_endpoints
from aggregator.service.openapi import openapi_document
from fraudfed.errors import error_classes
from fraudfed.wire import messages

DOCUMENT = openapi_document(declared_endpoints())


def test_every_route_is_documented_and_every_documented_route_exists(app: Flask) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        # Pages are for people, and no part of the API.
        if method != "HEAD" and not rule.endpoint.startswith("pages.") and rule.rule != "/"
    }
    documented = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    assert routes == documented


def test_every_error_class_is_documented_with_slug_and_status() -> None:
    documented = {
        one["type"]: (one["status"], one["exitCode"], one["title"])
        for one in DOCUMENT["x-problems"]
    }
    assert documented == {
        f"urn:fraudfed:problem:{slug}": (cls.http_status, cls.exit_code, cls.title)
        for slug, cls in error_classes().items()
    }


def test_every_reference_resolves() -> None:
    text = json.dumps(DOCUMENT)
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text))
    assert references <= set(DOCUMENT["components"]["schemas"])
    assert text.count('"$ref"') == len(re.findall(r'"\$ref": "#/components/schemas/\w+"', text))


def test_schemas_are_generated_from_the_message_types() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"RunSpec", "RunStatus", "FrameHeader", "Problem", "RoundList"} <= set(schemas)
    for name, schema in schemas.items():
        cls = getattr(messages, name)
        if hasattr(cls, "model_fields"):
            assert set(schema["properties"]) == {f.alias or n for n, f in cls.model_fields.items()}


@pytest.mark.parametrize(
    "operation", [op for item in DOCUMENT["paths"].values() for op in item.values()]
)
def test_every_operation_is_complete(operation: dict[str, Any]) -> None:
    assert operation["summary"].endswith(".")
    for parameter in operation["parameters"]:
        assert parameter["in"] == "path" or parameter["description"]
    assert any(status.startswith("2") for status in operation["responses"])
    assert "500" in operation["responses"]
    if operation["security"]:
        assert {"401", "403"} <= set(operation["responses"])


def test_operation_ids_are_unique() -> None:
    ids = [op["operationId"] for item in DOCUMENT["paths"].values() for op in item.values()]
    assert len(set(ids)) == len(ids)
