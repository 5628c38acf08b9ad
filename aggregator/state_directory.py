"""The service's own directory: database, keys, and the lock of the one who serves it.

::

    DIR/aggregator.db     all state (SQLite; with -wal and -shm beside it while it is open)
    DIR/operator.token    the operator's API token, readable by the owner only
    DIR/audit.key         the key that the audit log is signed with, readable by the owner only
    DIR/aggregator.lock   held by the process that serves the directory
    DIR/url               address of the service that runs, gone when it stops
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.audit import AuditRecord
from aggregator.audit_key import AuditKey
from aggregator.caller import Role
from aggregator.database import Database, sqlite_url
from aggregator.store import Store
from aggregator.tokens import LOCAL_ACTOR
from fraudfed.errors import StateError

__all__ = ["OPERATOR_NAME", "StateDirectory"]

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

    def create(self) -> None:
        """Make directory, database, keys and token; the database last, so it is all or nothing.

        Raises
        ------
        StateError
            If it holds an aggregator already, or cannot be written.
        """
        if self.database.exists():
            raise StateError(
                f"state directory {self.path} already holds an aggregator; serve it, or give "
                "another directory"
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._create_contents()
        except OSError as error:
            raise StateError(
                f"state directory {self.path} cannot be written: {error.strerror}; give a "
                "directory that this user may write"
            ) from None

    def _create_contents(self) -> None:
        draft = self.path / "aggregator.db.new"
        draft.unlink(missing_ok=True)
        # Made here with its mode, because SQLite would use the umask.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        key = AuditKey.generate()
        store = Store.over(Database.create(sqlite_url(draft)), key)
        try:
            store.audit.record(
                AuditRecord(
                    kind="initialised",
                    actor=LOCAL_ACTOR,
                    subject="service",
                    detail=f"audit key {key.public_hex}",
                )
            )
            token = store.tokens.create(OPERATOR_NAME, Role.OPERATOR)
        finally:
            store.close()
        self._write(self.audit_key, key.to_pem().decode("ascii"), mode=0o600)
        self._write(self.operator_token, token + "\n", mode=0o600)
        draft.rename(self.database)
        self._sync()

    def open_store(self) -> Store:
        """Open the database with its audit key.

        Raises
        ------
        StateError
            If there is none, or it is damaged, foreign, or of another schema version.
        KeyMaterialError
            If the audit key cannot be used.
        """
        if not self.database.is_file():
            raise StateError(
                f"state directory {self.path} holds no aggregator; run "
                f"`aggregator init --state {self.path}` first"
            )
        database = Database.open(sqlite_url(self.database))
        try:
            return Store.over(database, AuditKey.load(self.audit_key))
        except BaseException:
            database.close()
            raise

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

    def write_url(self, url: str) -> None:
        """Record where the running service listens."""
        self._write(self.url_file, url + "\n", mode=0o644)

    def remove_url(self) -> None:
        """Forget where the service listened."""
        self.url_file.unlink(missing_ok=True)

    def _write(self, path: Path, text: str, *, mode: int) -> None:
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
