"""Large arrays that are read row by row, far apart: best kept in huge pages."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fraudfed.dtypes import BinArray, Float32Array, Int64Array

_HUGE_PAGE_BYTES = 1 << 21
#: From this size on NumPy asks the kernel for huge pages, which begin at a multiple of their size.
_LEAST_BYTES = 1 << 22


def huge_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return ``numpy.empty``, a large array aligned so that huge pages can back all of it.

    With 4 KiB pages each row of a small node costs a page walk. Whether there are huge pages is the
    kernel's choice; the array is the same, of the given shape and dtype.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < _LEAST_BYTES:
        return np.empty(shape, dtype=dtype)
    raw = np.empty(n_bytes + _HUGE_PAGE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % _HUGE_PAGE_BYTES
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


def empty_bins(features: Float32Array, offsets: Int64Array) -> BinArray:
    """Return room for the bin codes of these rows, in 8 bits where they do.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features), dtype=float32
    offsets : ndarray of shape (n_features + 1,), dtype=int64

    Returns
    -------
    ndarray of shape (n_features, n_rows), dtype=uint8 or uint16, C-contiguous
    """
    # A missing value has the number of the feature's bins as its code.
    largest_code = np.diff(offsets).max(initial=0)
    dtype = np.uint8 if largest_code <= np.iinfo(np.uint8).max else np.uint16
    return huge_empty((offsets.size - 1, features.shape[0]), dtype)
