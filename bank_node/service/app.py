"""The Flask application of the scoring service."""

import json

from flask import Flask, Response

from bank_node.service.api import operation, payments
from bank_node.service.api.declare import Endpoint
from bank_node.service.api.handle import Limits, install
from bank_node.service.openapi import openapi_document
from bank_node.service.scoring import ScoringService
from fraudfed.wire.media_types import JSON

_GROUPS = (payments.endpoints, operation.endpoints)


def declared_endpoints() -> tuple[Endpoint, ...]:
    """Return the declaration of every endpoint of the service."""
    return tuple(endpoint for group in _GROUPS for endpoint, _ in group.declared)


def create_app(scoring: ScoringService, limits: Limits) -> Flask:
    """Build the application around a service, which stays the caller's to close."""
    app = Flask("bank-node", static_folder=None)
    app.url_map.merge_slashes = False
    app.extensions["scoring"] = scoring
    install(app, _GROUPS, limits)
    document = json.dumps(openapi_document(declared_endpoints()), indent=2).encode()
    app.add_url_rule("/v1/openapi.json", "openapi", lambda: Response(document, content_type=JSON))
    return app
