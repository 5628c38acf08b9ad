"""Counts of rows from noised ones: the nearest that never fall.

Counts by range with noise may be negative. What is at or above a range can only grow as the range
gets lower, so the noised running totals are replaced by the nearest that do (least squares; M. Hay,
V. Rastogi, G. Miklau, D. Suciu, "Boosting the accuracy of differentially private histograms through
consistency", VLDB 2010, section 3: the nearest ordered sequence has less error, and needs no more
of the bound as it looks at what is opened alone). Setting each negative count to 0 instead would
add rows in every range that holds few.

All in integers and fractions of integers: the same at every bank.
"""

from fractions import Fraction

import numpy as np

from fraudfed.dtypes import Int64Array


def monotone_counts(noised: Int64Array, *, unit: int) -> Int64Array:
    """Return counts of rows, none negative, whose totals from above are nearest to the noised.

    Parameters
    ----------
    noised : ndarray of shape (n_ranges,), dtype=int64
        Counts in fractions of a row, ascending ranges.
    unit : int
        That many are one row.

    Returns
    -------
    ndarray of shape (n_ranges,), dtype=int64
        Rows. Equal to the counts if these are whole and none is negative.
    """
    # Pools of neighbours with one mean each (pool adjacent violators): sum, and length.
    pools: list[tuple[int, int]] = []
    total = 0
    for one in noised[::-1].tolist():
        total += one
        pools.append((total, 1))
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] > pools[-1][0] * pools[-2][1]:
            (before, n_before), (after, n_after) = pools[-2:]
            pools[-2:] = [(before + after, n_before + n_after)]
    running = [
        max(round(Fraction(value, length * unit)), 0)
        for value, length in pools
        for _ in range(length)
    ]
    counts = np.array(running, dtype=np.int64)
    counts[1:] -= np.array(running[:-1], dtype=np.int64)
    return counts[::-1].copy()
