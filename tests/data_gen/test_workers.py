"""Jobs on processes: results in order, progress, and no worker that outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_gen.writing.workers import Advance, Workers
from fraudfed.errors import ConfigurationError, StateError


@dataclass(frozen=True)
class Square:
    number: int

    def __call__(self, advance: Advance) -> int:
        advance(self.number)
        return self.number**2


@dataclass(frozen=True)
class Fail:
    message: str

    def __call__(self, advance: Advance) -> int:
        raise ValueError(self.message)


@dataclass(frozen=True)
class Forever:
    def __call__(self, advance: Advance) -> int:
        while True:
            time.sleep(0.01)
            advance(0)


@dataclass(frozen=True)
class EndProcess:
    def __call__(self, advance: Advance) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_jobs_and_work_is_counted(count: int) -> None:
    reports: list[int] = []
    with Workers(count) as pool:
        assert pool.run([Square(n) for n in range(6)], reports.append) == [0, 1, 4, 9, 16, 25]
        assert reports[-1] == 15
        assert reports == sorted(reports)
        # A second run counts from 0 again.
        assert pool.run([Square(3)], reports.append) == [9]
        assert reports[-1] == 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_fails_ends_the_others(count: int) -> None:
    # With one process the endless job would never be reached.
    with pytest.raises(ValueError, match="no luck"), Workers(count) as pool:
        pool.run([Fail("no luck"), Forever()], lambda _done: None)


def test_a_caller_that_fails_ends_the_jobs() -> None:
    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(2) as pool:
        pool.run([Forever(), Forever()], stop)


def test_a_worker_that_is_killed_is_said_in_one_line() -> None:
    with pytest.raises(StateError, match="was killed"), Workers(2) as pool:
        pool.run([EndProcess(), Square(1)], lambda _done: None)


@pytest.mark.parametrize("count", [0, -1, 1025])
def test_a_number_of_workers_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ConfigurationError, match=f"workers: got {count}"):
        Workers(count)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """Kill the parent, which has no time to tell its workers."""
    source = Path(__file__).parent
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(source)!r})\n"
        "from dataclasses import dataclass\n"
        "from data_gen.writing.workers import Workers\n"
        "@dataclass(frozen=True)\n"
        "class Tell:\n"
        "    directory: str\n"
        "    def __call__(self, advance):\n"
        "        open(os.path.join(self.directory, f'{os.getpid()}.pid'), 'w').close()\n"
        "        while True:\n"
        "            time.sleep(0.05)\n"
        "if __name__ == '__main__':\n"
        "    with Workers(2) as pool:\n"
        "        pool.run([Tell(sys.argv[1])] * 2, lambda done: None)\n"
    )
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)]) as parent:
        pids = _wait_for_pids(tmp_path, 2)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def _wait_for_pids(directory: Path, count: int) -> list[int]:
    deadline = time.monotonic() + 60
    while True:
        pids = [int(path.stem) for path in directory.glob("*.pid")]
        if len(pids) == count:
            return pids
        assert time.monotonic() < deadline, f"{len(pids)} of {count} workers began"
        time.sleep(0.05)
