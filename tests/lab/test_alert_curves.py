"""What growing budgets find, held against the cases themselves."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.judged import make_banks

from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.readings import Reading
from fraudfed.lab.report.alerts import BUDGETS, alert_curves


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_budgets_are_kept_and_more_alerts_find_no_less(seed: int) -> None:
    banks = make_banks(seed, 3, n_rows=900)
    outcomes, scores = [], []
    for bank in banks:
        known = ~np.isnan(Reading.KNOWN.labels(bank.outcomes))
        outcomes.append(bank.outcomes.take(known))
        scores.append(bank.margins[known])
    points = alert_curves({"federated": scores, "local": [None, *scores[1:]]}, outcomes)
    assert list(points) == ["federated"]
    found = points["federated"]
    assert [point.share for point in found] == list(BUDGETS)
    amount = sum(int(of.amounts[of.labels == 1].sum()) for of in outcomes)
    for point in found:
        assert point.alerts <= sum(int(point.share * one.size) for one in scores)
        assert point.saved is not None
        assert 0 <= point.saved <= amount
    for less, more in itertools.pairwise(found):
        assert less.alerts <= more.alerts
        assert less.case_recall <= more.case_recall
        assert (less.saved or 0) <= (more.saved or 0)


def test_a_hand_made_window() -> None:
    """Of 2,000 payments 2 % are 40: two frauds of one customer on top, then clean ones."""
    scores = np.linspace(0, 1, 2000, dtype=np.float32)
    labels = np.zeros(2000, dtype=np.float32)
    labels[[1999, 1998, 0]] = 1
    outcomes = Outcomes(
        labels=labels,
        is_blocked=np.zeros(2000, dtype=np.bool_),
        event_time=np.repeat(np.arange(4), 500) * 86_400,
        amounts=np.full(2000, 250, dtype=np.int64),
        customers=np.where(labels == 1, [7] * 1000 + [8] * 1000, 9).astype(np.int64),
    )
    (point,) = [
        one for one in alert_curves({"pooled": [scores]}, [outcomes])["pooled"] if one.share == 0.02
    ]
    assert (point.alerts, point.alerts_per_day, point.precision) == (40, 10.0, 0.05)
    assert point.case_recall == pytest.approx(0.5)
    assert point.saved == 500


def test_ties_are_alerted_on_together_or_not_at_all() -> None:
    labels = np.array([1, 0] * 500, dtype=np.float32)
    outcomes = Outcomes(labels=labels, is_blocked=np.zeros(1000, dtype=np.bool_))
    found = alert_curves({"pooled": [np.zeros(1000, dtype=np.float32)]}, [outcomes])["pooled"]
    assert {point.alerts for point in found} == {0}
    assert {(point.precision, point.saved, point.alerts_per_day) for point in found} == {
        (None, None, None)
    }


def test_no_fraud_has_no_curve() -> None:
    outcomes = Outcomes(labels=np.zeros(5, np.float32), is_blocked=np.zeros(5, np.bool_))
    assert alert_curves({"pooled": [np.zeros(5, np.float32)]}, [outcomes]) == {}
