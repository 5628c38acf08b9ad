"""Whether the service is there, what it serves, and how it is doing."""

from bank_node.service.api.declare import Endpoints
from bank_node.service.api.services import service
from bank_node.service.measures import CONTENT_TYPE
from bank_node.service.messages import Health, SentSwap, Serving
from fraudfed import __version__

endpoints = Endpoints()


@endpoints.add(
    method="GET",
    rule="/v1/health",
    summary="Whether the process answers; a failure means: restart it.",
    answers=Health,
    always=True,
)
def health() -> Health:
    """Answer without touching a disk."""
    return Health(version=__version__)


@endpoints.add(
    method="GET",
    rule="/v1/ready",
    summary="Whether payments can be answered; a failure means: send none.",
    answers=Health,
    always=True,
)
def ready() -> Health:
    """Try the disk."""
    service().require_ready()
    return Health(version=__version__)


@endpoints.add(
    method="GET", rule="/v1/serving", summary="What decides at present.", answers=Serving
)
def serving() -> Serving:
    """Return the digests."""
    return service().serving()


@endpoints.add(
    method="POST",
    rule="/v1/swap",
    summary="Read model, policy and tables again and use them from the next request on; what "
    "cannot be used is refused and nothing changes.",
    reads=SentSwap,
    answers=Serving,
)
def swap(body: SentSwap) -> Serving:
    """Swap."""
    return service().swap(body.run_id)


@endpoints.add(
    method="GET",
    rule="/metrics",
    summary="Counters and times, in the text format of Prometheus.",
    answers=CONTENT_TYPE,
)
def metrics() -> tuple[bytes, str]:
    """Return them."""
    return service().measures.text(), CONTENT_TYPE
