"""Cut points and the binned table."""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BinArray, Float32Array, Int64Array

__all__ = ["FLOAT32_MAX", "BinnedTable", "Cuts", "bin_table"]

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
    """

    schema: FeatureSchema
    values: tuple[Float32Array, ...]

    @property
    def offsets(self) -> Int64Array:
        """Start of each feature's bins in a histogram; shape (n_features + 1,)."""
        sizes = [len(v) for v in self.values]
        return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64)


@dataclass(frozen=True, eq=False)
class BinnedTable:
    """One bank's rows as bin numbers.

    Attributes
    ----------
    cuts : Cuts
    bins : ndarray of shape (n_features, n_rows), dtype=uint16, C-contiguous
        Bin within the feature; ``len(cuts.values[f])`` is the code of a missing value.
    """

    cuts: Cuts
    bins: BinArray

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.bins.shape[1])


def bin_table(table: TrainingTable, cuts: Cuts) -> BinnedTable:
    """Replace every value by its bin."""
    bins = np.empty((table.schema.n_features, table.n_rows), dtype=np.uint16)
    for feature, edges in enumerate(cuts.values):
        column = table.features[:, feature]
        missing = np.isnan(column)
        if table.schema.is_categorical(feature):
            found = np.where(missing, 0, column).astype(np.int64)
        else:
            # side="right" counts the edges <= x, which is the bin; NaN sorts behind all edges.
            found = np.minimum(np.searchsorted(edges, column, side="right"), len(edges) - 1)
        bins[feature] = np.where(missing, len(edges), found)
    return BinnedTable(cuts=cuts, bins=bins)
