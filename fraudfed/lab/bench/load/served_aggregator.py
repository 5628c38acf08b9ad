"""A real ``aggregator serve`` on loopback, and what its process uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fraudfed.errors import TransportError
from fraudfed.lab.local_federation.consortium import start_aggregator
from fraudfed.lab.local_federation.processes import ProgramGroup
from fraudfed.usage import children, cpu_seconds, memory_bytes


@dataclass(frozen=True)
class ServedAggregator:
    """An aggregator that runs.

    Attributes
    ----------
    url, operator_token : str
    state : Path
        Its state directory.
    main_process : int
    """

    url: str
    operator_token: str
    state: Path
    main_process: int

    @property
    def process(self) -> int:
        """The process that handles requests: the only child of the main one.

        It is there when the first request has been answered.
        """
        found = children(self.main_process)
        if len(found) != 1:
            raise TransportError(
                f"aggregator {self.main_process} has {len(found)} processes that serve, expected "
                "1; see its log"
            )
        return found[0]

    def resident_bytes(self) -> int:
        """Return the memory that it has now."""
        return memory_bytes(self.process, "VmRSS")

    def peak_bytes(self) -> int:
        """Return the most that it had, or had since ``forget_peak``."""
        return memory_bytes(self.process, "VmHWM")

    def forget_peak(self) -> None:
        """Count the peak from here: a start needs more than the service does."""
        Path(f"/proc/{self.process}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        return cpu_seconds(self.process)


@contextmanager
def served_aggregator(work: Path, *, threads: int) -> Iterator[ServedAggregator]:
    """Serve a new aggregator until the block ends.

    Parameters
    ----------
    work : Path
        Where its state directory and its logs are made.
    threads : int
        Every waiting bank holds one.

    Raises
    ------
    TransportError
        If it does not start.
    """
    state = work / "aggregator"
    with ProgramGroup(logs=work) as group:
        server, url = start_aggregator(group, state, logs=work, threads=threads)
        yield ServedAggregator(
            url=url,
            operator_token=(state / "operator.token").read_text().strip(),
            state=state,
            main_process=server.process.pid,
        )
