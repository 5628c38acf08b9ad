"""When the current round of each run was opened and completed, for all worker processes.

The bank that opens a round and the one that completes it may be served by different processes, so
the times lie in small files. They are measurements and no state: where one is not found, nothing is
measured.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


class RoundTimes:
    """Times of rounds.

    Parameters
    ----------
    directory : Path or None
        Shared by all processes; None keeps them in this one.
    clock : callable
        Seconds, the same in all processes of a machine.
    """

    def __init__(
        self, directory: Path | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._times: dict[str, tuple[int, float]] = {}

    def mark(self, run_id: str, what: str, number: int) -> None:
        """Remember that round ``number`` has come to ``what`` just now."""
        name, now = f"{run_id}.{what}", self._clock()
        if self._directory is None:
            self._times[name] = (number, now)
            return
        with contextlib.suppress(OSError):
            (self._directory / name).write_text(f"{number} {now!r}")

    def since(self, run_id: str, what: str, number: int) -> float | None:
        """Return the seconds since ``mark``; None if it was not this round that was marked."""
        name = f"{run_id}.{what}"
        directory = self._directory
        found = self._times.get(name) if directory is None else _read(directory / name)
        if found is None or found[0] != number:
            return None
        return max(0.0, self._clock() - found[1])

    def forget(self, run_id: str) -> None:
        """Forget a run that has ended."""
        for name in [key for key in self._times if key.startswith(f"{run_id}.")]:
            del self._times[name]
        if self._directory is not None:
            for path in self._directory.glob(f"{run_id}.*"):
                path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[int, float] | None:
    try:
        number, seconds = path.read_text().split()
        return int(number), float(seconds)
    except (OSError, ValueError):
        return None
