"""What the service counts and measures, for Prometheus. docs/operations.md has the table.

Traffic facts only: how many, how long, how large; nothing of what a bank sent. No label names a
bank, a run, a round or an address: every value of a label would be a series that is kept
indefinitely, and a reader of metrics need not know which banks take part. Labels have values that
this program's own source lists: endpoints, transactions, statuses, problems, states.

The worker processes write into files of one directory, and whichever answers adds them up.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aggregator import run_machine as machine
from aggregator.monitoring.round_times import RoundTimes
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from fraudfed import __version__

if TYPE_CHECKING:
    from prometheus_client import Metric


#: Prometheus' text format, in the version that every one of its releases reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Where prometheus_client looks for the directory of several processes.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: From a cached answer to a contribution on a slow disk.
_REQUEST_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
#: From banks side by side to banks with millions of rows, up to an hour, which is not expected.
_ROUND_BUCKETS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)
#: From a read out of the page cache to a writer that waits for other processes.
_TRANSACTION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


class Metrics:
    """All metrics of this process. Safe to use from many threads.

    Parameters
    ----------
    runs : callable
        Returns the number of runs in each state; asked whenever the metrics are read.
    directory : Path or None
        Shared by all worker processes, empty when the first one starts; None for one process that
        keeps them in memory.
    workers : int
        How many processes may take part in one round. For a single one, times of rounds stay in
        memory: a file for each would take longer than all that is counted besides.
    """

    def __init__(
        self,
        runs: Callable[[], Mapping[str, int]],
        *,
        directory: Path | None = None,
        workers: int = 1,
    ) -> None:
        if directory is not None:
            # Read when prometheus_client is imported, so nothing may import it before.
            os.environ[DIRECTORY_VARIABLE] = str(directory)
        import prometheus_client
        from prometheus_client import values

        if values.ValueClass._multiprocess is not (directory is not None):
            raise RuntimeError("prometheus_client was imported before its directory was known")
        self._client = prometheus_client
        self._runs = runs
        self._directory = directory
        self._registry = prometheus_client.CollectorRegistry()
        self._round_times = RoundTimes(directory if workers > 1 else None)

        self._opened = self._counter("rounds_opened", "Rounds opened by their first contribution.")
        self._closed = self._counter("rounds_closed", "Rounds closed by their last opening.")
        self._complete_seconds = self._histogram(
            "round_complete_seconds",
            "From a round's first contribution to its last.",
            _ROUND_BUCKETS,
        )
        self._close_seconds = self._histogram(
            "round_close_seconds",
            "From a round's last contribution to its last opening.",
            _ROUND_BUCKETS,
        )
        self._request_seconds = self._histogram(
            "request_seconds",
            "Time that requests were worked on, without waiting for other banks.",
            _REQUEST_BUCKETS,
            ("endpoint", "status"),
        )
        self._wait_seconds = self._histogram(
            "wait_seconds",
            "Time that requests waited for other banks.",
            _REQUEST_BUCKETS,
            ("endpoint",),
        )
        self._received = self._counter(
            "received_bytes", "Bytes of request bodies received.", ("endpoint",)
        )
        self._sent = self._counter("sent_bytes", "Bytes of answers' bodies.", ("endpoint",))
        self._working = self._gauge("requests_working", "Requests being worked on.")
        self._waiting = self._gauge("requests_waiting", "Requests that wait for other banks.")
        self._problems = self._counter(
            "problems", "Answers that are problem documents.", ("problem",)
        )
        self._bodies = self._gauge(
            "bodies_held", "Request bodies held, in memory or in a file.", ("place",)
        )
        self._bodies_received = self._counter(
            "bodies", "Request bodies received, into memory or into a file.", ("place",)
        )
        self._transactions = self._histogram(
            "transaction_seconds",
            "Database transactions, from their beginning at the database to their commit.",
            _TRANSACTION_BUCKETS,
            ("transaction", "kind"),
        )
        # Several for each request: not to be looked up each time.
        self._transactions_of: dict[tuple[str, Kind], Any] = {}
        self._series: dict[tuple[Any, ...], Any] = {}
        self._working_now = self._waiting_now = 0
        self._retries = self._counter(
            "transaction_retries",
            "Database transactions that were done again.",
            ("transaction",),
        )
        if directory is None:
            self._registry.register(_AtScrape(self))

    def request(self, endpoint: str, status: int, *, seconds: float, sent_bytes: int) -> None:
        """Count an answered request."""
        self._one(self._request_seconds, endpoint, str(status)).observe(seconds)
        self._one(self._sent, endpoint).inc(sent_bytes)

    def waited(self, endpoint: str, seconds: float) -> None:
        """Count a request that has waited."""
        self._one(self._wait_seconds, endpoint).observe(seconds)

    def at_once(self, working: int, waiting: int) -> None:
        """Note how many requests there are now."""
        # Mostly one of them has changed; the caller lets one thread in at a time.
        if working != self._working_now:
            self._working_now = working
            self._working.set(working)
        if waiting != self._waiting_now:
            self._waiting_now = waiting
            self._waiting.set(waiting)

    def problem(self, slug: str) -> None:
        """Count a problem document."""
        self._problems.labels(slug).inc()

    @contextmanager
    def body(self, endpoint: str, length: int, *, in_file: bool) -> Iterator[None]:
        """Count a body that was received, and one that is held until the block ends."""
        place = "file" if in_file else "memory"
        self._one(self._received, endpoint).inc(length)
        self._one(self._bodies_received, place).inc()
        held = self._one(self._bodies, place)
        held.inc()
        try:
            yield
        finally:
            held.dec()

    def observe(self, step: machine.Transition) -> None:
        """Count what has become of a run; call it after the change is durable."""
        run_id = step.run.run_id
        for effect in step.effects:
            match effect:
                case machine.RoundOpened(number, _):
                    self._opened.inc()
                    self._round_times.mark(run_id, "opened", number)
                case machine.ProductComplete(number):
                    seconds = self._round_times.since(run_id, "opened", number)
                    if seconds is not None:
                        self._complete_seconds.observe(seconds)
                    self._round_times.mark(run_id, "completed", number)
                case machine.RoundClosed(number):
                    self._closed.inc()
                    seconds = self._round_times.since(run_id, "completed", number)
                    if seconds is not None:
                        self._close_seconds.observe(seconds)
                case machine.RunFailed() | machine.ModelAccepted():
                    self._round_times.forget(run_id)
                case _:
                    pass

    def watch(self, database: Database) -> None:
        """Measure the transactions of a database."""
        database.observe = self._transaction_ended
        database.retried = lambda name: self._retries.labels(name).inc()

    def text(self) -> bytes:
        """Return all metrics of all worker processes, as Prometheus reads them."""
        registry = self._registry
        if self._directory is not None:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = self._client.CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._directory))  # type: ignore[no-untyped-call]
            registry.register(_AtScrape(self))
        return self._client.generate_latest(registry)

    def at_scrape(self) -> "Iterator[Metric]":
        """Return what is not counted, but known when it is asked for."""
        from prometheus_client.core import GaugeMetricFamily

        version = GaugeMetricFamily("fraudfed_info", "1, with the version.", labels=["version"])
        version.add_metric([__version__], 1)
        yield version
        runs = GaugeMetricFamily("fraudfed_runs", "Runs by their state.", labels=["state"])
        for state, count in self._runs().items():
            runs.add_metric([state], count)
        yield runs

    def _one(self, metric: Any, *labels: str) -> Any:
        """Return one series; looking it up in the metric takes longer than to count."""
        key = (id(metric), *labels)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = metric.labels(*labels)
        return found

    def _transaction_ended(self, name: str, kind: Kind, seconds: float) -> None:
        found = self._transactions_of.get((name, kind))
        if found is None:
            shown = "read" if kind is Kind.READ else "write"
            # A series that begins at 0 shows its first increase.
            self._retries.labels(name)
            found = self._transactions_of[name, kind] = self._transactions.labels(name, shown)
        found.observe(seconds)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Any:
        return self._client.Counter(f"fraudfed_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Any:
        # What a process that has ended had at its end counts no more.
        return self._client.Gauge(
            f"fraudfed_{name}", text, labels, registry=self._registry, multiprocess_mode="livesum"
        )

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Any:
        return self._client.Histogram(
            f"fraudfed_{name}", text, labels, registry=self._registry, buckets=buckets
        )


class _AtScrape:
    """Stands in a registry for what is known only when it is asked for."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> "list[Metric]":
        """Name nothing in advance: registering must not ask the database."""
        return []

    def collect(self) -> "Iterator[Metric]":
        """Return the metrics."""
        return self._metrics.at_scrape()


def forget_worker(directory: Path, worker: int) -> None:
    """Leave out what a worker process held when it ended; what it has counted stays."""
    for path in directory.glob(f"gauge_live*_{worker}.db"):
        path.unlink(missing_ok=True)
