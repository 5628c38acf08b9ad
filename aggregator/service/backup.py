"""Back-up of a SQLite database, consistent also while it is served."""

import contextlib
import os
import sqlite3
from pathlib import Path

from aggregator.service.state_directory import StateDirectory
from aggregator.storage.database import Database
from aggregator.storage.sqlite import SQLite
from fraudfed.errors import StateError

#: Other connections keep the file for a moment only.
_BUSY_SECONDS = 60


def back_up(state: StateDirectory, target: Path) -> None:
    """Copy the database of a state directory into a new file.

    One read transaction covers the whole copy: it holds what was committed when it began, and
    neither waits for nor holds up what is written meanwhile. Nothing secret is in it: tokens and
    invitations are there as hashes only, ciphertexts and openings are sealed.

    Raises
    ------
    StateError
        If the database is in PostgreSQL, damaged or unreadable, or the file exists or cannot be
        written.
    """
    dialect = state.dialect()
    if not isinstance(dialect, SQLite):
        raise StateError(
            f"database {dialect.name} is in PostgreSQL; back it up with pg_dump (docs/database.md)"
        )
    # Older versions, too: a back-up comes before a migration.
    Database.require_known(dialect)
    if target.exists():
        raise StateError(f"back-up {target} exists already; give the name of a new file")
    draft = target.with_name(target.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        # Made here with its mode, because SQLite would use the umask.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            _copy(dialect, draft)
            _sync(draft)
            # Not ``rename``: it would replace what was made there meanwhile.
            os.link(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        _sync(target.absolute().parent)
    except FileExistsError:
        raise StateError(f"back-up {target} exists already; give the name of a new file") from None
    except OSError as error:
        raise StateError(
            f"back-up {target} cannot be written: {error.strerror}; give a file in a directory "
            "that this user may write and that has room"
        ) from None


def _copy(dialect: SQLite, draft: Path) -> None:
    source = contextlib.closing(sqlite3.connect(dialect.path, timeout=_BUSY_SECONDS))
    target = contextlib.closing(sqlite3.connect(draft))
    try:
        with source as read, target as written:
            # All pages at once: piece by piece, every change in between would start it over.
            read.backup(written, pages=-1)
            # One file, without a log beside it.
            written.execute("PRAGMA journal_mode=DELETE").close()
            found = written.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise dialect.meaning(error) or error from None
    if found != ("ok",):
        raise StateError(
            f"database {dialect.name} is damaged ({' '.join(str(found[0]).split())}); stop the "
            "service and restore it from an earlier back-up"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
