"""A bank's own metric in fixed point."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from fraudfed.evaluation.bank_metric import METRIC_ONE, bank_auprc, metric_units


def test_units_are_the_metric_to_half_a_step() -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random(3000) < 0.02).astype(np.float32)
    margins = (rng.normal(size=3000) + labels).astype(np.float32)
    found = bank_auprc(margins, labels)
    assert found is not None
    truth = average_precision_score(labels, margins)
    assert found / METRIC_ONE == pytest.approx(truth, abs=0.5 / METRIC_ONE)
    assert (metric_units(0.0), metric_units(1.0)) == (0, METRIC_ONE)


def test_one_class_has_none() -> None:
    assert bank_auprc(np.zeros(3, dtype=np.float32), np.zeros(3, dtype=np.float32)) is None
