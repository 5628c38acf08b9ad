"""What the builders return: feature columns with the labels and times of their payments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fraudfed.boosting.table import FeatureSchema
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import find_recipe
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.payments.columns import INBOUND, MAX_EPOCH_SECONDS, OUTBOUND
from fraudfed.wire.messages import FeatureSpec

#: ``label_time`` of a row whose label is not known yet: later than every event.
LABEL_NOT_KNOWN = MAX_EPOCH_SECONDS


def rows_of_direction(transactions: pd.DataFrame, direction: str) -> Int64Array:
    """Return the positions of one direction's payments, ascending; those without are outbound."""
    if "direction" not in transactions.columns:
        count = len(transactions) if direction == OUTBOUND else 0
        return np.arange(count, dtype=np.int64)
    inbound = (transactions["direction"] == INBOUND).fillna(False).to_numpy(dtype=np.bool_)
    chosen = inbound if direction == INBOUND else ~inbound
    return np.flatnonzero(chosen).astype(np.int64, copy=False)


def feature_schema(
    recipe: str = RECIPE, *, shared: bool = False, own_columns: Sequence[FeatureSpec] = ()
) -> FeatureSchema:
    """Return names and categories of a recipe as training needs them, own columns last."""
    features = find_recipe(recipe).definitions(shared=shared)
    names = [*(feature.name for feature in features), *(spec.name for spec in own_columns)]
    categories = [
        *(feature.categories or () for feature in features),
        *(spec.categories or () for spec in own_columns),
    ]
    return FeatureSchema(
        names=tuple(names),
        n_categories=tuple(len(each) for each in categories),
        categories=tuple(categories),
    )


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of the transactions that a recipe judges, in the row order of the raw table.

    Attributes
    ----------
    schema : FeatureSchema
    values : ndarray of shape (n_rows, n_features), dtype=float32
        NaN is missing. Column-major: a feature's column is contiguous.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; NaN where the label is not known.
    event_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds.
    label_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds; ``LABEL_NOT_KNOWN`` where the label is not known.
    transaction_id : ndarray of shape (n_rows,), dtype=object
    positions : ndarray of shape (n_rows,), dtype=int64
        Row of each in the raw table, from 0.
    """

    schema: FeatureSchema
    values: Float32Array
    labels: Float32Array
    event_time: Int64Array
    label_time: Int64Array
    transaction_id: npt.NDArray[np.object_]
    positions: Int64Array

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.labels.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return self.schema.names

    @property
    def n_categories(self) -> tuple[int, ...]:
        """0 for a numeric column, else its number of categories."""
        return self.schema.n_categories

    def rows_between(self, *, start: int | None, stop: int | None) -> BoolArray:
        """Choose rows by time.

        Parameters
        ----------
        start, stop : int or None
            Events in ``[start, stop)``, epoch seconds; None is no limit.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=bool
        """
        chosen = np.ones(self.n_rows, dtype=np.bool_)
        if start is not None:
            chosen &= self.event_time >= start
        if stop is not None:
            chosen &= self.event_time < stop
        return chosen

    def take(self, rows: BoolArray | Int64Array) -> "FeatureTable":
        """Return the chosen rows as a table of their own.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), dtype=bool, or of shape (n_taken,), dtype=int64
            Which rows, or their positions.
        """
        return FeatureTable(
            schema=self.schema,
            values=self.values.T[:, rows].T,
            labels=self.labels[rows],
            event_time=self.event_time[rows],
            label_time=self.label_time[rows],
            transaction_id=self.transaction_id[rows],
            positions=self.positions[rows],
        )
