"""Durable, private files: the one way in which the programs write what must not be lost.

Law: when a write has returned, its bytes survive a crash of the machine; when it raised, the file
is as it was before. A reader sees the old bytes or the new ones, never a part, and only the owner
can read them. A log grows by ``append_whole``: whole records, or nothing.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fraudfed.errors import StateError

#: Only the owner reads and writes.
PRIVATE_FILE = 0o600
#: Only the owner enters.
PRIVATE_DIRECTORY = 0o700


def write_atomic(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Replace the file at ``path`` by ``data``; see ``write_stream``."""
    write_stream(path, _writer_of(data), mode=mode)


def write_stream(
    path: Path, write: Callable[[BinaryIO], object], *, mode: int = PRIVATE_FILE
) -> None:
    """Replace the file at ``path`` by what ``write`` puts into a stream.

    The stream is a file beside the target, which is flushed to disk and renamed over it. Only if
    the directory itself cannot be flushed after that, the new bytes may be there after an error.

    Parameters
    ----------
    path : Path
    write : callable taking a binary stream
    mode : int
        Of the new file, whatever the umask.

    Raises
    ------
    StateError
        If the directory does not exist or cannot be written, or the disk is full.
    """
    try:
        with _draft(path, write, mode) as draft:
            draft.replace(path)
            sync_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_new(path: Path, data: bytes) -> None:
    """Write a new private file.

    Raises
    ------
    FileExistsError
        If the name is taken; that file is left as it is.
    StateError
        If the directory does not exist or cannot be written, or the disk is full.
    """
    try:
        with _draft(path, _writer_of(data), PRIVATE_FILE) as draft:
            # link, unlike rename, fails when the name is taken.
            os.link(draft, path)
            sync_directory(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


def make_private(*directories: Path) -> None:
    """Make directories that only this user enters, the outer one first; what is there stays.

    Raises
    ------
    StateError
        If one cannot be made.
    """
    for directory in directories:
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"{directory}: cannot be made ({error.strerror or error}); check owner and room"
            ) from error


def append_whole(path: Path, data: bytes, *, at: int, sync: bool) -> None:
    """Write ``data`` behind the first ``at`` bytes of a file; what was behind them is dropped.

    Parameters
    ----------
    path : Path
        Made when it is missing.
    data : bytes
    at : int
        Length of the file's whole records, in bytes.
    sync : bool
        Return only when the file survives a crash of the machine.

    Raises
    ------
    StateError
        If the directory does not exist, the file cannot be written or the disk is full. The file
        is cut back to ``at`` bytes then; a new one stays behind, empty.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
        try:
            size = os.fstat(handle).st_size
            if size < at:
                raise StateError(
                    f"{path}: has {size} bytes, expected at least {at}; another program changed "
                    "it: nothing was written; start again"
                )
            os.ftruncate(handle, at)
            try:
                _write_all(handle, data, at)
                if sync:
                    os.fdatasync(handle)
                if sync and at == 0:
                    # The file may be new, here or in a call before that failed.
                    sync_directory(path.parent)
            except OSError:
                # If this fails, too, the next call and the next reader drop the part.
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, at)
                raise
        finally:
            os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error


def make_durable(path: Path) -> None:
    """Let a file and its name survive a crash of the machine, if it exists.

    A program that was killed between writing and syncing leaves behind what the next one can read
    and the disk does not hold yet: nobody may rely on it before this.

    Raises
    ------
    StateError
        If that is not possible.
    """
    try:
        if path.exists():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
            sync_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of writes to ``path`` that a crash cut off."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(OSError):
            leftover.unlink()


@contextlib.contextmanager
def _draft(path: Path, write: Callable[[BinaryIO], object], mode: int) -> Iterator[Path]:
    """Write a file beside ``path`` and flush it to disk; it is gone at the end, unless renamed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        yield draft
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _writer_of(data: bytes) -> Callable[[BinaryIO], object]:
    return lambda stream: stream.write(data)


def _write_all(handle: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        # A disk that is nearly full takes a part first and raises at the next call.
        written = os.pwrite(handle, rest, offset)
        rest, offset = rest[written:], offset + written


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
