"""Move the write-ahead log into the database in a thread, so that no commit waits for it.

A *passive* checkpoint hinders neither readers nor writers
(https://www.sqlite.org/c3ref/wal_checkpoint_v2.html). What a commit writes meanwhile stays in the
log; a second one right behind it has little left, and the log begins anew when one has reached its
end. SQLite syncs the database only then, so this thread does it each time: the one that reaches the
end, be it a commit, has little to wait for.

Files are opened once: to close one would let go of SQLite's locks on it
(https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

import logging
import os
import sqlite3
import struct
import threading
from pathlib import Path

_log = logging.getLogger(__name__)

#: How often the log is looked at, in seconds.
_EVERY_SECONDS = 0.25
#: Pages of the log that are worth it.
_LEAST_PAGES = 2000
#: One after another, while commits still come.
_MOST_AT_ONCE = 4
#: Pages in the log, and how many of them are moved, in the index of the log
#: (https://www.sqlite.org/walformat.html, "mxFrame" and "nBackfill"): native byte order.
_PAGES_AT, _MOVED_AT = 16, 96
_COUNT = struct.Struct("=I")


class Checkpoints:
    """A thread that moves the log of one database.

    Parameters
    ----------
    path : Path
        Of the database, open and in WAL mode.

    Raises
    ------
    OSError
        If its files cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = os.open(path, os.O_RDONLY)
        self._index = os.open(path.with_name(path.name + "-shm"), os.O_RDONLY)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the checkpoint that is under way."""
        self._closing.set()
        self._thread.join()

    def release(self) -> None:
        """Close the files, once the database is closed."""
        os.close(self._data)
        os.close(self._index)

    def _run(self) -> None:
        database: sqlite3.Connection | None = None
        try:
            while not self._closing.wait(_EVERY_SECONDS):
                if self._pages_to_move() < _LEAST_PAGES:
                    continue
                try:
                    if database is None:
                        database = sqlite3.connect(self._path, isolation_level=None, timeout=0)
                    self._move(database)
                except (sqlite3.Error, OSError) as error:
                    # A full disk, for one: commits say it, and the log waits.
                    _log.debug("a checkpoint of the feature store failed: %s", error)
        finally:
            if database is not None:
                database.close()

    def _move(self, database: sqlite3.Connection) -> None:
        for _ in range(_MOST_AT_ONCE):
            row = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            busy, pages, moved = (int(value) for value in row)
            if busy or moved >= pages or self._closing.is_set():
                return
            os.fsync(self._data)

    def _pages_to_move(self) -> int:
        data = os.pread(self._index, _MOVED_AT + _COUNT.size, 0)
        if len(data) < _MOVED_AT + _COUNT.size:
            return 0
        pages, moved = (_COUNT.unpack_from(data, at)[0] for at in (_PAGES_AT, _MOVED_AT))
        return int(pages) - int(moved)
