"""How good a model is, what sharing was worth, and the page that shows it.

``metrics`` measures scores against labels, ``compare`` holds a run's results bank by bank,
``plots`` draws them, ``report`` writes them as one self-contained page. The last two load
matplotlib and are imported by name where they are used.
"""

from fraudfed.evaluation.compare import (
    MODELS,
    BankResult,
    DemoSummary,
    ModelScores,
    format_table,
    score_model,
)
from fraudfed.evaluation.metrics import (
    PrecisionRecallCurve,
    auc,
    auprc,
    precision_recall_curve,
    recall_at_fpr,
)

__all__ = [
    "MODELS",
    "BankResult",
    "DemoSummary",
    "ModelScores",
    "PrecisionRecallCurve",
    "auc",
    "auprc",
    "format_table",
    "precision_recall_curve",
    "recall_at_fpr",
    "score_model",
]
