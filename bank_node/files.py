"""Atomic, private files: a reader sees the old bytes or the new ones, never a part.

Law: after ``write_atomic`` returned, the bytes survive a crash of the machine; if it raised, the
file is as it was before.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fraudfed.errors import StateError

__all__ = ["PRIVATE_DIRECTORY", "PRIVATE_FILE", "sync_directory", "write_atomic", "write_stream"]

#: Only the owner reads and writes.
PRIVATE_FILE = 0o600
#: Only the owner enters.
PRIVATE_DIRECTORY = 0o700


def write_atomic(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Replace the file at ``path`` by ``data``; see ``write_stream``."""

    def write(stream: BinaryIO) -> None:
        stream.write(data)

    write_stream(path, write, mode=mode)


def write_stream(path: Path, write: Callable[[BinaryIO], None], *, mode: int) -> None:
    """Replace the file at ``path`` by what ``write`` puts into a stream.

    Written beside the target, flushed to disk, then renamed over it.

    Raises
    ------
    StateError
        If the directory does not exist or cannot be written, or the disk is full.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make a rename in ``directory`` durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{path}: cannot be written ({error.strerror or error}); expected a writable directory "
        f"with free space: check {path.parent}"
    )
