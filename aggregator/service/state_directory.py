"""The service's own directory: database, keys, and the lock of the process that serves it.

::

    DIR/aggregator.db     all state (SQLite; with -wal and -shm beside it while it is open)
    DIR/database.url      instead: where the PostgreSQL database is, readable by the owner only
    DIR/operator.token    the operator's API token, readable by the owner only
    DIR/audit.key         the key that the audit log is signed with, readable by the owner only
    DIR/aggregator.lock   held by the process that serves the directory
    DIR/url               address of the service that runs, gone when it stops
    DIR/metrics           what the service that runs has counted, emptied when it starts
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.audit.key import AuditKey
from aggregator.audit.log import AuditRecord
from aggregator.caller import LOCAL, Role
from aggregator.service.store import Store
from aggregator.storage.database import Database
from aggregator.storage.dialect import Dialect
from aggregator.storage.postgresql import PostgreSQL
from aggregator.storage.sqlite import SQLite
from fraudfed.durable_file import sync_directory, write_atomic
from fraudfed.errors import ConfigurationError, StateError

#: Name of the token that ``init`` makes.
OPERATOR_NAME = "operator"

#: After ``kill -9`` of the main process its worker notices within a second and ends.
_LOCK_SECONDS = 15.0
_LOCK_POLL_SECONDS = 0.1


class StateDirectory:
    """A directory that ``aggregator init`` makes and ``aggregator serve`` uses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "aggregator.db"

    @property
    def database_url(self) -> Path:
        """The file with the URL of a PostgreSQL database; there is none with SQLite."""
        return self.path / "database.url"

    @property
    def operator_token(self) -> Path:
        """The file with the operator's token."""
        return self.path / "operator.token"

    @property
    def audit_key(self) -> Path:
        """The file with the key that the audit log is signed with."""
        return self.path / "audit.key"

    @property
    def url_file(self) -> Path:
        """The file with the address of the running service."""
        return self.path / "url"

    @property
    def metrics_directory(self) -> Path:
        """The directory with what the worker processes have counted."""
        return self.path / "metrics"

    def create(self, database_url: str | None = None) -> None:
        """Make directory, database, keys and token; the database last, so it is all or nothing.

        Parameters
        ----------
        database_url : str, optional
            An empty PostgreSQL database; None for a SQLite file in the directory.

        Raises
        ------
        StateError
            If directory or database holds an aggregator already, or cannot be written.
        TransportError
            If the database cannot be reached.
        ConfigurationError
            If the URL is none of PostgreSQL's.
        """
        dialect = None if database_url is None else PostgreSQL(database_url, self.path)
        if self.database.exists() or self.database_url.exists():
            raise StateError(
                f"state directory {self.path} already holds an aggregator; serve it, or give "
                "another directory"
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if dialect is None:
                self._create_file()
            else:
                self._create_contents(dialect)
                write_atomic(self.database_url, f"{database_url}\n".encode())
            sync_directory(self.path)
        except OSError as error:
            raise StateError(
                f"state directory {self.path} cannot be written: {error.strerror}; give a "
                "directory that this user may write"
            ) from None

    def _create_file(self) -> None:
        draft = self.path / "aggregator.db.new"
        draft.unlink(missing_ok=True)
        # Made here with its mode, because SQLite would use the umask.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._create_contents(SQLite(draft))
        draft.rename(self.database)

    def _create_contents(self, dialect: Dialect) -> None:
        key = AuditKey.generate()
        store = Store.over(Database.create(dialect), key)
        try:
            store.audit.record(
                AuditRecord.of(LOCAL, "initialised", "service", f"audit key {key.public_hex}")
            )
            token = store.tokens.create(OPERATOR_NAME, Role.OPERATOR)
        finally:
            store.close()
        write_atomic(self.audit_key, key.to_pem())
        write_atomic(self.operator_token, f"{token}\n".encode())

    def dialect(self) -> Dialect:
        """Return which database this directory belongs to.

        Raises
        ------
        StateError
            If there is none.
        """
        if self.database_url.exists():
            try:
                url = self.database_url.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "no text"
                raise StateError(
                    f"{self.database_url} cannot be read: {reason}; give this user the right to, "
                    "or write the database's URL into it again"
                ) from None
            try:
                return PostgreSQL(url, self.path)
            except ConfigurationError:
                raise StateError(
                    f"{self.database_url} holds no PostgreSQL URL; write one line "
                    "postgresql://user:password@host/database into it, mode 0600"
                ) from None
        if not self.database.is_file():
            raise StateError(
                f"state directory {self.path} holds no aggregator; run "
                f"`aggregator init --state {self.path}` first"
            )
        return SQLite(self.database)

    def open_store(self, *, check: bool = False) -> Store:
        """Open the database with its audit key.

        Parameters
        ----------
        check : bool
            Also look for damage in all of the database, as far as that is quick.

        Raises
        ------
        StateError
            If there is none, or it is damaged, foreign, or of another schema version.
        TransportError
            If it cannot be reached.
        KeyMaterialError
            If the audit key cannot be used.
        """
        database = Database.open(self.dialect(), check=check)
        try:
            store = Store.over(database, AuditKey.load(self.audit_key))
            store.audit.require_own(self.audit_key)
        except BaseException:
            database.close()
            raise
        return store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other service off this directory.

        The lock belongs to this process and its children, and ends with the last of them, however
        they end.

        Raises
        ------
        StateError
            If another service still serves it after a grace time.
        """
        try:
            descriptor = os.open(self.path / "aggregator.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise StateError(
                f"state directory {self.path} cannot be used: {error.strerror}; give one that "
                "`aggregator init` made and this user may write"
            ) from None
        try:
            self._acquire(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() >= deadline:
                raise StateError(
                    f"state directory {self.path} is served by another aggregator process; stop "
                    "it first, or give another directory"
                )
            time.sleep(_LOCK_POLL_SECONDS)

    def empty_metrics(self) -> None:
        """Make room for the counts of a service that starts; those of the last one are gone.

        Raises
        ------
        StateError
            If the directory cannot be written.
        """
        try:
            shutil.rmtree(self.metrics_directory, ignore_errors=True)
            self.metrics_directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{self.metrics_directory} cannot be made anew: {error.strerror}; give the state "
                "directory to the user who serves it"
            ) from None

    def write_url(self, url: str) -> None:
        """Record where the running service listens."""
        write_atomic(self.url_file, f"{url}\n".encode(), mode=0o644)

    def remove_url(self) -> None:
        """Forget where the service listened."""
        self.url_file.unlink(missing_ok=True)
