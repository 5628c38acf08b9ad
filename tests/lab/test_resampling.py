"""Intervals of a demo's AUPRC: paired, bank by bank, and honest on a world without difference."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.lab.report.resampling import Resampled, difference, mean_of_banks

DAY = 86_400


def _bank(
    seed: int, *, lift: float, n_rows: int = 3000
) -> tuple[dict[str, np.ndarray | None], Outcomes]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n_rows) < 0.03).astype(np.float32)
    noise = rng.normal(size=(3, n_rows))
    scores: dict[str, np.ndarray | None] = {
        "local": (noise[0] + 1.5 * labels).astype(np.float32),
        "federated": (0.9 * noise[0] + 0.44 * noise[1] + (1.5 + lift) * labels).astype(np.float32),
        "pooled": (0.9 * noise[0] + 0.44 * noise[2] + (1.5 + lift) * labels).astype(np.float32),
    }
    outcomes = Outcomes(
        labels=labels,
        is_blocked=np.zeros(n_rows, dtype=np.bool_),
        event_time=rng.integers(0, 25 * DAY, n_rows),
        customers=rng.integers(0, 400, n_rows),
    )
    return scores, outcomes


def _resampled(seed: int, *, lift: float) -> Resampled:
    found = Resampled.of(*_bank(seed, lift=lift), seed=seed)
    assert found is not None
    return found


def test_the_number_itself_is_average_precision_and_lies_inside() -> None:
    scores, outcomes = _bank(1, lift=1.0)
    found = Resampled.of(scores, outcomes, seed=0)
    assert found is not None
    for model, interval in found.intervals().items():
        expected = average_precision_score(outcomes.labels, scores[model])
        assert found.found[model] == pytest.approx(expected, abs=1e-12)
        assert interval.lower < expected < interval.upper


def test_a_difference_is_surer_than_the_two_numbers() -> None:
    found = _resampled(2, lift=1.0)
    gain = difference(found, "federated", "local")
    assert gain is not None
    width = gain.interval.upper - gain.interval.lower
    alone = found.intervals()["federated"]
    assert gain.interval.lower > 0
    assert width < alone.upper - alone.lower
    same = difference(found, "local", "local")
    assert same is not None
    assert (same.interval.lower, same.auprc, same.interval.upper) == (0, 0, 0)


def test_where_nothing_differs_the_interval_says_so() -> None:
    banks = [_resampled(seed, lift=0.0) for seed in range(5)]
    mean = mean_of_banks(banks)
    assert mean is not None
    gain = difference(mean, "pooled", "local")
    assert gain is not None
    assert gain.interval.lower < 0 < gain.interval.upper


def test_means_are_over_banks_where_every_model_is_known() -> None:
    scores, outcomes = _bank(3, lift=1.0)
    part = Resampled.of({**scores, "local": None}, outcomes, seed=0)
    whole = _resampled(4, lift=1.0)
    mean = mean_of_banks([part, whole, None])
    assert mean is not None
    assert mean.found == whole.found
    assert mean_of_banks([None]) is None
    assert part is not None
    assert difference(part, "federated", "local") is None


def test_one_class_gives_no_interval() -> None:
    scores, outcomes = _bank(5, lift=0.0)
    clean = outcomes.labels == 0
    few = {model: None if one is None else one[clean] for model, one in scores.items()}
    assert Resampled.of(few, outcomes.take(clean), seed=0) is None
