"""How files that only their owner may reach are read; ``fraudfed.durable_file`` writes them."""

import os
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
