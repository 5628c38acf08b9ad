"""What a shard on this machine asks of an engine: work on rows, and the scan of all bin edges.

Law: the same call gives the same bytes on any engine, with any number of threads. Sums are of
integers; every floating-point step is one IEEE 754 operation in a fixed order, and a step that
rounds says so. ``NumpyEngine`` is the reference that the others are held against.

There are two engines, and ``load_engine`` chooses: compiled kernels with threads, or NumPy. They
are called by ``shard.local``, which answers for rows on one machine; rows that lie elsewhere have
shards of their own (``shard.protocol``), whose workers call an engine for their parts:

* ``key_counter``, ``bin_values``: the values of the table become bin codes;
* ``logistic_gradients``: margins become gradients and hessians;
* ``pack_bins``: the codes become histograms of sets of rows;
* ``row_sorter``, ``add_leaf_values``: rows go to nodes, and leaf values to their margins.

``numeric_scan`` works on pooled sums, not on rows: it is asked of the engine on this machine,
wherever the rows lie. Arrays with an axis of rows (bin codes, gradients, margins, the order of
rows) go back into the engine they came from, and are read in ``shard`` alone.

Shapes: ``n_rows`` rows of this bank, ``n_features`` features, ``total_bins`` bins of all features.
The bins of feature ``f`` lie at ``offsets[f] .. offsets[f + 1]`` of a histogram; ``offsets`` has
shape (n_features + 1,), dtype=int64, begins with 0 and ascends. Gradients are in fixed point, in
units of ``1 / FIXED_POINT_ONE``.

The compiled engine checks every array: one that does not fit raises ``TypeError`` or
``ValueError``, and nothing is read or written outside of it. What each call names under Raises
holds for all engines.
"""

from collections.abc import Sequence
from typing import Protocol

from fraudfed.boosting.gain import GainFormula, NodeSums, WeightBounds
from fraudfed.dtypes import BinArray, BoolArray, Float32Array, Int64Array, UInt32Array

#: What a scan of numeric splits finds: loss change, feature, split bin, whether it was the backward
#: scan, and the sums (gradient, hessian) of the scanned side and of the other one.
FoundSplit = tuple[float, int, int, bool, tuple[int, int], tuple[int, int]]


class KeyCounter(Protocol):
    """Counts the sort keys of some columns (``keys.keys_from_values``); missing values have none.

    Attributes
    ----------
    columns : ndarray of shape (n_columns,), dtype=int64
        Numbers of the features, ascending.
    """

    columns: Int64Array

    def count(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        """Count keys in the sixteenths of buckets.

        Parameters
        ----------
        lows, bits : sequence of ndarray of shape (k,), dtype=int64
            For each column the smallest keys of its buckets, ascending, and how many leading bits
            the keys of each share, at most 28.

        Returns
        -------
        ndarray of shape (buckets of all columns, 16), dtype=int64
        """


class GradientSums(Protocol):
    """Sums the gradients of one tree over sets of rows, bin by bin."""

    def add(
        self,
        rows: Sequence[UInt32Array],
        features: Sequence[Int64Array],
        histograms: Int64Array,
        totals: Int64Array,
    ) -> None:
        """Add the sums of several sets of rows in one call, so that threads share small sets, too.

        Parameters
        ----------
        rows : sequence of ndarray of shape (n_selected,), dtype=uint32
            Distinct row numbers of each set.
        features : sequence of ndarray of shape (n_active,), dtype=int64
            For each set the features whose bins are summed, ascending.
        histograms : ndarray of shape (n_sets, 2, total_bins), dtype=int64
            Gradients in row 0, hessians in row 1. Missing values are left out.
        totals : ndarray of shape (n_sets, 2), dtype=int64
            Gradient and hessian of all rows of a set.

        Raises
        ------
        ValueError
            If there is a bin code above that of a missing value.
        """


class PackedBins(Protocol):
    """The bin codes of a table in the engine's own layout. They must not change afterwards."""

    def sums_of(self, gradients: Int64Array) -> GradientSums:
        """Return what sums these gradients over sets of rows.

        Parameters
        ----------
        gradients : ndarray of shape (n_rows, 2), dtype=int64
            Gradient and hessian of each row. They must not change while they are summed.
        """


class RowSorter(Protocol):
    """Sorts rows by node, in place, as nodes are split."""

    def split(
        self,
        ranges: Int64Array,
        features: Int64Array,
        tables: BoolArray,
        table_offsets: Int64Array,
    ) -> Int64Array:
        """Send the rows of some nodes left or right; either side keeps the order of its rows.

        Parameters
        ----------
        ranges : ndarray of shape (n_nodes, 3), dtype=int64
            Where the rows of each node begin in the order, where those outside the sample begin,
            and where they stop. Ranges ascend and do not overlap.
        features : ndarray of shape (n_nodes,), dtype=int64
            The feature that splits each node.
        tables : ndarray of shape (entries of all nodes,), dtype=bool
            Whether a bin goes left: ``n_bins + 1`` entries for each node, the last one for a
            missing value.
        table_offsets : ndarray of shape (n_nodes + 1,), dtype=int64
            Where each node's entries begin in ``tables``.

        Returns
        -------
        ndarray of shape (n_nodes, 2), dtype=int64
            How many sampled rows, and how many rows in all, go left.

        Raises
        ------
        ValueError
            If ranges do not ascend, or a row has a code that its table does not have. The compiled
            engine has moved no row then.
        """


class NumericScan(Protocol):
    """Finds the best numeric split of a node, candidate by candidate in a fixed order."""

    def best(
        self, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
    ) -> FoundSplit | None:
        """Return the first best of all candidates; None if none has a positive gain.

        Parameters
        ----------
        histogram : ndarray of shape (2, total_bins), dtype=int64
            Pooled fixed-point sums.
        node : NodeSums
        bounds : WeightBounds
            Monotone bounds of the node.
        """


class Engine(Protocol):
    """The calls of an engine; the module says what holds for all of them."""

    @property
    def name(self) -> str:
        """``compiled``, or ``numpy`` and in brackets why there are no compiled kernels."""

    @property
    def threads(self) -> int:
        """Most threads that share a call, the calling one included. They change no result."""

    def key_counter(self, features: Float32Array, columns: Int64Array) -> KeyCounter:
        """Return what counts the keys of some columns.

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features), dtype=float32, any strides
            NaN is a missing value.
        columns : ndarray of shape (n_columns,), dtype=int64
            Ascending.
        """

    def bin_values(
        self,
        features: Float32Array,
        edges: Float32Array,
        offsets: Int64Array,
        is_categorical: BoolArray,
    ) -> BinArray:
        """Replace every value by its bin: the number of edges that are not above it.

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features), dtype=float32, any strides
        edges : ndarray of shape (total_bins,), dtype=float32
            Ascending within each feature. A value at or above the last edge is in the last bin.
        offsets : ndarray of shape (n_features + 1,), dtype=int64
        is_categorical : ndarray of shape (n_features,), dtype=bool
            The values of these are codes, and a code is its own bin.

        Returns
        -------
        ndarray of shape (n_features, n_rows), dtype=uint8 or uint16, C-contiguous
            Bin within the feature; a missing value has the number of the feature's bins. uint8
            if all of these fit.

        Raises
        ------
        ValueError
            If a categorical value is not a code of its feature's categories.
        """

    def pack_bins(self, bins: BinArray, offsets: Int64Array) -> PackedBins:
        """Take the codes of ``bin_values`` to sum gradients by them.

        Parameters
        ----------
        bins : ndarray of shape (n_features, n_rows), dtype=uint8 or uint16, C-contiguous
        offsets : ndarray of shape (n_features + 1,), dtype=int64

        Raises
        ------
        ValueError
            If there is a bin code above that of a missing value; NumPy notices it when it sums.
        """

    def logistic_gradients(
        self,
        margins: Float32Array,
        labels: Float32Array,
        weights: Float32Array | None,
        *,
        scale_pos_weight: float,
        out: Int64Array,
    ) -> None:
        """Write gradient and hessian of the logistic loss (``logistic`` has the formula).

        Parameters
        ----------
        margins, labels : ndarray of shape (n_rows,), dtype=float32
            A label is 0 or 1.
        weights : ndarray of shape (n_rows,), dtype=float32, or None
            None is weight 1.
        scale_pos_weight : float
            Factor on the weight of positives.
        out : ndarray of shape (n_rows, 2), dtype=int64
        """

    def row_sorter(self, bins: BinArray, order: UInt32Array) -> RowSorter:
        """Return what sorts rows by node.

        Parameters
        ----------
        bins : ndarray of shape (n_features, n_rows), dtype=uint8 or uint16, C-contiguous
        order : ndarray of shape (n_rows,), dtype=uint32
            Every row number once; sorted in place from now on.
        """

    def add_leaf_values(
        self, order: UInt32Array, ranges: Int64Array, values: Float32Array, margins: Float32Array
    ) -> None:
        """Add to the margin of each row, in place and in float32, the value of its leaf.

        Parameters
        ----------
        order : ndarray of shape (n_rows,), dtype=uint32
            Row numbers, sorted by leaf.
        ranges : ndarray of shape (n_leaves, 2), dtype=int64
            Where each leaf's rows begin and stop in ``order``; ascending.
        values : ndarray of shape (n_leaves,), dtype=float32
        margins : ndarray of shape (n_rows,), dtype=float32
        """

    def numeric_scan(
        self, features: Int64Array, offsets: Int64Array, formula: GainFormula
    ) -> NumericScan:
        """Return what scans a set of numeric features, in the order of comparison.

        Per feature with ``n`` bins first the forward scan: split after bin 0, 1, .. n - 1, missing
        values right. Then, if there are missing values, the backward scan: split before bin n - 1,
        .. 1, 0, missing values left. The ends of the scans separate all present values from the
        missing ones. The scanned side is a range of bins; the other side is the rest of the node,
        missing values included.

        Parameters
        ----------
        features : ndarray of shape (n_active,), dtype=int64
            Numeric features, ascending.
        offsets : ndarray of shape (n_features + 1,), dtype=int64
        formula : GainFormula
        """
