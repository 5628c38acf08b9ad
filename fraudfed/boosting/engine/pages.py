"""Large arrays that are read row by row, far apart: best kept in huge pages."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_HUGE_PAGE_BYTES = 1 << 21
#: From this size on NumPy asks the kernel for huge pages, which begin at a multiple of their size.
_LEAST_BYTES = 1 << 22


def huge_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return ``numpy.empty``, a large array aligned so that huge pages can back all of it.

    With 4 KiB pages each row of a small node costs a page walk. Whether there are huge pages is the
    kernel's choice; the array is the same.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < _LEAST_BYTES:
        return np.empty(shape, dtype=dtype)
    raw = np.empty(n_bytes + _HUGE_PAGE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % _HUGE_PAGE_BYTES
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
