"""Every pooled metric holds the value that a naive program finds on all banks' rows."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts.exact import run_cohort
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.judged import (
    JudgedBank,
    budget_threshold,
    card_lists,
    found,
    in_another_order,
    make_banks,
    pooled,
    ranking,
    rate_threshold,
    ratio_threshold,
    read,
)
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudfed import held_sums
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import DataError, SumError
from fraudfed.evaluation import recall_at_fpr
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.plan import CARDS_PER_DAY, LEAST_CASES, PAYMENT_GROUPS, JudgingPlan
from fraudfed.evaluation.pooled import check_judged_rows, judge
from fraudfed.evaluation.readings import Reading
from fraudfed.evaluation.report import PooledReport
from fraudfed.evaluation.score_histogram import Bounded

seeds = st.integers(0, 2**32 - 1)


def judge_all(banks: list[JudgedBank], plan: JudgingPlan | None = None) -> PooledReport:
    """Judge as a cohort; every bank finds the same."""
    reports = run_cohort(
        len(banks),
        lambda bank, communicator: judge(
            banks[bank].margins, banks[bank].outcomes, communicator, plan=plan
        ),
    )
    assert reports == [reports[0]] * len(banks)
    assert reports[0] is not None
    return reports[0]


def holds(bounded: Bounded | None, value: float | None) -> bool:
    """Tell whether a value lies within; where there is none, there are no ends."""
    if value is None or bounded is None:
        return value is bounded
    assert bounded.low <= bounded.estimate <= bounded.high
    return bounded.holds(float(value), rounding=1e-9)


@settings(deadline=None, max_examples=6)
@given(seed=seeds, n_banks=st.sampled_from([1, 3, 7]), n_alerts=st.sampled_from([None, 1, 30]))
def test_metrics_are_those_of_the_pooled_rows(
    seed: int, n_banks: int, n_alerts: int | None
) -> None:
    banks = make_banks(seed, n_banks)
    for bank in banks:
        check_judged_rows(bank.outcomes)
    report = judge_all(banks, JudgingPlan(n_alerts=n_alerts))
    table = pooled(banks)
    censored = int(table["label"].isna().sum())
    assert (report.rows, report.censored) == (len(table), censored)
    expected = [Reading.KNOWN]
    if table["blocked"].any():
        expected += [Reading.UNBLOCKED]
    if censored:
        expected += [Reading.CENSORED_CLEAN, Reading.CENSORED_FRAUD]
    assert [one.reading for one in report.readings] == expected
    for one in report.readings:
        rows = read(table, one.reading)
        assert (one.rows, one.frauds) == (len(rows), (rows["label"] == 1).sum())
        assert one.cases == rows["case"][rows["case"] >= 0].nunique()
        truth = ranking(rows)
        assert holds(one.auprc, truth["auprc"])
        assert holds(one.auc, truth["auc"])
        assert holds(one.brier, truth["brier"])
        at = one.at_budget
        assert at.alerts == (max(1, len(rows) // 200) if n_alerts is None else n_alerts)
        here = found(rows, budget_threshold(rows, at.alerts))
        if here.precision is not None:
            assert holds(at.precision, here.precision)
        assert holds(at.case_recall, here.cases)
        assert holds(at.first_seen_case_recall, here.first_seen_cases)
        assert holds(at.value_recall, here.value)
        assert holds(at.case_value_recall, here.case_value)
        assert holds(at.saved_from_alert, here.saved_from)
        assert holds(at.saved_after_alert, here.saved_after)
        labels = rows["label"].to_numpy()
        margins = rows["margin"].to_numpy()
        for at_rate in one.at_rates:
            here = found(rows, rate_threshold(rows, at_rate.rate))
            assert holds(at_rate.recall, recall_at_fpr(margins, labels, max_fpr=at_rate.rate))
            assert holds(at_rate.case_recall, here.cases)
            assert holds(at_rate.value_recall, here.value)
        for at_ratio in one.at_ratios:
            threshold, share = ratio_threshold(rows, at_ratio.ratio)
            assert holds(at_ratio.account_recall, share)
            assert holds(at_ratio.value_recall, found(rows, threshold).value)


@settings(deadline=None, max_examples=3)
@given(seed=seeds, n_banks=st.sampled_from([1, 3]))
def test_groups_first_seen_and_cards(seed: int, n_banks: int) -> None:
    banks = make_banks(seed, n_banks, n_rows=400)
    report = judge_all(banks, JudgingPlan(n_alerts=40))
    rows = read(pooled(banks), Reading.KNOWN)
    threshold = budget_threshold(rows, 40)
    first = rows[rows["case"] >= 0].sort_values("time", kind="stable").groupby("case").head(1)
    shown = {(one.group, one.value): one for one in report.groups}
    for group, values in PAYMENT_GROUPS.items():
        for position, value in enumerate(values):
            if group not in rows:
                assert (group, value) not in shown
                continue
            cases = first["case"][first[group] == position]
            one = shown.get((group, value))
            assert (one is not None) == (len(cases) >= LEAST_CASES)
            if one is None:
                continue
            part = rows[rows[group] == position]
            if group == "fraud_kind":
                part = rows[(rows[group] == position) | (rows["label"] == 0)]
            labels, margins = part["label"].to_numpy(), part["margin"].to_numpy()
            assert (one.frauds, one.cases) == (labels.sum(), len(cases))
            assert one.clean == (labels == 0).sum()
            if (labels == 0).any():
                assert holds(one.auprc, average_precision_score(labels, margins))
                assert holds(one.auc, roc_auc_score(labels, margins))
                assert holds(one.recall, recall_at_fpr(margins, labels))
            hit = rows["case"][rows["margin"] >= threshold]
            assert holds(one.case_recall, cases.isin(hit).mean())
            alerted = part["margin"] >= threshold
            is_fraud = part["label"] == 1
            assert holds(one.true_positive_rate, alerted[is_fraud].mean())
            if group == "fraud_kind":
                assert (one.alert_rate, one.false_positive_rate) == (None, None)
            else:
                assert holds(one.alert_rate, alerted.mean())
                assert holds(one.false_positive_rate, alerted[~is_fraud].mean())
    new = rows[(rows["label"] == 0) | rows["first_seen"]]
    if report.first_seen is None:
        assert not (rows["first_seen"] & (rows["label"] == 1)).any()
    else:
        assert holds(report.first_seen.auprc, average_precision_score(new["label"], new["margin"]))
        assert report.first_seen.frauds == new["label"].sum()
    for k, lists in zip(CARDS_PER_DAY, report.cards, strict=True):
        days, hits, attainable = card_lists(rows, k)
        assert (lists.k, lists.days) == (k, days)
        assert lists.precision == pytest.approx(hits / (k * days))
        assert lists.attainable == pytest.approx(attainable / (k * days))


@settings(deadline=None, max_examples=2)
@given(seed=seeds)
def test_the_report_is_the_same_however_rows_are_split(seed: int) -> None:
    whole = make_banks(seed, 1)[0]
    customers = whole.outcomes.customers
    # Accounts and rows without a customer would be counted at two banks: they stay at one.
    whole = replace(whole, outcomes=replace(whole.outcomes, accounts=customers, cards=customers))
    alone = judge(whole.margins, whole.outcomes, SoloCommunicator())
    assert alone is not None
    for n_banks in (3, 7):
        bank_of = np.where(customers < 0, 0, customers % n_banks)
        parts = [
            JudgedBank(whole.margins[bank_of == bank], whole.outcomes.take(bank_of == bank))
            for bank in range(n_banks)
        ]
        parts = [in_another_order(part, seed) for part in parts]
        # Lists of cards are each bank's own, and two payments of one second have no order.
        assert replace(judge_all(parts), cards=()) == replace(alone, cards=())


def test_bounds_say_nothing_of_one_bank() -> None:
    banks = make_banks(8, 3)

    def bounds(order: list[int]) -> list[tuple[str, bytes]]:
        logs = run_cohort(
            3,
            lambda bank, communicator: (
                judge(banks[order[bank]].margins, banks[order[bank]].outcomes, communicator),
                communicator.log,
            )[1],
        )
        return [(call.label, call.bound) for call in logs[0]]

    assert bounds([0, 1, 2]) == bounds([2, 0, 1])
    assert [label for label, _ in bounds([0, 1, 2])] == [
        "judge:rows",
        "judge:scores",
        "judge:thresholds",
    ]


def test_tables_without_times_have_what_labels_alone_give() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(500) < 0.1).astype(np.float32)
    margins = (rng.normal(size=500) + labels).astype(np.float32)
    outcomes = Outcomes(labels=labels, is_blocked=np.zeros(500, dtype=np.bool_))
    report = judge(margins, outcomes, SoloCommunicator())
    assert report is not None
    assert (report.cards, report.groups, report.first_seen) == ((), (), None)
    assert report.known.cases == labels.sum()
    assert report.known.at_budget.case_recall is not None
    assert report.known.at_budget.value_recall is None
    assert report.known.at_ratios[0].account_recall is None


@pytest.mark.parametrize("label", [0.0, 1.0, np.nan])
def test_one_class_is_no_report(label: float) -> None:
    labels = np.full(5, label, dtype=np.float32)
    outcomes = Outcomes(labels=labels, is_blocked=np.isnan(labels))
    assert judge(np.zeros(5, dtype=np.float32), outcomes, SoloCommunicator()) is None


def outcomes_with(**changed: np.ndarray) -> Outcomes:
    outcomes = Outcomes(
        labels=np.array([0, 1, np.nan], dtype=np.float32),
        is_blocked=np.array([False, False, True]),
        amounts=np.array([1, 2, 3]),
    )
    return replace(outcomes, **changed)


def test_what_is_wrong_with_rows_is_said_before_joining() -> None:
    check_judged_rows(outcomes_with())
    with pytest.raises(DataError, match=r"judged row 1: is blocked and labelled clean"):
        check_judged_rows(outcomes_with(is_blocked=np.array([True, False, True])))
    with pytest.raises(DataError, match=r"judged row 2: label is 2.0, expected 0, 1 or none"):
        check_judged_rows(outcomes_with(labels=np.array([0, 2, np.nan], dtype=np.float32)))
    with pytest.raises(DataError, match=r"judged row 3: amount is -3, expected 0 or more"):
        check_judged_rows(outcomes_with(amounts=np.array([1, 2, -3])))
    with pytest.raises(DataError, match=r"amounts of frauds and blocked payments add up to 4"):
        check_judged_rows(outcomes_with(amounts=np.array([1, 2**62, 3])))


class _Lying(SoloCommunicator):
    """Opens sums in which one number of one round is another one."""

    def __init__(self, label: str, position: int) -> None:
        self._label, self._position = label, position

    def sum(self, values, *, bound, low=None, label):  # type: ignore[no-untyped-def]
        opened = super().sum(values, bound=bound, low=low, label=label)
        if label == self._label:
            wide = np.broadcast_to(np.asarray(bound), values.shape)
            opened[self._position] = 0 if opened[self._position] else wide[self._position]
        return opened


LIES = [("judge:rows", 6), ("judge:scores", 4000), ("judge:thresholds", 0)]


@pytest.mark.parametrize(("label", "position"), LIES)
def test_sums_of_no_rows_are_refused(label: str, position: int) -> None:
    bank, plan = make_banks(21, 1)[0], JudgingPlan(n_alerts=200)
    with pytest.raises(SumError, match="judged rows, cases, accounts or amounts are no part"):
        judge(bank.margins, bank.outcomes, _Lying(label, position), plan=plan)


@pytest.mark.parametrize(("label", "position"), LIES[1:])
def test_control_without_the_rules_a_lie_becomes_a_verdict(
    label: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_sums, "hold", lambda is_true, otherwise: None)
    bank, plan = make_banks(21, 1)[0], JudgingPlan(n_alerts=200)
    told = judge(bank.margins, bank.outcomes, _Lying(label, position), plan=plan)
    assert told is not None
    assert told != judge(bank.margins, bank.outcomes, SoloCommunicator(), plan=plan)
