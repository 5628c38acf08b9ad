"""The scoring service's OpenAPI document says all of its API, in this service's own words."""

import json
import re

from bank_node.service.api.describe import TITLES, errors_of, openapi_document
from bank_node.service.app import declared_endpoints
from fraudfed.errors import error_classes
from fraudfed.http.server.problems import problem_of

DOCUMENT = openapi_document(declared_endpoints())


def test_no_problem_of_this_service_speaks_of_the_aggregator() -> None:
    for cls in error_classes().values():
        title = problem_of(cls("why"), titles=TITLES).title
        assert "aggregator" not in title.lower(), cls
    assert "aggregator" not in json.dumps([one["title"] for one in DOCUMENT["x-problems"]]).lower()


def test_without_the_titles_some_would() -> None:
    titles = {problem_of(cls("why")).title for cls in error_classes().values()}
    assert sum("aggregator" in title.lower() for title in titles) == len(TITLES)


def test_every_endpoint_and_every_refusal_of_one_is_explained() -> None:
    explained = {one["type"].rpartition(":")[2] for one in DOCUMENT["x-problems"]}
    for endpoint in declared_endpoints():
        path = endpoint.prefix + re.sub(r"<(\w+)>", r"{\1}", endpoint.rule)
        operation = DOCUMENT["paths"][path][endpoint.method.lower()]
        assert operation["operationId"] == endpoint.name
        assert {cls.slug for cls in errors_of(endpoint)} <= explained
        assert "500" in operation["responses"]
        assert (operation["security"] == []) == endpoint.always


def test_every_reference_resolves() -> None:
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references <= set(DOCUMENT["components"]["schemas"])
