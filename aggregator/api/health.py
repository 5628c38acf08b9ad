"""Is the service there, can it work, and what does it offer."""

from flask import request

from aggregator.api.declare import Access, Endpoint
from aggregator.api.services import services
from fraudfed import __version__
from fraudfed.errors import UnavailableError
from fraudfed.http.server.declare import Binary, Endpoints
from fraudfed.wire.media_types import JSON
from fraudfed.wire.messages import Health

endpoints = Endpoints(Endpoint)


@endpoints.add(
    method="GET",
    rule="/health",
    summary="Whether the aggregator's process answers; a failure means: restart it.",
    access=Access.ANYONE,
    answers=Health,
    always=True,
)
def health() -> Health:
    """Answer without touching the database: a restart would not cure it."""
    return Health(status="ok", version=__version__)


@endpoints.add(
    method="GET",
    rule="/ready",
    summary="Whether the aggregator can work: it is not stopping, its database can be read and "
    "written, and there is room; a failure means: send it no requests.",
    access=Access.ANYONE,
    answers=Health,
    always=True,
    errors=(UnavailableError,),
)
def ready() -> Health:
    """Try the database and the disk, at most once a second."""
    if services().admission.stopping:
        raise UnavailableError("the aggregator is stopping; ask again when it is back")
    services().readiness.require()
    return Health(status="ok", version=__version__)


@endpoints.add(
    method="GET",
    rule="/openapi.json",
    summary="This document.",
    access=Access.ANYONE,
    answers=(JSON,),
)
def openapi() -> Binary:
    """Return the OpenAPI document."""
    found = services()
    # A proxy that takes the prefix away may tell it; one that leaves it is known by the setting.
    prefix = found.config.path_prefix or found.forwarded.prefix(request.environ)
    return Binary(found.openapi(prefix), JSON)
