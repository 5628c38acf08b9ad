"""Long polls: threads that wait in this process until a run changes.

The wake-up carries no data: a waiter reads the durable state again and decides for itself, so
that a lost or a needless wake-up can delay an answer but never make it wrong.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Waiters:
    """All threads of this process that wait for a change of some run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._conditions: dict[str, threading.Condition] = {}
        self._changes: dict[str, int] = {}
        self._waiting: Counter[str] = Counter()
        self._stopped = False

    def changed(self, run_id: str) -> None:
        """Wake every waiter of a run; call it after the change is durable."""
        with self._lock:
            self._changes[run_id] = self._changes.get(run_id, 0) + 1
            condition = self._conditions.get(run_id)
            if condition is not None:
                condition.notify_all()

    def waited_for(self) -> frozenset[str]:
        """Return the runs that a request waits for."""
        with self._lock:
            return frozenset(self._waiting)

    def stop(self) -> None:
        """Wake all for good: nothing waits from now on."""
        with self._lock:
            self._stopped = True
            for condition in self._conditions.values():
                condition.notify_all()

    def wait(self, run_id: str, read: Callable[[], T | None], *, seconds: float) -> T | None:
        """Return what ``read`` returns as soon as it is not None, or None after ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            # Taken before reading: a change between reading and waiting is then not missed.
            with self._lock:
                seen = self._changes.get(run_id, 0)
            result = read()
            if result is not None:
                return result
            with self._lock:
                condition = self._conditions.setdefault(run_id, threading.Condition(self._lock))
                self._waiting[run_id] += 1
                try:
                    # Still the same number: woken without a change (spuriously), wait on.
                    while self._changes.get(run_id, 0) == seen:
                        left = deadline - time.monotonic()
                        if self._stopped or left <= 0:
                            return None
                        condition.wait(left)
                finally:
                    self._waiting[run_id] -= 1
                    if not self._waiting[run_id]:
                        del self._waiting[run_id]
