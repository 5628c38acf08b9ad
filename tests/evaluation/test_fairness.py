"""Gaps between groups hold what Fairlearn finds on the rows themselves."""

import numpy as np
import pytest
from cohorts.exact import run_cohort
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_ratio,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
    true_positive_rate_difference,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.judged import budget_threshold, make_banks, pooled, read

from fraudfed.boosting.score_cells import N_CELLS, N_COARSE_CELLS, fine_edge
from fraudfed.evaluation.fairness import gaps, share_alerted
from fraudfed.evaluation.plan import JudgingPlan
from fraudfed.evaluation.pooled import judge
from fraudfed.evaluation.readings import Reading
from fraudfed.evaluation.thresholds import Between
from fraudfed.payments.columns import CHANNELS


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), n_alerts=st.sampled_from([5, 60, 200]))
def test_gaps_hold_those_of_the_rows(seed: int, n_alerts: int) -> None:
    banks = make_banks(seed, 3, n_rows=1500)
    plan = JudgingPlan(n_alerts=n_alerts)
    reports = run_cohort(
        3,
        lambda bank, communicator: judge(
            banks[bank].margins, banks[bank].outcomes, communicator, plan=plan
        ),
    )
    report = reports[0]
    assert report is not None
    found = {gap.group: gap for gap in gaps(report.groups)}
    if sum(one.group == "channel" for one in report.groups) < 2:
        # Fewer than two channels have enough cases: test_pooled.py says which do.
        assert "channel" not in found
        return
    rows = read(pooled(banks), Reading.KNOWN)
    gap = found["channel"]
    threshold = budget_threshold(rows, n_alerts)
    rows = rows[rows["channel"].isin([CHANNELS.index(value) for value in gap.values])]
    labels = rows["label"].to_numpy()
    alerted = (rows["margin"] >= threshold).to_numpy().astype(float)
    groups = rows["channel"].to_numpy()
    by_group = {"sensitive_features": groups}
    parity = true_positive_rate_difference(labels, alerted, **by_group)
    assert gap.true_positive_rate_difference.holds(float(parity), rounding=1e-9)
    if gap.alert_rate_ratio is not None:
        ratio = demographic_parity_ratio(labels, alerted, **by_group)
        assert gap.alert_rate_ratio.holds(float(ratio), rounding=1e-9)
    if gap.false_positive_rate_ratio is not None:
        frame = MetricFrame(metrics=false_positive_rate, y_true=labels, y_pred=alerted, **by_group)
        assert gap.false_positive_rate_ratio.holds(float(frame.ratio()), rounding=1e-9)
    rates = {one.value: one for one in report.groups if one.group == "channel"}
    for value in gap.values:
        of = groups == CHANNELS.index(value)
        one = rates[value]
        for rate, function in (
            (one.true_positive_rate, true_positive_rate),
            (one.false_positive_rate, false_positive_rate),
            (one.alert_rate, selection_rate),
        ):
            if rate is not None:
                assert rate.holds(float(function(labels[of], alerted[of])), rounding=1e-9)


def test_one_group_has_no_gap_and_no_payment_no_rate() -> None:
    bank = make_banks(3, 1, n_rows=600)[0]
    plan = JudgingPlan(n_alerts=30, groups={"channel": CHANNELS[:1]})
    outcomes = bank.outcomes
    outcomes.cells["channel"][:] = 0
    (report,) = run_cohort(
        1, lambda _bank, communicator: judge(bank.margins, outcomes, communicator, plan=plan)
    )
    assert report is not None
    assert gaps(report.groups) == ()
    assert share_alerted(np.zeros(N_COARSE_CELLS, np.int64), Between(5, 4, 0.5)) is None


def test_edges_of_cells_bound_a_share_from_both_sides() -> None:
    counts = np.ones(N_COARSE_CELLS, np.int64)
    at = fine_edge(N_COARSE_CELLS // 2)
    exact = share_alerted(counts, Between(at, at, 0.0))
    assert exact is not None
    assert exact.low == exact.high == pytest.approx(0.5)
    inside = share_alerted(counts, Between(at + 1, at + 1, 0.0))
    assert inside is not None
    assert inside.low < exact.low == inside.high
    nothing = share_alerted(counts, Between(N_CELLS, N_CELLS, 0.0))
    assert nothing is not None
    assert nothing.high == 0.0
