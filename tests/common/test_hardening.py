"""The memory of the programs: no core dump, and no other process of the same user reads it."""

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from federations.server_process import ServerProcess, run_command

from fraudfed.machine.hardening import keep_memory_private

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's own")

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_SOMEBODY = 65534


def _exit_with(function: Callable[[], int]) -> int:
    """Run a function in a child process and return what it returns."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _reads_the_memory_of_a_child(prepare: Callable[[], None]) -> int:
    """Be an ordinary user; return 0 if a child's memory can be opened, 1 if that is refused."""
    libc = ctypes.CDLL(None)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(_SOMEBODY)
        os.setuid(_SOMEBODY)
    ready, tell = os.pipe()
    victim = os.fork()
    if victim == 0:
        # Becoming another user has changed it: as after the start of a program.
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        prepare()
        os.write(tell, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    try:
        with Path(f"/proc/{victim}/mem").open("rb"):
            return 0
    except PermissionError:
        return 1
    finally:
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)


def test_no_process_of_the_same_user_reads_the_memory() -> None:
    assert _exit_with(lambda: _reads_the_memory_of_a_child(keep_memory_private)) == 1


def test_control_without_it_a_process_of_the_same_user_reads_the_memory() -> None:
    assert _exit_with(lambda: _reads_the_memory_of_a_child(lambda: None)) == 0


def _core_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text()
    return re.search(r"^Max core file size +(\S+ +\S+)", limits, re.M)[1]  # type: ignore[index]


_SAYS_AT_ITS_END = """\
import atexit, ctypes, pathlib, resource, sys
def say():
    found = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE)
    with open({path!r}, "a") as file:
        print(*found, file=file)
atexit.register(say)
"""


@pytest.mark.e2e
def test_the_programs_begin_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At their ends their processes say what the system has on record of them."""
    said = tmp_path / "said"
    (tmp_path / "sitecustomize.py").write_text(_SAYS_AT_ITS_END.format(path=str(said)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for program in ("aggregator", "bank-node"):
        said.unlink(missing_ok=True)
        path = str(Path(sys.executable).with_name(program))
        os.spawnv(os.P_WAIT, path, [path, "--json-schemas", "--help"])
        assert said.read_text().split() == ["0", "0", "0"], program


@pytest.mark.e2e
def test_the_service_and_its_workers_dump_no_core(tmp_path: Path) -> None:
    assert run_command("init", "--state", str(tmp_path / "state")).returncode == 0
    with ServerProcess(tmp_path / "state") as server:
        main = server.process.pid
        (children,) = Path(f"/proc/{main}/task").glob("*/children")
        workers = [int(pid) for pid in children.read_text().split()]
        assert workers
        for pid in (main, *workers):
            assert _core_limit(pid).split() == ["0", "0"]
        server.stop()
