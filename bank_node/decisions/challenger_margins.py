"""What a challenger made of the payments of a segment: rows of their own, joined when read.

A decision is written before its answer is sent, and a challenger scores after that. So its margin
is a row in a file beside the segment, which only grows, too; no row of the segment changes.

A row has 44 bytes::

    start    8       byte of the decision's record in the segment, little-endian
    nonce    12
    margin   24      AES-256-GCM of a float64 under the key of the decision's customer, for that
                     decision alone: it is erased with the decision
"""

import os
import struct
from collections.abc import Callable
from collections.abc import Container as Places
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bank_node.decisions.customer_keys import NONCE_BYTES
from fraudfed.durable_file import append_whole, make_durable
from fraudfed.errors import StateError

_MARGIN: Final = struct.Struct("<d")
_ROW: Final = np.dtype([("start", "<u8"), ("nonce", "V12"), ("margin", "V24")])
_DOMAIN = b"fraudfed decisions: the margin of a challenger\0"

_Rows = npt.NDArray[np.void]


class ChallengerMargins:
    """The rows of one segment.

    Parameters
    ----------
    path : Path
        ``<number>.margins``; made at the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end: int | None = None

    def repair(self, starts: Places[int], opens: Callable[[np.void], bool]) -> None:
        """Drop rows at the end that a crash of the machine cut off, or whose decisions it did.

        Parameters
        ----------
        starts : container of int
            Where the decisions that are left begin.
        opens : callable
            Tells whether a row opens with the key of its decision.

        Raises
        ------
        StateError
            If the file cannot be read or written.
        """
        table = self.read()
        known = [int(start) in starts for start in table["start"]]
        count = known.index(False) if False in known else len(known)
        while count and not opens(table[count - 1]):
            count -= 1
        self._end = count * _ROW.itemsize
        if self.path.exists():
            append_whole(self.path, b"", at=self._end, sync=False)

    def append(self, start: int, margin: float, *, key: bytes, head: bytes) -> None:
        """Add the margin of a decision; it survives the end of this process, see ``sync``.

        Parameters
        ----------
        start : int
            Where the decision's record begins.
        margin : float
        key : bytes
            Of the decision's customer.
        head : bytes
            Of the decision's record: the row is of no other.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        """
        if self._end is None:
            self._end = len(self.read()) * _ROW.itemsize
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, _MARGIN.pack(margin), self._associated(start, head))
        data = struct.pack("<Q", start) + nonce + sealed
        append_whole(self.path, data, at=self._end, sync=False)
        self._end += len(data)

    def read(self) -> _Rows:
        """Return all rows; a part of one at the end is none. Raises StateError."""
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise StateError(
                f"{self.path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        return np.frombuffer(data, dtype=_ROW, count=len(data) // _ROW.itemsize)

    def open(self, row: np.void, *, key: bytes, head: bytes) -> float:
        """Return the margin of a row; raises StateError if it is not of that decision."""
        start = int(row["start"])
        nonce, sealed = bytes(row["nonce"]), bytes(row["margin"])
        try:
            plain = AESGCM(key).decrypt(nonce, sealed, self._associated(start, head))
        except InvalidTag:
            raise StateError(
                f"{self.path}: damaged: the row of the decision at byte {start} does not open with "
                "its key; restore the file from a backup, or remove it: it holds what challengers "
                "said and nothing else"
            ) from None
        (margin,) = _MARGIN.unpack(plain)
        return float(margin)

    def sync(self) -> None:
        """Return when all rows survive a crash of the machine."""
        if self._end:
            make_durable(self.path)

    def _associated(self, start: int, head: bytes) -> bytes:
        name = self.path.name.encode()
        return _DOMAIN + name + b"\0" + struct.pack("<Q", start) + head
