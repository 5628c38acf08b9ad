"""A cohort of banks in one process: threads that meet at a barrier for every exact sum."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from fraudfed.communicator import check_bound
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError, SumError

Result = TypeVar("Result")

#: No sum of a test takes this long; a bank that waits longer is in a deadlock.
BARRIER_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class SumCall:
    """What one call of ``sum`` asked for: equal at every bank of a correct program."""

    label: str
    shape: tuple[int, ...]
    low: bytes
    bound: bytes


@dataclass
class _Meeting:
    """What the banks of a cohort share."""

    n_banks: int
    barrier: threading.Barrier = field(init=False)
    values: list[Int64Array | None] = field(init=False)
    calls: list[SumCall | None] = field(init=False)
    log: list[SumCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.n_banks)
        self.values = [None] * self.n_banks
        self.calls = [None] * self.n_banks


class CohortCommunicator:
    """One bank's end of an in-process cohort; checks more than a secure sum may.

    Raises ``SumError`` when the banks disagree on label, shape or bound, or when another bank of
    the cohort has failed; ``BoundError`` when the sum over any of the banks leaves its bounds. A
    secure sum looks at the sum of all alone; that the bounds which a program derives hold for every
    part as well is what tests of that program rely on.
    """

    def __init__(self, meeting: _Meeting, bank: int) -> None:
        self._meeting = meeting
        self._bank = bank

    @property
    def log(self) -> list[SumCall]:
        """Every sum so far, in order."""
        return self._meeting.log

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        check_bound(values, bound, low=low, label=label)
        most = np.broadcast_to(np.asarray(bound, dtype=np.int64), values.shape)
        least = -most if low is None else np.broadcast_to(np.asarray(low, np.int64), values.shape)
        call = SumCall(label, values.shape, least.tobytes(), most.tobytes())
        meeting = self._meeting
        meeting.values[self._bank] = values.copy()
        meeting.calls[self._bank] = call
        self._wait()
        if any(other != call for other in meeting.calls):
            labels = [None if other is None else other.label for other in meeting.calls]
            raise SumError(f"banks disagree on what is summed: {labels}")
        parts = np.stack([part for part in meeting.values if part is not None])
        # The banks whose parts are positive add up to the most that any of them do.
        if (np.maximum(parts, 0).sum(axis=0) > most).any():
            raise BoundError(f"sum {label!r}: some of the banks exceed the bound together")
        if (np.minimum(parts, 0).sum(axis=0) < least).any():
            raise BoundError(f"sum {label!r}: some of the banks fall below the bound together")
        total: Int64Array = parts.sum(axis=0)
        if self._bank == 0:
            meeting.log.append(call)
        # Nobody may write the next values before everybody has read these.
        self._wait()
        return total

    def finish(self) -> None:
        """Meet the other banks at the end, so that none waits for a bank that has finished."""
        self._meeting.calls[self._bank] = None
        self._wait()
        if any(call is not None for call in self._meeting.calls):
            raise SumError("a bank has finished while another wants one more sum")

    def _wait(self) -> None:
        try:
            self._meeting.barrier.wait(BARRIER_TIMEOUT_SECONDS)
        except threading.BrokenBarrierError:
            raise SumError("another bank of the cohort has failed") from None


def run_cohort(n_banks: int, program: Callable[[int, CohortCommunicator], Result]) -> list[Result]:
    """Run ``program(bank, communicator)`` at every bank at the same time.

    Returns
    -------
    list
        What each bank's program returned.

    Raises
    ------
    BaseException
        The first exception that was not merely caused by another bank's failure. A failure of
        one bank ends all: nobody waits for a bank that is gone.
    """
    meeting = _Meeting(n_banks)
    results: list[Any] = [None] * n_banks
    failures: list[BaseException] = []
    lock = threading.Lock()

    def run(bank: int) -> None:
        communicator = CohortCommunicator(meeting, bank)
        try:
            results[bank] = program(bank, communicator)
            communicator.finish()
        except BaseException as error:
            with lock:
                failures.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(bank,), daemon=True) for bank in range(n_banks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results
