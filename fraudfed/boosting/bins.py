"""Cut points and the binned table."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.protocol import Engine, PackedBins
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BinArray, BoolArray, Float32Array, Int64Array

#: Upper bound of every last bin. XGBoost stores a value just above the largest one seen; we publish
#: no row's value, and no finite float32 lies above this.
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Cuts:
    """Public bin edges, the same at every bank.

    A numeric value ``x`` of feature ``f`` lies in bin ``i`` iff
    ``values[f][i - 1] <= x < values[f][i]`` (XGBoost's rule: first cut above x); the last edge is
    ``FLOAT32_MAX``. A category with code ``c`` lies in bin ``c``, and ``values[f]`` is
    ``0 .. n_categories - 1``.

    Attributes
    ----------
    schema : FeatureSchema
    values : tuple of ndarray of shape (n_bins of the feature,), dtype=float32, ascending
    counts : mapping of feature to ndarray of shape (n_bins of the feature,), dtype=int64
        Pooled training rows in each bin, for the features for which it is public.
    more_rows : int
        Rows that have come since they were counted, at most; they may be in any bin.
    """

    schema: FeatureSchema
    values: tuple[Float32Array, ...]
    counts: Mapping[int, Int64Array] = field(default_factory=dict)
    more_rows: int = 0

    @functools.cached_property
    def offsets(self) -> Int64Array:
        """Start of each feature's bins in a histogram; shape (n_features + 1,), dtype=int64."""
        sizes = [len(v) for v in self.values]
        return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64)

    def rows_of_bins(self, n_rows: int) -> Int64Array:
        """Return how many of the ``n_rows`` pooled rows each bin holds, at most.

        Returns
        -------
        ndarray of shape (total_bins,), dtype=int64
        """
        return np.concatenate(
            [
                self.counts[feature] + self.more_rows
                if feature in self.counts
                else np.full(len(edges), n_rows, dtype=np.int64)
                for feature, edges in enumerate(self.values)
            ]
        )

    def is_complete(self, n_rows: int) -> BoolArray:
        """Tell which features are known to be missing in none of the ``n_rows`` pooled rows.

        Returns
        -------
        ndarray of shape (n_features,), dtype=bool
        """
        features = range(len(self.values))
        # Rows that have come since are in n_rows and in no count: with them, no feature is.
        return np.array(
            [f in self.counts and int(self.counts[f].sum()) == n_rows for f in features],
            dtype=np.bool_,
        )


@dataclass(frozen=True, eq=False)
class BinnedTable:
    """One bank's rows as bin numbers.

    Attributes
    ----------
    cuts : Cuts
    bins : ndarray of shape (n_features, n_rows), dtype=uint8 or uint16, C-contiguous
        Bin within the feature; ``len(cuts.values[f])`` is the code of a missing value.
    engine : Engine
        Does the work on these rows.
    """

    cuts: Cuts
    bins: BinArray
    engine: Engine = field(default_factory=load_engine)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.bins.shape[1])

    @functools.cached_property
    def packed(self) -> PackedBins:
        """The codes as the engine sums gradients by them.

        Raises
        ------
        ValueError
            If there is a bin code above that of a missing value.
        """
        return self.engine.pack_bins(self.bins, self.cuts.offsets)


def bin_table(table: TrainingTable, cuts: Cuts, *, engine: Engine | None = None) -> BinnedTable:
    """Replace every value by its bin.

    Parameters
    ----------
    table : TrainingTable
    cuts : Cuts
    engine : Engine or None
        Also for later work on the binned table; None is ``load_engine()``.

    Raises
    ------
    ValueError
        If a categorical value is not a code of its feature's categories.
    """
    engine = load_engine() if engine is None else engine
    schema = table.schema
    is_categorical = np.array(
        [schema.is_categorical(f) for f in range(schema.n_features)], dtype=np.bool_
    )
    edges = np.concatenate([np.empty(0, dtype=np.float32), *cuts.values])
    bins = engine.bin_values(table.features, edges, cuts.offsets, is_categorical)
    return BinnedTable(cuts=cuts, bins=bins, engine=engine)
