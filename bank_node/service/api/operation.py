"""Whether the service is there, what it serves, and how it is doing."""

from flask import current_app

from bank_node.service.api.services import service
from bank_node.service.measures import CONTENT_TYPE
from bank_node.service.messages import Health, SentSwap, Serving
from fraudfed import __version__
from fraudfed.errors import ConfigurationError, NotFoundError, UnavailableError
from fraudfed.http.server.declare import Binary, Endpoint, Endpoints
from fraudfed.wire.media_types import JSON

endpoints = Endpoints(Endpoint)
#: Where Prometheus looks unless it is told otherwise.
unversioned = Endpoints(Endpoint, prefix="")


@endpoints.add(
    method="GET",
    rule="/health",
    summary="Whether the process answers; a failure means: restart it.",
    answers=Health,
    always=True,
)
def health() -> Health:
    """Answer without touching a disk."""
    return Health(version=__version__)


@endpoints.add(
    method="GET",
    rule="/ready",
    summary="Whether payments can be answered; a failure means: send none.",
    answers=Health,
    always=True,
    errors=(UnavailableError,),
)
def ready() -> Health:
    """Try the disk."""
    service().require_ready()
    return Health(version=__version__)


@endpoints.add(method="GET", rule="/serving", summary="What decides at present.", answers=Serving)
def serving() -> Serving:
    """Return the digests."""
    return service().serving()


@endpoints.add(
    method="POST",
    rule="/swap",
    summary="Read model, policy and tables again and use them from the next request on; what "
    "cannot be used is refused and nothing changes.",
    reads=SentSwap,
    answers=Serving,
    errors=(NotFoundError, ConfigurationError),
)
def swap(body: SentSwap) -> Serving:
    """Swap."""
    return service().swap(body.run_id)


@endpoints.add(
    method="GET", rule="/openapi.json", summary="This document.", answers=(JSON,), always=True
)
def openapi() -> Binary:
    """Return the OpenAPI document."""
    return Binary(current_app.extensions["openapi"], JSON)


@unversioned.add(
    method="GET",
    rule="/metrics",
    summary="Counters and times, in the text format of Prometheus.",
    answers=(CONTENT_TYPE,),
)
def metrics() -> Binary:
    """Return them."""
    return Binary(service().measures.text(), CONTENT_TYPE)
