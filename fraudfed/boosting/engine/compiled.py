"""The compiled kernels of this package, with types; where they are missing, NumPy does the work.

Law: with and without, with any number of threads, every result has the same bytes. The kernels
check their arguments and raise ``TypeError`` or ``ValueError`` on an array that does not fit; how
arrays must be shaped is said in ``_engine*.h``.
"""

import functools
from collections.abc import Sequence
from typing import Protocol, cast

from fraudfed.dtypes import (
    BinArray,
    BoolArray,
    Float32Array,
    Float64Array,
    Int8Array,
    Int64Array,
    UInt32Array,
)
from fraudfed.native import NativeModule, load_native

#: Of 0 (none), 1 (AVX2) and 2 (AVX-512), the most that a kernel may use if the CPU has it.
WIDEST_SIMD = 2

#: What a split scan returns: loss change, feature, split bin, whether it was the backward scan, and
#: the sums (gradient, hessian) of the scanned side and of the other one.
FoundSplit = tuple[float, int, int, bool, tuple[int, int], tuple[int, int]]


class Engine(Protocol):
    """The functions of ``_engine.c``."""

    def new_workers(self, threads: int, /) -> object:
        """Return a pool of threads, the calling one included; it starts them when needed."""

    def pack_bins(self, bins: BinArray, offsets: Int64Array, workers: object, /) -> object:
        """Check all codes and keep a copy of them row by row."""

    def sum_histograms(
        self,
        packed: object,
        gradients: Int64Array,
        rows: Sequence[UInt32Array],
        features: Sequence[Int64Array],
        sums: Int64Array,
        totals: Int64Array,
        workers: object,
        /,
    ) -> None:
        """Add to ``sums[i]`` the histogram of ``rows[i]`` over the bins of ``features[i]``."""

    def partition_rows(
        self,
        bins: BinArray,
        order: UInt32Array,
        scratch: UInt32Array,
        ranges: Int64Array,
        features: Int64Array,
        tables: BoolArray,
        table_offsets: Int64Array,
        counts: Int64Array,
        workers: object,
        /,
    ) -> None:
        """Send the rows of each range left or right, in place."""

    def add_leaf_values(
        self,
        order: UInt32Array,
        ranges: Int64Array,
        values: Float32Array,
        margins: Float32Array,
        /,
    ) -> None:
        """Add a value to the margin of each row of a range."""

    def logistic_gradients(
        self,
        margins: Float32Array,
        labels: Float32Array,
        weights: Float32Array | None,
        scale_pos_weight: float,
        powers: Float64Array,
        pairs: Int64Array,
        workers: object,
        simd: int,
        /,
    ) -> bool:
        """Fill ``pairs``, or return False if a row lies outside of what the kernel covers."""

    def best_numeric_split(
        self,
        histogram: Int64Array,
        offsets: Int64Array,
        features: Int64Array,
        directions: Int8Array,
        node_sums: tuple[int, int],
        node_gain: float,
        bounds: tuple[float, float],
        penalties: tuple[float, float, float],
        rules: tuple[bool, bool, bool, bool, bool],
        /,
    ) -> FoundSplit | None:
        """Find the first best numeric split of a node."""

    def bin_values(
        self,
        values: Float32Array,
        edges: Float32Array,
        offsets: Int64Array,
        is_categorical: BoolArray,
        bins: BinArray,
        workers: object,
        /,
    ) -> None:
        """Fill ``bins`` with the bin of each value."""

    def count_prefixes(
        self, values: Float32Array, columns: Int64Array, counts: Int64Array, workers: object, /
    ) -> None:
        """Add to ``counts`` the number of keys with each 16 leading bits."""

    def count_parts(
        self,
        values: Float32Array,
        columns: Int64Array,
        starts: Int64Array,
        lows: UInt32Array,
        bits: Int64Array,
        parts: Int64Array,
        workers: object,
        /,
    ) -> None:
        """Count the keys in each sixteenth of each bucket."""


@functools.cache
def engine_module() -> NativeModule:
    """Return the compiled module, or why there is none."""
    return load_native("fraudfed.boosting.engine._engine")


def load_engine() -> Engine | None:
    """Return the compiled kernels, or None where NumPy must do."""
    return cast("Engine | None", engine_module().module)
