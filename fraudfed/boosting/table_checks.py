"""What the arrays' types cannot say of a table."""

import numpy as np

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError

#: Rows looked through at a time for infinite values.
_CHECKED_ROWS = 1 << 14

#: XGBoost's Python package refuses these in a feature name.
_FORBIDDEN_IN_NAMES = "[]<"


def check_schema(schema: FeatureSchema) -> None:
    """Check that XGBoost accepts the features' names.

    Raises
    ------
    DataError
    """
    for name in schema.names:
        found = [character for character in _FORBIDDEN_IN_NAMES if character in name]
        if found:
            raise DataError(
                f"feature name {name!r} contains {found[0]!r}, which XGBoost does not accept; "
                "rename the feature in the data contract"
            )


def check_rows(table: TrainingTable, *, what: str) -> None:
    """Check labels, weights and features; the message names row and column, no value.

    Parameters
    ----------
    table : TrainingTable
    what : str
        Names the rows in the message.

    Raises
    ------
    DataError
    """
    bad = np.flatnonzero((table.labels != 0) & (table.labels != 1))
    if bad.size:
        raise DataError(
            f"{what}: the label of row {bad[0]} is not 0 or 1; correct the label column"
        )
    if table.weights is not None:
        bad = np.flatnonzero(~((table.weights > 0) & (table.weights <= table.max_weight)))
        if bad.size:
            raise DataError(
                f"{what}: the weight of row {bad[0]} is not in (0, {table.max_weight:g}]; "
                "correct the weight column or raise max_weight in the data contract"
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
            row = int(np.argmin(valid))
            raise DataError(f"{what}: feature {name!r} of row {row} is not {expected}")


def _has_infinity(features: Float32Array) -> bool:
    """Look through all values as they lie in memory, some rows at a time to need no memory."""
    return any(
        bool(np.isinf(features[start : start + _CHECKED_ROWS]).any())
        for start in range(0, len(features), _CHECKED_ROWS)
    )
