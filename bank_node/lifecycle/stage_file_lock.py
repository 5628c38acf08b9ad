"""One command at a time changes the life cycle; a training may go on beside it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraudfed.durable_file import PRIVATE_FILE
from fraudfed.errors import StateError


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Hold a lock file.

    Raises
    ------
    StateError
        If it cannot be made, or another process holds it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be made ({error.strerror or error}); check owner and room"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StateError(
            f"{path.parent}: another process changes the life cycle; start the command again"
        ) from None
    try:
        yield
    finally:
        os.close(handle)
