"""Where the arrays of a shard lie: in memory, or elsewhere."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fraudfed.boosting.engine.pages import huge_empty


class Room(Protocol):
    """Gives arrays, and is entered while they are worked on.

    When it is left, pages that can be read again may leave this process's memory.
    """

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array of any content; C-contiguous.

        Raises
        ------
        StateError
            If there is no room left.
        """

    def keep(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array that only this room refers to: the same, or a copy elsewhere.

        Raises
        ------
        StateError
            If there is no room left.
        """

    def __enter__(self) -> "Room": ...

    def __exit__(self, *_: object) -> None: ...


class Memory:
    """Room in memory, in huge pages where they help."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """See ``Room``."""
        return huge_empty(shape, np.dtype(dtype))

    def keep(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See ``Room``."""
        return array

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave everything where it is."""
