"""Where the arrays of a shard lie: in memory, or elsewhere."""

from types import TracebackType
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
        DataError
            If there is no room left.
        """

    def __enter__(self) -> "Room": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Memory:
    """Room in memory, in huge pages where they help."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """See ``Room``."""
        return huge_empty(shape, np.dtype(dtype))

    def __enter__(self) -> "Memory":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave everything where it is."""
