"""Metrics from counts in cells hold scikit-learn's value of the rows, whatever the rows are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from fraudfed.boosting.score_cells import (
    CELL_EDGES,
    N_CELLS,
    N_COARSE_CELLS,
    cells_of,
    coarse_cells_of,
)
from fraudfed.evaluation import recall_at_fpr
from fraudfed.evaluation.score_histogram import Bounded, ScoreHistogram

Rows = tuple[np.ndarray, np.ndarray]

#: From all rows in one cell to scores far beyond the grid, with ties on and off the edges.
_SPREADS = (0.0, 1e-4, 0.003, 0.05, 1.0, 6.0, 40.0)


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Margins and labels of both classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows = draw(st.integers(2, 400))
    labels = (rng.random(n_rows) < draw(st.sampled_from([0.01, 0.3, 0.95]))).astype(np.float32)
    labels[:2] = (0.0, 1.0)
    margins = draw(st.sampled_from([-30.0, -6.9, 0.0, 9.99, 16.0])) + draw(
        st.sampled_from(_SPREADS)
    ) * (rng.normal(size=n_rows) + draw(st.sampled_from([-3.0, 0.0, 2.0])) * labels)
    ties = draw(st.sampled_from([None, 512.0, 700.0, 2.0]))
    if ties is not None:
        margins = np.round(margins * ties) / ties
    return margins.astype(np.float32), labels


def probability(margins: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-margins.astype(np.float64)))


def holds(found: Bounded | None, value: float | None) -> bool:
    assert found is not None
    assert value is not None
    assert found.low <= found.estimate <= found.high
    return found.holds(float(value))


@settings(deadline=None, max_examples=150)
@given(pooled=rows())
def test_the_value_of_the_rows_is_within(pooled: Rows) -> None:
    margins, labels = pooled
    counted = ScoreHistogram.of(margins, labels)
    assert holds(counted.average_precision(), average_precision_score(labels, margins))
    assert holds(counted.auc(), roc_auc_score(labels, margins))
    assert holds(counted.brier(), brier_score_loss(labels, probability(margins)))
    for max_fpr in (0.0, 0.001, 0.01, 0.05, 0.3, 1.0):
        found = counted.recall_at_fpr(max_fpr)
        assert holds(found, recall_at_fpr(margins, labels, max_fpr=max_fpr))


@settings(deadline=None, max_examples=100)
@given(pooled=rows())
def test_both_ends_are_values_of_rows(pooled: Rows) -> None:
    margins, labels = pooled
    counted = ScoreHistogram.of(margins, labels)
    cells = cells_of(margins).astype(np.float64)
    apart = np.linspace(0.1, 0.2, labels.size)
    best = cells + 0.5 * labels
    worst = cells + np.where(labels == 1, apart, 0.5)
    for order, end in ((best, "high"), (worst, "low")):
        found = (
            average_precision_score(labels, order),
            roc_auc_score(labels, order),
            recall_at_fpr(order, labels, max_fpr=0.02),
        )
        expected = [
            getattr(value, end)
            for value in (
                counted.average_precision(),
                counted.auc(),
                counted.recall_at_fpr(0.02),
            )
        ]
        assert found == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(pooled=rows())
def test_reliability_is_that_of_the_rows(pooled: Rows) -> None:
    margins, labels = pooled
    counted = ScoreHistogram.of(margins, labels)
    p = probability(margins)
    error = 0.0
    bins = counted.reliability()
    for part in bins:
        held = np.ones(labels.size, dtype=bool) if part.low is None else margins >= part.low
        held &= True if part.high is None else margins < part.high
        assert (part.rows, part.frauds) == (held.sum(), labels[held].sum())
        assert part.predicted.holds(p[held].mean())
        error += part.rows / labels.size * abs(p[held].mean() - part.observed)
    assert sum(part.rows for part in bins) == labels.size
    assert holds(counted.calibration_error(), error)


@given(pooled=rows(), n_banks=st.sampled_from([1, 3, 7]), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_counts_add_over_banks(pooled: Rows, n_banks: int, seed: int) -> None:
    margins, labels = pooled
    bank = np.random.default_rng(seed).integers(0, n_banks, labels.size)
    parts = [ScoreHistogram.of(margins[bank == b], labels[bank == b]) for b in range(n_banks)]
    whole = ScoreHistogram.of(margins, labels)
    assert (sum(part.negatives for part in parts) == whole.negatives).all()
    assert (sum(part.positives for part in parts) == whole.positives).all()


def test_cells_split_coarse_ones_and_end_at_their_edges() -> None:
    edges = CELL_EDGES.astype(np.float32)
    assert (edges == CELL_EDGES).all()
    assert (cells_of(edges) == np.arange(N_CELLS)).all()
    below = np.nextafter(edges, np.float32(-np.inf))
    assert (cells_of(below) == np.maximum(np.arange(N_CELLS) - 1, 0)).all()
    # No coarse cell begins inside of a fine one.
    coarse = coarse_cells_of(edges)
    assert coarse.tolist() == sorted(coarse.tolist())
    assert np.unique(coarse).tolist() == list(range(N_COARSE_CELLS))
    is_first = np.diff(coarse, prepend=-1) > 0
    assert (coarse_cells_of(below[is_first])[1:] == np.arange(N_COARSE_CELLS - 1)).all()
    far = np.array([-np.inf, -3e38, 3e38, np.inf], dtype=np.float32)
    assert cells_of(far).tolist() == [0, 0, N_CELLS - 1, N_CELLS - 1]


#: Frauds and clean rows of models as they are met: weak to strong, wide and narrow scores.
_SHAPES = {
    "weak": (-8.0, 1.0, 3.0, 1.5),
    "good": (-8.0, 1.0, 4.5, 1.5),
    "wide": (-8.0, 2.0, 7.0, 2.0),
    "few trees": (-6.9, 0.3, 1.0, 0.5),
    "weighted": (-1.1, 1.0, 3.0, 1.5),
}


@pytest.mark.parametrize("shape", sorted(_SHAPES))
def test_resolution_at_one_fraud_in_a_thousand(shape: str) -> None:
    mean, spread, shift, spread_of_frauds = _SHAPES[shape]
    rng = np.random.default_rng(11)
    labels = np.zeros(1_000_000, dtype=np.float32)
    labels[:1000] = 1.0
    margins = rng.normal(mean, spread, labels.size)
    margins[:1000] = rng.normal(mean + shift, spread_of_frauds, 1000)
    counted = ScoreHistogram.of(margins.astype(np.float32), labels)
    found = counted.average_precision()
    assert found is not None
    assert found.resolution <= 0.001
    truth = average_precision_score(labels, margins.astype(np.float32))
    assert found.holds(truth)
    # Rows of a cell are mixed as they come: the estimate is much nearer than it must be.
    assert found.estimate == pytest.approx(truth, abs=1e-4)


def test_what_no_rows_can_give() -> None:
    nothing = np.zeros(0, dtype=np.float32)
    empty = ScoreHistogram.of(nothing, nothing)
    assert empty.average_precision() is empty.auc() is empty.recall_at_fpr(0.01) is None
    assert empty.brier() is empty.calibration_error() is None
    assert empty.reliability() == ()
    frauds = ScoreHistogram.of(np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32))
    assert frauds.average_precision() == Bounded(1.0, 1.0, 1.0)
    assert frauds.auc() is frauds.recall_at_fpr(0.5) is None
    with pytest.raises(ValueError, match=r"max_fpr is 1.5, expected 0 to 1"):
        empty.recall_at_fpr(1.5)
    with pytest.raises(ValueError, match=r"counts have shapes \(2,\) and"):
        ScoreHistogram(np.zeros(2, dtype=np.int64), frauds.positives)
