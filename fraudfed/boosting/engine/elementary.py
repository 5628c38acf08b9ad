"""exp, log and XGBoost's sigmoid and logit with the same bits on every machine.

Law: same input, same output bytes, whatever the CPU. NumPy's own ``exp`` and ``log`` differ in the
last place between SIMD levels, and one different bit in a gradient is another model hash. Here
only operations are used whose result IEEE 754 fixes completely: + - * /, square root, comparison,
rounding to an integer, and scaling by powers of two (each a NumPy call of its own, so that no
compiler contracts a product and a sum into a fused one).

Both functions work in float64 with a relative error below 2**-48; rounded to float32, the result
is the correctly rounded one except where the exact value lies within 2**-48 of a midpoint.

Reduction after W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", Prentice
Hall 1980, chapters 5 and 6; the table of fractional powers of two after P. T. P. Tang,
"Table-driven implementation of the exponential function in IEEE floating-point arithmetic",
ACM TOMS 15(2), 1989, section 2.
"""

import math
from collections.abc import Callable

import numpy as np

from fraudfed.dtypes import Float32Array, Float64Array, Int64Array

_TABLE_BITS = 5
_TABLE_SIZE = 1 << _TABLE_BITS

# ln 2 in two parts; the upper has 32 trailing zero bits, so that its product with an integer
# below 2**16 is exact.
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_SQRT_HALF = math.sqrt(0.5)

#: Outside of these, exp is 0 or infinity in float64.
_EXP_LOW, _EXP_HIGH = -746.0, 710.0

#: 1/k! for the remainder |r| <= ln 2 / 64: the first term left out is below 2**-52.
_EXP_COEFFICIENTS = (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0)
#: 1/(2k+1) of atanh for |s| <= 3 - 2 sqrt 2: the first term left out is below 2**-57.
_ATANH_COEFFICIENTS = tuple(1 / k for k in range(21, 0, -2))

#: Rows handled at a time: the temporaries of one block stay in the cache.
_BLOCK_ROWS = 8192


def _fractional_powers() -> Float64Array:
    """Return 2**(j/32) for j = 0 .. 31 as products of repeated square roots of 2."""
    roots = [2.0]
    for _ in range(_TABLE_BITS):
        roots.append(math.sqrt(roots[-1]))
    powers = np.ones(_TABLE_SIZE)
    for j in range(_TABLE_SIZE):
        for bit in range(_TABLE_BITS):
            if j >> bit & 1:
                powers[j] = float(powers[j]) * roots[_TABLE_BITS - bit]
    return powers


#: The compiled gradients look up the same table.
FRACTIONAL_POWERS = _fractional_powers()


def exp(x: Float64Array) -> Float64Array:
    """Return e to the power of each element.

    Parameters
    ----------
    x : ndarray of any shape, dtype=float64

    Returns
    -------
    ndarray of the same shape, dtype=float64
        exp(-inf) is 0, exp(inf) and overflow are inf, exp(nan) is nan.
    """
    return _blockwise(_exp_block, x)


def log(x: Float64Array) -> Float64Array:
    """Return the natural logarithm of each element.

    Parameters
    ----------
    x : ndarray of any shape, dtype=float64

    Returns
    -------
    ndarray of the same shape, dtype=float64
        log(0) is -inf, log(inf) is inf, the logarithm of a negative number or nan is nan.
    """
    return _blockwise(_log_block, x)


def sigmoid(margins: Float32Array) -> Float32Array:
    """Return 1 / (1 + exp(-m)) in float32, in the order of operations that XGBoost uses.

    Parameters
    ----------
    margins : ndarray of any shape, dtype=float32

    Returns
    -------
    ndarray of the same shape, dtype=float32, in [0, 1]
    """
    # Up to here exp stays finite in float32; the same cap as in XGBoost's Sigmoid.
    capped = np.minimum(-margins, np.float32(88.7))
    powers = exp(capped.astype(np.float64)).astype(np.float32)
    one = np.float32(1.0)
    return (one / (powers + one)).astype(np.float32)


def logit(probability: float) -> np.float32:
    """Return -ln(1/p - 1) in float32, with p first kept 1e-6 away from 0 and 1, as XGBoost does.

    Parameters
    ----------
    probability : float
        In [0, 1]; rounded to float32.
    """
    margin = np.float32(1e-6)
    one = np.float32(1.0)
    p = min(max(np.float32(probability), margin), one - margin)
    odds = np.array([one / p - one], dtype=np.float64)
    return np.float32(-log(odds)[0])


def _blockwise(function: Callable[[Float64Array], Float64Array], x: Float64Array) -> Float64Array:
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    out = np.empty_like(flat)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        for start in range(0, flat.size, _BLOCK_ROWS):
            stop = start + _BLOCK_ROWS
            out[start:stop] = function(flat[start:stop])
    return out.reshape(np.shape(x))


def _exp_block(x: Float64Array) -> Float64Array:
    # x = (32 e + j) ln2/32 + r  ->  exp(x) = 2**e * 2**(j/32) * exp(r)
    is_nan = np.isnan(x)
    bounded = np.clip(np.where(is_nan, 0.0, x), _EXP_LOW, _EXP_HIGH)
    steps = np.rint(bounded * (_LOG2_E * _TABLE_SIZE))
    r = bounded - steps * (_LN2_HIGH / _TABLE_SIZE)
    r -= steps * (_LN2_LOW / _TABLE_SIZE)
    series = np.full_like(r, _EXP_COEFFICIENTS[0])
    for coefficient in _EXP_COEFFICIENTS[1:]:
        series *= r
        series += coefficient
    # series is now (exp(r) - 1) / r; adding the small part last keeps its rounding small.
    series *= r
    whole = steps.astype(np.int64)
    base = FRACTIONAL_POWERS[whole & (_TABLE_SIZE - 1)]
    result: Float64Array = base + base * series
    exponent = whole >> _TABLE_BITS
    # Two steps: 2**-1075 and 2**1024 are no float64, their halves are; only the second can round.
    half = exponent >> 1
    result *= _power_of_two(half)
    result *= _power_of_two(exponent - half)
    result[is_nan] = np.nan
    return result


def _power_of_two(exponent: Int64Array) -> Float64Array:
    bits: Int64Array = (exponent + 1023) << 52
    powers: Float64Array = bits.view(np.float64)
    return powers


def _log_block(x: Float64Array) -> Float64Array:
    # x = 2**k m with m in [sqrt 1/2, sqrt 2); ln m = 2 atanh((m - 1) / (m + 1))
    ordinary = (x > 0) & (x < np.inf)
    m, exponent = np.frexp(np.where(ordinary, x, 1.0))
    low = m < _SQRT_HALF
    m = np.where(low, m * 2.0, m)
    k = exponent.astype(np.float64) - low
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    series = np.full_like(s, _ATANH_COEFFICIENTS[0])
    for coefficient in _ATANH_COEFFICIENTS[1:]:
        series *= square
        series += coefficient
    result = k * _LN2_HIGH + (2.0 * s * series + k * _LN2_LOW)
    result[x == 0] = -np.inf
    result[x == np.inf] = np.inf
    result[(x < 0) | np.isnan(x)] = np.nan
    return result
