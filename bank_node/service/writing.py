"""What a disk refuses is no mistake of the caller, and no reason to stop: it is told to come again.

A service whose disk is full takes no new payment and answers all else; it continues by itself as
soon as something can be written again.
"""

import contextlib
import errno
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fraudfed.errors import StateError, UnavailableError

_log = logging.getLogger(__name__)

#: No room on the disk, in the quota of the user, or in what the process may write.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: How long a caller holds off: room is not made within a second.
_RETRY_SECONDS = 5
#: More than a record of any payment takes.
_PROBE_BYTES = 64 * 1024


class Disk:
    """Whether the service can write things down. Safe to use from many threads.

    Parameters
    ----------
    directory : Path
        Where it writes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._refuses = False

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the disk refuses into UnavailableError; an error of a store stays as it is."""
        try:
            yield
        except UnavailableError as error:
            if is_of_disk(error):
                raise self._refused(error) from error
            raise
        except (StateError, OSError) as error:
            raise self._refused(error) from error
        if self._refuses:
            self._refuses = False
            _log.warning("what is decided can be written down again; new payments are taken")

    def require(self) -> None:
        """Raise UnavailableError while nothing can be written; tries it if it could not before."""
        if not self._refuses:
            return
        with self.writing(), tempfile.TemporaryFile(dir=self._directory) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fdatasync(file.fileno())

    def _refused(self, error: Exception) -> UnavailableError:
        # One line for all payments that are refused: the log may lie on the same disk.
        if not self._refuses:
            _log.error("nothing can be written down; new payments are refused: %s", error)
        self._refuses = True
        full = "its disk is full: make room, then" if has_no_room(error) else "see its log;"
        return UnavailableError(
            "the scoring service can write nothing down at present, so that it takes no payment: "
            f"{full} send the same again",
            retry_after_seconds=_RETRY_SECONDS,
        )


def has_no_room(error: BaseException) -> bool:
    """Tell whether an error, or what led to it, is that there is no room."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _NO_ROOM:
            return True
        if isinstance(found, sqlite3.Error) and "full" in str(found):
            return True
        found = found.__cause__
    return False


def is_of_disk(error: UnavailableError) -> bool:
    """Tell whether a store does not answer because of a disk of this machine."""
    return isinstance(error.__cause__, OSError | sqlite3.Error | StateError)
