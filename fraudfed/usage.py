"""What a running program has used so far, as Linux counts it: CPU time and peak memory."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
    ticks = peak = 0
    for process in _family(pid):
        # The name may hold blanks and brackets itself: what follows the last one is regular.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[_CPU_FIELDS])
        peak = max(peak, _peak_bytes(process))
    return Usage(ticks / _TICKS_PER_SECOND, peak)


def _family(pid: int) -> list[Path]:
    process = Path("/proc") / str(pid)
    found = [process]
    for children in process.glob("task/*/children"):
        for child in children.read_text().split():
            found += _family(int(child))
    return found


def _peak_bytes(process: Path) -> int:
    for line in (process / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    return 0
