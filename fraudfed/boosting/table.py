"""The table one bank trains on: float32 features, labels, weights and what the columns are."""

from dataclasses import dataclass

import numpy as np

from fraudfed.column_names import feature_fault, twins
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError

#: Rows looked through at a time for infinite values.
_CHECKED_ROWS = 1 << 14


@dataclass(frozen=True)
class FeatureSchema:
    """Public description of the feature columns, the same at every bank.

    Attributes
    ----------
    names : tuple of str
    n_categories : tuple of int
        0 for a numeric feature; otherwise the number of categories, coded 0 .. n - 1.
    categories : tuple of tuple of str
        What the codes of each feature stand for, in their order; empty for a numeric feature.
        Nothing is computed from it: it goes into the model file. Empty as a whole where nobody
        knows names.
    """

    names: tuple[str, ...]
    n_categories: tuple[int, ...]
    categories: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.n_categories):
            raise ValueError(f"{len(self.names)} names, {len(self.n_categories)} n_categories")
        named = tuple(len(set(names)) for names in self.categories)
        if named not in {(), self.n_categories}:
            raise ValueError(
                f"{named} different names of categories, expected {self.n_categories}, or none"
            )

    @property
    def n_features(self) -> int:
        """Number of feature columns."""
        return len(self.names)

    def is_categorical(self, feature: int) -> bool:
        """Tell whether column ``feature`` holds category codes."""
        return self.n_categories[feature] > 0


@dataclass(frozen=True, eq=False)
class TrainingTable:
    """Rows of one bank.

    Attributes
    ----------
    schema : FeatureSchema
    features : ndarray of shape (n_rows, n_features), dtype=float32
        NaN is a missing value; infinities are not allowed. Categories are codes as floats.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1.
    weights : ndarray of shape (n_rows,), dtype=float32, or None
        Sample weights in (0, max_weight]; None means 1 for every row.
    max_weight : float
        Public bound of the weights, the same at every bank.
    customers : ndarray of shape (n_rows,), dtype=int64, or None
        Whose row it is, numbers of this bank's own. Only a private training whose unit is the
        customer looks at them.
    """

    schema: FeatureSchema
    features: Float32Array
    labels: Float32Array
    weights: Float32Array | None = None
    max_weight: float = 1.0
    customers: Int64Array | None = None

    def __post_init__(self) -> None:
        n_rows = self.labels.shape[0]
        if self.features.shape != (n_rows, self.schema.n_features):
            raise ValueError(
                f"features have shape {self.features.shape}, expected "
                f"({n_rows}, {self.schema.n_features})"
            )
        for name in ("features", "labels", "weights"):
            array = getattr(self, name)
            if array is not None and array.dtype != np.float32:
                raise ValueError(f"{name} have dtype {array.dtype}, expected float32")
        if self.weights is not None and self.weights.shape != (n_rows,):
            raise ValueError(f"weights have shape {self.weights.shape}, expected ({n_rows},)")
        customers = self.customers
        if customers is not None and (customers.dtype != np.int64 or customers.shape != (n_rows,)):
            raise ValueError(
                f"customers have shape {customers.shape} and dtype {customers.dtype}, expected "
                f"({n_rows},) and int64"
            )

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.labels.shape[0])


def check_schema(schema: FeatureSchema) -> None:
    """Check that files and XGBoost can hold the features' names, and tell them apart.

    Raises
    ------
    DataError
    """
    for name in schema.names:
        fault = feature_fault(name)
        if fault is not None:
            raise DataError(f"feature name {name!r} {fault}")
    if len(set(schema.names)) != len(schema.names) or twins(schema.names):
        raise DataError("feature names are not distinct; rename one of them")


def check_rows(table: TrainingTable, *, what: str, first_row: int = 0) -> None:
    """Check labels, weights and features; the message names row and column, no value.

    Parameters
    ----------
    table : TrainingTable
    what : str
        Names the rows in the message.
    first_row : int
        Number of the table's first row in the message.

    Raises
    ------
    DataError
    """
    bad = np.flatnonzero((table.labels != 0) & (table.labels != 1))
    if bad.size:
        raise DataError(
            f"{what}: the label of row {first_row + bad[0]} is not 0 or 1; correct the label column"
        )
    if table.weights is not None:
        bad = np.flatnonzero(~((table.weights > 0) & (table.weights <= table.max_weight)))
        if bad.size:
            raise DataError(
                f"{what}: the weight of row {first_row + bad[0]} is not in "
                f"(0, {table.max_weight:g}]; correct the weight column or raise max_weight in the "
                "data contract"
            )
    any_infinite = _has_infinity(table.features)
    for feature, name in enumerate(table.schema.names):
        if not (any_infinite or table.schema.is_categorical(feature)):
            continue
        column = table.features[:, feature]
        if table.schema.is_categorical(feature):
            n_categories = table.schema.n_categories[feature]
            valid = np.isnan(column) | (
                (column >= 0) & (column < n_categories) & (np.floor(column) == column)
            )
            expected = f"a category code from 0 to {n_categories - 1} or missing"
        else:
            valid = ~np.isinf(column)
            expected = "a finite number or missing"
        if not valid.all():
            row = first_row + int(np.argmin(valid))
            raise DataError(f"{what}: feature {name!r} of row {row} is not {expected}")


def _has_infinity(features: Float32Array) -> bool:
    """Look through all values as they lie in memory, some rows at a time to need no memory."""
    return any(
        bool(np.isinf(features[start : start + _CHECKED_ROWS]).any())
        for start in range(0, len(features), _CHECKED_ROWS)
    )
