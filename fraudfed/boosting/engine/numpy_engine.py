"""The engine in NumPy: the reference of every call, and what does the work without kernels."""

from collections.abc import Sequence

import numpy as np

from fraudfed.boosting.engine.keys import count_sorted, keys_from_values
from fraudfed.boosting.engine.logistic import fill_gradients
from fraudfed.boosting.engine.pages import empty_bins
from fraudfed.boosting.engine.protocol import FoundSplit
from fraudfed.boosting.gain import GainFormula, NodeSums, WeightBounds, first_best, to_double
from fraudfed.dtypes import (
    BinArray,
    BoolArray,
    Float32Array,
    Float64Array,
    IndexArray,
    Int64Array,
    UInt32Array,
)

#: Integers up to this size, and so every partial sum below it, are exact in float64.
_EXACT_BITS = 53


class NumpyEngine:
    """One thread, no compiled code.

    Parameters
    ----------
    reason : str
        Why there are no compiled kernels; part of the name.
    """

    threads = 1

    def __init__(self, reason: str) -> None:
        self.name = f"numpy ({reason})"

    def key_counter(self, features: Float32Array, columns: Int64Array) -> "_SortedKeys":
        """See ``Engine``."""
        return _SortedKeys(features, columns)

    def bin_values(
        self,
        features: Float32Array,
        edges: Float32Array,
        offsets: Int64Array,
        is_categorical: BoolArray,
    ) -> BinArray:
        """See ``Engine``."""
        bins = empty_bins(features, offsets)
        for feature, start in enumerate(offsets[:-1].tolist()):
            ladder = edges[start : offsets[feature + 1]]
            column = features[:, feature]
            missing = np.isnan(column)
            if is_categorical[feature]:
                if not (missing | ((column > -1) & (column < len(ladder)))).all():
                    raise ValueError(f"feature {feature}: a value that is no category code")
                found = np.where(missing, 0, column).astype(np.int64)
            else:
                # side="right" counts the edges <= x, which is the bin; NaN sorts behind all edges.
                found = np.minimum(np.searchsorted(ladder, column, side="right"), len(ladder) - 1)
            bins[feature] = np.where(missing, len(ladder), found)
        return bins

    def pack_bins(self, bins: BinArray, offsets: Int64Array) -> "_Bins":
        """See ``Engine``."""
        return _Bins(bins, offsets)

    def logistic_gradients(
        self,
        margins: Float32Array,
        labels: Float32Array,
        weights: Float32Array | None,
        *,
        scale_pos_weight: float,
        out: Int64Array,
    ) -> None:
        """See ``Engine``."""
        fill_gradients(margins, labels, weights, scale_pos_weight=scale_pos_weight, out=out)

    def row_sorter(self, bins: BinArray, order: UInt32Array) -> "_RowSorter":
        """See ``Engine``."""
        return _RowSorter(bins, order)

    def add_leaf_values(
        self, order: UInt32Array, ranges: Int64Array, values: Float32Array, margins: Float32Array
    ) -> None:
        """See ``Engine``."""
        for (begin, stop), value in zip(ranges.tolist(), values, strict=True):
            margins[order[begin:stop]] += value

    def numeric_scan(
        self, features: Int64Array, offsets: Int64Array, formula: GainFormula
    ) -> "_NumericScan":
        """See ``Engine``."""
        return _NumericScan(features, offsets, formula)


class _SortedKeys:
    """Sorts the keys of each column once."""

    def __init__(self, features: Float32Array, columns: Int64Array) -> None:
        self.columns = columns
        keys = [_sorted_keys(features[:, column]) for column in columns.tolist()]
        self._keys = [(sorted_, np.arange(sorted_.size + 1)) for sorted_ in keys]

    def count(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        return np.concatenate(
            [
                count_sorted(*keys, low, bit)
                for keys, low, bit in zip(self._keys, lows, bits, strict=True)
            ]
        )


def _sorted_keys(column: Float32Array) -> UInt32Array:
    return np.sort(keys_from_values(column[~np.isnan(column)]))


class _Bins:
    """The codes as they are."""

    def __init__(self, bins: BinArray, offsets: Int64Array) -> None:
        self._bins = bins
        self._offsets = offsets

    def sums_of(self, gradients: Int64Array) -> "_GradientSums":
        return _GradientSums(self._bins, self._offsets, gradients)


class _GradientSums:
    """Adds with ``numpy.bincount``, feature by feature.

    It adds float64 weights faster than NumPy adds integers by index. That is exact as long as no
    partial sum can reach 2^53; larger values are summed in several limbs.
    """

    def __init__(self, bins: BinArray, offsets: Int64Array, gradients: Int64Array) -> None:
        self._bins = bins
        self._offsets = offsets
        self._gradients = gradients
        self._planes = tuple(_limbs(np.ascontiguousarray(plane)) for plane in gradients.T)

    def add(
        self,
        rows: Sequence[UInt32Array],
        features: Sequence[Int64Array],
        histograms: Int64Array,
        totals: Int64Array,
    ) -> None:
        for selected, active, histogram, total in zip(
            rows, features, histograms, totals, strict=True
        ):
            # Converted once here; take would convert it again for each column.
            numbers = selected.astype(np.intp)
            total += self._gradients[numbers].sum(axis=0)
            if active.size:
                self._add_features(numbers, active, histogram)

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


class _RowSorter:
    """Sorts one node after the other by boolean masks."""

    def __init__(self, bins: BinArray, order: UInt32Array) -> None:
        self._bins = bins
        self._order = order

    def split(
        self,
        ranges: Int64Array,
        features: Int64Array,
        tables: BoolArray,
        table_offsets: Int64Array,
    ) -> Int64Array:
        counts = np.empty((features.size, 2), dtype=np.int64)
        for node, (begin, middle, stop) in enumerate(ranges.tolist()):
            table = tables[table_offsets[node] : table_offsets[node + 1]]
            rows = self._order[begin:stop]
            codes = self._bins[features[node]].take(rows)
            if codes.size and codes.max() >= table.size:
                raise ValueError(f"bins of feature {features[node]}: a code that does not exist")
            is_left = table[codes]
            left, right = rows[is_left], rows[~is_left]
            rows[: left.size], rows[left.size :] = left, right
            counts[node] = np.count_nonzero(is_left[: middle - begin]), left.size
        return counts


class _NumericScan:
    """Computes all candidates of all features at once, backward ones in any case."""

    def __init__(self, features: Int64Array, offsets: Int64Array, formula: GainFormula) -> None:
        self._formula = formula
        first = [np.empty(0, dtype=np.int64)]
        stop, owner, split_bin = first.copy(), first.copy(), first.copy()
        is_backward = [np.empty(0, dtype=np.bool_)]
        for position, feature in enumerate(features.tolist()):
            start, end = int(offsets[feature]), int(offsets[feature + 1])
            n_bins = end - start
            ascending = np.arange(n_bins, dtype=np.int64)
            descending = ascending[::-1]
            first.append(np.concatenate((np.full(n_bins, start), start + descending)))
            stop.append(np.concatenate((start + ascending + 1, np.full(n_bins, end))))
            owner.append(np.full(2 * n_bins, position))
            split_bin.append(np.concatenate((ascending, descending - 1)))
            is_backward.append(np.arange(2 * n_bins) >= n_bins)
        self._features = features
        self._feature_start, self._feature_stop = offsets[features], offsets[features + 1]
        self._first, self._stop = np.concatenate(first), np.concatenate(stop)
        self._owner, self._split_bin = np.concatenate(owner), np.concatenate(split_bin)
        self._is_backward = np.concatenate(is_backward)
        self._directions = formula.directions[features][self._owner]

    def best(
        self, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
    ) -> FoundSplit | None:
        formula = self._formula
        totals = np.array([[node.gradient], [node.hessian]], dtype=np.int64)
        running = np.zeros((2, histogram.shape[1] + 1), dtype=np.int64)
        np.cumsum(histogram, axis=1, out=running[:, 1:])
        scanned = running[:, self._stop] - running[:, self._first]
        others = totals - scanned

        present = running[:, self._feature_stop] - running[:, self._feature_start]
        has_missing = (present != totals).any(axis=0)
        scanned_sums, other_sums = to_double(scanned), to_double(others)
        is_valid = formula.is_valid_child(scanned_sums[1]) & formula.is_valid_child(other_sums[1])
        is_valid &= ~self._is_backward | has_missing[self._owner]

        # The scanned side is the left child going forward and the right one going backward. A
        # sum of two floats does not depend on their order; a monotone direction turns round.
        gains = formula.split_gain(
            (scanned_sums[0], scanned_sums[1]),
            (other_sums[0], other_sums[1]),
            bounds,
            np.where(self._is_backward, -self._directions, self._directions),
        )
        loss_changes = gains - node.gain
        best = first_best(loss_changes, is_valid)
        if best is None:
            return None
        return (
            float(loss_changes[best]),
            int(self._features[self._owner[best]]),
            int(self._split_bin[best]),
            bool(self._is_backward[best]),
            (int(scanned[0, best]), int(scanned[1, best])),
            (int(others[0, best]), int(others[1, best])),
        )
