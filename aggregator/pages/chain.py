"""The state of the audit log's chain, checked no more often than it is worth."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from aggregator.audit.log import AuditTrail
from fraudfed.errors import OverloadedError, StateError

#: A page that is opened again shows the last check for so long.
FRESH_SECONDS = 60


@dataclass(frozen=True)
class ChainState:
    """What a check has found.

    Attributes
    ----------
    checked_at : int
        UTC epoch seconds.
    entries : int
        0 if the chain is broken.
    head : str
        Hash of the last entry; empty if it is broken.
    fault : str
        Empty if the chain is whole.
    """

    checked_at: int
    entries: int
    head: str
    fault: str


class ChainChecks:
    """Checks the whole log, one check at a time. Safe to use from many threads."""

    def __init__(self, trail: AuditTrail, *, clock: Callable[[], float] = time.time) -> None:
        self._trail = trail
        self._clock = clock
        self._lock = threading.Lock()
        self._last: ChainState | None = None

    def state(self) -> ChainState:
        """Return the last check, or a new one if that is older than ``FRESH_SECONDS``.

        Raises
        ------
        OverloadedError
            If there is none yet, and one is under way.
        """
        last = self._last
        if last is not None and self._clock() - last.checked_at < FRESH_SECONDS:
            return last
        if not self._lock.acquire(blocking=False):
            if last is not None:
                return last
            raise OverloadedError("the log is being checked; look again in a moment")
        try:
            now = int(self._clock())
            try:
                head = self._trail.verify()
                self._last = ChainState(now, head.entries, head.hash, "")
            except StateError as error:
                self._last = ChainState(now, 0, "", str(error))
            return self._last
        finally:
            self._lock.release()
