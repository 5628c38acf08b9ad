"""A real ``aggregator serve`` on loopback, and what its processes use."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fraudfed.console import Answer
from fraudfed.errors import TransportError
from fraudfed.lab.local_federation.consortium import start_aggregator
from fraudfed.lab.local_federation.processes import ProgramGroup
from fraudfed.machine.usage import children, cpu_seconds, memory_bytes

_START_SECONDS = 60.0


class ProcessUsed(Answer):
    """What one process of an aggregator has used.

    Attributes
    ----------
    name : str
        ``main``, which serves nothing, or ``worker N``.
    peak_bytes : int
        The most that was resident since ``forget_peak``.
    cpu_seconds : float
        Since it began.
    """

    name: str
    peak_bytes: int
    cpu_seconds: float


@dataclass(frozen=True)
class ServedAggregator:
    """An aggregator that runs.

    Attributes
    ----------
    url, operator_token : str
    state : Path
        Its state directory.
    main_process : int
    workers : int
        Processes that handle requests.
    database : str or None
        URL of its PostgreSQL database.
    """

    url: str
    operator_token: str
    state: Path
    main_process: int
    workers: int = 1
    database: str | None = None

    @property
    def processes(self) -> list[int]:
        """The processes that handle requests: the children of the main one, all of them.

        Raises
        ------
        TransportError
            If they are not there in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        while len(found := children(self.main_process)) != self.workers:
            if time.monotonic() > deadline:
                raise TransportError(
                    f"aggregator {self.main_process} has {len(found)} processes that serve, "
                    f"expected {self.workers}; see its log"
                )
            time.sleep(0.05)
        return sorted(found)

    def resident_bytes(self) -> int:
        """Return the memory that those have now; what they share counts once for each."""
        return sum(memory_bytes(process, "VmRSS") for process in self.processes)

    def peak_bytes(self) -> int:
        """Return the most that the largest had, or had since ``forget_peak``."""
        return max(memory_bytes(process, "VmHWM") for process in self.processes)

    def forget_peak(self) -> None:
        """Count the peak from here: a start needs more than the service does."""
        for process in self.processes:
            Path(f"/proc/{process}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Return the processor time that they have used."""
        return sum(map(cpu_seconds, self.processes))

    def used(self) -> tuple[ProcessUsed, ...]:
        """Return what each process has used."""
        names = ["main", *(f"worker {number}" for number in range(1, self.workers + 1))]
        return tuple(
            ProcessUsed(
                name=name,
                peak_bytes=memory_bytes(process, "VmHWM"),
                cpu_seconds=round(cpu_seconds(process), 2),
            )
            for name, process in zip(names, [self.main_process, *self.processes], strict=True)
        )

    def stored_bytes(self) -> tuple[int, int]:
        """Return the sizes of the database and of the log beside it (0 for PostgreSQL's)."""
        if self.database is not None:
            return _size_of(self.database), 0
        sizes = {path.suffix: path.stat().st_size for path in self.state.glob("*.db*")}
        return sizes[".db"], sizes.get(".db-wal", 0)


def _size_of(database: str) -> int:
    import psycopg  # not with every role of this package

    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return 0 if found is None else int(found[0])


@contextmanager
def served_aggregator(
    work: Path, *, threads: int, workers: int = 1, database: str | None = None, port: int = 0
) -> Iterator[ServedAggregator]:
    """Serve a new aggregator until the block ends.

    Parameters
    ----------
    work : Path
        Where its state directory and its logs are made.
    threads : int
        Every waiting bank holds one.
    workers : int
        More than one on PostgreSQL only.
    database : str or None
        URL of an empty PostgreSQL database; None is SQLite.
    port : int
        0 for any that is free.

    Raises
    ------
    TransportError
        If it does not start.
    """
    state = work / "aggregator"
    with ProgramGroup(logs=work) as group:
        server, url = start_aggregator(
            group, state, logs=work, threads=threads, workers=workers, database=database, port=port
        )
        served = ServedAggregator(
            url=url,
            operator_token=(state / "operator.token").read_text().strip(),
            state=state,
            main_process=server.process.pid,
            workers=workers,
            database=database,
        )
        yield served
