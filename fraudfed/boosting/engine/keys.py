"""Sort keys of float32 values: unsigned integers of the same order, counted by leading bits."""

import numpy as np

from fraudfed.dtypes import Float32Array, Int64Array, UInt32Array

KEY_BITS = 32
#: A bucket of keys is counted in this many bits' worth of parts.
STEP_BITS = 4
N_PARTS = 1 << STEP_BITS
_SIGN = np.uint32(0x80000000)


def keys_from_values(values: Float32Array) -> UInt32Array:
    """Map finite float32 to uint32 of the same order; -0.0 and 0.0 get the same key.

    Parameters
    ----------
    values : ndarray of any shape, dtype=float32

    Returns
    -------
    ndarray of the same shape, dtype=uint32
    """
    # Adding +0.0 turns -0.0 into +0.0 and changes nothing else.
    bits = np.ascontiguousarray(values + np.float32(0.0)).view(np.uint32)
    flipped: UInt32Array = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return flipped


def values_from_keys(keys: UInt32Array) -> Float32Array:
    """Invert ``keys_from_values``; shape is kept."""
    bits = np.where(keys & _SIGN, keys & ~_SIGN, ~keys).astype(np.uint32)
    values: Float32Array = bits.view(np.float32)
    return values


def count_sorted(
    keys: UInt32Array, below: Int64Array, lows: Int64Array, bits: Int64Array
) -> Int64Array:
    """Count the keys in the sixteenths of buckets.

    Parameters
    ----------
    keys : ndarray of shape (n,), dtype=uint32
        Ascending.
    below : ndarray of shape (n + 1,), dtype=int64
        Rows with a key before each of ``keys``; the last entry is for all rows.
    lows, bits : ndarray of shape (k,), dtype=int64
        As in ``KeyCounter.count``.

    Returns
    -------
    ndarray of shape (k, 16), dtype=int64
    """
    widths = np.int64(1) << (KEY_BITS - STEP_BITS - bits)
    # The last key of each part: the end of the last bucket is no uint32.
    last = lows[:, None] + widths[:, None] * np.arange(1, N_PARTS + 1) - 1
    through = below[np.searchsorted(keys, last.astype(np.uint32), side="right")]
    before = below[np.searchsorted(keys, lows.astype(np.uint32), side="left")]
    return np.diff(through, axis=1, prepend=before[:, None])
