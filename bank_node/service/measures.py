"""What the scoring service counts, for Prometheus; no label names a customer or a payment."""

from typing import Any

#: Prometheus' text format, in the version that every one of its releases reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)


class Measures:
    """All metrics of the process. Safe to use from many threads."""

    def __init__(self) -> None:
        import prometheus_client as client

        self._client = client
        self.registry = client.CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = client.Histogram(
            "fraudfed_scoring_request_seconds",
            "Time of a request by endpoint and status.",
            ("endpoint", "status"),
            buckets=_SECONDS,
            **made,
        )
        self.steps = client.Counter(
            "fraudfed_scoring_payments",
            "Payments answered, by step of the ladder.",
            ("step",),
            **made,
        )
        self.actions = client.Counter(
            "fraudfed_scoring_actions", "Payments answered, by action.", ("action",), **made
        )
        self.arrivals = client.Counter(
            "fraudfed_scoring_arrivals",
            "Payments observed, by what became of them.",
            ("arrival",),
            **made,
        )
        self.problems = client.Counter(
            "fraudfed_scoring_problems", "Problem documents by type.", ("type",), **made
        )
        self.swaps = client.Counter(
            "fraudfed_scoring_swaps", "Swaps of model, policy and tables.", ("result",), **made
        )
        self.challenger_failures = client.Counter(
            "fraudfed_scoring_challenger_failures", "Payments without a challenger's score.", **made
        )

    def text(self) -> bytes:
        """Return all metrics, as Prometheus reads them."""
        return self._client.generate_latest(self.registry)
