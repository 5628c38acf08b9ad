"""Probabilities beside scores: laws, and scikit-learn as the oracle of isotonic regression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from fraudfed.adaptation.calibration import (
    Calibration,
    Method,
    PooledBin,
    brier,
    fit_calibration,
    logit,
    own_prevalence,
    pooled_calibration,
    prior_shift,
)
from fraudfed.adaptation.isotonic import pool_adjacent_violators
from fraudfed.adaptation.logistic_fit import log_loss
from fraudfed.dtypes import Float32Array

FEW, SOME, MANY = 49, 50, 1000


def scored(
    seed: int, n_rows: int, *, slope: float = 1.0, intercept: float = 0.0, digits: int = 9
) -> tuple[Float32Array, Float32Array]:
    """Draw scores, and labels whose logit is ``intercept + slope * logit(score)``."""
    rng = np.random.default_rng(seed)
    scores = np.round(1 / (1 + np.exp(-rng.normal(-1, 2, n_rows))), digits).astype(np.float32)
    odds = np.exp(-(intercept + slope * logit(scores)))
    return scores, (rng.random(n_rows) < 1 / (1 + odds)).astype(np.float32)


cases = st.sampled_from([SOME, MANY])
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40)
@given(
    seed=seeds,
    n_cases=cases,
    slope=st.floats(-1, 3),
    intercept=st.floats(-3, 3),
    digits=st.sampled_from([1, 9]),
)
def test_nothing_gets_worse_on_the_rows_of_the_fit_and_nothing_falls(
    seed: int, n_cases: int, slope: float, intercept: float, digits: int
) -> None:
    scores, labels = scored(seed, 200, slope=slope, intercept=intercept, digits=digits)
    found = fit_calibration(scores, labels, n_cases=n_cases)
    if found is None:
        assert len(np.unique(labels)) == 1
        return
    probabilities = found.of(scores)
    assert brier(probabilities, labels) <= brier(scores.astype(np.float64), labels)
    assert log_loss(logit(probabilities), labels) <= log_loss(logit(scores), labels)
    edges = np.array([0, 1e-45, 1, *np.nextafter(scores, 0), *np.nextafter(scores, 1)])
    ascending = np.sort(np.concatenate((scores, edges.astype(np.float32))))
    mapped = found.of(ascending)
    assert (np.diff(mapped) >= 0).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()
    again = Calibration.model_validate_json(found.model_dump_json())
    np.testing.assert_array_equal(again.of(ascending), mapped)
    order = np.random.default_rng(seed).permutation(scores.size)
    assert fit_calibration(scores[order], labels[order], n_cases=n_cases) == found


@settings(max_examples=40)
@given(seed=seeds, digits=st.sampled_from([1, 2, 9]), slope=st.floats(-1, 2))
def test_isotonic_is_that_of_scikit_learn(seed: int, digits: int, slope: float) -> None:
    scores, labels = scored(seed, 300, slope=slope, digits=digits)
    values, group = np.unique(scores, return_inverse=True)
    rows, frauds = np.bincount(group), np.bincount(group, labels).astype(np.int64)
    blocks = pool_adjacent_violators(frauds, rows)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(
        scores.astype(np.float64), labels.astype(np.float64)
    )
    found = np.repeat(blocks.shares, blocks.last - blocks.first + 1)
    np.testing.assert_allclose(found, oracle.predict(values.astype(np.float64)), atol=1e-12)
    calibration = fit_calibration(scores, labels, n_cases=MANY)
    if calibration is not None and calibration.method is Method.ISOTONIC:
        new = np.linspace(0, 1, 500, dtype=np.float32)
        # Ours stays half a fraud away from 0 and 1.
        np.testing.assert_allclose(
            calibration.of(new), oracle.predict(new.astype(np.float64)), atol=0.5 / 300
        )


def test_cases_choose_the_method() -> None:
    scores, labels = scored(1, 5000, slope=0.5, intercept=-1)
    assert fit_calibration(scores, labels, n_cases=FEW) is None
    some = fit_calibration(scores, labels, n_cases=SOME)
    assert some is not None
    assert some.method is Method.INTERCEPT_AND_SLOPE
    assert (some.intercept, some.slope) == pytest.approx((-1, 0.5), abs=0.1)
    many = fit_calibration(scores, labels, n_cases=MANY)
    assert many is not None
    assert many.method is Method.ISOTONIC
    new_scores, new_labels = scored(2, 5000, slope=0.5, intercept=-1)
    before = brier(new_scores.astype(np.float64), new_labels)
    assert brier(some.of(new_scores), new_labels) < 0.9 * before
    assert brier(many.of(new_scores), new_labels) < 0.9 * before
    assert before == pytest.approx(brier_score_loss(new_labels, new_scores))


def test_scores_that_turn_round_stay_as_they_are() -> None:
    scores, labels = scored(3, 2000, slope=-0.5)
    found = fit_calibration(scores, labels, n_cases=SOME)
    assert found == Calibration(method=Method.INTERCEPT_AND_SLOPE)
    np.testing.assert_allclose(found.of(scores), scores, rtol=1e-12)


def test_a_method_that_would_make_an_error_larger_gives_way() -> None:
    # Three frauds that the model was sure of not being any: a fit of all flattens what was right.
    scores = np.repeat(np.float32([0.05, 0.95, 1e-12]), [100, 100, 3])
    labels = np.concatenate([np.arange(100) < 5, np.arange(100) < 95, [1, 1, 1]])
    found = fit_calibration(scores, labels.astype(np.float32), n_cases=SOME)
    assert found == Calibration(method=Method.INTERCEPT_AND_SLOPE)
    # Steps that are kept half a fraud away from 0 and 1 are worse than scores that were surer.
    sure = np.repeat(np.float32([1e-9, 1 - 2.0**-22]), 100)
    kept = fit_calibration(sure, np.round(sure), n_cases=MANY)
    assert kept is not None
    assert kept.method is Method.INTERCEPT_AND_SLOPE


@settings(max_examples=30)
@given(p=st.floats(1e-6, 1 - 1e-6), before=st.floats(1e-4, 0.5), after=st.floats(1e-4, 0.5))
def test_the_shift_is_bayes_rule(p: float, before: float, after: float) -> None:
    fraud = p * after / before
    clean = (1 - p) * (1 - after) / (1 - before)
    shifted = 1 / (1 + np.exp(-(logit(np.array([p]))[0] + prior_shift(before, after))))
    assert shifted == pytest.approx(fraud / (fraud + clean), rel=1e-9)


BINS = (
    PooledBin(0.001, 9000, 18),
    PooledBin(0.02, 0, 0),
    PooledBin(0.1, 900, 45),
    PooledBin(0.3, 90, 4),
    PooledBin(0.8, 100, 60),
)


def test_a_newcomer_takes_what_all_banks_found_at_its_own_share_of_fraud() -> None:
    pooled = pooled_calibration(BINS, prevalence=None)
    scores = np.array([0.0005, 0.001, 0.1, 0.3, 0.8, 1.0])
    share = 49 / 990
    np.testing.assert_allclose(pooled.of(scores), [0.002, 0.002, share, share, 0.6, 0.6])
    rarer = pooled_calibration(BINS, prevalence=127 / 10090 / 4)
    assert rarer.of(scores).mean() < 0.5 * pooled.of(scores).mean()
    odds = [p / (1 - p) for p in (rarer.of(scores)[4], 0.6)]
    expected = (127 / 10090 / 4) / (1 - 127 / 10090 / 4) * (1 - 127 / 10090) / (127 / 10090)
    assert odds[0] / odds[1] == pytest.approx(expected)
    for bins in ((), (PooledBin(0.5, 10, 0),), (PooledBin(0.5, 10, 10),)):
        with pytest.raises(ValueError, match="one class"):
            pooled_calibration(bins, prevalence=None)


def test_a_share_of_fraud_comes_from_the_bank_as_it_sees_more() -> None:
    assert own_prevalence(0, 0, pooled=0.01) == pytest.approx(0.01)
    assert own_prevalence(1000, 0, pooled=0.01) == pytest.approx(0.005)
    assert own_prevalence(10**6, 500, pooled=0.01) == pytest.approx(0.0005, rel=0.03)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"scores": (0.5, 0.5)}, "scores do not rise"),
        ({"probabilities": (0.2, 0.1)}, "probabilities fall"),
        ({"probabilities": (0.2,)}, "differ in number"),
        ({"probabilities": (0.2, 1.5)}, "less than or equal to 1"),
        ({"scores": (), "probabilities": ()}, "exactly for isotonic"),
        ({"intercept": float("nan")}, "finite"),
        ({"slope": 0.0}, "greater than 0"),
        ({"more": 1}, "Extra inputs"),
    ],
)
def test_a_map_that_is_none_is_refused(changed: dict[str, object], fault: str) -> None:
    whole = {"method": "isotonic", "scores": (0.1, 0.2), "probabilities": (0.1, 0.2)}
    Calibration.model_validate(whole)
    with pytest.raises(ValidationError, match=fault):
        Calibration.model_validate(whole | changed)
