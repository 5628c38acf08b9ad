"""A command that is run to its end, with the memory of all its processes and their CPU time."""

import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
                peak = max(peak, sum(map(_memory_bytes, _descendants(process.pid))))
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


def _descendants(pid: int) -> Iterator[int]:
    """Yield a process and all below it; those that end meanwhile are left out."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(children).split():
            yield from _descendants(int(child))


def _memory_bytes(pid: int) -> int:
    """Return the proportional set size of a process, 0 of one that has ended."""
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
