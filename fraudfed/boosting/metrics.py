"""Validation metrics of the pooled rows from sums of integers.

Every row counts once; sample weights do not enter. All sums are exact and each metric is one fixed
formula over them, so every bank finds the same float.

Rankings come from counts of margins in the coarse cells of ``score_cells``. Rows of one cell are
ties. Apart from that, the formulas are XGBoost's:
``logloss`` with probabilities kept 1e-16 away from 0, ``error`` at probability 0.5, ``auc`` with
ties counted half, ``aucpr`` as step-wise average precision (scikit-learn's
``average_precision_score``; XGBoost interpolates between the steps).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fraudfed.boosting.score_cells import N_COARSE_CELLS
from fraudfed.communicator import Communicator
from fraudfed.dtypes import FIXED_POINT_ONE, Int64Array
from fraudfed.errors import DataError
from fraudfed.held_sums import hold_ranking, hold_share
from fraudfed.parameters import EVAL_METRICS

#: -ln of 1e-16, XGBoost's lower bound of a probability in logloss, rounded up: no row loses more.
_LARGEST_LOSS = 37 * FIXED_POINT_ONE
#: Rows whose losses add up to less than ``2^62``, as all sums do.
_MOST_LOSSES = 2**62 // _LARGEST_LOSS
_MAXIMISED = ("auc", "aucpr")


def check_validation_rows(names: Sequence[str], n_rows: int) -> None:
    """Raise ``DataError`` if a metric's sum over so many rows could leave int64."""
    if "logloss" in names and n_rows > _MOST_LOSSES:
        raise DataError(
            f"{n_rows} validation rows exceed what a sum of losses can hold, {_MOST_LOSSES}; leave "
            "logloss out of eval_metric"
        )


def is_better(metric: str, value: float, than: float) -> bool:
    """Tell whether ``value`` of ``metric`` is strictly better than another."""
    return value > than if metric in _MAXIMISED else value < than


def pooled_metrics(
    names: Sequence[str],
    parts: Mapping[str, Int64Array],
    communicator: Communicator,
    *,
    n_rows: int,
    n_positives: int,
) -> dict[str, float]:
    """Return each metric over the rows of all banks, by one sum.

    Parameters
    ----------
    names : sequence of str
        From ``logloss``, ``auc``, ``aucpr``, ``error``; equal at every bank.
    parts : mapping of str to ndarray, dtype=int64
        Of this bank's rows, for these names: ``shard.protocol.BoostedRows.metric_parts``.
    communicator : Communicator
    n_rows, n_positives : int
        Pooled counts, both classes among them.

    Returns
    -------
    dict
        In the order of ``names``.

    Raises
    ------
    ValueError
        If a name is unknown.
    SumError
        If the sums are none of the validation rows.
    FraudFedError
        If the sum fails.
    """
    unknown = [name for name in names if name not in EVAL_METRICS]
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}, expected one of {EVAL_METRICS}")
    bounds: dict[str, Int64Array] = {}
    if "logloss" in names:
        bounds["logloss"] = np.array([n_rows * _LARGEST_LOSS], dtype=np.int64)
    if "error" in names:
        bounds["error"] = np.array([n_rows], dtype=np.int64)
    if "auc" in names or "aucpr" in names:
        bounds["ranking"] = np.repeat(
            np.array([n_rows - n_positives, n_positives], dtype=np.int64), N_COARSE_CELLS
        )
    pooled = communicator.sum(
        np.concatenate([parts[name] for name in bounds]),
        bound=np.concatenate(list(bounds.values())),
        low=0,
        label="metric:" + "+".join(names),
    )
    stops = np.cumsum([bound.size for bound in bounds.values()])[:-1]
    sums = dict(zip(bounds, np.split(pooled, stops), strict=True))
    values: dict[str, float] = {}
    for name in names:
        if name == "logloss":
            hold_share(int(sums[name][0]), most=n_rows * _LARGEST_LOSS)
            values[name] = int(sums[name][0]) / (n_rows * FIXED_POINT_ONE)
        elif name == "error":
            hold_share(int(sums[name][0]), most=n_rows)
            values[name] = int(sums[name][0]) / n_rows
        else:
            by_label = sums["ranking"].reshape(2, N_COARSE_CELLS)
            hold_ranking(by_label, n_negatives=n_rows - n_positives, n_positives=n_positives)
            negatives, positives = by_label
            values[name] = (roc_auc if name == "auc" else average_precision)(negatives, positives)
    return values


def roc_auc(negatives: Int64Array, positives: Int64Array) -> float:
    """Return the area under the ROC curve from counts per cell, ascending; ties count half.

    Parameters
    ----------
    negatives, positives : ndarray of shape (n_cells,), dtype=int64
        Each with at least one row in all.
    """
    # Twice the number of correctly ordered pairs, in Python integers: exact at any size.
    doubled = 0
    below = 0
    for negative, positive in zip(negatives.tolist(), positives.tolist(), strict=True):
        doubled += positive * (2 * below + negative)
        below += negative
    return doubled / (2 * below * int(positives.sum()))


def average_precision(negatives: Int64Array, positives: Int64Array) -> float:
    """Return the sum over thresholds of (recall step) x precision, from counts per cell.

    Parameters
    ----------
    negatives, positives : ndarray of shape (n_cells,), dtype=int64
        Ascending cells; at least one positive in all.
    """
    found, seen = 0, 0
    area = 0.0
    for negative, positive in zip(
        reversed(negatives.tolist()), reversed(positives.tolist()), strict=True
    ):
        found += positive
        seen += positive + negative
        if positive:
            area += positive * (found / seen)
    return area / found
