"""Room on disk for rows while a command runs: private, and gone with the process.

It lies below ``TMPDIR``. Each directory holds a lock of its process; what a process left behind
that was killed is removed by the next one that needs room.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from fraudfed.errors import StateError

_PREFIX: Final = "fraudfed-rows-"
_LOCK: Final = "lock"


def scratch_directory() -> Path:
    """Make a directory that nobody else may read, removed when the process ends.

    Raises
    ------
    StateError
        If there is no place for it.
    """
    try:
        base = Path(tempfile.gettempdir())
        _remove_abandoned(base)
        # Under another name until it is locked: nobody takes it for abandoned.
        new = Path(tempfile.mkdtemp(prefix=f"new-{_PREFIX}", dir=base))
        lock = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made = new.rename(base / new.name.removeprefix("new-"))
    except OSError as error:
        raise StateError(
            f"no directory for rows can be made ({error.strerror or error}); set TMPDIR to a "
            "directory on a disk with room"
        ) from error
    # The lock stays open for as long as the process lives.
    atexit.register(_remove, made, lock, os.getpid())
    return made


def _remove(made: Path, lock: int, process: int) -> None:
    # A child that was forked has the same exit handlers.
    if os.getpid() == process:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(base: Path) -> None:
    for found in base.glob(f"{_PREFIX}*"):
        try:
            if found.is_symlink() or found.stat().st_uid != os.getuid():
                continue
            with (found / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(found, ignore_errors=True)
        except OSError:
            # Another process has it, or removes it right now.
            continue
