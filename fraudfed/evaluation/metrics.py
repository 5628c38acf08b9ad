"""Metrics of one model on one table: exact, with tied scores counted as one threshold.

All of them are functions of the confusion counts at every distinct score, taken from the highest
down. They equal scikit-learn's ``average_precision_score``, ``roc_auc_score`` and ``roc_curve``.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.errors import DataError

_Scores: TypeAlias = npt.NDArray[np.floating]
_Labels: TypeAlias = npt.NDArray[np.floating | np.integer | np.bool_]


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision against recall, from the strictest threshold to the loosest.

    Attributes
    ----------
    recall : ndarray of shape (n_points,), dtype=float64
        Ascending, from 0 to 1.
    precision : ndarray of shape (n_points,), dtype=float64
    """

    recall: Float64Array
    precision: Float64Array


def auprc(scores: _Scores, labels: _Labels) -> float | None:
    """Return the average precision: sum over thresholds of (recall gained) times precision.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Higher is more suspicious; finite.
    labels : ndarray of shape (n_rows,)
        0 or 1.

    Returns
    -------
    float or None
        None if the rows do not hold both classes.

    Raises
    ------
    DataError
        If shapes differ, a score is not finite, or a label is neither 0 nor 1.
    """
    true, false = _counts(scores, labels)
    if not _both_classes(true, false):
        return None
    return float(np.sum(np.diff(true, prepend=0) * (true / (true + false))) / true[-1])


def auc(scores: _Scores, labels: _Labels) -> float | None:
    """Return the area under the ROC curve: P(fraud scores above clean) + P(tie) / 2.

    J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143(1), 1982, pages 29-36.

    Parameters, returns and raises as :func:`auprc`.
    """
    true, false = _counts(scores, labels)
    if not _both_classes(true, false):
        return None
    gained = np.diff(true, prepend=0)
    passed = np.diff(false, prepend=0)
    # Twice the number of (fraud, clean) pairs in the right order, a tie counting one: exact.
    twice = int(np.sum(gained * (2 * (false[-1] - false) + passed)))
    return twice / (2 * int(true[-1]) * int(false[-1]))


def recall_at_fpr(scores: _Scores, labels: _Labels, *, max_fpr: float = 0.01) -> float | None:
    """Return the share of frauds caught while at most ``max_fpr`` of clean rows are flagged.

    It takes the best threshold within the limit and does not interpolate, because no threshold
    reaches an interpolated point.

    Parameters
    ----------
    scores, labels : ndarray of shape (n_rows,)
        As for :func:`auprc`.
    max_fpr : float
        Largest false positive rate, from 0 to 1.

    Returns
    -------
    float or None
        None if the rows do not hold both classes.

    Raises
    ------
    DataError
        As :func:`auprc`.
    ValueError
        If ``max_fpr`` is out of range.
    """
    if not 0 <= max_fpr <= 1:
        raise ValueError(f"max_fpr is {max_fpr}, expected 0 to 1")
    true, false = _counts(scores, labels)
    if not _both_classes(true, false):
        return None
    allowed = int(np.searchsorted(false / false[-1], max_fpr, side="right"))
    return 0.0 if allowed == 0 else float(true[allowed - 1] / true[-1])


def precision_recall_curve(
    scores: _Scores, labels: _Labels, *, max_points: int = 200
) -> PrecisionRecallCurve | None:
    """Return the curve for a plot.

    Parameters
    ----------
    scores, labels : ndarray of shape (n_rows,)
        As for :func:`auprc`.
    max_points : int
        At most this many points are kept, evenly spread over recall; at least 2.

    Returns
    -------
    PrecisionRecallCurve or None
        None if the rows do not hold both classes.

    Raises
    ------
    DataError
        As :func:`auprc`.
    ValueError
        If ``max_points`` is below 2.
    """
    if max_points < 2:
        raise ValueError(f"max_points is {max_points}, expected at least 2")
    true, false = _counts(scores, labels)
    if not _both_classes(true, false):
        return None
    # Of the thresholds with equal recall the strictest is the most precise; recall 0 says nothing.
    reached = np.flatnonzero(np.diff(true, prepend=0) > 0)
    if reached.size > max_points - 1:
        recall = true[reached] / true[-1]
        wanted = np.linspace(recall[0], 1.0, max_points - 1)
        reached = reached[np.unique(np.searchsorted(recall, wanted - 1e-12))]
    recall = true[reached] / true[-1]
    precision = true[reached] / (true[reached] + false[reached])
    return PrecisionRecallCurve(
        recall=np.concatenate([[0.0], recall]), precision=np.concatenate([precision[:1], precision])
    )


def _counts(scores: _Scores, labels: _Labels) -> tuple[Int64Array, Int64Array]:
    """Return true and false positives with the threshold at each distinct score, descending."""
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DataError(
            f"scores have shape {scores.shape} and labels {labels.shape}, expected (n_rows,) twice"
        )
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise DataError(f"score of row {row + 1} is {scores[row]}, expected a finite number")
    positive = labels == 1
    wrong = ~(positive | (labels == 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"label of row {row + 1} is {labels[row]}, expected 0 or 1")
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last_of_tie = np.flatnonzero(np.append(descending[1:] != descending[:-1], scores.size > 0))
    true = np.cumsum(positive[order], dtype=np.int64)[last_of_tie]
    return true, last_of_tie.astype(np.int64) + 1 - true


def _both_classes(true: Int64Array, false: Int64Array) -> bool:
    return true.size > 0 and bool(true[-1] > 0) and bool(false[-1] > 0)
