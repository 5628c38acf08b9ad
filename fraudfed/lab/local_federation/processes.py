"""Start, watch and stop the programs of a federation. None of them outlives it.

A ``with`` block that ends stops them, also by SIGTERM; if this process is killed the kernel does
(``dies_with_parent``).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Self

from fraudfed.console import EXIT_TERMINATED
from fraudfed.errors import FraudFedError, StateError, TransportError, error_classes

_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
#: Run as a file and without site packages: it takes a fraction of the time of an import.
_LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("dies_with_parent.py")))


def _terminate(_number: int, _frame: FrameType | None) -> None:
    # Once: a second one does not cut off the stopping.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(EXIT_TERMINATED)


def _command(program: str) -> str:
    """Return the path of an installed command, the one beside this interpreter."""
    path = Path(sys.executable).with_name(program)
    if not path.exists():
        raise StateError(
            f"command {program!r} is not installed beside {sys.executable}; run `make install`"
        )
    return str(path)


def _environment() -> dict[str, str]:
    # Every party is a process of its own: one numeric thread each, or they fight for the cores.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONUNBUFFERED": "1"}


class Program:
    """One running command whose output goes to a log file.

    The thread that makes it lives as long as the program, or the program is told to stop.
    """

    def __init__(self, name: str, arguments: Sequence[str], *, log: Path) -> None:
        self.name = name
        self.log = log
        self._stdout: IO[bytes] = log.with_suffix(".out").open("wb")
        self._stderr: IO[bytes] = log.open("wb")
        # A session of its own: Ctrl-C reaches the caller alone, which then stops the rest in order.
        self.process = subprocess.Popen(
            [*_LAUNCHER, str(os.getpid()), _command(arguments[0]), *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            env=_environment(),
            start_new_session=True,
        )

    def output(self) -> str:
        """Return what the program has printed on stdout so far."""
        return self.log.with_suffix(".out").read_text(errors="replace")

    def last_error(self) -> str:
        """Return the program's last ``error: ...`` line, or its last line, or how it ended."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        if errors:
            return errors[-1].removeprefix("error: ")
        return lines[-1] if lines else f"it printed nothing and ended with {self.process.poll()}"

    def stop(self) -> None:
        """End the program: politely, then by force."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._stdout.close()
        self._stderr.close()


class ProgramGroup:
    """The programs of one federation; leaving the ``with`` block stops all, last started first."""

    def __init__(self, *, logs: Path) -> None:
        self._logs = logs
        self._programs: list[Program] = []
        self._catches = False

    def __enter__(self) -> Self:
        """Make the directory of logs; from now on SIGTERM ends the block in order."""
        self._logs.mkdir(parents=True, exist_ok=True)
        # A program's own answer to the signal stands; only the main thread may give one.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            signal.signal(signal.SIGTERM, _terminate)
            self._catches = True
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every program that still runs."""
        try:
            for program in reversed(self._programs):
                program.stop()
        finally:
            if self._catches:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def start(self, name: str, arguments: Sequence[str]) -> Program:
        """Start a command under a name that is unique in the group."""
        program = Program(name, arguments, log=self._logs / f"{name}.log")
        self._programs.append(program)
        return program

    def wait_for_line(self, program: Program, prefix: str, *, seconds: float) -> str:
        """Return the rest of the first stdout line that starts with ``prefix``.

        Raises
        ------
        TransportError
            If the program ends or stays silent for ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in program.output().splitlines(keepends=True):
                if line.startswith(prefix) and line.endswith("\n"):
                    return line.removeprefix(prefix).strip()
            if program.process.poll() is not None:
                raise _error_of(program)
            time.sleep(_POLL_SECONDS)
        raise TransportError(
            f"{program.name} did not print {prefix!r} within {seconds:.0f} s; see {program.log}"
        )

    def first_failure(self, programs: Sequence[Program]) -> FraudFedError | None:
        """Return the error of the first of ``programs`` that has failed, if any has."""
        for program in programs:
            if program.process.poll() not in (None, 0):
                return _error_of(program)
        return None


def run_program(arguments: Sequence[str], *, log: Path) -> str:
    """Run a command to its end and return its stdout; its failure is raised as ours."""
    program = Program(arguments[0], arguments, log=log)
    try:
        program.process.wait()
    finally:
        program.stop()
    if program.process.returncode != 0:
        raise _error_of(program)
    return program.output()


def _exit_codes() -> Mapping[int, type[FraudFedError]]:
    # The most general class of an exit code stands for it.
    found: dict[int, type[FraudFedError]] = {}
    for cls in error_classes().values():
        known = found.get(cls.exit_code)
        if known is None or issubclass(known, cls):
            found[cls.exit_code] = cls
    return found


def _error_of(program: Program) -> FraudFedError:
    code = program.process.returncode
    cls = _exit_codes().get(code, FraudFedError)
    return cls(f"{program.name}: {program.last_error()} (exit code {code}, log {program.log})")
