"""Where a command works on the bank's rows: on this machine, or on the workers of a cluster."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from fraudfed.dask_engine.options import (
    DEFAULT_DASHBOARD,
    MOST_WORKERS,
    ClusterOptions,
    TlsFiles,
)
from fraudfed.errors import ConfigurationError
from fraudfed.machine.memory import parse_bytes

if TYPE_CHECKING:
    from distributed import Client

F = TypeVar("F", bound=Callable[..., Any])

LOCAL: Final = "local"
DASK: Final = "dask"
#: Of ``--dashboard``.
_OFF: Final = "off"


def engine_options(command: F) -> F:
    """Add the options of a command that can work on a cluster; it is given ``cluster``.

    That is a ``ClusterOptions``, or None for this machine alone.
    """

    @functools.wraps(command)
    def with_cluster(
        *args: Any,
        engine: str,
        scheduler: str | None,
        workers: int | None,
        worker_memory: str | None,
        dashboard: str | None,
        dask_tls: str | None,
        dask_insecure: bool,
        **options: Any,
    ) -> Any:
        given = {
            "--scheduler": scheduler,
            "--workers": workers,
            "--worker-memory": worker_memory,
            "--dashboard": dashboard,
            "--dask-tls": dask_tls,
            "--dask-insecure": dask_insecure,
        }
        return command(*args, cluster=_cluster_options(engine, given), **options)

    found: Any = with_cluster
    for option in (
        click.option(
            "--dask-insecure",
            is_flag=True,
            help="Let customers' rows travel to the cluster in the clear.",
        ),
        click.option(
            "--dask-tls",
            default=None,
            metavar="CA,CERT,KEY",
            help="Files for TLS to the scheduler.  [default: as Dask's own configuration says]",
        ),
        click.option(
            "--dashboard",
            default=None,
            metavar="HOST:PORT|off",
            help=f"Where the dashboard of --workers listens.  [default: {DEFAULT_DASHBOARD}]",
        ),
        click.option(
            "--worker-memory",
            default=None,
            metavar="SIZE",
            help="Memory of each of --workers, as 8GiB.  [default: the machine's, shared out]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, MOST_WORKERS),
            default=None,
            help="Processes of a cluster on this machine; with --scheduler, workers to wait for.",
        ),
        click.option(
            "--scheduler",
            default=None,
            metavar="ADDRESS",
            help="Scheduler of a Dask cluster that runs, as tls://host:8786.",
        ),
        click.option(
            "--engine",
            type=click.Choice([LOCAL, DASK]),
            default=LOCAL,
            show_default=True,
            help="Where the rows are worked on: this machine, or a Dask cluster.",
        ),
    ):
        found = option(found)
    return found  # type: ignore[no-any-return]


def _cluster_options(engine: str, given: dict[str, Any]) -> ClusterOptions | None:
    if engine == LOCAL:
        for name, value in given.items():
            if value:
                raise ConfigurationError(
                    f"{name} is for --engine dask, and the engine is {engine}; give both or neither"
                )
        return None
    memory, dashboard, tls = given["--worker-memory"], given["--dashboard"], given["--dask-tls"]
    options = ClusterOptions(
        scheduler=given["--scheduler"],
        workers=given["--workers"],
        memory_limit=None if memory is None else parse_bytes("--worker-memory", memory),
        dashboard=DEFAULT_DASHBOARD
        if dashboard is None
        else None
        if dashboard == _OFF
        else dashboard,
        tls=None if tls is None else TlsFiles.parse(tls),
        insecure=given["--dask-insecure"],
    )
    options.check()
    return options


@contextlib.contextmanager
def opened(cluster: ClusterOptions | None) -> "Iterator[Client | None]":
    """Open the cluster that was asked for, None for this machine alone.

    Raises
    ------
    ConfigurationError, ClusterError
        As ``open_cluster``.
    """
    if cluster is None:
        yield None
        return
    from fraudfed.dask_engine.cluster import open_cluster

    with open_cluster(cluster) as client:
        yield client
