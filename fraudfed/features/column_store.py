"""Where the builders of whole tables put their columns."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.formulas import FeatureColumns
from fraudfed.payments.columns import COLUMNS


def require_columns(transactions: pd.DataFrame) -> None:
    """Raise DataError if a column is missing without which no feature can be built."""
    for column in COLUMNS:
        if column.required and column.name not in transactions.columns:
            raise DataError(
                f"transactions: column {column.name!r} is missing; run check_transactions first"
            )


class ColumnStore:
    """The output, filled by feature name; stored feature by feature.

    Parameters
    ----------
    n_rows : int
    schema : FeatureSchema
        Every feature of it must be put exactly once.
    """

    def __init__(self, n_rows: int, schema: FeatureSchema) -> None:
        self.schema = schema
        self._index = {name: i for i, name in enumerate(self.schema.names)}
        self._pending = set(self.schema.names)
        self._values = np.empty((self.schema.n_features, n_rows), dtype=np.float32)

    def put(
        self,
        name: str,
        values: npt.NDArray[np.floating | np.integer | np.bool_],
        rows: Int64Array | None = None,
    ) -> None:
        """Store a feature: of all rows, or of ``rows`` with the others missing."""
        target = self._values[self._index[name]]
        self._pending.remove(name)
        if rows is None:
            target[:] = values
            return
        if rows.size < target.size:
            target.fill(np.nan)
        # Rounded before it is spread over the rows: half as much goes to scattered places.
        target[rows] = values.astype(np.float32, copy=False)

    def put_all(self, features: FeatureColumns, rows: Int64Array | None = None) -> None:
        """Store what a formula yields."""
        for name, values in features:
            self.put(name, values, rows)

    def finish(self) -> Float32Array:
        """Return shape (n_rows, n_features)."""
        if self._pending:
            raise RuntimeError(f"no values for features of the recipe: {sorted(self._pending)}")
        return self._values.T
