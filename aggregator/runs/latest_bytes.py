"""The last product or openings of each run, so that its banks share one copy in memory.

A copy of what the database holds: whatever is not here is read there.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

#: Runs whose bytes are kept at once: a megabyte each, whatever the number of banks.
_KEPT_RUNS = 16


class LatestBytes:
    """One round's bytes per run, for the runs used last. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._forgotten = 0

    @property
    def mark(self) -> int:
        """Take it before a commit, for ``keep``."""
        with self._lock:
            return self._forgotten

    def keep(self, run_id: str, number: int, data: bytes, *, mark: int | None = None) -> None:
        """Keep the bytes of a round in place of those of the run's earlier one.

        Parameters
        ----------
        mark : int, optional
            If anything was forgotten since, keep nothing: another process may have committed after
            this one, and what was read of that must not be covered by what is older.
        """
        with self._lock:
            if mark is None or mark == self._forgotten:
                self._put(run_id, number, data)

    def get(
        self, run_id: str, number: int, read: Callable[[str, int], bytes | None]
    ) -> bytes | None:
        """Return the bytes of a round; ``read(run_id, number)`` gives those that are not here."""
        with self._lock:
            kept = self._kept.get(run_id)
            if kept is not None and kept[0] == number:
                return kept[1]
            # Inside the lock: banks that ask at once share one copy, and nothing that was read
            # before its deletion is kept after it.
            data = read(run_id, number)
            if data is not None and (kept is None or kept[0] < number):
                self._put(run_id, number, data)
            return data

    def forget(self, run_id: str, *, before: int | None = None) -> None:
        """Forget what is kept of a run; with ``before``, only of a round below that number."""
        with self._lock:
            if before is None:
                self._forgotten += 1
            kept = self._kept.get(run_id)
            if kept is not None and (before is None or kept[0] < before):
                del self._kept[run_id]

    def _put(self, run_id: str, number: int, data: bytes) -> None:
        self._kept[run_id] = number, data
        self._kept.move_to_end(run_id)
        if len(self._kept) > _KEPT_RUNS:
            self._kept.popitem(last=False)
