"""Run jobs on a Dask cluster: results in the order of the jobs, a lost worker's jobs done again.

A job's arguments go to a worker and a small result comes back; rows go through files, so every
worker must see the directory that is written. A job writes a file whole under another name and
renames it, so one that is done twice at the same time gives the same file.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from data_gen.writing.making import forget_kept
from data_gen.writing.workers import Job, Report, Result
from fraudfed.dask_engine.cluster import open_cluster
from fraudfed.dask_engine.failures import cluster_failures
from fraudfed.dask_engine.options import ClusterOptions
from fraudfed.errors import StateError

if TYPE_CHECKING:
    from distributed import Client


class DaskPool:
    """The workers of a cluster; a context manager, which opens and leaves it.

    Parameters
    ----------
    options : ClusterOptions
    """

    def __init__(self, options: ClusterOptions) -> None:
        options.check()
        self._options = options
        self._opened = contextlib.ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> Self:
        self._client = self._opened.enter_context(open_cluster(self._options))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._opened:
            if self._client is not None and kind is None:
                # A cluster that runs elsewhere keeps its processes.
                self._client.run(forget_kept, on_error="ignore")
        self._client = None

    def prepare(self, directory: Path) -> None:
        """Refuse a directory that a worker does not see.

        Raises
        ------
        StateError
        """
        with cluster_failures():
            seen = self._open().run(_is_directory, str(directory))
        blind = sorted(address for address, sees in seen.items() if not sees)
        if blind:
            raise StateError(
                f"{directory.parent}: worker {blind[0]} does not see what this program makes "
                f"there, nor do {len(blind) - 1} others; choose an --out on a file system that "
                "all workers have at the same place"
            )

    def run(self, jobs: Sequence[Job[Result]], report: Report) -> list[Result]:
        """Run all jobs and return their results, in the order of the jobs.

        Raises
        ------
        ClusterError
            The cluster has gone, or a job ended its worker again and again.
        """
        from distributed import as_completed

        done, client = 0, self._open()
        with cluster_failures():
            # Not pure: a job is done for the file that it writes, and never taken from a cache.
            futures = client.map(_run_job, list(jobs), pure=False)
            try:
                finished = as_completed(futures, with_results=True)
                for _, (amount, _result) in finished:
                    done += amount
                    report(done)
                found: list[tuple[int, Any]] = client.gather(futures)
            finally:
                client.cancel(futures)
        return [result for _, result in found]

    def _open(self) -> "Any":
        if self._client is None:
            raise RuntimeError("the cluster is not open: use the pool as a context manager")
        return self._client


def _is_directory(path: str) -> bool:
    return Path(path).is_dir()


def _run_job(job: Job[Any]) -> tuple[int, Any]:
    """Do a job on a worker; return how much was done, and its result."""
    done = 0

    def advance(amount: int) -> None:
        nonlocal done
        done += amount

    result = job(advance)
    return done, result
