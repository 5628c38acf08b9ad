"""How good a model is: scores held against labels. Pure numerics on arrays."""

from fraudfed.evaluation.metrics import (
    PrecisionRecallCurve,
    auc,
    auprc,
    precision_recall_curve,
    recall_at_fpr,
)
from fraudfed.evaluation.score_histogram import Bounded, ScoreHistogram

__all__ = [
    "Bounded",
    "PrecisionRecallCurve",
    "ScoreHistogram",
    "auc",
    "auprc",
    "precision_recall_curve",
    "recall_at_fpr",
]
