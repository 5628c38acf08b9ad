"""What running programs have used, as Linux counts it: CPU time and memory, by ``/proc``."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
#: Fields of /proc/PID/stat after the name in brackets: utime, stime (proc_pid_stat(5), 14 and 15).
_CPU_FIELDS = slice(11, 13)


@dataclass(frozen=True)
class Usage:
    """Of a process and its descendants.

    Attributes
    ----------
    cpu_seconds : float
        User and system time of all of them.
    peak_bytes : int
        Largest resident memory that one of them ever had (VmHWM). Unlike ``ru_maxrss``, it does
        not begin with what the parent held when it forked.
    """

    cpu_seconds: float
    peak_bytes: int

    def since(self, before: Self) -> "Usage":
        """Return what was used after ``before``; the peak stays that of the whole life."""
        return Usage(self.cpu_seconds - before.cpu_seconds, self.peak_bytes)


def usage_of(pid: int) -> Usage:
    """Read the usage of a process that runs, and of its descendants.

    Raises
    ------
    OSError
        If there is no such process, or this system has no ``/proc``.
    """
    family = [pid, *descendants(pid)]
    return Usage(
        cpu_seconds=sum(map(cpu_seconds, family)),
        peak_bytes=max(memory_bytes(process, "VmHWM") for process in family),
    )


def children(pid: int) -> list[int]:
    """Return the children of a process; none if it has ended."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except OSError:
            # A thread, or all of the process, has ended meanwhile.
            continue
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield the children of a process, and theirs."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, its children apart; OSError if it has ended."""
    # The name may hold blanks and brackets itself: what follows the last one is regular.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[_CPU_FIELDS])) / _TICKS_PER_SECOND


def memory_bytes(pid: int, kind: Literal["VmRSS", "VmHWM", "Pss"]) -> int:
    """Return the memory of a process; 0 once it has ended and its parent has not noticed yet.

    Parameters
    ----------
    pid : int
    kind : {"VmRSS", "VmHWM", "Pss"}
        Resident now; the most that was resident; resident now, with what several processes share
        counted once (proportional set size).

    Raises
    ------
    OSError
        If there is no such process.
    """
    file = "smaps_rollup" if kind == "Pss" else "status"
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == kind:
            return int(value.split()[0]) * 1024
    return 0
