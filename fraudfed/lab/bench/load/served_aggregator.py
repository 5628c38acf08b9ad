"""A real ``aggregator serve`` on loopback, and what its process uses."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fraudfed.errors import TransportError

_LISTENING = "aggregator listening on "


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
        main = self.main_process
        (worker,) = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return int(worker)

    def resident_bytes(self) -> int:
        """Return the memory that it has now."""
        return self._status_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """Return the most that it had, or had since ``forget_peak``."""
        return self._status_bytes("VmHWM")

    def forget_peak(self) -> None:
        """Count the peak from now on: a start needs more than the service does."""
        Path(f"/proc/{self.process}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status_bytes(self, field: str) -> int:
        for line in Path(f"/proc/{self.process}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
        raise TransportError(
            f"aggregator process {self.process} has ended, expected it to serve; see its log"
        )


@contextmanager
def served_aggregator(work: Path, *, threads: int) -> Iterator[ServedAggregator]:
    """Serve a new aggregator until the block ends.

    Parameters
    ----------
    work : Path
        Where its state directory and its log are made.
    threads : int
        Every waiting bank holds one.

    Raises
    ------
    TransportError
        If it does not start.
    """
    state, log_file = work / "aggregator", work / "serve.log"
    subprocess.run(_command(["init", "--state", str(state)]), check=True, stdout=subprocess.DEVNULL)
    serve = ["serve", "--state", str(state), "--port", "0", "--threads", str(threads)]
    with (
        log_file.open("wb") as log,
        subprocess.Popen(_command(serve), stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        try:
            line = "" if server.stdout is None else server.stdout.readline()
            if not line.startswith(_LISTENING):
                shown = log_file.read_text(errors="replace")[-500:]
                raise TransportError(f"aggregator did not start: {shown}")
            yield ServedAggregator(
                url=line.removeprefix(_LISTENING).strip(),
                operator_token=(state / "operator.token").read_text().strip(),
                state=state,
                main_process=server.pid,
            )
        finally:
            server.terminate()


def _command(arguments: Sequence[str]) -> list[str]:
    return [str(Path(sys.executable).with_name("aggregator")), *arguments]
