"""Whether the service can do its work now: asked by what sends requests to it."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import MetaRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import FraudFedError, UnavailableError

_KEY = "ready_at"
#: A more frequent question gets the last answer: a probe must not become load.
_FRESH_SECONDS = 1.0
#: How long a probe waits for the one that is on its way.
_BUSY_SECONDS = 5.0


class Readiness:
    """Tries the database and the disk. Safe to use from many threads.

    Parameters
    ----------
    directory : Path
        Where bodies go that are not in memory.
    room_bytes : int
        What must be free there.
    """

    def __init__(
        self,
        database: Database,
        directory: Path,
        *,
        room_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        busy_seconds: float = _BUSY_SECONDS,
    ) -> None:
        self._database = database
        self._directory = directory
        self._room_bytes = room_bytes
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._tried_at = -_FRESH_SECONDS
        self._trouble: str | None = None

    def require(self) -> None:
        """Do nothing if the service can work.

        Raises
        ------
        UnavailableError
            If the database cannot be read and written, or there is no room for bodies.
        """
        # One at a time: if a try hangs, those behind it must not take up connections as well.
        if not self._lock.acquire(timeout=self._busy_seconds):
            raise UnavailableError(
                f"the database has not answered for {self._busy_seconds:g} s; see whether it runs, "
                "and what holds it"
            )
        try:
            if self._clock() - self._tried_at >= _FRESH_SECONDS:
                self._trouble = self._try()
                self._tried_at = self._clock()
            trouble = self._trouble
        finally:
            self._lock.release()
        if trouble is not None:
            raise UnavailableError(trouble)

    def _try(self) -> str | None:
        try:
            self._database.check()
        except FraudFedError as error:
            return f"the database cannot be read ({_cause(error)}); see whether it runs"
        try:
            # A real, durable change: a full disk shows nowhere else.
            self._database.transaction("note-ready", Kind.WRITE, _note_ready)
        except FraudFedError as error:
            return f"the database cannot be written ({_cause(error)}); see whether it has room"
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError as error:
            return f"the directory for bodies cannot be used: {error.strerror}"
        if free < self._room_bytes:
            return (
                f"{free} bytes are free for bodies, expected at least {self._room_bytes} (two of "
                "the largest, max_body_bytes); make room"
            )
        return None


def _note_ready(written: Transaction) -> None:
    written.session.merge(MetaRow(key=_KEY, value=str(int(time.time()))))


def _cause(error: FraudFedError) -> str:
    """Return the kind of the failure; its text may hold an address or a user name."""
    cause = error.__cause__
    return type(getattr(cause, "orig", None) or cause or error).__name__
