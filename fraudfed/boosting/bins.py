"""Cut points and the binned table."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fraudfed.boosting.engine.compiled import load_engine
from fraudfed.boosting.engine.pages import huge_empty
from fraudfed.boosting.engine.workers import Workers
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BinArray, BoolArray, Float32Array, Int64Array

#: Upper bound of every last bin. XGBoost stores a value just above the largest one seen; we do not
#: publish anybody's largest value, and no finite float32 lies above this.
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
        Rows that have come since they were counted, at most; nobody knows in which bins.
    """

    schema: FeatureSchema
    values: tuple[Float32Array, ...]
    counts: Mapping[int, Int64Array] = field(default_factory=dict)
    more_rows: int = 0

    @functools.cached_property
    def offsets(self) -> Int64Array:
        """Start of each feature's bins in a histogram; shape (n_features + 1,)."""
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
    workers : Workers
        Threads for these rows.
    """

    cuts: Cuts
    bins: BinArray
    workers: Workers = field(default_factory=Workers)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.bins.shape[1])

    @functools.cached_property
    def packed(self) -> object:
        """The codes as the compiled histograms take them; None where NumPy must do.

        Raises
        ------
        ValueError
            If there is a bin code above that of a missing value.
        """
        engine = load_engine()
        if engine is None:
            return None
        return engine.pack_bins(self.bins, self.cuts.offsets, self.workers.pool)


def bin_table(table: TrainingTable, cuts: Cuts, *, workers: Workers | None = None) -> BinnedTable:
    """Replace every value by its bin.

    Parameters
    ----------
    table : TrainingTable
    cuts : Cuts
    workers : Workers or None
        Also for later work on the binned table; None is a thread per usable core.

    Raises
    ------
    ValueError
        If a categorical value is no code of its feature's categories.
    """
    workers = Workers() if workers is None else workers
    schema = table.schema
    most = max((len(edges) for edges in cuts.values), default=0)
    dtype = np.uint8 if most <= np.iinfo(np.uint8).max else np.uint16
    bins: BinArray = huge_empty((schema.n_features, table.n_rows), dtype)
    is_categorical = np.array(
        [schema.is_categorical(f) for f in range(schema.n_features)], dtype=np.bool_
    )
    engine = load_engine()
    if engine is None:
        _fill_bins(table, cuts, is_categorical, bins)
    else:
        edges = np.concatenate([np.empty(0, dtype=np.float32), *cuts.values])
        engine.bin_values(table.features, edges, cuts.offsets, is_categorical, bins, workers.pool)
    return BinnedTable(cuts=cuts, bins=bins, workers=workers)


def _fill_bins(table: TrainingTable, cuts: Cuts, is_categorical: BoolArray, bins: BinArray) -> None:
    for feature, edges in enumerate(cuts.values):
        column = table.features[:, feature]
        missing = np.isnan(column)
        if is_categorical[feature]:
            if not (missing | ((column > -1) & (column < len(edges)))).all():
                raise ValueError(f"feature {feature}: a value that is no category code")
            found = np.where(missing, 0, column).astype(np.int64)
        else:
            # side="right" counts the edges <= x, which is the bin; NaN sorts behind all edges.
            found = np.minimum(np.searchsorted(edges, column, side="right"), len(edges) - 1)
        bins[feature] = np.where(missing, len(edges), found)
