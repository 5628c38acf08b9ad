"""What Prometheus reads."""

from aggregator.api.declare import Access, Endpoint
from aggregator.api.services import services
from aggregator.config import MetricsAccess
from aggregator.monitoring.metrics import CONTENT_TYPE
from fraudfed.errors import NotFoundError
from fraudfed.http.server.declare import Binary, Endpoints

#: Where Prometheus looks unless it is told otherwise; no part of the protocol of the banks.
endpoints = Endpoints(Endpoint, prefix="")


@endpoints.add(
    method="GET",
    rule="/metrics",
    summary="Counters and times of the traffic, in the text format of Prometheus.",
    access=Access.MONITOR,
    answers=(CONTENT_TYPE,),
    always=True,
    errors=(NotFoundError,),
)
def metrics() -> Binary:
    """Add up what all worker processes have counted."""
    if services().config.metrics is MetricsAccess.OFF:
        raise NotFoundError("this aggregator offers no metrics; its operator has set them to off")
    return Binary(services().metrics.text(), CONTENT_TYPE)
