"""A command that is run to its end, with the memory of all its processes and their CPU time."""

import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fraudfed.machine.usage import descendants, memory_bytes

#: Seconds between two looks at the memory.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class CommandCost:
    """What a command took, start-up included.

    Attributes
    ----------
    exit_code : int
    error_text : str
        What it wrote to stderr.
    seconds, cpu_seconds : float
        CPU time is that of all its processes.
    peak_memory_bytes : int
        The most that all processes had together, by looking ten times a second; what they share
        is counted once (proportional set size).
    """

    exit_code: int
    error_text: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


def run_command_measured(command: Sequence[str]) -> CommandCost:
    """Run a command; needs Linux for the memory."""
    before, begin = _children_cpu_seconds(), time.perf_counter()
    peak = 0
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while True:
            try:
                _, error_text = process.communicate(timeout=_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                family = (process.pid, *descendants(process.pid))
                peak = max(peak, sum(map(_memory_bytes, family)))
            else:
                break
    return CommandCost(
        exit_code=process.returncode,
        error_text=error_text,
        seconds=time.perf_counter() - begin,
        cpu_seconds=_children_cpu_seconds() - before,
        peak_memory_bytes=peak,
    )


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory_bytes(pid: int) -> int:
    """Return the memory of a process, 0 of one that has ended meanwhile."""
    try:
        return memory_bytes(pid, "Pss")
    except OSError:
        return 0
