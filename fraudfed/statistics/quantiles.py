"""Quantiles of a column of numbers, from the counts of its cells.

A cell is a range of numbers an eighth wide, so a quantile is known as well as that. Rows that lie
in parts too small to be entered are spread evenly over the parts of their coarse cell.
"""

from typing import Final

import numpy as np

from fraudfed.boosting.engine.keys import KEY_BITS, values_from_keys
from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.statistics.counts import FINE_BITS, N_COARSE, N_PARTS
from fraudfed.statistics.pooled import PooledColumn

_N_FINE: Final = N_COARSE * N_PARTS
#: Both ends of the finite numbers: keys beyond are infinite or no numbers.
_SMALLEST, _LARGEST = (sign * float(np.finfo(np.float32).max) for sign in (-1, 1))


def edges() -> Float64Array:
    """Return the lower edge of every fine cell, and the end; shape (4097,), ascending."""
    lows = np.arange(_N_FINE, dtype=np.uint32) << np.uint32(KEY_BITS - FINE_BITS)
    with np.errstate(invalid="ignore"):
        values = values_from_keys(lows).astype(np.float64)
    half = _N_FINE // 2
    # Beyond the finite numbers bits mean infinity or no number at all.
    values[:half] = np.where(np.isfinite(values[:half]), values[:half], _SMALLEST)
    values[half:] = np.where(np.isfinite(values[half:]), values[half:], _LARGEST)
    return np.append(values, _LARGEST)


def density(cells: Int64Array, fine: Int64Array, filled: Int64Array) -> Float64Array:
    """Return rows of every fine cell; shape (4096,), dtype=float64.

    Parameters
    ----------
    cells : ndarray of shape (256,), dtype=int64
    fine : ndarray of shape (n_filled, 16), dtype=int64
        Parts of the coarse cells ``filled``.
    filled : ndarray of shape (n_filled,), dtype=int64
    """
    found = np.zeros((N_COARSE, N_PARTS))
    rest = np.maximum(cells[filled] - fine.sum(axis=1), 0)
    found[filled] = fine + rest[:, None] / N_PARTS
    return found.ravel()


def density_of(column: PooledColumn) -> Float64Array:
    """Return ``density`` of a summed column of numbers."""
    if column.fine is None or column.filled is None:
        raise ValueError("the column holds no numbers")
    return density(column.cells, column.fine, column.filled)


def quantiles(rows: Float64Array, levels: Float64Array) -> Float64Array:
    """Return quantiles, linear within a cell; NaN without any row.

    Parameters
    ----------
    rows : ndarray of shape (4096,), dtype=float64
        ``density``.
    levels : ndarray of shape (k,), dtype=float64
        Between 0 and 1.
    """
    through = np.concatenate(([0.0], np.cumsum(rows)))
    if through[-1] <= 0:
        return np.full(levels.size, np.nan)
    wanted = levels * through[-1]
    cell = np.searchsorted(through, wanted, side="left").clip(1, _N_FINE) - 1
    ends = edges()
    share = (wanted - through[cell]) / np.maximum(rows[cell], 1e-300)
    low, high = ends[cell], ends[cell + 1]
    found: Float64Array = low + (high - low) * np.clip(share, 0.0, 1.0)
    # Zero shares its cell with numbers that float32 can hardly hold.
    found[np.abs(found) < np.finfo(np.float32).tiny] = 0.0
    return found
