"""gate.toml: what is refused, and what a limit holds against."""

import numpy as np
import pytest

from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.gate.limits import judge_limits, read_gate
from fraudfed.gate.measured import METRICS, Group, MeasuredScoring

GROUPS = {
    "channel": ("pos", "transfer"),
    "fraud_kind": ("purchase", "invoice"),
    "merchant_category": ("food",),
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits = [", "not readable as TOML"),
        ("margn = 0.1", "margn: no such entry; did you mean 'margin'"),
        ("margin = -1", "margin: got -1: input should be greater"),
        ("margin = nan", "margin: got nan"),
        (
            '[[limits]]\nmetric = "case_recal"\nat_least = 0.5',
            "metric: got 'case_recal'; did you m",
        ),
        ('[[limits]]\nmetric = "profit"\nat_least = 0.5', "expected one of case_recall, "),
        ('[[limits]]\nmetric = "auc"', r"limits\.1: .*limits nothing"),
        ('[[limits]]\nmetric = "auc"\nat_leats = 1', r"limits\.1\.at_leats: .* 'at_least'"),
        ('[[limits]]\nmetric = "auc"\nat_least = 0\nchannel = "tranfer"', "channel: .*'transfer'"),
        ('[[limits]]\nmetric = "auc"\nat_least = 0\nchannel = ""', "expected one of pos, transfer"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        read_gate(text, source="gate.toml", groups=GROUPS)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)


def window() -> tuple[Outcomes, np.ndarray]:
    """40 cases of one payment, 25 of them transfers; alerts on the first 30, and on 10 clean."""
    labels = np.concatenate([np.ones(40), np.zeros(400), [np.nan]]).astype(np.float32)
    channel = np.concatenate([np.ones(25), np.zeros(15), np.arange(400) % 2, [1]])
    outcomes = Outcomes(
        labels=labels,
        is_blocked=np.isnan(labels),
        event_time=np.arange(441),
        amounts=np.full(441, 100),
        customers=np.arange(441),
        cells={
            "channel": channel.astype(np.int64),
            "fraud_kind": np.where(labels == 1, 0, -1).astype(np.int64),
        },
    )
    scores = np.zeros(441, np.float32)
    scores[:30] = scores[40:50] = scores[440] = 1
    return outcomes, scores


def holds(entry: str) -> tuple[bool, str]:
    outcomes, scores = window()
    gate = read_gate(f"[[limits]]\n{entry}", source="gate.toml", groups=GROUPS)
    better = scores.copy()
    better[30:35] = 1
    shared, own = (MeasuredScoring.of(each, outcomes, 1.0) for each in (scores, better))
    (judged,) = judge_limits(gate.limits, shared, own, groups=GROUPS)
    return judged.holds, judged.reason


@pytest.mark.parametrize(
    ("entry", "expected", "reason"),
    [
        ('metric = "case_recall"\nat_least = 0.75', True, "got 0.750"),
        ('metric = "case_recall"\nat_least = 0.76', False, "got 0.750, expected at least 0.76"),
        ('metric = "case_recall"\nat_least = 1\nchannel = "transfer"', True, "got 1.000"),
        ('metric = "precision"\nat_most = 0.7', False, "got 0.750, expected at most 0.7"),
        ('metric = "case_recall"\nbelow_own_at_most = 0.2', True, "got 0.750"),
        ('metric = "case_recall"\nbelow_own_at_most = 0.1', False, "own model 0.875"),
        ('metric = "auc"\nat_least = 0\nchannel = "pos"', False, "15 cases, 20 are needed"),
        ('metric = "auc"\nat_least = 0\nchannel = "pos"\ntoo_few = "pass"', True, "15 cases"),
        ('metric = "auc"\nat_least = 0\nchannel = "pos"\nleast_cases = 15', True, "got "),
        ('metric = "auprc"\nat_least = 0.1\nfraud_kind = "purchase"', True, "got 0."),
        ('metric = "auprc"\nat_least = 0\nmerchant_category = "food"', False, "0 cases"),
        ('metric = "first_seen_case_recall"\nat_least = 0', False, "no such number"),
    ],
)
def test_limits(entry: str, expected: bool, reason: str) -> None:
    found, said = holds(entry)
    assert (found, reason in said) == (expected, True), said


def test_every_metric_of_all_payments_is_that_of_the_only_group() -> None:
    outcomes, scores = window()
    whole = MeasuredScoring.of(scores, outcomes, 1.0)
    group = whole.of_group(Group("fraud_kind", 0))
    for name in METRICS:
        assert whole.value(name) == group.value(name), name


def test_a_case_belongs_to_the_group_of_its_first_payment() -> None:
    """One customer pays at a till, then by two transfers; only a transfer is alerted on."""
    outcomes = Outcomes(
        labels=np.array([1, 1, 1, 0, 0], np.float32),
        is_blocked=np.zeros(5, np.bool_),
        event_time=np.arange(5),
        customers=np.array([7, 7, 7, 1, 2]),
        cells={"channel": np.array([0, 1, 1, 0, 1])},
    )
    scores = np.array([0, 0, 5, 0, 0], np.float32)
    whole = MeasuredScoring.of(scores, outcomes, 1.0)
    tills, transfers = (whole.of_group(Group("channel", place)) for place in (0, 1))
    assert [each.cases.n_cases for each in (whole, tills, transfers)] == [1, 1, 0]
    assert whole.value("case_recall") == 1
    # Found by a payment in the other group.
    assert tills.value("case_recall") == 1
    assert tills.value("precision") is None
    assert transfers.value("precision") == 1
    assert transfers.value("case_recall") is None
