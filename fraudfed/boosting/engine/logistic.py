"""Gradients of the logistic loss in NumPy, in fixed point.

Gradient and hessian of a row are computed in float32 in the order of operations that XGBoost uses
(``src/objective/regression_loss.h``), and then rounded once to fixed point: integers in units of
``1 / FIXED_POINT_ONE``, to the nearest, ties to the even integer.
"""

import numpy as np

from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.dtypes import FIXED_POINT_ONE, Float32Array, Float64Array, Int64Array

#: XGBoost's lower bound of a hessian before weighting (``regression_loss.h``).
_LEAST_HESSIAN = np.float32(1e-16)


def fill_gradients(
    margins: Float32Array,
    labels: Float32Array,
    weights: Float32Array | None,
    *,
    scale_pos_weight: float,
    out: Int64Array,
) -> None:
    """Write ``(p - y) w`` and ``max(p (1 - p), 1e-16) w`` with ``p = sigmoid(margin)``.

    Parameters and shapes are those of ``Engine.logistic_gradients``.
    """
    probability = sigmoid(margins)
    weight = effective_weights(labels, weights, scale_pos_weight=scale_pos_weight)
    one = np.float32(1.0)
    out[:, 0] = to_fixed_point((probability - labels) * weight)
    hessian = np.maximum(probability * (one - probability), _LEAST_HESSIAN)
    out[:, 1] = to_fixed_point(hessian * weight)


def effective_weights(
    labels: Float32Array, weights: Float32Array | None, *, scale_pos_weight: float
) -> Float32Array:
    """Return each row's weight, times ``scale_pos_weight`` if its label is 1.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,), dtype=float32
    weights : ndarray of shape (n_rows,), dtype=float32, or None
        None is weight 1.
    scale_pos_weight : float

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
    """
    base = np.ones_like(labels) if weights is None else weights
    scaled: Float32Array = base * np.float32(scale_pos_weight)
    return np.where(labels == 1, scaled, base)


def to_fixed_point(values: Float32Array | Float64Array) -> Int64Array:
    """Return ``values * FIXED_POINT_ONE`` as integers, ties to even; shape is kept."""
    # A power of two: the product is exact in float64, only rint rounds.
    return np.rint(np.asarray(values, dtype=np.float64) * FIXED_POINT_ONE).astype(np.int64)
