"""The pool of threads: shared, called off, outlived by a fork, and ended with its owner."""

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from examples.histograms import N_ROWS, sums, table
from kernels import needs_engine, numpy_only

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.sums import HistogramBuilder
from fraudfed.machine.threads import usable_cores


def _threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_without_a_number_there_is_a_thread_for_each_usable_core() -> None:
    with numpy_only():
        assert load_engine().threads == 1
    if load_engine().name == "compiled":
        assert load_engine().threads == usable_cores()


@needs_engine
def test_threads_start_with_work_for_them_and_end_with_their_owner() -> None:
    gc.collect()
    before = _threads_of_this_process()
    binned, pairs = table(3)
    assert _threads_of_this_process() == before
    builder = HistogramBuilder(binned, pairs)
    sums(builder, N_ROWS)
    # 240,000 additions are worth three threads, of which one is this one.
    assert _threads_of_this_process() == before + 2
    del binned, builder
    gc.collect()
    # They are joined; the kernel takes a moment longer to forget them.
    for _ in range(1000):
        if _threads_of_this_process() == before:
            break
        time.sleep(0.01)
    assert _threads_of_this_process() == before


def test_many_jobs_of_all_sizes_follow_each_other() -> None:
    alone = HistogramBuilder(*table(1))
    shared = HistogramBuilder(*table(4))
    sizes = [0, 1, 5000, N_ROWS, 12_345]
    expected = {size: sums(alone, size) for size in sizes}
    for step in range(200):
        size = sizes[step % len(sizes)]
        assert sums(shared, size) == expected[size]


def test_two_callers_at_once_get_their_own_sums() -> None:
    """One of them has the pool, the other works alone."""
    binned, pairs = table(3)
    builders = [HistogramBuilder(binned, pairs), HistogramBuilder(binned, -pairs)]
    expected = [sums(HistogramBuilder(*table(1)), N_ROWS)]
    expected.append((-np.frombuffer(expected[0], dtype=np.int64)).tobytes())
    found: list[set[bytes]] = [set(), set()]

    def call(number: int) -> None:
        found[number] |= {sums(builders[number], N_ROWS) for _ in range(100)}

    callers = [threading.Thread(target=call, args=(number,)) for number in (0, 1)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [{sums} for sums in expected]


FORK = """
import os, sys
sys.path[:0] = sys.argv[1:]
from examples.histograms import N_ROWS, HistogramBuilder, sums, table
builder = HistogramBuilder(*table(3))
expected = sums(builder, N_ROWS)
child = os.fork()
if child == 0:
    same = sums(builder, N_ROWS) == expected
    del builder
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert sums(builder, N_ROWS) == expected
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_works_without_the_threads_it_did_not_inherit() -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent / "support")]
    command = [sys.executable, "-W", "ignore", "-c", FORK, *paths]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("threads", [2, 1000])
def test_more_threads_than_work_do_no_harm(threads: int) -> None:
    assert sums(HistogramBuilder(*table(threads)), 300) == sums(HistogramBuilder(*table(1)), 300)
