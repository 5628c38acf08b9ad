"""The database: transactions, whatever kind of database it is (``sqlite``, ``postgresql``).

There is one way to read or write it, ``Database.transaction``: named, measured, and done again
where that is safe. A change is durable in one of two ways (``Kind``):

* ``WRITE``: on disk before it returns, for all that is acknowledged;
* ``WRITE_BEHIND``: in the same write-ahead log, but without its own sync. It survives the end of
  the process however that ends, and is on disk no later than the next ``WRITE``, because the log is
  one that is synced in order. A power cut can lose only what came after the last ``WRITE``.

A database that is away, full or locked is ``UnavailableError``, whatever the driver calls it: the
change is not acknowledged, and its sender asks again. A commit whose answer was lost may have
happened; every change is one that can be asked for again.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from aggregator.storage import schema_version
from aggregator.storage.dialect import Dialect, Kind, Phase, unavailable
from aggregator.storage.schema import MetaRow
from aggregator.storage.transaction import Transaction
from fraudfed.errors import DamagedError, StateError, TransportError, UnavailableError

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Of one transaction.
_ATTEMPTS = 3
#: A request is not held longer for the sake of another attempt.
_RETRY_SECONDS = 5.0
_PAUSE_SECONDS = 0.02
#: Connections that are kept between transactions: reads are short, writes one at a time.
_RESTING = 4


class Database:
    """Transactions on one database. Safe to use from many threads."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.origin = secrets.token_hex(8)
        """Names this process in what it announces."""
        self.observe: Callable[[str, Kind, float], None] = lambda _name, _kind, _seconds: None
        """Called with the seconds of a transaction, from its beginning at the database on."""
        self.retried: Callable[[str], None] = lambda _name: None
        """Called when a transaction is done again."""
        self._engines = dialect.engines()
        self._write_lock = threading.Lock()
        self._resting = Resting()

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
                database.transaction(
                    "create",
                    Kind.WRITE,
                    lambda made: schema_version.create(made.connection, dialect.name),
                )
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

        def inspect(read: Transaction) -> None:
            schema_version.require_current(read.connection, dialect)
            if check:
                dialect.check_whole(read.connection)

        try:
            with database._reached():
                database.transaction("open", Kind.READ, inspect)
                database._prepare()
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def require_known(cls, dialect: Dialect) -> None:
        """Raise what ``migrate`` would, without changing anything."""
        with contextlib.closing(cls(dialect)) as database, database._reached():
            database.transaction(
                "require-known",
                Kind.READ,
                lambda read: schema_version.require_known(read.connection, dialect),
            )

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

        def upgrade(written: Transaction) -> tuple[int, int]:
            dialect.check_whole(written.connection)
            return schema_version.upgrade(written.connection, dialect)

        with contextlib.closing(cls(dialect)) as database, database._reached():
            return database.transaction("migrate", Kind.WRITE, upgrade)

    def close(self) -> None:
        """Close all connections."""
        self._resting.close()
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
        query = select(MetaRow.value).where(MetaRow.key == "schema_version")
        self.transaction("check", Kind.READ, lambda read: read.connection.scalar(query))

    def transaction(self, name: str, kind: Kind, work: Callable[[Transaction], T]) -> T:
        """Do ``work`` in a transaction of its own and return what it returns.

        If the database gives the transaction up before its commit (another one was in the way; the
        connection broke, unless it is a ``WRITE``), the work is done again: ``_ATTEMPTS`` times at
        most, and never later than ``_RETRY_SECONDS`` after the beginning. So the work changes
        nothing but the database, and returns values, no rows.

        A change whose commit was sent and not answered is never done again here, because it may
        have happened. The nonce of a request would then seem replayed, a token's name seem given
        before, and the truth (this very change did it) would be refused. Only the sender can
        ask again safely: its request is recognised by its bytes, and is signed anew.

        Parameters
        ----------
        name : str
            For the metrics, a constant in the source: every name is a series that is kept.
        kind : Kind
        work : callable
            What it raises gives the transaction up and is raised here.

        Raises
        ------
        UnavailableError
            If the database is away, full or locked.
        DamagedError
            If it is damaged.
        """
        begun = time.monotonic()
        with self._named():
            for attempt in range(1, _ATTEMPTS + 1):
                progress = _Progress()
                try:
                    return self._attempt(name, kind, work, progress)
                except (DBAPIError, self.dialect.driver_error) as error:
                    is_last = attempt == _ATTEMPTS or time.monotonic() - begun > _RETRY_SECONDS
                    if is_last or not self.dialect.gave_up(error, kind, progress.phase):
                        raise
                    _log.info("transaction %s: %s; again", name, self.dialect.reason(error))
                self.retried(name)
                time.sleep(attempt * _PAUSE_SECONDS)
        raise AssertionError

    def _attempt(
        self, name: str, kind: Kind, work: Callable[[Transaction], T], progress: "_Progress"
    ) -> T:
        # Threads queue fairly here instead of at the database, where each would hold a connection.
        with contextlib.nullcontext() if kind is Kind.READ else self._write_lock:
            started = time.perf_counter()
            connection = self._begun(kind)
            try:
                progress.phase = Phase.WORK
                transaction = Transaction(connection, self.dialect, self.origin)
                try:
                    result = work(transaction)
                    transaction.flush()
                finally:
                    transaction.close_session()
                self.dialect.require_sound(connection)
                if kind is not Kind.READ:
                    progress.phase = Phase.COMMIT
                transaction.commit()
            except BaseException:
                # Back to the engine, which rolls back whatever is left of it.
                connection.close()
                raise
            if self.dialect.keeps_connections:
                self._resting.add(connection)
            else:
                connection.close()
            self.observe(name, kind, time.perf_counter() - started)
        return result

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
        anything is done: then all idle connections are, and a new one is tried once. Not for a
        ``WRITE``: what was written behind for it may have gone with the server (``gave_up``). Its
        sender asks again, from the beginning.
        """
        resting = self._resting.take()
        if resting is not None:
            try:
                self.dialect.begin(resting, kind)
            except BaseException:
                resting.close()
                raise
            return resting
        engine = self._engines[kind]
        for may_be_stale in (kind is not Kind.WRITE, False):
            connection = engine.connect()
            try:
                self.dialect.begin(connection, kind)
            except BaseException as error:
                lost = connection.dialect.is_disconnect(error, connection.connection, None)  # type: ignore[arg-type]
                if lost:
                    connection.invalidate(error)
                connection.close()
                if lost:
                    engine.dispose()
                if not (lost and may_be_stale):
                    raise
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


class Resting:
    """Connections between two transactions. Safe to use from many threads.

    An engine resets a connection that is given back, and makes objects around it when it is taken
    again: longer than a short transaction of SQLite takes. They serve transactions of all kinds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[Connection] = []
        self._closed = False

    def take(self) -> Connection | None:
        """Return the connection that was used last, whose cache is the newest; None if none is."""
        with self._lock:
            return self._held.pop() if self._held else None

    def add(self, connection: Connection) -> None:
        """Keep a connection whose transaction has ended; the engine gets one too many."""
        with self._lock:
            if not self._closed and len(self._held) < _RESTING:
                self._held.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Give all back to their engine, and keep none from now on."""
        with self._lock:
            self._closed = True
            held, self._held = self._held, []
        for connection in held:
            connection.close()


@dataclass
class _Progress:
    """How far one attempt has come."""

    phase: Phase = Phase.BEGIN
