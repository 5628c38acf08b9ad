"""The parts of a packed store in one SQLite database.

Durability: a commit is a transaction in SQLite's write-ahead log. The end of this process loses
nothing of it. A loss of power may take the last commits along, never a part of one, and leaves the
database whole (``synchronous`` NORMAL); with ``power_safe`` a commit returns when the disk has it
(``synchronous`` FULL). See https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bank_node.serving.store.checkpoints import Checkpoints
from bank_node.serving.store.shelf import Batch
from bank_node.state.lock_file import take_lock
from fraudfed.durable_file import PRIVATE_DIRECTORY
from fraudfed.errors import StateError, UnavailableError

T = TypeVar("T")

#: Histories of a few hundred bytes: pages of 8 KiB hold many, and large ones need few.
_PAGE_BYTES = 8192
_CACHE_KIB = 64 << 10
#: Pages of the log before a commit moves what a thread has left of them, and waits for the disk: it
#: bounds the log where commits come faster than the thread reaches its end.
_LOG_PAGES = 16 << 10
#: Positions of the journal that are dropped at once.
_DROP_EVERY = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    key BLOB NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (key, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (position INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS payment (
    day INTEGER NOT NULL, key BLOB NOT NULL, content BLOB NOT NULL, PRIMARY KEY (day, key)
) WITHOUT ROWID;
"""


class SqliteShelf:
    """Parts in a file. One process has it open.

    Parameters
    ----------
    directory : Path
        Made if missing, for the owner alone.
    power_safe : bool
        Whether a commit waits for the disk.

    Raises
    ------
    StateError
        If another process has it open, or it is no such database.
    UnavailableError
        If it cannot be opened.
    """

    parts_at_once = 20_000

    def __init__(self, directory: Path, *, power_safe: bool = False) -> None:
        self._path = directory / "features.sqlite"
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{directory}: cannot be used ({error.strerror}), expected a directory of this "
                "user; mend its rights or name another one"
            ) from error
        self._lock = take_lock(
            directory / "lock",
            held=f"{directory}: another process has the feature store open, expected to be its "
            "only user; stop that process first",
        )
        self._dropped_to = 0
        try:
            self._open(power_safe=power_safe)
            self._checkpoints = Checkpoints(self._path)
        except (StateError, UnavailableError):
            os.close(self._lock)
            raise

    def _open(self, *, power_safe: bool) -> None:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=1
        )
        try:
            self._database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"PRAGMA synchronous = {'FULL' if power_safe else 'NORMAL'}")
            self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._database.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            self._database.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self._database.close()
            if isinstance(error, sqlite3.OperationalError):
                raise self._unavailable(error) from error
            raise StateError(
                f"{self._path}: is no feature store ({error}), expected a database that this "
                "release made; name another directory, or move the file away"
            ) from error

    def facts(self) -> dict[str, str]:
        """Return what is known of the store as a whole."""
        return self._ask(
            lambda: dict(self._database.execute("SELECT name, value FROM fact").fetchall())
        )

    def claim(self, facts: Mapping[str, str]) -> None:
        """Keep these facts; the lock makes this process the only writer."""
        self.write(Batch(facts=dict(facts)))

    def read(self, key: bytes) -> Mapping[int, bytes]:
        """Return the parts of a history."""
        query = "SELECT part, data FROM history WHERE key = ?"
        return self._ask(lambda: dict(self._database.execute(query, (key,)).fetchall()))

    def find(self, payment: bytes, days: Sequence[int]) -> bytes | None:
        """Return the content of a payment that was observed on one of these UTC days."""
        query = "SELECT content FROM payment WHERE day = ? AND key = ?"

        def search() -> bytes | None:
            for day in days:
                row = self._database.execute(query, (day, payment)).fetchone()
                if row is not None:
                    return bytes(row[0])
            return None

        return self._ask(search)

    def journal(self) -> Iterator[tuple[int, bytes]]:
        """Return the changes that are kept, in order."""
        query = "SELECT position, data FROM journal ORDER BY position"
        yield from self._ask(lambda: self._database.execute(query).fetchall())

    def after(self, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
        """Return some keys after a cursor, and the next cursor."""
        query = "SELECT DISTINCT key FROM history WHERE key > ? ORDER BY key LIMIT ?"
        rows = self._ask(lambda: self._database.execute(query, (cursor, count)).fetchall())
        keys = [bytes(row[0]) for row in rows]
        return (keys[-1] if len(keys) == count else b"", keys)

    def write(self, batch: Batch) -> None:
        """Keep all of a batch, or nothing of it."""
        self._ask(lambda: self._write(batch))

    def clear(self) -> None:
        """Drop everything but what is known of the store as a whole."""

        def drop() -> None:
            for drop_all in ("DELETE FROM history", "DELETE FROM journal", "DELETE FROM payment"):
                self._database.execute(drop_all)

        self._ask(drop)

    def close(self) -> None:
        """Close the database; another process may open it."""
        self._checkpoints.stop()
        self._database.close()
        self._checkpoints.release()
        os.close(self._lock)

    def _write(self, batch: Batch) -> None:
        many, one = self._database.executemany, self._database.execute
        one("BEGIN IMMEDIATE")
        try:
            many("INSERT OR REPLACE INTO journal VALUES (?, ?)", batch.journal)
            many(
                "INSERT OR REPLACE INTO payment (day, key, content) VALUES (?, ?, ?)",
                batch.payments,
            )
            many("DELETE FROM history WHERE key = ? AND part = ?", batch.dropped)
            many("INSERT OR REPLACE INTO history VALUES (?, ?, ?)", batch.parts)
            drops = batch.journal_from >= self._dropped_to + _DROP_EVERY or not batch.journal
            if drops:
                one("DELETE FROM journal WHERE position < ?", (batch.journal_from,))
                one("DELETE FROM payment WHERE day < ?", (batch.days_from,))
            many("INSERT OR REPLACE INTO fact VALUES (?, ?)", list(batch.facts.items()))
            one("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                one("ROLLBACK")
            raise
        if drops:
            self._dropped_to = batch.journal_from

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error) -> UnavailableError:
        return UnavailableError(
            f"feature store {self._path}: does not answer ({error}), expected a readable file and "
            "room on its disk; make room or mend its rights"
        )
