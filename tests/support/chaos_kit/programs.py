"""Programs that are started again when they end badly, as a service manager does it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

_POLL_SECONDS = 0.02
#: A program that ends so often is broken, and not just unlucky.
_MOST_STARTS = 200


class Supervised:
    """One program: started, killed, and started again after a pause.

    Parameters
    ----------
    name : str
    arguments : sequence of str
        The command, installed beside this interpreter, and what it is given.
    log : Path
        Its standard error over all starts; standard output goes beside it.
    environment : mapping of str to str
        What it gets beside ours.
    final : mapping of int to str
        Exit codes after which starting again is no use, and why.
    ends : bool
        Whether exit code 0 means that it has done its work; a service is started again.
    before_start : callable or None
        Called before it is started again, with the number of its starts so far.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        final: Mapping[int, str],
        ends: bool,
        before_start: Callable[[int], None] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.final = final
        self.ends = ends
        self.starts = 0
        self.exit_codes: list[int] = []
        self.given_up: str | None = None
        self.done = False
        self._command = [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._environment = {**os.environ, **threads, **environment, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at: float | None = None
        self._before_start = before_start
        self._held = False

    def start(self) -> None:
        """Start it; the supervisor does so again when it must."""
        self.starts += 1
        self._start_at = None
        with self.log.open("ab") as errors, self.log.with_suffix(".out").open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """``kill -9`` of the main process."""
        if self._process is not None:
            self._process.kill()

    def kill_all(self) -> None:
        """``kill -9`` of all its processes at the same moment."""
        self._signal_all(signal.SIGKILL)

    def kill_worker(self, random: Random) -> bool:
        """``kill -9`` of one child; False if there is none."""
        if self._process is None:
            return False
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with suppress(OSError, ProcessLookupError):
            found = children.read_text().split()
            if found:
                os.kill(int(random.choice(found)), signal.SIGKILL)
                return True
        return False

    def hold(self) -> None:
        """``kill -9`` of all its processes, and no new start before ``release``."""
        self._held = True
        self.kill_all()

    def release(self) -> None:
        """Let it be started again."""
        self._held = False

    def freeze(self) -> None:
        """``SIGSTOP`` of all its processes."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """``SIGCONT`` of all its processes."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def write_stacks(self) -> None:
        """Let all its processes write to its log what each of their threads does."""
        self._signal_all(signal.SIGRTMIN)

    def terminate(self) -> None:
        """``SIGTERM`` of the main process."""
        if self._process is not None:
            self._process.terminate()

    def output(self) -> str:
        """Return what it has printed, over all starts."""
        return self.log.with_suffix(".out").read_text(errors="replace")

    def last_lines(self, count: int = 3) -> str:
        """Return the end of its log."""
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-count:])[-1500:]

    def stop(self) -> None:
        """End it for good."""
        self.kill_all()
        if self._process is not None:
            self._process.wait()

    def look_after(self, random: Random, *, longest_pause_seconds: float) -> None:
        """Notice that it has ended, and start it again when its pause is over."""
        if self.done or self.given_up is not None or self._process is None:
            return
        if self._start_at is not None:
            if time.monotonic() >= self._start_at and not self._held:
                if self._before_start is not None:
                    self._before_start(self.starts)
                self.start()
            return
        code = self._process.poll()
        if code is None:
            if self._held:
                # It was just being started when it was held.
                self.kill_all()
            return
        self.exit_codes.append(code)
        if code in self.final:
            self.given_up = (
                f"{self.name} ended with {code} ({self.final[code]}): {self.last_lines()}"
            )
        elif self.starts >= _MOST_STARTS:
            self.given_up = f"{self.name} was started {self.starts} times: {self.last_lines()}"
        elif code == 0 and self.ends:
            self.done = True
        else:
            self._start_at = time.monotonic() + random.uniform(0.0, longest_pause_seconds)


def never_restarted(unit: Path) -> dict[int, str]:
    """Return the exit codes after which a systemd unit is not started again."""
    prefix = "RestartPreventExitStatus="
    lines = [line for line in unit.read_text().splitlines() if line.startswith(prefix)]
    return {
        int(code): "which a new start does not cure"
        for line in lines
        for code in line.removeprefix(prefix).split()
    }


class Supervisor:
    """Looks after programs in a thread of its own, until its block ends; then none is left."""

    def __init__(self, random: Random, *, longest_pause_seconds: float = 1.0) -> None:
        self._random = random
        self._longest_pause_seconds = longest_pause_seconds
        self._programs: list[Supervised] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for program in reversed(self._programs):
            program.stop()

    def add(self, program: Supervised) -> Supervised:
        """Start a program and look after it from now on."""
        program.start()
        with self._lock:
            self._programs.append(program)
        return program

    def given_up(self) -> str | None:
        """Return why a program is not started again, if one is not."""
        with self._lock:
            return next((p.given_up for p in self._programs if p.given_up is not None), None)

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            with self._lock:
                for program in self._programs:
                    self._look_after(program)

    def _look_after(self, program: Supervised) -> None:
        try:
            program.look_after(self._random, longest_pause_seconds=self._longest_pause_seconds)
        except Exception as error:
            # This thread must not end: nothing would be started again, and the run would hang.
            program.given_up = f"{program.name} cannot be looked after: {error!r}"
