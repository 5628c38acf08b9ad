"""Canonical bytes of a training state: fixed order, fixed width, little-endian, in a container.

Law: what was read back and is written again gives the same bytes; and nothing is allocated that
the bytes at hand do not pay for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fraudfed.container import Container
from fraudfed.errors import StateError

TRAINING_STATE = Container(
    magic=b"fraudfed training state\n",
    version=1,
    what="a training state",
    advice="take another copy, or begin the training anew",
)
_SOURCE = "training state"


def damaged(what: str) -> StateError:
    """Return the error for bytes that cannot be those of a training state."""
    return TRAINING_STATE.damaged(what, source=_SOURCE)


class StateWriter:
    """Collects the parts of one message.

    Parameters
    ----------
    container : Container
        Frames them.
    """

    def __init__(self, container: Container = TRAINING_STATE) -> None:
        self._container = container
        self._parts: list[bytes] = []

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
        """Return the container of everything."""
        return self._container.pack(*self._parts)


class StateReader:
    """Takes the parts of one message in the order in which they were written.

    Parameters
    ----------
    data : bytes
    container : Container
        That was written.

    Raises
    ------
    StateError
        By every method, if the bytes do not fit.
    """

    def __init__(self, data: bytes, container: Container = TRAINING_STATE) -> None:
        self._data = container.unpack(data, source=container.what.removeprefix("a "))
        self._at = 0

    def raw(self, n_bytes: int) -> bytes:
        """Read bytes."""
        if n_bytes > len(self._data) - self._at:
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
        if self._at != len(self._data):
            raise damaged(f"{len(self._data) - self._at} bytes too many")
