"""SQLite: one file, one process that serves it. WAL with ``synchronous=FULL``.

Changes without a sync of their own (``Kind.WRITE_BEHIND``) are in the same write-ahead log, which
is synced in order: they are on disk no later than the next synced change.
"""

import sqlite3
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, create_engine, event

from aggregator.storage.dialect import Dialect, Kind, Phase, unavailable
from fraudfed.errors import DamagedError, FraudFedError

#: SQLite allows one writer; others wait for it. Far above any transaction's time.
_BUSY_SECONDS = 60
#: Reads are short and never held while a bank waits, so few connections serve many threads.
_POOL_SIZE = 16
_POOL_OVERFLOW = 48
#: The file or what is in it is broken; waiting does not help.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: No room, no access, no memory, or another process holds the file: may be over soon.
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)
#: Another connection was in the way.
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_BEGIN = {Kind.READ: "BEGIN", Kind.WRITE: "BEGIN IMMEDIATE", Kind.WRITE_BEHIND: "BEGIN IMMEDIATE"}
#: Whether a commit waits for the disk. A read has nothing to commit.
_SYNCHRONOUS = {Kind.WRITE: "FULL", Kind.WRITE_BEHIND: "NORMAL"}


def damaged(name: str, reason: str) -> DamagedError:
    """Return that a database is damaged, and what to do."""
    return DamagedError(
        f"database {name} is damaged ({reason}); stop the service, keep a copy for inquiry, and "
        "restore it from a back-up"
    )


class SQLite(Dialect):
    """A SQLite file."""

    is_shared: ClassVar[bool] = False
    keeps_connections: ClassVar[bool] = True
    driver_error: ClassVar[type[Exception]] = sqlite3.Error

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), path.parent)
        self.path = path

    def engines(self) -> dict[Kind, Engine]:
        """Return one engine for all.

        What one connection writes, another has to read again: it forgets its pages.
        """
        return dict.fromkeys(Kind, self._engine())

    def prepare(self, engine: Engine) -> None:
        """Write ahead from now on; it stands in the file, so only in one that is ours."""
        with engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA journal_mode=WAL").close()

    def begin(self, connection: Connection, kind: Kind) -> None:
        """Begin; a writer takes the lock at once."""
        cursor = connection.connection.cursor()
        wanted = _SYNCHRONOUS.get(kind)
        if wanted is not None and connection.info.get("synchronous") != wanted:
            # Not as it is, if this fails.
            connection.info["synchronous"] = None
            cursor.execute(f"PRAGMA synchronous={wanted}")
            connection.info["synchronous"] = wanted
        # Upgrading a read lock later can end in "database is locked".
        cursor.execute(_BEGIN[kind]).close()

    def require_sound(self, connection: Connection) -> None:
        """Nothing to check: a failed statement leaves the others as they are."""

    def announce(self, connection: Connection, text: str) -> None:
        """There is no other process that changes runs."""

    def meaning(self, error: BaseException) -> FraudFedError | None:
        """Tell damage and passing trouble from our own mistakes."""
        code = _plain_code(error)
        if code in _DAMAGED:
            return damaged(self.name, self.reason(error))
        return unavailable() if code in _PASSING else None

    def gave_up(self, error: BaseException, kind: Kind, phase: Phase) -> bool:  # noqa: ARG002
        """Return whether another connection was in the way; also of a commit, it is the answer."""
        return _plain_code(error) in _BUSY

    def reason(self, error: BaseException) -> str:
        """Return what SQLite says."""
        return " ".join(str(getattr(error, "orig", None) or error).split())

    def check_whole(self, connection: Connection) -> None:
        """Read every page and check that they fit together, without the contents of indices."""
        cursor = connection.connection.cursor()
        found = cursor.execute("PRAGMA quick_check(1)").fetchone()
        cursor.close()
        if found is None or found[0] != "ok":
            reason = "no answer" if found is None else " ".join(str(found[0]).split())
            raise damaged(self.name, reason)

    def _engine(self) -> Engine:
        engine = create_engine(
            f"sqlite:///{self.path}",
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            # Each connection has a page cache of its own: use few of them, and those again.
            pool_use_lifo=True,
            connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
        )

        def configure(connection: Any, _record: Any) -> None:
            # Transactions are begun by ``begin``, not by the driver's own guess.
            connection.isolation_level = None
            for pragma in ("synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}").close()

        event.listen(engine, "connect", configure)
        return engine


def _plain_code(error: BaseException) -> int | None:
    cause = getattr(error, "orig", None) or error
    code: int | None = getattr(cause, "sqlite_errorcode", None)
    # The extended codes have the plain one in their lowest byte.
    return None if code is None else code & 0xFF
