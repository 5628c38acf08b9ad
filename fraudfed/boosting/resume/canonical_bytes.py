"""Canonical bytes: fixed order, fixed width, little-endian, and a checksum at the end.

Law: what was read back and is written again gives the same bytes; and nothing is allocated that
the bytes at hand do not pay for.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from fraudfed.errors import StateError

_CHECKSUM_BYTES = 32


def damaged(what: str) -> StateError:
    """Return the error for bytes that cannot be those of a training state."""
    return StateError(
        f"training state is damaged: {what}; take another copy, or start the training again"
    )


class StateWriter:
    """Collects the parts of one message."""

    def __init__(self, magic: bytes, version: int) -> None:
        self._parts: list[bytes] = [magic]
        self.integer(version, "<u2")

    def raw(self, value: bytes) -> None:
        """Write bytes whose number the reader knows."""
        self._parts.append(value)

    def integer(self, value: int, dtype: str) -> None:
        """Write one integer."""
        self._parts.append(np.array(value, dtype=dtype).tobytes())

    def array(self, values: npt.ArrayLike, dtype: str) -> None:
        """Write an array whose shape the reader knows, C-contiguous."""
        self._parts.append(np.ascontiguousarray(values).astype(dtype, copy=False).tobytes())

    def finish(self) -> bytes:
        """Return everything with its SHA-256 behind it."""
        body = b"".join(self._parts)
        return body + hashlib.sha256(body).digest()


class StateReader:
    """Takes the parts of one message in the order in which they were written.

    Raises
    ------
    StateError
        By every method, if the bytes do not fit.
    """

    def __init__(self, data: bytes, magic: bytes, version: int) -> None:
        if data[: len(magic)] != magic:
            raise StateError(
                "these bytes are not a training state: they begin differently; give what a "
                "training of this program has written"
            )
        self._data = data
        self._stop = len(data) - _CHECKSUM_BYTES
        self._at = len(magic)
        found = self.integer("<u2")
        if found != version:
            raise StateError(
                f"training state has format version {found}, expected {version}; continue with "
                "the release that wrote it, or start the training again"
            )
        if hashlib.sha256(data[: self._stop]).digest() != data[self._stop :]:
            raise damaged("its checksum does not fit")

    def raw(self, n_bytes: int) -> bytes:
        """Read ``n_bytes`` bytes."""
        if n_bytes > self._stop - self._at:
            raise damaged("it ends too early")
        self._at += n_bytes
        return self._data[self._at - n_bytes : self._at]

    def integer(self, dtype: str, *, most: int | None = None) -> int:
        """Read one integer of 0 to ``most``."""
        value = int(self.array(1, dtype)[0])
        if value < 0 or (most is not None and value > most):
            raise damaged(f"a number is {value}, expected 0 to {most}")
        return value

    def array(self, size: int, dtype: str) -> npt.NDArray[Any]:
        """Read a read-only array of shape (size,) in this machine's byte order."""
        kind = np.dtype(dtype)
        raw = np.frombuffer(self.raw(size * kind.itemsize), dtype=kind)
        # Machines with the other order of bytes get a copy in theirs.
        return raw.astype(kind.newbyteorder("="), copy=False)

    def finite(self, size: int, dtype: str) -> npt.NDArray[Any]:
        """Read an array of shape (size,) of floats that are all finite."""
        values = self.array(size, dtype)
        # Not by way of another type: a signalling NaN would raise a warning there.
        if not np.isfinite(values).all():
            raise damaged("a number is not finite")
        return values

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._at != self._stop:
            raise damaged(f"{self._stop - self._at} bytes too many")
