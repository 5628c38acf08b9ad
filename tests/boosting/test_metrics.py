"""Pooled metrics against scikit-learn and XGBoost."""

import numpy as np
import pytest
import xgboost
from cohorts.exact import run_cohort
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from fraudfed.boosting.metrics import is_better, pooled_metrics
from fraudfed.boosting.shard.tallies import metric_parts
from fraudfed.communicator import SoloCommunicator
from fraudfed.parameters import EVAL_METRICS


def sample(seed: int, n_rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n_rows) < 0.05).astype(np.float32)
    labels[:2] = (0.0, 1.0)
    margins = (rng.normal(-3, 2, n_rows) + 2.5 * labels).astype(np.float32)
    return margins, labels


def solo(names: list[str], margins: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return pooled_metrics(
        names,
        metric_parts(names, margins, labels),
        SoloCommunicator(),
        n_rows=labels.size,
        n_positives=int(labels.sum()),
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_values_are_scikit_learns(seed: int) -> None:
    margins, labels = sample(seed)
    # On the grid, a cell holds equal margins only: no ties are added.
    on_grid = (np.round(margins * 64) / 64).astype(np.float32)
    found = solo(list(EVAL_METRICS), on_grid, labels)
    p = 1 / (1 + np.exp(-on_grid.astype(np.float64)))
    assert list(found) == list(EVAL_METRICS)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, on_grid), abs=1e-12)
    assert found["aucpr"] == pytest.approx(average_precision_score(labels, on_grid), abs=1e-12)
    assert found["logloss"] == pytest.approx(log_loss(labels, p), abs=1e-6)
    assert found["error"] == np.mean((p > 0.5) != (labels == 1))


def test_ties_within_cells_cost_little() -> None:
    margins, labels = sample(1, 20_000)
    found = solo(["auc", "aucpr"], margins, labels)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, margins), abs=1e-4)
    assert found["aucpr"] == pytest.approx(average_precision_score(labels, margins), abs=2e-3)


def test_logloss_and_error_are_xgboosts() -> None:
    margins, labels = sample(2)
    margins[:4] = (-200.0, 200.0, 40.0, -40.0)
    data = xgboost.DMatrix(np.zeros((labels.size, 1)), label=labels, base_margin=margins)
    booster = xgboost.train(
        {
            "objective": "binary:logistic",
            "eval_metric": ["logloss", "error", "auc"],
            "eta": 0.0,
        },
        data,
        num_boost_round=1,
    )
    fields = booster.eval(data).split("\t")[1:]
    expected = {field.split(":")[0].removeprefix("eval-"): field.split(":")[1] for field in fields}
    found = solo(["logloss", "error", "auc"], margins, labels)
    assert found["logloss"] == pytest.approx(float(expected["logloss"]), abs=1e-5)
    assert found["error"] == pytest.approx(float(expected["error"]), abs=1e-7)
    assert found["auc"] == pytest.approx(float(expected["auc"]), abs=5e-4)


@pytest.mark.parametrize("n_banks", [2, 5])
def test_every_bank_finds_the_value_of_the_pooled_rows(n_banks: int) -> None:
    margins, labels = sample(3)
    names = ["aucpr", "logloss", "error", "auc"]
    bank_of_row = np.random.default_rng(0).integers(0, n_banks - 1, labels.size)

    def program(bank: int, communicator: object) -> dict[str, float]:
        # The last bank has no rows.
        mine = bank_of_row == bank
        return pooled_metrics(
            names,
            metric_parts(names, margins[mine], labels[mine]),
            communicator,
            n_rows=labels.size,
            n_positives=int(labels.sum()),
        )

    expected = solo(names, margins, labels)
    assert run_cohort(n_banks, program) == [expected] * n_banks


def test_extreme_margins_keep_their_cell() -> None:
    margins = np.array([-1e30, -16.0, 15.999, 16.0, 3e38], dtype=np.float32)
    labels = np.array([0, 0, 1, 1, 1], dtype=np.float32)
    assert solo(["auc", "aucpr"], margins, labels) == {"auc": 1.0, "aucpr": 1.0}


def test_shuffled_labels_give_the_prevalence() -> None:
    rng = np.random.default_rng(9)
    margins, labels = sample(4, 50_000)
    found = solo(["auc", "aucpr"], margins, rng.permutation(labels))
    assert found["auc"] == pytest.approx(0.5, abs=0.02)
    assert found["aucpr"] == pytest.approx(labels.mean(), abs=0.01)


def test_direction_of_improvement() -> None:
    assert is_better("auc", 0.6, 0.5)
    assert is_better("aucpr", 0.6, 0.5)
    assert is_better("logloss", 0.5, 0.6)
    assert is_better("error", 0.5, 0.6)
    assert not any(is_better(name, 0.5, 0.5) for name in EVAL_METRICS)


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="unknown metric 'rmse'"):
        solo(["rmse"], *sample(5))
