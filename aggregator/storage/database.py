"""The database: transactions, whatever kind of database it is (``sqlite``, ``postgresql``).

A transaction is durable in one of two ways:

* ``write``: on disk before it returns, for all that is acknowledged;
* ``write_behind``: in the same write-ahead log, but without its own sync. It survives the end of
  the process however that ends, and is on disk no later than the next ``write``, because the log is
  one that is synced in order. A power cut can lose only what came after the last ``write``.

What every round of a run needs goes through connections (``write_rows``, ``read_rows``) and not
through sessions: mapping rows to objects takes longer than SQLite does.

A database that is away, full or locked is ``UnavailableError``, whatever the driver calls it: the
change is not acknowledged, and whoever asked for it asks again. A commit whose answer was lost may
have happened; every change is one that can be asked for again.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from aggregator.storage import schema_version
from aggregator.storage.announcement import Announcement
from aggregator.storage.dialect import Dialect, Kind, unavailable
from aggregator.storage.schema import MetaRow
from fraudfed.errors import DamagedError, StateError, TransportError, UnavailableError


class Database:
    """Transactions on one database. Safe to use from many threads."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.origin = secrets.token_hex(8)
        """Names this process in what it announces."""
        self.observe: Callable[[Kind, float], None] = lambda _kind, _seconds: None
        """Called with the seconds of a transaction, from its beginning at the database on."""
        self._engines = dialect.engines()
        # Threads queue fairly here instead of at the database, where each would hold a connection.
        self._write_lock = threading.Lock()

    @classmethod
    def create(cls, dialect: Dialect) -> Self:
        """Create the tables in an empty database.

        Raises
        ------
        StateError
            If it is not empty.
        TransportError
            If it cannot be reached.
        """
        database = cls(dialect)
        try:
            with database._reached():
                database._prepare()
                with database.write_rows() as connection:
                    schema_version.create(connection, dialect.name)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open(cls, dialect: Dialect, *, check: bool = False) -> Self:
        """Open a database that ``create`` made.

        Parameters
        ----------
        check : bool
            Also look for damage in all of it, as far as that is quick.

        Raises
        ------
        StateError
            If it is no database, not the aggregator's, damaged, or of another schema version.
        TransportError
            If it cannot be reached.
        """
        database = cls(dialect)
        try:
            with database._reached():
                with database.read_rows() as connection:
                    schema_version.require_current(connection, dialect)
                    if check:
                        dialect.check_whole(connection)
                database._prepare()
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def require_known(cls, dialect: Dialect) -> None:
        """Raise what ``migrate`` would, without changing anything."""
        with (
            contextlib.closing(cls(dialect)) as database,
            database._reached(),
            database.read_rows() as connection,
        ):
            schema_version.require_known(connection, dialect)

    @classmethod
    def migrate(cls, dialect: Dialect) -> tuple[int, int]:
        """Bring the tables to this program's schema version, all or nothing.

        Returns
        -------
        tuple of int
            The version before and after.

        Raises
        ------
        StateError
            If it is no database, not the aggregator's, damaged, or of a version that is unknown.
        TransportError
            If it cannot be reached.
        """
        database = cls(dialect)
        try:
            with database._reached(), database.write_rows() as connection:
                dialect.check_whole(connection)
                return schema_version.upgrade(connection, dialect)
        finally:
            database.close()

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            engine.dispose()

    @property
    def directory(self) -> Path:
        """Where this service may put files."""
        return self.dialect.directory

    @property
    def is_shared(self) -> bool:
        """Whether other processes may change runs, too."""
        return self.dialect.is_shared

    def check(self) -> None:
        """Read something, or raise what the database raises."""
        with self.read() as session:
            session.scalar(select(MetaRow.value).where(MetaRow.key == "schema_version"))

    def announce(
        self, connection: Connection, run_id: str, *, version: int = 0, wakes: bool = True
    ) -> None:
        """Tell the other processes that a transaction changes something about a run.

        Parameters
        ----------
        version : int
            Of the run by the change, 0 if its version stays.
        wakes : bool
            Whether somebody may wait for it.
        """
        said = Announcement(self.origin, run_id, version, wakes)
        self.dialect.announce(connection, said.to_text())

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Read one consistent state."""
        with self._transaction(Kind.READ) as connection, _session(connection) as session:
            yield session

    @contextmanager
    def read_rows(self) -> Iterator[Connection]:
        """Read one consistent state, without a session."""
        with self._transaction(Kind.READ) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Write all or nothing, durably; excludes every other writer from its start."""
        with (
            self._write_lock,
            self._transaction(Kind.WRITE) as connection,
            _session(connection) as session,
        ):
            yield session

    @contextmanager
    def write_rows(self) -> Iterator[Connection]:
        """Write as ``write`` does, without a session."""
        with self._write_lock, self._transaction(Kind.WRITE) as connection:
            yield connection

    @contextmanager
    def write_behind(self) -> Iterator[Connection]:
        """Write all or nothing, on disk no later than the next ``write``."""
        with self._write_lock, self._transaction(Kind.WRITE_BEHIND) as connection:
            yield connection

    @contextmanager
    def _transaction(self, kind: Kind) -> Iterator[Connection]:
        started = time.perf_counter()
        with self._named():
            connection = self._begun(kind)
            with connection, connection.begin():
                yield connection
                self.dialect.require_sound(connection)
        self.observe(kind, time.perf_counter() - started)

    def _prepare(self) -> None:
        with self._named():
            self.dialect.prepare(self._engines[Kind.WRITE])

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give what the driver raises its name."""
        try:
            yield
        except PoolTimeoutError as error:
            raise unavailable() from error
        except (DBAPIError, self.dialect.driver_error) as error:
            meaning = self.dialect.meaning(error)
            if meaning is None:
                raise
            raise meaning from error

    def _begun(self, kind: Kind) -> Connection:
        """Return a connection with a transaction begun.

        The first message on a connection that the server has closed meanwhile fails here, before
        anything is done: then all idle connections are, and a new one is tried once.
        """
        engine = self._engines[kind]
        for may_be_stale in (True, False):
            connection = engine.connect()
            try:
                self.dialect.begin(connection, kind)
            except BaseException as error:
                lost = connection.dialect.is_disconnect(error, connection.connection, None)  # type: ignore[arg-type]
                if lost:
                    connection.invalidate(error)
                connection.close()
                if not (lost and may_be_stale):
                    raise
                engine.dispose()
            else:
                return connection
        raise AssertionError

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """For a command: name what is wrong with the database itself."""
        try:
            yield
        except DamagedError:
            raise
        except UnavailableError as error:
            cause = error.__cause__ or error
            where = self.dialect.name
            if self.is_shared:
                raise TransportError(
                    f"database {where} cannot be used: {self.dialect.reason(cause)}; check that "
                    "PostgreSQL runs there, and address, user and password"
                ) from None
            raise StateError(
                f"database {where} cannot be read or written: {self.dialect.reason(cause)}; check "
                "the file's owner and mode, and that there is room on the disk"
            ) from None


@contextmanager
def _session(connection: Connection) -> Iterator[Session]:
    """Map rows to objects within a transaction that somebody else ends."""
    with Session(connection) as session, session.begin():
        yield session
