"""Where the time and bytes of a run went."""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any


class PhaseTimes:
    """Wall and CPU seconds by phase, and what went over the wire.

    Time is attributed afterwards: ``mark(phase)`` books everything since the last mark. The work
    between two secure sums is booked under the kind of the coming one (``histogram``, ``cuts``,
    ``metric``, ...), because it is what prepares it; inside a sum the phases are ``encrypt``
    (pack and encrypt), ``sum`` (send, and wait for the product), ``open`` (decrypt and combine) and
    ``wait`` (send, and wait for the other banks' openings).

    Attributes
    ----------
    wall_seconds, cpu_seconds, main_cpu_seconds : dict of phase to seconds
        CPU seconds are those of the whole process, all threads; main CPU seconds are those of the
        thread that computes alone. The rest is work that more cores would share.
    rounds, values, ciphertexts, bytes_sent, bytes_received : int
        Bytes of round bodies, headers of HTTP not counted.
    """

    def __init__(self) -> None:
        self.wall_seconds: defaultdict[str, float] = defaultdict(float)
        self.cpu_seconds: defaultdict[str, float] = defaultdict(float)
        self.main_cpu_seconds: defaultdict[str, float] = defaultdict(float)
        self.rounds = 0
        self.values = 0
        self.ciphertexts = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        self._main_cpu = time.thread_time()

    def mark(self, phase: str) -> None:
        """Book the time since the last mark under ``phase``."""
        wall, cpu, main = time.perf_counter(), time.process_time(), time.thread_time()
        self.wall_seconds[phase] += wall - self._wall
        self.cpu_seconds[phase] += cpu - self._cpu
        self.main_cpu_seconds[phase] += main - self._main_cpu
        self._wall, self._cpu, self._main_cpu = wall, cpu, main

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, seconds to the millisecond."""
        return {
            "run_seconds": round(sum(self.wall_seconds.values()), 3),
            "wall_seconds": _rounded(self.wall_seconds),
            "cpu_seconds": _rounded(self.cpu_seconds),
            "main_cpu_seconds": _rounded(self.main_cpu_seconds),
            "rounds": self.rounds,
            "values": self.values,
            "ciphertexts": self.ciphertexts,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
        }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}
