"""What a process has used is its own: neither its parent's memory nor less than it took."""

import os
import signal
import subprocess
import sys

import pytest

from fraudfed.machine.usage import Usage, usage_of

MIB = 2**20
PROGRAM = """
import os, sys, time
held = bytes(range(256)) * ({mib} * 4096)
del held
until = time.process_time() + {seconds}
while time.process_time() < until:
    pass
child = os.fork()
if child == 0:
    held = bytes(range(256)) * ({child_mib} * 4096)
    print(os.getpid(), flush=True)
    time.sleep(600)
os.waitpid(child, 0)
"""


def test_cpu_and_peak_of_a_process_and_its_children() -> None:
    # What the parent holds is no part of it, though a forked child begins with it.
    held = bytes(range(256)) * (500 * 4096)
    program = PROGRAM.format(mib=100, seconds=0.5, child_mib=200)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        used = usage_of(process.pid)
        os.kill(child, signal.SIGKILL)
    assert len(held) == 500 * MIB
    assert 200 * MIB < used.peak_bytes < 400 * MIB
    assert 0.4 < used.cpu_seconds < 30


def test_a_peak_stays_when_memory_is_given_back() -> None:
    program = "held = bytes(range(256)) * (300 * 4096); del held; print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = usage_of(process.pid)
        process.kill()
    assert used.peak_bytes > 300 * MIB


def test_since_subtracts_time_and_keeps_the_peak() -> None:
    assert Usage(5.0, 900).since(Usage(2.0, 700)) == Usage(3.0, 900)


def test_a_process_that_is_gone_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(OSError):
        usage_of(process.pid)
