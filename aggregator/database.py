"""The database: engine, transactions and the check that it is ours. SQLAlchemy on SQLite.

A transaction is durable in one of two ways:

* ``write``: on disk before it returns (WAL with ``synchronous=FULL``), for all that is
  acknowledged;
* ``write_behind``: in the same write-ahead log, but without its own sync. It survives the end of
  the process however that ends, and is on disk no later than the next ``write``, because the log is
  one file that is synced in order. A power cut can lose only what came after the last ``write``.

What every round of a run needs goes through connections (``write_rows``, ``read_rows``) and not
through sessions: mapping rows to objects takes longer than SQLite does.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from aggregator.schema import SCHEMA_VERSION, Base, MetaRow
from fraudfed.errors import StateError

__all__ = ["Database", "sqlite_url"]

_VERSION_KEY = "schema_version"
#: SQLite allows one writer; others wait for it. Far above any transaction's time.
_BUSY_SECONDS = 60
#: Reads are short and never held while a bank waits, so few connections serve many threads.
_POOL_SIZE = 16
_POOL_OVERFLOW = 48


def sqlite_url(path: Path) -> str:
    """Return the SQLAlchemy URL of a SQLite file."""
    return f"sqlite:///{path}"


class Database:
    """Transactions on one database. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        self._name = str(make_url(url).database)
        self._engine = _engine(url, "FULL")
        self._behind = _engine(url, "NORMAL")
        self._writing = self._engine.execution_options(fraudfed_write=True)
        self._writing_behind = self._behind.execution_options(fraudfed_write=True)
        # Threads queue fairly here instead of polling SQLite's file lock.
        self._write_lock = threading.Lock()

    @classmethod
    def create(cls, url: str) -> Self:
        """Create the tables in an empty database."""
        database = cls(url)
        with database.write() as session:
            Base.metadata.create_all(session.connection())
            session.add(MetaRow(key=_VERSION_KEY, value=str(SCHEMA_VERSION)))
        return database

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a database that ``create`` made.

        Raises
        ------
        StateError
            If it is no database, not the aggregator's, or of another schema version.
        """
        database = cls(url)
        try:
            database._check_schema()
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close all connections."""
        self._behind.dispose()
        self._engine.dispose()

    @property
    def directory(self) -> Path:
        """Where the database's file lies."""
        return Path(self._name).parent

    def check(self) -> None:
        """Read something, or raise what the database raises."""
        with self.read() as session:
            session.scalar(select(MetaRow.value).where(MetaRow.key == _VERSION_KEY))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Read one consistent state."""
        with Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def read_rows(self) -> Iterator[Connection]:
        """Read one consistent state, without a session."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Write all or nothing, durably; excludes every other writer from its start."""
        with self._write_lock, Session(self._writing) as session, session.begin():
            yield session

    @contextmanager
    def write_rows(self) -> Iterator[Connection]:
        """Write as ``write`` does, without a session."""
        with self._write_lock, self._writing.begin() as connection:
            yield connection

    @contextmanager
    def write_behind(self) -> Iterator[Connection]:
        """Write all or nothing, on disk no later than the next ``write``."""
        with self._write_lock, self._writing_behind.begin() as connection:
            yield connection

    def _check_schema(self) -> None:
        try:
            with self.read() as session:
                tables = inspect(session.connection()).get_table_names()
                found = (
                    session.scalar(select(MetaRow.value).where(MetaRow.key == _VERSION_KEY))
                    if MetaRow.__tablename__ in tables
                    else None
                )
        except DatabaseError as error:
            raise StateError(
                f"database {self._name} cannot be read ({error.orig}); restore it from a back-up"
            ) from None
        if found is None:
            raise StateError(
                f"database {self._name} is not an aggregator's; give the directory that "
                "`aggregator init` made"
            )
        if found != str(SCHEMA_VERSION):
            raise StateError(
                f"database {self._name} has schema version {found}, this program needs "
                f"{SCHEMA_VERSION}; use the fraudfed release that wrote it"
            )


def _engine(url: str, synchronous: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        # Each connection has a page cache of its own: use few of them, and those again.
        pool_use_lifo=True,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
    )

    def configure(connection: Any, _record: Any) -> None:
        # Transactions are begun by _begin, not by the driver's own guess.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # A writer takes the lock at once: upgrading a read lock later can end in "database is locked".
    writes = connection.get_execution_options().get("fraudfed_write", False)
    connection.connection.cursor().execute("BEGIN IMMEDIATE" if writes else "BEGIN")
