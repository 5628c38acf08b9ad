"""One process at a time, by a lock on a file: the system lets go of it when the process ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fraudfed.durable_file import PRIVATE_FILE
from fraudfed.errors import StateError


def take_lock(path: Path, *, held: str | None) -> int:
    """Lock a file, which is made when it is missing; closing what is returned lets go of it.

    Parameters
    ----------
    path : Path
    held : str or None
        What to say where another process holds it; None waits until that one ends.

    Returns
    -------
    int
        A file descriptor.

    Raises
    ------
    StateError
        If another process holds it, or it cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be made ({error.strerror or error}); check owner, mode and room"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if held is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StateError(held or f"{path}: is held by another process; try again") from None
    except BaseException:
        # A signal ended the wait.
        os.close(handle)
        raise
    return handle


@contextlib.contextmanager
def locked(path: Path, *, held: str | None) -> Iterator[None]:
    """Hold a file's lock; see ``take_lock``."""
    handle = take_lock(path, held=held)
    try:
        yield
    finally:
        os.close(handle)
