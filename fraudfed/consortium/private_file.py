"""Files that only their owner may reach: how they are read, and how they are written."""

import os
import secrets
import stat
from pathlib import Path

from fraudfed.errors import KeyMaterialError

#: A package of the largest key is below 10 kB; anything above this is another kind of file.
MAXIMUM_BYTES = 64 * 1024


def read_private_file(path: Path, *, what: str, hint: str) -> bytes:
    """Read a file, unless others than its owner can reach it.

    Parameters
    ----------
    path : Path
    what : str
        What is expected to be in it, for the error text (``"key package"``).
    hint : str
        What to do if there is no such file.

    Raises
    ------
    KeyMaterialError
        If it is missing, unreadable, no regular file, too large, or reachable by others.
    """
    try:
        # One descriptor for the check and the read: nobody can swap the file in between.
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyMaterialError(f"{path}: not a regular file, expected a {what}")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyMaterialError(
                    f"{path}: key file has mode {stat.S_IMODE(mode):04o}, so others than its "
                    f"owner can reach it; expected 0600: run `chmod 600 {path}`"
                )
            data = file.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        raise KeyMaterialError(f"{path}: no such key file; {hint}") from None
    except OSError as error:
        raise KeyMaterialError(
            f"{path}: key file cannot be read ({error.strerror}); expected a file that this user "
            "can read"
        ) from error
    if len(data) > MAXIMUM_BYTES:
        raise KeyMaterialError(
            f"{path}: not a {what} (it is larger than {MAXIMUM_BYTES} bytes); take another copy"
        )
    return data


def write_new_private_file(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, atomically and durably.

    Raises
    ------
    FileExistsError
        If the name is taken; that file is left as it is.
    OSError
        If it cannot be written.
    """
    temporary = _write_temporary(path, data)
    try:
        # link, unlike rename, fails when the name is taken.
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def replace_private_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, atomically and durably, in place of one that may be there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
