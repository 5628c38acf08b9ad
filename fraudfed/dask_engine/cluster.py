"""Open a cluster: one that runs elsewhere, or one of processes on this machine."""

import contextlib
import importlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudfed.dask_engine.failures import missing_extra
from fraudfed.dask_engine.options import ClusterOptions, TlsFiles
from fraudfed.dask_engine.workers import check_workers
from fraudfed.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, Security

_log = logging.getLogger(__name__)

#: For this process and the worker processes that it starts. Workers write what they think of a
#: failed task to their logs, arguments included; what went wrong comes back as a value instead.
_QUIET = {"distributed": "error", "distributed.worker": "critical", "bokeh": "critical"}
_EXTRA = ("bokeh", "dask", "distributed")
#: What Dask does beside the work, for people who look for what is slow in their own programs: each
#: of these costs more than a small piece of work, and this engine reads none of it.
_WITHOUT_OVERHEAD = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.low-level-log-length": 0,
    "distributed.diagnostics.computations.nframes": 0,
    "distributed.diagnostics.nvml": False,
    # A model, risk tables or rows that are handed out are large on purpose.
    "distributed.admin.large-graph-warning-threshold": "1 TiB",
}
#: How often a cluster on this machine tells itself how many workers it has.
_SYNC_SECONDS = 30
_LOCAL_HOST = "127.0.0.1"


@contextlib.contextmanager
def open_cluster(options: ClusterOptions) -> "Iterator[Client]":
    """Connect to a cluster whose workers are fit for the work; what was started here is ended.

    Parameters
    ----------
    options : ClusterOptions

    Raises
    ------
    ConfigurationError
        If the extra is not installed, or rows would travel in the clear.
    ClusterError
        If the scheduler cannot be reached, too few workers come, or they are of another kind.
    """
    options.check()
    try:
        for package in _EXTRA:
            importlib.import_module(package)
        import dask
    except ImportError as error:
        raise missing_extra(error) from error
    with contextlib.ExitStack() as opened:
        opened.enter_context(dask.config.set({"logging": _QUIET, **_WITHOUT_OVERHEAD}))
        _quieten()
        if options.scheduler is None:
            client = _started(options, opened)
        else:
            client = opened.enter_context(_reached(options, options.scheduler))
        _wait_for_workers(client, options)
        n_workers = check_workers(client, insecure=options.insecure)
        where = "on this machine" if options.scheduler is None else options.scheduler
        _log.info("Dask cluster: %d workers, %s", n_workers, where)
        if client.dashboard_link and options.dashboard is not None:
            _log.info("Dask dashboard: %s", client.dashboard_link)
        yield client


def _started(options: ClusterOptions, opened: contextlib.ExitStack) -> "Client":
    """Start processes on this machine, with keys that exist in memory only."""
    from distributed import Client, LocalCluster

    # Rows that a worker has no memory for lie here; nobody else may read them, and they are erased.
    directory = opened.enter_context(
        tempfile.TemporaryDirectory(prefix="fraudfed-dask-", ignore_cleanup_errors=True)
    )
    try:
        cluster = opened.enter_context(
            LocalCluster(
                n_workers=options.workers,
                threads_per_worker=1,
                processes=True,
                host=_LOCAL_HOST,
                # Any user of this machine can reach a port of it: TLS keeps them out.
                security=True,
                memory_limit=options.memory_limit or "auto",
                dashboard_address=options.dashboard,
                scheduler_kwargs={"dashboard_address": options.dashboard or f"{_LOCAL_HOST}:0"},
                worker_dashboard_address=None,
                local_directory=directory,
                silence_logs=logging.CRITICAL,
                scheduler_sync_interval=_SYNC_SECONDS,
            )
        )
    except (OSError, TimeoutError, RuntimeError) as error:
        raise ClusterError(f"cluster: cannot be started on this machine ({error})") from error
    return opened.enter_context(Client(cluster, timeout=options.wait_seconds))


def _reached(options: ClusterOptions, address: str) -> "Client":
    from distributed import Client
    from distributed.comm import CommClosedError

    settings: dict[str, Any] = {}
    if options.tls is not None:
        settings["security"] = _security(options.tls)
    try:
        return Client(
            address, timeout=options.wait_seconds, set_as_default=False, name="fraudfed", **settings
        )
    except (OSError, TimeoutError, ValueError, RuntimeError, CommClosedError) as error:
        # RuntimeError: Dask's own configuration asks for TLS, and the address has none.
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise ClusterError(
            f"scheduler {address}: cannot be reached within {options.wait_seconds:g} s ({reason}); "
            "check its address, that it runs, and its certificates"
        ) from error


def _security(files: TlsFiles) -> "Security":
    from distributed import Security

    paths = {name: str(Path(path).resolve()) for name, path in vars(files).items()}
    return Security(
        tls_ca_file=paths["ca"],
        tls_client_cert=paths["cert"],
        tls_client_key=paths["key"],
        require_encryption=True,
    )


def _wait_for_workers(client: "Client", options: ClusterOptions) -> None:
    try:
        client.wait_for_workers(options.least_workers, timeout=options.wait_seconds)
    except TimeoutError as error:
        n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
        raise ClusterError(
            f"cluster: {n_workers} workers after {options.wait_seconds:g} s, expected "
            f"{options.least_workers} at least; start workers, or ask for fewer with --workers"
        ) from error


def _quieten() -> None:
    """Leave what ``distributed`` says to this program's own lines."""
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level.upper())
