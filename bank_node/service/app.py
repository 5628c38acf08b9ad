"""The Flask application of the scoring service."""

import functools
import json

from flask import Flask

from bank_node.service.api import lookup, operation, payments
from bank_node.service.api.describe import openapi_document
from bank_node.service.api.handle import Limits, install
from bank_node.service.looking_up import LookupDesk
from bank_node.service.scoring import ScoringService
from fraudfed.http.server.declare import Endpoint

_GROUPS = (payments.endpoints, lookup.endpoints, operation.endpoints, operation.unversioned)


def declared_endpoints() -> tuple[Endpoint, ...]:
    """Return the declaration of every endpoint of the service."""
    return tuple(endpoint for group in _GROUPS for endpoint, _ in group.declared)


@functools.cache
def _document() -> bytes:
    """Return the OpenAPI document, which is the same in every process of a release."""
    return json.dumps(openapi_document(declared_endpoints()), indent=2).encode()


def create_app(
    scoring: ScoringService, limits: Limits, *, lookups: LookupDesk | None = None
) -> Flask:
    """Build the application around a service, which stays the caller's to close."""
    app = Flask("bank-node", static_folder=None)
    app.extensions["scoring"] = scoring
    app.extensions["lookup"] = lookups
    app.extensions["openapi"] = _document()
    install(app, _GROUPS, limits)
    return app
