"""Start ``bank-node`` as a process of its own, and see how it ended.

It is forked from a process that has imported the program already, which saves seconds of each start
(``fork_server``); its memory, files, signals and end are its own, and it ends as a program does.
What an own start adds is tested where the installed programs are started: the demo, ``tests/e2e``,
and children that break something.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

#: As the demo does: many processes share the machine's cores.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """Return the one error line."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


class BankProcess:
    """A running ``bank-node``, with what the tests use of ``subprocess.Popen``."""

    def __init__(self, *arguments: str) -> None:
        self.returncode: int | None = None
        # Files hold any amount: a pipe that nobody reads stops who writes.
        self._written = [os.memfd_create(name) for name in ("output", "errors")]
        self._told, told = os.pipe()
        command = {"arguments": arguments, "directory": str(Path.cwd())}
        socket.send_fds(_server(), [json.dumps(command).encode()], [*self._written, told])
        os.close(told)
        self.pid = self._number()

    def _number(self) -> int:
        """Return the next number that is told."""
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(self._told, 1)
            assert read, "the process that forks has ended"
            line += read
        return int(line)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = self._number()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            select.select([self._told], [], [], timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(f"bank-node, process {self.pid}", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return all that was written to its output and its errors."""
        self.wait(timeout)
        out, err = (os.pread(file, os.fstat(file).st_size, 0) for file in self._written)
        return out.decode(), err.decode()

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        for file in (*self._written, self._told):
            os.close(file)


@cache
def _server() -> socket.socket:
    """Start the process that forks, once for each that runs tests, with which it ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(timeout=10)

    atexit.register(end)
    return ours


#: A running program of a bank, in whichever way it was started.
Process: TypeAlias = BankProcess | subprocess.Popen[str]


def start_bank(*arguments: str | Path) -> BankProcess:
    return BankProcess(*map(str, arguments))


def finish(process: Process, seconds: float = 120) -> Finished:
    out, err = process.communicate(timeout=seconds)
    return Finished(process.returncode, out, err)
