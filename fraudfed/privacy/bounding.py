"""At most so many rows of each unit: what bounds how far one unit moves a sum.

Law: which rows of a unit are kept depends on that unit's rows and the draw alone, on no other
unit's. So with a unit added or removed, and the same draw, all other units keep the same rows; as
the draws of units are independent, that is enough for the distributions, too.
"""

import numpy as np

from fraudfed.dtypes import Int64Array


def at_most(
    units: Int64Array,
    most: int,
    *,
    draw: np.random.Generator,
    order: Int64Array | None = None,
) -> Int64Array:
    """Return the positions of at most so many rows of each unit, in ascending order.

    Parameters
    ----------
    units : ndarray of shape (n_rows,), dtype=int64
        Codes of any kind. Rows whose unit is not known share one code: they may all be of one.
    most : int
        At least 1.
    draw : Generator
        The bank's own, from secret entropy; it chooses among rows of equal order.
    order : ndarray of shape (n_rows,), dtype=int64, or None
        The rows with the least are kept first; None: all are equal.

    Returns
    -------
    ndarray of shape (n_kept,), dtype=int64
    """
    drawn = draw.permutation(units.size)
    keys = (drawn, units) if order is None else (drawn, order, units)
    by_unit = np.lexsort(keys)
    of_unit = units[by_unit]
    is_first = np.ones(units.size, dtype=np.bool_)
    is_first[1:] = of_unit[1:] != of_unit[:-1]
    starts = np.flatnonzero(is_first)
    place = np.arange(units.size) - starts.repeat(np.diff(np.append(starts, units.size)))
    kept: Int64Array = np.sort(by_unit[place < most]).astype(np.int64)
    return kept
