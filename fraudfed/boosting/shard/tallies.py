"""What metrics are made of: counts and sums over rows whose margins are known.

All of them are integers that add up over parts of the rows. ``metrics`` has what follows from them.
"""

from collections.abc import Sequence

import numpy as np

from fraudfed.boosting.engine.elementary import log, sigmoid
from fraudfed.boosting.engine.logistic import to_fixed_point
from fraudfed.boosting.score_cells import N_COARSE_CELLS, coarse_cells_of, count_cells
from fraudfed.dtypes import Float32Array, Int64Array

#: XGBoost's lower bound of a probability in logloss.
_LEAST_PROBABILITY = 1e-16


def metric_parts(
    names: Sequence[str], margins: Float32Array, labels: Float32Array
) -> dict[str, Int64Array]:
    """Return what the metrics of these names need of some rows.

    Parameters
    ----------
    names : sequence of str
    margins, labels : ndarray of shape (n_rows,), dtype=float32
        There may be none.

    Returns
    -------
    dict
        As ``protocol.BoostedRows.metric_parts``.
    """
    parts: dict[str, Int64Array] = {}
    if "logloss" in names:
        parts["logloss"] = _losses(margins, labels)
    if "error" in names:
        wrong = (sigmoid(margins) > np.float32(0.5)) != (labels == 1)
        parts["error"] = np.array([np.count_nonzero(wrong)], dtype=np.int64)
    if "auc" in names or "aucpr" in names:
        parts["ranking"] = count_cells(
            coarse_cells_of(margins),
            (labels == 1).astype(np.int64),
            n_cells=N_COARSE_CELLS,
            n_classes=2,
        ).ravel()
    return parts


def case_margins(margins: Float32Array, labels: Float32Array) -> tuple[Float32Array, Int64Array]:
    """Return the distinct margins of rows with label 1, ascending, and how many rows have each."""
    found, counts = np.unique(margins[labels == 1], return_counts=True)
    return found, counts.astype(np.int64)


def count_others(
    margins: Float32Array, labels: Float32Array, thresholds: Float32Array
) -> Int64Array:
    """Count rows with label 0 at or above each threshold and below the next one.

    Parameters
    ----------
    margins, labels : ndarray of shape (n_rows,), dtype=float32
    thresholds : ndarray of shape (n,), dtype=float32
        Ascending and distinct.

    Returns
    -------
    ndarray of shape (n,), dtype=int64
    """
    others = margins[labels != 1]
    # Most rows lie below the first threshold: they need no search.
    others = others[others >= thresholds[0]] if thresholds.size else others[:0]
    position = np.searchsorted(thresholds, others, side="right") - 1
    return np.bincount(position, minlength=thresholds.size).astype(np.int64)


def _losses(margins: Float32Array, labels: Float32Array) -> Int64Array:
    probability = sigmoid(margins)
    of_label = np.where(labels == 1, probability, np.float32(1.0) - probability)
    kept = np.maximum(of_label.astype(np.float64), _LEAST_PROBABILITY)
    return np.array([to_fixed_point(-log(kept)).sum()], dtype=np.int64)
