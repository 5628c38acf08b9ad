"""Local histograms of one bank: exact sums of gradients and hessians per bin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.engine.compiled import Engine, load_engine
from fraudfed.dtypes import Float64Array, IndexArray, Int64Array, UInt32Array

#: Integers up to this size, and so every partial sum below it, are exact in float64.
_EXACT_BITS = 53


@dataclass(frozen=True, eq=False)
class HistogramOrder:
    """What is to be summed of one node.

    Attributes
    ----------
    rows : ndarray of shape (n_selected,), dtype=uint32
        Distinct row numbers.
    features : ndarray of shape (n_active,), dtype=int64
        Ascending.
    """

    rows: UInt32Array
    features: Int64Array


@dataclass(frozen=True, eq=False)
class LocalSums:
    """Sums over this bank's rows of one order.

    Attributes
    ----------
    histogram : ndarray of shape (2, total_bins), dtype=int64
        Gradients in row 0, hessians in row 1; missing values are left out. Zero in the bins of
        features that were not asked for.
    total : ndarray of shape (2,), dtype=int64
        Gradient and hessian of the rows, missing values or not.
    """

    histogram: Int64Array
    total: Int64Array


class HistogramBuilder:
    """Sums fixed-point gradients over rows, bin by bin.

    Parameters
    ----------
    binned : BinnedTable
        Its codes are checked once; they must not change afterwards.
    gradients : ndarray of shape (n_rows, 2), dtype=int64
        Gradient and hessian of each row in fixed point.

    Raises
    ------
    ValueError
        If there is a bin code above that of a missing value.
    """

    def __init__(self, binned: BinnedTable, gradients: Int64Array) -> None:
        engine = load_engine()
        self._n_bins = int(binned.cuts.offsets[-1])
        self._sums: _CompiledSums | _NumpySums = (
            _NumpySums(binned, gradients)
            if engine is None
            else _CompiledSums(engine, binned, gradients)
        )

    def build(self, orders: Sequence[HistogramOrder]) -> list[LocalSums]:
        """Sum the gradients of several sets of rows, each over the bins of some features.

        All in one call, so that threads share many small nodes as well as a single large one.
        """
        histograms = np.zeros((len(orders), 2, self._n_bins), dtype=np.int64)
        totals = np.zeros((len(orders), 2), dtype=np.int64)
        self._sums.add(orders, histograms, totals)
        return [LocalSums(*pair) for pair in zip(histograms, totals, strict=True)]


class _CompiledSums:
    """Adds integers row by row, with the workers of the table."""

    def __init__(self, engine: Engine, binned: BinnedTable, gradients: Int64Array) -> None:
        self._engine = engine
        self._binned = binned
        self._gradients = gradients

    def add(
        self, orders: Sequence[HistogramOrder], histograms: Int64Array, totals: Int64Array
    ) -> None:
        self._engine.sum_histograms(
            self._binned.packed,
            self._gradients,
            [order.rows for order in orders],
            [order.features for order in orders],
            histograms,
            totals,
            self._binned.workers.pool,
        )


class _NumpySums:
    """Adds with ``numpy.bincount``, feature by feature.

    It adds float64 weights faster than NumPy adds integers by index. That is exact as long as no
    partial sum can reach 2^53; larger values are summed in several limbs.
    """

    def __init__(self, binned: BinnedTable, gradients: Int64Array) -> None:
        self._bins = binned.bins
        self._offsets = binned.cuts.offsets
        self._gradients = gradients
        self._planes = tuple(_limbs(np.ascontiguousarray(plane)) for plane in gradients.T)

    def add(
        self, orders: Sequence[HistogramOrder], histograms: Int64Array, totals: Int64Array
    ) -> None:
        for order, histogram, total in zip(orders, histograms, totals, strict=True):
            # Converted once here; take would convert it again for each column.
            rows = order.rows.astype(np.intp)
            total += self._gradients[rows].sum(axis=0)
            if order.features.size:
                self._add_features(rows, order.features, histogram)

    def _add_features(self, rows: IndexArray, features: Int64Array, histogram: Int64Array) -> None:
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
                    if sums.size > stop - start + 1:
                        raise ValueError(f"bins of feature {feature}: a code above {stop - start}")
                    histogram[plane, start:stop] += sums[:-1].astype(np.int64) << shift


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
