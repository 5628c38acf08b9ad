"""Counts over windows from tables with noise: nothing is cut off before the window is added up.

Of each day an identifier has one counter c in the row of its kind, whose counters add up to T, over
w columns. Everything else lies in it with a share of 1 / w: ``(c w - T) / (w - 1)`` is right on
average (the estimator of count-mean sketches; no least of several rows, which noise would pull
down). Noise and error are 0 on average, so they are added up over the days of a window as they are.
Only then is what a count cannot be cut off: payments below 0, and of reports f with noise of
variance v the part that noise makes, ``f max(0, 1 - v / f^2)`` (W. James, C. Stein, "Estimation
with quadratic loss", Berkeley Symposium 1961, in its positive part, for one count). So a rate of
fraud where the noise is louder than all reports is 0, and not the noise's.

All in integers of 2^-16 until then, as windows of different builders begin on different days: the
same bits whatever else is looked up.
"""

from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.features.shared_risk.noise import FRACTION_BITS, RiskNoise
from fraudfed.features.shared_risk.sketch import CountArray
from fraudfed.wire.messages import RiskSpec

#: Of values of one day and of windows: rows times 2^16.
SCALE: Final = 1 << 16


def unbiased(row: CountArray, columns: Int64Array) -> Int64Array:
    """Return the counts of identifiers on one day, without what others add on average.

    Parameters
    ----------
    row : ndarray of shape (width,), of an integer type
        Of the kind of the identifiers.
    columns : ndarray of shape (n,), dtype=int64

    Returns
    -------
    ndarray of shape (n,), dtype=int64
        Times ``SCALE``; rounded down.
    """
    width = row.size
    total = int(row.sum(dtype=np.int64))
    counters = row.take(columns).astype(np.int64)
    found: Int64Array = (counters * width - total) * SCALE // (width - 1)
    return found


def day_variance(spec: RiskSpec, *, kind: str) -> int:
    """Return the variance of the noise of one counter of a day, counts squared times ``SCALE``."""
    noise = RiskNoise.of(spec)
    units = noise.payments if kind == "transactions" else noise.frauds
    return -(-units * SCALE // (1 << (2 * FRACTION_BITS)))


def settled(windows: Int64Array, variances: Int64Array, *, kind: str) -> Int64Array:
    """Return the counts of windows, in whole numbers from 0 on.

    Parameters
    ----------
    windows, variances : ndarray of any shape, dtype=int64
        Times ``SCALE``.
    kind : {"transactions", "frauds"}
    """
    counts: Float64Array = np.maximum(windows / SCALE, 0.0)
    if kind == "frauds":
        squares = counts * counts
        is_loud = squares > variances / SCALE
        kept = np.zeros_like(counts)
        np.divide(variances / SCALE, squares, out=kept, where=is_loud)
        counts = np.where(is_loud, counts * (1.0 - kept), 0.0)
    rounded: Int64Array = np.floor(counts + 0.5).astype(np.int64)
    return rounded
