"""The engine of compiled kernels, with threads."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from fraudfed.boosting.engine.elementary import FRACTIONAL_POWERS
from fraudfed.boosting.engine.keys import KEY_BITS, N_PARTS, STEP_BITS, count_sorted
from fraudfed.boosting.engine.logistic import fill_gradients
from fraudfed.boosting.engine.pages import empty_bins
from fraudfed.boosting.engine.protocol import FoundSplit
from fraudfed.boosting.gain import GainFormula, NodeSums, WeightBounds
from fraudfed.dtypes import BinArray, BoolArray, Float32Array, Int64Array, UInt32Array

#: Of 0 (none), 1 (AVX2) and 2 (AVX-512), the most that a kernel may use if the CPU has it.
_WIDEST_SIMD = 2
#: Leading bits by which all keys are counted at once, and for how many columns at a time: the
#: table of one column takes 512 KiB.
_PREFIX_BITS = 16
_COLUMN_GROUP = 16


class CompiledEngine:
    """Kernels, and a pool of threads for them.

    The threads are started when there is work for them, sleep in between, and end with this object
    and what it has returned. While one thread of the process uses them, the others do their work
    alone.

    Parameters
    ----------
    kernels : module
        ``_engine``. Its functions check their arguments: an array that does not fit raises
        ``TypeError`` or ``ValueError``.
    threads : int
        1 to ``MAX_THREADS``, the calling one included.
    """

    name = "compiled"

    def __init__(self, kernels: ModuleType, threads: int) -> None:
        self.threads = threads
        self.kernels = kernels
        self.pool: object = kernels.new_workers(threads)

    def key_counter(self, features: Float32Array, columns: Int64Array) -> "_ScannedKeys":
        """See ``Engine``."""
        return _ScannedKeys(self, features, columns)

    def bin_values(
        self,
        features: Float32Array,
        edges: Float32Array,
        offsets: Int64Array,
        is_categorical: BoolArray,
    ) -> BinArray:
        """See ``Engine``."""
        bins = empty_bins(features, offsets)
        self.kernels.bin_values(features, edges, offsets, is_categorical, bins, self.pool)
        return bins

    def pack_bins(self, bins: BinArray, offsets: Int64Array) -> "_PackedBins":
        """See ``Engine``."""
        return _PackedBins(self, bins, offsets)

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
        is_done = self.kernels.logistic_gradients(
            margins,
            np.ascontiguousarray(labels),
            None if weights is None else np.ascontiguousarray(weights),
            scale_pos_weight,
            FRACTIONAL_POWERS,
            out,
            self.pool,
            _WIDEST_SIMD,
        )
        # The kernel covers all but huge weights and margins that are not a number, and says so.
        if not is_done:
            fill_gradients(margins, labels, weights, scale_pos_weight=scale_pos_weight, out=out)

    def row_sorter(self, bins: BinArray, order: UInt32Array) -> "_RowSorter":
        """See ``Engine``."""
        return _RowSorter(self, bins, order)

    def add_leaf_values(
        self, order: UInt32Array, ranges: Int64Array, values: Float32Array, margins: Float32Array
    ) -> None:
        """See ``Engine``."""
        self.kernels.add_leaf_values(order, ranges, values, margins)

    def numeric_scan(
        self, features: Int64Array, offsets: Int64Array, formula: GainFormula
    ) -> "_NumericScan":
        """See ``Engine``."""
        return _NumericScan(self, features, offsets, formula)


class _ScannedKeys:
    """Counts the keys by their 16 leading bits once; reads all values again for finer parts."""

    def __init__(self, engine: CompiledEngine, features: Float32Array, columns: Int64Array) -> None:
        self.columns = columns
        self._kernels, self._pool = engine.kernels, engine.pool
        self._features = features
        self._coarse = [
            counted
            for start in range(0, columns.size, _COLUMN_GROUP)
            for counted in self._count_prefixes(columns[start : start + _COLUMN_GROUP])
        ]

    def count(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        is_fine = [bit > _PREFIX_BITS - STEP_BITS for bit in bits]
        counts = np.empty((sum(low.size for low in lows), N_PARTS), dtype=np.int64)
        all_fine = np.concatenate(is_fine)
        if all_fine.any():
            counts[all_fine] = self._scan(
                [low[fine] for low, fine in zip(lows, is_fine, strict=True)],
                [bit[fine] for bit, fine in zip(bits, is_fine, strict=True)],
            )
        counts[~all_fine] = np.concatenate(
            [
                count_sorted(*coarse, low[~fine], bit[~fine])
                for coarse, low, bit, fine in zip(self._coarse, lows, bits, is_fine, strict=True)
            ]
        )
        return counts

    def _count_prefixes(self, columns: Int64Array) -> list[tuple[UInt32Array, Int64Array]]:
        """Return, for each column, the first keys of prefixes and how many keys lie below each."""
        counts = np.zeros((columns.size, 1 << _PREFIX_BITS), dtype=np.int64)
        self._kernels.count_prefixes(self._features, columns, counts, self._pool)
        found = []
        for of_column in counts:
            prefixes = np.flatnonzero(of_column)
            keys = prefixes.astype(np.uint32) << np.uint32(KEY_BITS - _PREFIX_BITS)
            found.append((keys, np.cumsum(np.concatenate(([0], of_column[prefixes])))))
        return found

    def _scan(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        starts = np.cumsum([0, *(part.size for part in lows)], dtype=np.int64)
        counts = np.empty((int(starts[-1]), N_PARTS), dtype=np.int64)
        self._kernels.count_parts(
            self._features,
            self.columns,
            starts,
            np.concatenate(lows).astype(np.uint32),
            np.concatenate(bits),
            counts,
            self._pool,
        )
        return counts


class _PackedBins:
    """The codes, checked and copied row by row."""

    def __init__(self, engine: CompiledEngine, bins: BinArray, offsets: Int64Array) -> None:
        self.engine = engine
        self.packed: object = engine.kernels.pack_bins(bins, offsets, engine.pool)

    def sums_of(self, gradients: Int64Array) -> "_GradientSums":
        return _GradientSums(self, gradients)


class _GradientSums:
    """Adds integers row by row."""

    def __init__(self, bins: _PackedBins, gradients: Int64Array) -> None:
        self._bins = bins
        self._gradients = gradients

    def add(
        self,
        rows: Sequence[UInt32Array],
        features: Sequence[Int64Array],
        histograms: Int64Array,
        totals: Int64Array,
    ) -> None:
        engine = self._bins.engine
        engine.kernels.sum_histograms(
            self._bins.packed, self._gradients, rows, features, histograms, totals, engine.pool
        )


class _RowSorter:
    """Sorts in blocks, by way of a second array."""

    def __init__(self, engine: CompiledEngine, bins: BinArray, order: UInt32Array) -> None:
        self._kernels, self._pool = engine.kernels, engine.pool
        self._bins = bins
        self._order = order
        self._scratch = np.empty_like(order)

    def split(
        self,
        ranges: Int64Array,
        features: Int64Array,
        tables: BoolArray,
        table_offsets: Int64Array,
    ) -> Int64Array:
        counts = np.empty((features.size, 2), dtype=np.int64)
        self._kernels.partition_rows(
            self._bins,
            self._order,
            self._scratch,
            ranges,
            features,
            tables,
            table_offsets,
            counts,
            self._pool,
        )
        return counts


class _NumericScan:
    """Tries one candidate after the other."""

    def __init__(
        self,
        engine: CompiledEngine,
        features: Int64Array,
        offsets: Int64Array,
        formula: GainFormula,
    ) -> None:
        self._kernels = engine.kernels
        self._features = features
        self._offsets = offsets
        self._formula = formula

    def best(
        self, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
    ) -> FoundSplit | None:
        found: FoundSplit | None = self._kernels.best_numeric_split(
            np.ascontiguousarray(histogram),
            self._offsets,
            self._features,
            self._formula.directions,
            (node.gradient, node.hessian),
            float(node.gain),
            (float(bounds.lower), float(bounds.upper)),
            self._formula.penalties,
            self._formula.switches,
        )
        return found
