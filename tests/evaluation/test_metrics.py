"""Every metric equals scikit-learn's, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from fraudfed.errors import DataError
from fraudfed.evaluation import auc, auprc, precision_recall_curve, recall_at_fpr
from fraudfed.lab.report.compare import score_model

# Few distinct scores, so that ties within and between the classes are the rule.
rows = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)
Rows = list[tuple[int, bool]]


def arrays(pairs: Rows) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([score / 4 for score, _ in pairs], dtype=np.float32)
    return scores, np.array([label for _, label in pairs], dtype=np.float32)


@given(pairs=rows)
def test_auprc_is_average_precision(pairs: Rows) -> None:
    scores, labels = arrays(pairs)
    assert auprc(scores, labels) == pytest.approx(average_precision_score(labels, scores))


@given(pairs=rows)
def test_auc_is_roc_auc(pairs: Rows) -> None:
    scores, labels = arrays(pairs)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


@given(pairs=rows, max_fpr=st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]))
def test_recall_at_fpr_is_the_best_reachable_point(pairs: Rows, max_fpr: float) -> None:
    scores, labels = arrays(pairs)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert recall_at_fpr(scores, labels, max_fpr=max_fpr) == pytest.approx(
        tpr[fpr <= max_fpr].max()
    )


@given(pairs=rows)
def test_curve_area_is_the_average_precision(pairs: Rows) -> None:
    scores, labels = arrays(pairs)
    curve = precision_recall_curve(scores, labels, max_points=1000)
    assert curve is not None
    area = np.sum(np.diff(curve.recall) * curve.precision[1:])
    assert area == pytest.approx(average_precision_score(labels, scores))
    assert curve.recall[0] == 0
    assert curve.recall[-1] == 1


@given(pairs=rows, seed=st.integers(0, 1000))
def test_row_order_does_not_matter(pairs: Rows, seed: int) -> None:
    scores, labels = arrays(pairs)
    order = np.random.default_rng(seed).permutation(len(pairs))
    assert score_model(scores, labels) == score_model(scores[order], labels[order])


@given(pairs=rows)
def test_only_the_ranking_matters(pairs: Rows) -> None:
    scores, labels = arrays(pairs)
    assert score_model(scores, labels) == score_model(np.exp(3 * scores.astype(float)), labels)


def test_perfect_guessing_and_reversed() -> None:
    labels = np.array([1, 1, 0, 0, 0, 0])
    ranked = np.array([0.9, 0.8, 0.4, 0.3, 0.2, 0.1])
    assert (auprc(ranked, labels), auc(ranked, labels)) == (1.0, 1.0)
    assert recall_at_fpr(ranked, labels) == 1.0
    constant = np.full(6, 0.5)
    assert auprc(constant, labels) == pytest.approx(2 / 6)
    assert auc(constant, labels) == 0.5
    assert recall_at_fpr(constant, labels) == 0.0
    assert auc(-ranked, labels) == 0.0


def test_large_tables_stay_exact() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random(200_000) < 0.005).astype(np.float32)
    scores = (rng.normal(size=200_000) + 2 * labels).round(2).astype(np.float32)
    assert auprc(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    curve = precision_recall_curve(scores, labels, max_points=50)
    assert curve is not None
    assert curve.recall.size <= 50
    assert (np.diff(curve.recall) > 0).all()
    assert curve.recall[-1] == 1


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [1, 1]])
def test_one_class_has_no_metric(labels: list[int]) -> None:
    scores = np.linspace(0, 1, len(labels))
    found = score_model(scores, np.array(labels))
    assert (found.auprc, found.auc, found.recall_at_1pct_fpr) == (None, None, None)
    assert precision_recall_curve(scores, np.array(labels)) is None


def test_bad_input_is_named() -> None:
    labels = np.array([0, 1, 0])
    with pytest.raises(DataError, match=r"scores have shape \(2,\) and labels \(3,\)"):
        auprc(np.zeros(2), labels)
    with pytest.raises(DataError, match="score of row 2 is nan, expected a finite number"):
        auc(np.array([0.1, np.nan, 0.2]), labels)
    with pytest.raises(DataError, match=r"label of row 3 is 2, expected 0 or 1"):
        auc(np.zeros(3), np.array([0, 1, 2]))
    with pytest.raises(DataError, match=r"label of row 1 is nan, expected 0 or 1"):
        auc(np.zeros(3), np.array([np.nan, 1, 0]))
    with pytest.raises(ValueError, match=r"max_fpr is 1.5, expected 0 to 1"):
        recall_at_fpr(np.zeros(3), labels, max_fpr=1.5)
    with pytest.raises(ValueError, match="max_points is 1"):
        precision_recall_curve(np.zeros(3), labels, max_points=1)
