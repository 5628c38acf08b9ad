"""Numbers that are ten, a hundred or a thousand times too large, or too small.

Quantiles of the positive numbers are compared on a logarithmic scale, where a factor is a shift:
d_p = log10 q_p(bank) - log10 q_p(others) at the levels 0.1, 0.2, ... 0.9. A mistake by 10^k leaves
d_p - k, another kind of bank leaves d_p. The mistake is named if it leaves at most a twentieth of
the mean square: banks whose amounts differ by a factor of six are not named, and banks
that differ by a factor of two are if one of them is a power of ten off.
"""

from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array
from fraudfed.statistics.compare.finding import Difference, Kind
from fraudfed.statistics.quantiles import quantiles

_LEVELS: Final = np.arange(1, 10) / 10
_POWERS: Final = (-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)
#: Mean squares, with and without the mistake.
_MOST_LEFT: Final = 1 / 20
#: Standard deviations of the sampling error that a shift must exceed.
_LEAST_SIGMAS: Final = 6.0
_FEWEST_ROWS: Final = 100


def positive(rows: Float64Array) -> Float64Array:
    """Return a density without what is zero or less."""
    half = rows.size // 2
    # The first cell from 0 on holds 0 itself and what is as good as 0.
    return np.concatenate((np.zeros(half + 1), rows[half + 1 :]))


def compare_scale(
    column: str, own: Float64Array, others: Float64Array, *, advice: str
) -> Difference | None:
    """Return the power of ten that explains how a column differs, None if none does.

    Parameters
    ----------
    column : str
    own, others : ndarray of shape (4096,), dtype=float64
        ``quantiles.density``.
    advice : str
        What to do about it.
    """
    own, others = positive(own), positive(others)
    n_own, n_others = float(own.sum()), float(others.sum())
    if min(n_own, n_others) < _FEWEST_ROWS:
        return None
    mine, theirs = (np.log10(quantiles(rows, _LEVELS)) for rows in (own, others))
    shift = mine - theirs
    left = {power: float(np.mean((shift - power) ** 2)) for power in (0, *_POWERS)}
    power = min(left, key=lambda each: (left[each], abs(each)))
    if power == 0 or left[power] > _MOST_LEFT * left[0]:
        return None
    # Of a median on this scale: half the spread of the middle 38 % per root of n, about.
    spread = float(mine[6] - mine[2]) + float(theirs[6] - theirs[2])
    error = max(spread, 0.05) / np.sqrt(min(n_own, n_others))
    sigmas = float(abs(np.median(shift))) / float(error)
    if sigmas < _LEAST_SIGMAS:
        return None
    middle = [_rounded(10 ** float(values[4])) for values in (mine, theirs)]
    factor = _factor(power)
    return Difference(
        kind=Kind.SCALE,
        column=column,
        is_mistake=True,
        what=(
            f"numbers are about {factor} those of the other banks: the median is about "
            f"{middle[0]} here and {middle[1]} there"
        ),
        evidence=(
            f"{factor} explains {1 - left[power] / left[0]:.1%} of the difference at nine "
            f"quantiles, and the shift is {sigmas:.0f} standard errors"
        ),
        what_to_do=advice,
    )


def _rounded(value: float) -> str:
    # Quantiles are known to an eighth.
    return f"{float(f'{value:.2g}'):,g}"


def _factor(power: int) -> str:
    return f"{10**power:,} times" if power > 0 else f"1/{10**-power:,} of"
