"""PostgreSQL: several processes may serve one database. The driver is psycopg 3.

One round trip begins a transaction, with all that makes it of its kind:

* a read is of one snapshot (``REPEATABLE READ``), and read-only;
* a write takes an advisory lock first, which excludes every other writer of any process, and reads
  what is committed since (``READ COMMITTED``): the audit chain's head is the last one;
* a write-behind is one that does not wait for the disk. Its log record lies before that of the next
  write, which waits until everything before it is on disk, too.
"""

from pathlib import Path
from typing import Any, ClassVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from aggregator.storage.dialect import Dialect, Kind, Phase, unavailable
from fraudfed.errors import ConfigurationError, DamagedError, FraudFedError

#: Where the processes of one aggregator tell each other of changed runs.
CHANNEL = "fraudfed_runs"
#: "fraudfed" in ASCII; one number for all writers of one database (the lock is per database).
_WRITERS = int.from_bytes(b"fraudfed", "big")
#: Per process. PostgreSQL allows 100 connections by default: four workers leave half of them free.
_POOL_SIZE = 8
_POOL_OVERFLOW = 4
_POOL_SECONDS = 30
_CONNECT_SECONDS = 10
#: Longest wait for the other writers, far above any transaction's time; and how long a process
#: that hangs in the middle of a transaction may keep them waiting.
_LOCK_SECONDS = 60
_SILENT_SECONDS = 60

_LOCK = f"SELECT pg_advisory_xact_lock({_WRITERS})"
_BEGIN = {
    Kind.READ: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    Kind.WRITE: f"BEGIN; {_LOCK}",
    Kind.WRITE_BEHIND: f"BEGIN; SET LOCAL synchronous_commit TO OFF; {_LOCK}",
}
_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        # Whatever the server's own defaults are.
        "synchronous_commit": "on",
        "default_transaction_isolation": r"read\ committed",
        "lock_timeout": f"{_LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{_SILENT_SECONDS}s",
    }.items()
)
#: Beside ``OperationalError``: the session was ended, or the server takes no changes at present.
_PASSING = (
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,
)
#: The server has rolled the transaction back, and says so; a commit as well.
_ROLLED_BACK = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
#: The server ended the session: it stops, or begins again after a crash.
_ENDED = (psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown)
_DAMAGED = (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted)


class PostgreSQL(Dialect):
    """A PostgreSQL database by its URL.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host/database``, with libpq's parameters as its query.
    directory : Path

    Raises
    ------
    ConfigurationError
        If the URL is none of PostgreSQL's.
    """

    is_shared: ClassVar[bool] = True
    keeps_connections: ClassVar[bool] = False
    driver_error: ClassVar[type[Exception]] = psycopg.Error

    def __init__(self, url: str, directory: Path) -> None:
        self._url = _parsed(url)
        host = self._url.host or self._url.query.get("host") or "this machine"
        super().__init__(f"{self._url.database} at {host}", directory)

    def engines(self) -> dict[Kind, Engine]:
        """Return one engine for all."""
        engine = create_engine(
            self._url,
            # Statements are handed to the driver with their values in order (``statement``).
            paramstyle="format",
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_timeout=_POOL_SECONDS,
            pool_use_lifo=True,
            connect_args=self._connect_options(),
            hide_parameters=True,
        )

        def configure(connection: Any, _record: Any) -> None:
            # Transactions are begun by ``begin``, not by the driver.
            connection.autocommit = True

        event.listen(engine, "connect", configure)
        return dict.fromkeys(Kind, engine)

    def prepare(self, engine: Engine) -> None:
        """Nothing stays set: all is per connection."""

    def begin(self, connection: Connection, kind: Kind) -> None:
        """Begin; a writer waits for its turn here."""
        cursor = connection.connection.cursor()
        # One message with several statements cannot be prepared.
        cursor.execute(_BEGIN[kind], prepare=False)  # type: ignore[call-arg]
        cursor.close()

    def require_sound(self, connection: Connection) -> None:
        """Refuse to commit after a failed statement: PostgreSQL would silently roll back."""
        status = _driver(connection).info.transaction_status
        if status is not psycopg.pq.TransactionStatus.INTRANS:
            raise psycopg.errors.InFailedSqlTransaction(
                f"the transaction is {status.name} at its end, nothing of it is stored"
            )

    def announce(self, connection: Connection, text: str) -> None:
        """Notify; PostgreSQL delivers it when the transaction is committed, and only then."""
        cursor = connection.connection.cursor()
        cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))
        cursor.close()

    def listen(self) -> "psycopg.Connection[Any]":
        """Return a connection of its own that hears what ``announce`` says.

        Raises
        ------
        psycopg.Error
            If the server cannot be reached.
        """
        arguments = self._url.translate_connect_args(username="user", database="dbname")
        query: dict[str, Any] = dict(self._url.query)
        connection = psycopg.connect(
            **(query | arguments | self._connect_options()), autocommit=True
        )
        try:
            connection.execute(f"LISTEN {CHANNEL}")  # a constant of ours
        except BaseException:
            connection.close()
            raise
        return connection

    def meaning(self, error: BaseException) -> FraudFedError | None:
        """Tell damage and passing trouble from our own mistakes."""
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, _DAMAGED):
            return DamagedError(
                f"database {self.name} is damaged ({self.reason(error)}); stop the service and "
                "restore it from a back-up"
            )
        if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, *_PASSING)):
            return unavailable()
        return None

    def gave_up(self, error: BaseException, kind: Kind, phase: Phase) -> bool:
        """Return whether the server rolled it back, or the connection broke before the commit.

        A connection that breaks may be a server that crashes. What was written behind just before
        is lost then, as the nonce of the request that makes a change. The change must not come
        after it on the server that has recovered: the request could be replayed.
        """
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, _ROLLED_BACK):
            return True
        # What the server says has an SQLSTATE; that it is not there any more has none.
        broke = isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)) and (
            isinstance(cause, _ENDED) or cause.sqlstate is None
        )
        return broke and phase is Phase.WORK and kind is not Kind.WRITE

    def reason(self, error: BaseException) -> str:
        """Return the first line of what PostgreSQL or the driver says."""
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        password = self._url.password
        return reason.replace(str(password), "***") if password else reason

    def check_whole(self, connection: Connection) -> None:
        """PostgreSQL checks its pages itself (data checksums, ``pg_amcheck``)."""

    def _connect_options(self) -> dict[str, Any]:
        return {
            "application_name": "fraudfed-aggregator",
            "connect_timeout": _CONNECT_SECONDS,
            # A network that is cut is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
            "options": _OPTIONS,
        }


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    found: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
    return found


def _parsed(url: str) -> URL:
    # No message repeats the URL: it may hold a password.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(_WRONG_URL) from None
    if parsed.drivername not in {"postgresql", "postgresql+psycopg"} or not parsed.database:
        raise ConfigurationError(_WRONG_URL)
    return parsed.set(drivername="postgresql+psycopg")


_WRONG_URL = (
    "--database is no PostgreSQL URL; give postgresql://user:password@host/database, with what is "
    "special in user or password percent-encoded"
)
