"""Counts over windows from tables with noise: nothing is cut off before the window is added up.

Of each day an identifier has one counter c in the row of its kind, whose counters add up to T, over
w columns. Everything else lies in it with a share of 1 / w: ``(c w - T) / (w - 1)`` is right on
average (the estimator of count-mean sketches; no least of several rows, which noise would pull
down). Noise and error are 0 on average, so they are added up over the days of a window as they are.
Only then is cut off what a count cannot be: payments below 0, and of reports f with noise of
standard deviation s what noise makes, ``f max(0, 1 - (2 s / f)^2)`` (the non-negative garrote of
one count: L. Breiman, Technometrics 37(4), 1995, pages 373-384, section 2). So a rate of fraud is 0
where noise alone could make it, and hardly changed where it could not.

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
#: Of the noise, below which reports are taken for it.
_DEVIATIONS: Final = 2.0


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
        threshold = _DEVIATIONS**2 * (variances / SCALE)
        is_loud = squares > threshold
        noise = np.zeros_like(counts)
        np.divide(threshold, squares, out=noise, where=is_loud)
        counts = np.where(is_loud, counts * (1.0 - noise), 0.0)
    rounded: Int64Array = np.floor(counts + 0.5).astype(np.int64)
    return rounded
