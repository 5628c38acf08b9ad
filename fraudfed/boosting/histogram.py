"""Local histograms of one bank: exact sums of gradients and hessians per bin."""

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.dtypes import Float64Array, Int64Array

__all__ = ["HistogramBuilder"]

#: Integers up to this size, and so every partial sum below it, are exact in float64.
_EXACT_BITS = 53


class HistogramBuilder:
    """Sums fixed-point gradients over rows, bin by bin.

    ``numpy.bincount`` adds float64 weights faster than NumPy adds integers by index. That is
    exact as long as no partial sum can reach 2^53; larger values are summed in several limbs.

    Parameters
    ----------
    binned : BinnedTable
    gradients : ndarray of shape (n_rows, 2), dtype=int64
        Gradient and hessian of each row in fixed point.
    """

    def __init__(self, binned: BinnedTable, gradients: Int64Array) -> None:
        self._bins = binned.bins
        self._offsets = binned.cuts.offsets
        self._planes = tuple(_limbs(np.ascontiguousarray(plane)) for plane in gradients.T)

    def build(self, rows: Int64Array, features: Int64Array) -> Int64Array:
        """Sum the gradients of ``rows`` over the bins of ``features``.

        Parameters
        ----------
        rows : ndarray of shape (n_selected,), dtype=int64
            Distinct row numbers.
        features : ndarray of shape (n_active,), dtype=int64

        Returns
        -------
        ndarray of shape (2, total_bins), dtype=int64
            Gradients in row 0, hessians in row 1; missing values are left out. Zero in the bins
            of features that were not asked for.
        """
        histogram = np.zeros((2, int(self._offsets[-1])), dtype=np.int64)
        if features.size == 0:
            return histogram
        every_row = rows.size == self._bins.shape[1]
        weights = [
            [(shift, limb if every_row else limb.take(rows)) for shift, limb in plane]
            for plane in self._planes
        ]
        for feature in features.tolist():
            start, stop = int(self._offsets[feature]), int(self._offsets[feature + 1])
            column = self._bins[feature]
            # Converted once here; bincount would convert it again for each plane.
            codes = (column if every_row else column.take(rows)).astype(np.intp)
            for plane, limbs in enumerate(weights):
                for shift, limb in limbs:
                    sums = np.bincount(codes, weights=limb, minlength=stop - start + 1)
                    histogram[plane, start:stop] += sums[:-1].astype(np.int64) << shift
        return histogram


def _limbs(values: Int64Array) -> list[tuple[int, Float64Array]]:
    """Split integers into ``sum(limb << shift)`` so that each limb's sums are exact in float64."""
    n_rows = max(values.size, 1)
    width = _EXACT_BITS - n_rows.bit_length()
    limbs: list[tuple[int, Float64Array]] = []
    shift = 0
    while _largest(values) >> width:
        low = values & ((1 << width) - 1)
        limbs.append((shift, low.astype(np.float64)))
        values = values >> width  # rounds down, which matches a low limb of 0 or above
        shift += width
    limbs.append((shift, values.astype(np.float64)))
    return limbs


def _largest(values: Int64Array) -> int:
    """Return the largest magnitude; as Python integers, because -(-2^63) overflows."""
    if values.size == 0:
        return 0
    return max(int(values.max()), -int(values.min()))
