"""Run jobs on several processes: results in the order of the jobs, progress while they run.

A worker receives a job's arguments and returns a small result; rows go through files. With one
worker the jobs run in this process. Workers end with this process, even if it is killed.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_handles
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol, Self, TypeVar

from fraudfed.errors import ConfigurationError, StateError

MAX_WORKERS: Final = 1024
# Seconds between two reports of what other processes have done.
_REPORT_SECONDS: Final = 0.2

Result = TypeVar("Result", covariant=True)
# Called with the amount of work just done.
Advance = Callable[[int], None]
# Called with the amount of work done so far; the caller knows the total.
Report = Callable[[int], None]


class Job(Protocol[Result]):
    """A piece of work; it is pickled, so it holds no rows."""

    def __call__(self, advance: Advance) -> Result:
        """Do the work, and call ``advance`` often: after a failure, jobs end in this call."""
        ...


class Pool(Protocol):
    """Where jobs run: this process, processes of this machine (``Workers``) or a Dask cluster."""

    def __enter__(self) -> object: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    def prepare(self, directory: Path) -> None:
        """Refuse a directory that a worker does not see; called before the first job."""
        ...

    def run(self, jobs: Sequence[Job[Result]], report: Report) -> list[Result]:
        """Run all jobs and return their results, in the order of the jobs."""
        ...


class _Stopped(Exception):  # noqa: N818 - no error: another job failed, or the user interrupted
    """The run has ended, so the result of this job is not needed."""


@dataclass(frozen=True)
class _Shared:
    """What a worker shares with the process that started it."""

    done: "Synchronized[int]"
    stopped: "Synchronized[bool]"

    def advance(self, amount: int) -> None:
        if self.stopped.value:
            raise _Stopped
        with self.done.get_lock():
            self.done.value += amount


class Workers:
    """A number of processes that run jobs; a context manager.

    Parameters
    ----------
    count : int
        1 to ``MAX_WORKERS``; 1 runs every job in this process.
    """

    def __init__(self, count: int) -> None:
        if not 1 <= count <= MAX_WORKERS:
            raise ConfigurationError(
                f"workers: got {count}, expected a number from 1 to {MAX_WORKERS}"
            )
        self._pool: ProcessPoolExecutor | None = None
        self._before: Any = None
        if count == 1:
            return
        # "spawn" gives every platform the same clean children: no locks or threads are inherited.
        context = multiprocessing.get_context("spawn")
        self._shared = _Shared(done=context.Value("q", 0), stopped=context.Value("b", False))
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_begin, initargs=(self._shared,)
        )

    def __enter__(self) -> Self:
        if self._pool is not None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, _interrupt_once)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is None:
            return
        try:
            self._shared.stopped.value = kind is not None
            self._pool.shutdown(cancel_futures=True)
        finally:
            if self._before is not None:
                signal.signal(signal.SIGINT, self._before)

    def prepare(self, directory: Path) -> None:
        """Do nothing: the processes of one machine see the same directories."""

    def run(self, jobs: Sequence[Job[Result]], report: Report) -> list[Result]:
        """Run all jobs and return their results, in the order of the jobs.

        Raises
        ------
        StateError
            A worker was killed.
        """
        if self._pool is None:
            return _run_here(jobs, report)
        self._shared.done.value = 0
        futures = [self._pool.submit(_run_in_worker, job) for job in jobs]
        pending = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, timeout=_REPORT_SECONDS)
                for future in finished:
                    future.result()
                report(self._shared.done.value)
        except BrokenProcessPool as error:
            raise StateError(
                "a worker process was killed, often for lack of memory; "
                "nothing was written, use fewer --workers or --customers"
            ) from error
        return [future.result() for future in futures]


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """Interrupt, and ignore further interrupts while the workers end.

    Further ones are usual: a terminal and ``timeout`` signal the whole process group.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run_here(jobs: Sequence[Job[Result]], report: Report) -> list[Result]:
    done = 0

    def advance(amount: int) -> None:
        nonlocal done
        done += amount
        report(done)

    return [job(advance) for job in jobs]


# Set once in each worker: a pool gives its jobs no other access to shared state.
_shared: _Shared | None = None


def _begin(shared: _Shared) -> None:
    global _shared
    _shared = shared
    # The terminal sends an interrupt to every process; the first one stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process as soon as its parent process has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_handles([parent.sentinel])
        os._exit(1)


def _run_in_worker(job: Job[Any]) -> Any:
    if _shared is None:
        raise RuntimeError("a job came to a process that was not started as a worker")
    return job(_shared.advance)
