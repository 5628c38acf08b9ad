"""Cases that a budget of alerts finds, against a threshold that is searched for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging.made_windows import random_window
from sklearn.metrics import average_precision_score

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.cases import Cases
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.alerts import RankedFrauds, alert_budget, threshold
from fraudfed.gate.bootstrap import bootstrap, measure
from fraudfed.gate.cases import JudgedCases


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90))
def test_a_case_is_found_if_and_only_if_the_threshold_alerts_on_it(seed: int, n: int) -> None:
    outcomes, (scores, _) = random_window(seed)
    known = ~outcomes.is_censored
    cases = JudgedCases.of(outcomes)
    at = threshold(scores[known], n)
    alerts = int(np.count_nonzero(scores[known] >= at))
    assert alerts <= n
    lower = scores[known][scores[known] < at]
    assert not lower.size or np.count_nonzero(scores[known] >= lower.max()) > n
    ranked = RankedFrauds.of(scores, cases)
    ones = np.ones((1, cases.n_cases), np.int64), np.ones((1, cases.n_days), np.int64)
    found = ranked.found(*ranked.counts(*ones), n)[0]
    of = Cases.of(outcomes)
    assert found.sum() == of.found(scores >= at).sum()
    measures = measure(ranked, cases, n, *ones)
    money = of.at(scores >= at)[3] / of.value
    assert measures.value_recall is not None
    assert measures.value_recall[0] == pytest.approx(money, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_weight_is_so_many_copies(seed: int) -> None:
    """Cases and days that are drawn twice are there twice; scikit-learn weighs likewise."""
    outcomes, (scores, _) = random_window(seed)
    cases = JudgedCases.of(outcomes)
    rng = np.random.default_rng(seed)
    case_weights = rng.integers(0, 3, (1, cases.n_cases))
    case_weights[0, 0] = 2
    day_weights = rng.integers(0, 3, (1, cases.n_days))
    weights = np.zeros(outcomes.n_rows, np.int64)
    weights[cases.frauds] = case_weights[0][cases.case_of]
    weights[cases.clean] = day_weights[0][cases.day_of]
    got = measure(RankedFrauds.of(scores, cases), cases, 20, case_weights, day_weights)
    rows = np.repeat(np.arange(outcomes.n_rows), weights)
    at = threshold(scores[rows], 20)
    hit = np.zeros(cases.n_cases, np.bool_)
    hit[cases.case_of[scores[cases.frauds] >= at]] = True
    assert got.case_recall[0] == (hit * case_weights[0]).sum() / case_weights.sum()
    auprc = average_precision_score(outcomes.labels[rows] == 1, scores[rows])
    assert got.auprc[0] == pytest.approx(auprc, rel=1e-9)


def test_all_scorings_are_measured_on_the_same_resamples() -> None:
    outcomes, (first, second) = random_window(5)
    cases = JudgedCases.of(outcomes)

    def run(**scorings: np.ndarray) -> dict[str, np.ndarray]:
        generator = np.random.default_rng(1)
        found = bootstrap(scorings, cases, 15, generator=generator, n_resamples=50)
        return {name: each.again.case_recall for name, each in found.items()}

    both, alone = run(a=first, b=second, c=first), run(b=second)
    assert np.array_equal(both["a"], both["c"])
    assert np.array_equal(both["b"], alone["b"])
    assert not np.array_equal(both["a"], both["b"])


def test_a_day_counts_once_and_censored_payments_not_at_all() -> None:
    outcomes, _ = random_window(3)
    cases = JudgedCases.of(outcomes)
    assert cases.n_rows == np.count_nonzero(~outcomes.is_censored)
    assert not np.isnan(outcomes.labels[cases.clean]).any()
    assert alert_budget(cases, 3) == 3 * cases.n_days
    assert alert_budget(cases, None) == 1


def test_payments_without_times_have_no_budget_a_day() -> None:
    labels = np.array([0, 0, 1] * 100, np.float32)
    cases = JudgedCases.of(Outcomes(labels=labels, is_blocked=np.zeros(300, np.bool_)))
    assert (cases.n_days, cases.n_cases) == (30, 100)
    with pytest.raises(ConfigurationError, match="without times"):
        alert_budget(cases, 3)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label: int) -> None:
    labels = np.full(20, label, np.float32)
    labels[0] = np.nan
    with pytest.raises(DataError, match="expected both classes"):
        JudgedCases.of(Outcomes(labels=labels, is_blocked=np.isnan(labels)))
