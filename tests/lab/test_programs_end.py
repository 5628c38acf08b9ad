"""Programs that a command has started end with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 60.0
#: Starts an aggregator, says so, and waits for what may come.
PARENT = """
import sys, time
from pathlib import Path
from fraudfed.lab.local_federation.processes import ProgramGroup

work, nested = Path(sys.argv[1]), ProgramGroup(logs=Path(sys.argv[1]) / "inner")
with ProgramGroup(logs=work / "logs") as group, nested:
    program = group.start("served", ["aggregator", "serve", "--state", sys.argv[2], "--port", "0"])
    group.wait_for_line(program, "aggregator listening on ", seconds=60)
    print(program.process.pid, flush=True)
    # In short waits: a signal that comes just before a long one is answered only after it.
    for _ in range(6000):
        time.sleep(0.1)
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [int(child) for child in children]
    return found + [one for child in found for one in descendants(child)]


def service_and_worker(pid: int) -> list[int]:
    """Wait until a service, which says first that it listens, has its worker."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (others := descendants(pid)):
        assert time.monotonic() < deadline, "the service has no worker"
        time.sleep(0.05)
    return [pid, *others]


def all_ended(pids: list[int]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_service_does_not_outlive_the_command_that_started_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    state = tmp_path / "aggregator"
    made = Path(sys.executable).with_name("aggregator")
    subprocess.run([made, "init", "--state", state], check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path, state],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            service = int(parent.stdout.readline())
            pids = service_and_worker(service)
            assert all(map(is_alive, pids))
            os.kill(parent.pid, number)
            code = parent.wait(WAIT_SECONDS)
        except BaseException:
            # Leaving the block waits for it, without an end.
            parent.kill()
            raise
    if number is signal.SIGTERM:
        assert code == 143
        # In order: the parent has waited for it.
        assert not any(map(is_alive, pids))
    assert all_ended(pids), f"{pids} outlive their parent"
