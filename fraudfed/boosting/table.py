"""The table one bank trains on: float32 features, labels, weights and what the columns are."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Float32Array


@dataclass(frozen=True)
class FeatureSchema:
    """Public description of the feature columns, the same at every bank.

    Attributes
    ----------
    names : tuple of str
    n_categories : tuple of int
        0 for a numeric feature; otherwise the number of categories, coded 0 .. n - 1.
    """

    names: tuple[str, ...]
    n_categories: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.n_categories):
            raise ValueError(f"{len(self.names)} names, {len(self.n_categories)} n_categories")

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
    """

    schema: FeatureSchema
    features: Float32Array
    labels: Float32Array
    weights: Float32Array | None = None
    max_weight: float = 1.0

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

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.labels.shape[0])
