"""Which true row each guessed row stands for, and which of its attributes are right.

A guess comes in no order, so guessed and true rows are matched one to one such that they lie as
near to each other as they can all together (linear assignment), for every guess alike. As in
TimberStrike and TabLeak (Vero et al., ICML 2023). Nearness is in ranks, not in values: one pound
more counts more where many payments lie close together.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import BoolArray, Float32Array, Float64Array

#: A value is right within so much of the true rows' ranks: five percentiles to either side.
TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Ranks:
    """Places of values among the true rows.

    Attributes
    ----------
    schema : FeatureSchema
    values : tuple of ndarray, dtype=float32
        Of each feature: the true rows' values that are there, ascending.
    """

    schema: FeatureSchema
    values: tuple[Float32Array, ...]

    @classmethod
    def of(cls, schema: FeatureSchema, rows: Float32Array) -> "Ranks":
        """Take the places of these rows, shape (n_rows, n_features)."""
        columns = (rows[:, feature] for feature in range(schema.n_features))
        return cls(schema, tuple(np.sort(column[~np.isnan(column)]) for column in columns))

    def places(self, rows: Float32Array) -> Float64Array:
        """Return the middle rank in [0, 1] of each value, NaN where it is missing.

        Categories stay their codes.
        """
        found = np.empty(rows.shape)
        for feature, values in enumerate(self.values):
            column = rows[:, feature].astype(np.float64)
            if self.schema.is_categorical(feature):
                found[:, feature] = column
                continue
            first = np.searchsorted(values, rows[:, feature], side="left")
            last = np.searchsorted(values, rows[:, feature], side="right")
            ranks = (first + last) / (2.0 * max(1, len(values)))
            found[:, feature] = np.where(np.isnan(column), np.nan, ranks)
        return found

    def distance(self, feature: int, one: Float64Array, other: Float64Array) -> Float64Array:
        """Return how far places of a feature lie apart, in [0, 1]; 1 if one is missing.

        Shapes broadcast.
        """
        gone, also_gone = np.isnan(one), np.isnan(other)
        if self.schema.is_categorical(feature):
            apart = (one != other).astype(np.float64)
        else:
            apart = np.abs(one - other)
        found: Float64Array = np.where(gone | also_gone, gone != also_gone, apart)
        return found


def matched_hits(ranks: Ranks, true: Float32Array, guessed: Float32Array) -> BoolArray:
    """Return which attributes of the true rows are right, after the best matching.

    Parameters
    ----------
    ranks : Ranks
        Of the true rows.
    true, guessed : ndarray of shape (n_rows, n_features), dtype=float32

    Returns
    -------
    ndarray of shape (n_rows, n_features), dtype=bool
    """
    here, there = ranks.places(true), ranks.places(guessed)
    cost = np.zeros((len(true), len(guessed)), dtype=np.float32)
    for feature in range(true.shape[1]):
        cost += ranks.distance(feature, here[:, feature, None], there[None, :, feature])
    rows, columns = linear_sum_assignment(cost)
    apart = np.empty(true.shape)
    for feature in range(true.shape[1]):
        apart[rows, feature] = ranks.distance(feature, here[rows, feature], there[columns, feature])
    return apart <= TOLERANCE
