"""The sum of many weights, exactly, and weights that shrink.

A float32 is a whole number of 24 bits times a power of two. Whole numbers of one power add up in
int64, so the parts of a sum do not depend on the order of the rows, nor on how they are parted; the
sum itself is rounded once.
"""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import Float32Array, Int64Array

#: Binary digits of a float32's significand.
_DIGITS: Final = 24
#: Least exponent of ``numpy.frexp`` of a float32 above 0: that of the smallest subnormal.
_LEAST_EXPONENT: Final = -148
#: Exponents of finite float32: -148 to 128.
N_EXPONENTS: Final = 128 - _LEAST_EXPONENT + 1
#: Rows at a time, so that what lies in between needs no memory.
_ROWS_AT_A_TIME: Final = 1 << 18


def weight_parts(weights: Float32Array | None, n_rows: int) -> Int64Array:
    """Return the parts of the sum of weights.

    Parameters
    ----------
    weights : ndarray of shape (n_rows,), dtype=float32, or None
        Above 0 and finite; None is weight 1.
    n_rows : int

    Returns
    -------
    ndarray of shape (N_EXPONENTS,), dtype=int64
        Element ``i`` counts units of ``2 ** (i - 148 - 24)``.
    """
    parts = np.zeros(N_EXPONENTS, dtype=np.int64)
    if weights is None:
        # 1 is 0.5 * 2^1.
        parts[1 - _LEAST_EXPONENT] = n_rows << (_DIGITS - 1)
        return parts
    for start in range(0, n_rows, _ROWS_AT_A_TIME):
        significands, exponents = np.frexp(weights[start : start + _ROWS_AT_A_TIME])
        units = significands.astype(np.float64) * (1 << _DIGITS)
        # 2^18 whole numbers below 2^24: exact in float64.
        sums = np.bincount(exponents - _LEAST_EXPONENT, weights=units, minlength=N_EXPONENTS)
        parts += sums.astype(np.int64)
    return parts


def total_of(parts: Int64Array) -> float:
    """Return the sum that parts make up, rounded once."""
    total = Fraction(0)
    for place, count in enumerate(parts.tolist()):
        total += count * Fraction(2) ** (place + _LEAST_EXPONENT - _DIGITS)
    return math.inf if total > Fraction(np.finfo(np.float64).max) else float(total)


def scaled(table: TrainingTable, factor: float) -> TrainingTable:
    """Return the same rows with weights times a factor, rounded toward zero; none grows.

    Parameters
    ----------
    table : TrainingTable
    factor : float
        In (0, 1].
    """
    weights = np.ones_like(table.labels) if table.weights is None else table.weights
    if factor == 1.0:
        return replace(table, weights=weights)
    wanted = weights.astype(np.float64) * factor
    shrunk = wanted.astype(np.float32)
    shrunk = np.where(shrunk > wanted, np.nextafter(shrunk, np.float32(0.0)), shrunk)
    # A weight of 0 would break the contract of a table.
    least = np.finfo(np.float32).smallest_subnormal
    return replace(table, weights=np.maximum(shrunk, least).astype(np.float32))
