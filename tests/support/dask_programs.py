"""A Dask cluster as an operator starts one: a scheduler and workers, each a program, over TLS."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples.certificates import certify

from fraudfed.dask_engine.cluster import open_cluster
from fraudfed.dask_engine.options import ClusterOptions, TlsFiles
from fraudfed.lab.local_federation.processes import Program, ProgramGroup

#: What a worker loads first that is to lack this program.
NO_FRAUDFED = "import sys\nsys.modules['fraudfed'] = None\n"
#: And one that is to be of another release, which computes something else.
OTHER_RELEASE = """
from fraudfed.boosting.shard.local import LocalRows
from fraudfed.dask_engine import workers


def other(rows, *, scale_pos_weight, **more):
    return grow(rows, scale_pos_weight=scale_pos_weight / 2, **more)


# Dask loads this file twice.
if workers.__version__ != "0.0.9":
    workers.__version__ = "0.0.9"
    grow = LocalRows.grow
    LocalRows.grow = other
"""
_SECONDS = 60.0


class ClusterElsewhere:
    """A scheduler that runs, and its workers; none of them has a nanny that starts it again.

    Parameters
    ----------
    group : ProgramGroup
        That ends what is started.
    home : Path
        For certificates, logs and what workers write.

    Attributes
    ----------
    tls : TlsFiles
        With which a program may connect.
    address : str
    scheduler : Program
    """

    def __init__(self, group: ProgramGroup, home: Path) -> None:
        self._group, self._home = group, home
        self._started = 0
        self._workers: list[Program] = []
        authority = certify(home, "ca")
        bank = certify(home, "bank", authority, host="127.0.0.1")
        self.tls = TlsFiles(authority.certificate_file, *bank.files)
        file = home / "scheduler.json"
        self.scheduler = group.start(
            f"{home.name}-scheduler",
            [
                *("dask", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0"),
                *("--no-dashboard", "--scheduler-file", str(file), *self._tls_options),
            ],
        )
        deadline = time.monotonic() + _SECONDS
        while not (file.exists() and file.read_text().endswith("}")):
            assert self.scheduler.process.poll() is None, self.scheduler.log.read_text()
            assert time.monotonic() < deadline, self.scheduler.log.read_text()
            time.sleep(0.05)
        self.address: str = json.loads(file.read_text())["address"]

    @property
    def _tls_options(self) -> tuple[str, ...]:
        names = ("--tls-ca-file", "--tls-cert", "--tls-key")
        files = (self.tls.ca, self.tls.cert, self.tls.key)
        return tuple(str(part) for pair in zip(names, files, strict=True) for part in pair)

    @property
    def engine(self) -> tuple[str, ...]:
        """Options of a command that works here."""
        files = f"{self.tls.ca},{self.tls.cert},{self.tls.key}"
        return ("--engine", "dask", "--scheduler", self.address, "--dask-tls", files)

    def start_worker(self, preload: str | None = None) -> Program:
        """Start a worker that loads some code first; return before it has joined."""
        self._started += 1
        name = f"{self._home.name}-worker-{self._started}"
        options: tuple[str, ...] = ()
        if preload is not None:
            file = self._home / f"{name}.py"
            file.write_text(preload)
            options = ("--preload", str(file))
        worker = self._group.start(
            name,
            [
                *("dask", "worker", self.address, "--host", "127.0.0.1", "--protocol", "tls"),
                *("--no-nanny", "--no-dashboard", "--nthreads", "1", "--memory-limit", "0"),
                *("--local-directory", str(self._home), *self._tls_options, *options),
            ],
        )
        self._workers.append(worker)
        return worker

    def have(self, n_workers: int) -> None:
        """Start workers until there are so many."""
        self._workers = [each for each in self._workers if each.process.poll() is None]
        while len(self._workers) < n_workers:
            self.start_worker()

    def kill_workers(self) -> None:
        """Kill all workers at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()

    @contextlib.contextmanager
    def opened(self, n_workers: int) -> Iterator[Any]:
        """Connect to the cluster once it has so many workers."""
        self.have(n_workers)
        options = ClusterOptions(scheduler=self.address, workers=n_workers, tls=self.tls)
        with open_cluster(options) as client:
            yield client


def wait_until_joined(client: Any, worker: Program) -> None:
    """Wait until a worker that was started is one of the cluster's."""
    deadline = time.monotonic() + _SECONDS
    # Ports of a program are written in its log as it listens.
    while not any(
        address in worker.log.read_text() for address in client.scheduler_info(-1)["workers"]
    ):
        assert worker.process.poll() is None, worker.log.read_text()
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.05)


@contextlib.contextmanager
def cluster_elsewhere(home: Path) -> Iterator[ClusterElsewhere]:
    """Run a cluster without workers until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    with ProgramGroup(logs=home / "logs") as group:
        yield ClusterElsewhere(group, home)
