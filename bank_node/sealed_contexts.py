"""Which contexts this bank has sealed a contribution under: never a second one.

The pairwise masks of a contribution follow from its context alone. Two contributions under one
context would carry the same masks, and their difference would show the difference of the
statistics to whoever holds the Paillier key. So a context is written down, durably, before
anything is sealed under it, and a program that was started again refuses it.
"""

import os
from pathlib import Path

from bank_node.files import PRIVATE_FILE, sync_directory
from fraudfed.errors import StateError
from fraudfed.secure_sum.faults import SumFault, sum_error

__all__ = ["SealedContexts"]

#: SHA-256 in hexadecimal and a line end.
_LINE_BYTES = 65


class SealedContexts:
    """The contexts of one run that have been used up. The caller holds the state directory's lock.

    Parameters
    ----------
    path : Path
        One digest per line; made when it is missing.

    Raises
    ------
    StateError
        If the file cannot be read or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise self._unusable(error) from error
        # A crash may have cut the last line off; what it was for has not been sealed.
        self._whole_bytes = len(data) - len(data) % _LINE_BYTES
        lines = data[: self._whole_bytes].splitlines()
        if any(len(line) != _LINE_BYTES - 1 for line in lines):
            raise StateError(
                f"{path}: a line is no digest; the file was damaged and this run cannot go on: "
                "restore it, or take part in a new run"
            )
        self._digests = {line.decode("ascii", "replace") for line in lines}

    def __contains__(self, context_digest: str) -> bool:
        return context_digest in self._digests

    def claim(self, context_digest: str, *, label: str, round_number: int) -> None:
        """Use a context up; returns when that survives a crash of the machine.

        Raises
        ------
        SumError
            If it was used up before.
        StateError
            If the file cannot be written.
        """
        if context_digest in self._digests:
            raise sum_error(
                SumFault.REUSE,
                label,
                f"this bank sealed its contribution to round {round_number} before it was started "
                "again, and never seals a second one, as the two would show their difference; ask "
                "the operator for a new run",
            )
        try:
            new = not self._path.exists()
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
            try:
                os.ftruncate(handle, self._whole_bytes)
                os.pwrite(handle, context_digest.encode("ascii") + b"\n", self._whole_bytes)
                os.fsync(handle)
            finally:
                os.close(handle)
            if new:
                sync_directory(self._path.parent)
        except OSError as error:
            raise self._unusable(error) from error
        self._whole_bytes += _LINE_BYTES
        self._digests.add(context_digest)

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be used ({error.strerror or error}); nothing was sealed: make "
            "the file writable and see that the disk has room"
        )
