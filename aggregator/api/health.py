"""Is the service there, and what does it offer."""

from aggregator.api.endpoint import JSON, Access, Binary, Endpoints, services
from fraudfed import __version__
from fraudfed.wire.messages import Health

__all__ = ["endpoints"]

endpoints = Endpoints("health")


@endpoints.add(
    method="GET",
    rule="/health",
    summary="Whether the aggregator answers and its store can be read.",
    access=Access.ANYONE,
    answers=Health,
)
def health() -> Health:
    """Read the store and answer."""
    services().database.check()
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
    return Binary(services().openapi, JSON)
