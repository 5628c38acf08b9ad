"""The history of labels, what follows from it, and what is counted with it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bank_node.decisions.decision import Decision
from bank_node.outcomes.history import LabelHistory
from bank_node.outcomes.label import Heard, Label, LabelSource, Status, label_of
from bank_node.outcomes.label_file import read_labels
from bank_node.outcomes.past import PastPayment, past_of
from bank_node.outcomes.report import held_out, weekly
from bank_node.outcomes.trial import tried
from bank_node.policy.policy_file import parse_policy
from bank_node.vault.key_sources import KeySource
from bank_node.vault.vault import SealedVault
from fraudfed.errors import ConflictError, DataError, StateError
from fraudfed.evaluation.net_benefit import Costs
from fraudfed.intake.windows import labels_as_of

DAY = 86_400
#: A Monday.
START = 1_699_833_600
VAULT = SealedVault(bytes(range(32)), source=KeySource.PASSPHRASE)

heard = st.builds(
    Heard,
    transaction_id=st.sampled_from(("a", "b", "c")),
    time=st.integers(0, 12),
    status=st.sampled_from(Status),
    source=st.sampled_from(LabelSource),
    fraud_kind=st.none() | st.sampled_from(("purchase_scam", "remote_banking")),
)


def one(transaction: str, time: int, status: Status, **more: Any) -> Heard:
    return Heard(
        transaction_id=transaction, time=time, status=status, source=LabelSource.CUSTOMER, **more
    )


@given(history=st.lists(heard), until=st.integers(0, 14), more=st.lists(heard))
def test_a_label_as_of_a_time_does_not_change_by_what_is_heard_later(
    history: list[Heard], until: int, more: list[Heard]
) -> None:
    cut = [each for each in history if each.time < until]
    later = [each for each in more if each.time >= until]
    assert label_of(history, until) == label_of(cut, until) == label_of(cut + later, until)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.booleans()), min_size=1, max_size=5),
    st.integers(0, 14),
)
def test_final_labels_are_those_of_a_file_at_any_cut_off(
    rows: list[tuple[bool, int, bool]], cutoff: int
) -> None:
    """The windows of training label the same payments in the same way."""
    expected = labels_as_of(
        cutoff,
        np.array([row[0] for row in rows], dtype=np.float32),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.bool_),
    )
    found = []
    for is_fraud, time, is_blocked in rows:
        status = Status.CONFIRMED_FRAUD if is_fraud else Status.CONFIRMED_GENUINE
        stop = [one("a", 0, Status.DECLINED)] if is_blocked else []
        label = label_of([*stop, one("a", time, status)], 10**9)
        assert label is not None
        assert (label.is_fraud, label.label_time) == (int(is_fraud), time)
        assert label.is_blocked is is_blocked
        then = label_of([*stop, one("a", time, status)], cutoff)
        is_known_fraud = then is not None and then.is_fraud == 1
        found.append(1.0 if is_known_fraud else math.nan if is_blocked else 0.0)
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), expected)


def test_a_report_labels_until_it_is_taken_back() -> None:
    history = [
        one("a", 10, Status.REPORTED),
        one("a", 20, Status.CONFIRMED_FRAUD, fraud_kind="purchase_scam"),
        one("a", 25, Status.NO_ANSWER),
        one("a", 30, Status.REVERSED),
        one("a", 40, Status.REPORTED),
        one("a", 50, Status.FIRST_PARTY),
    ]

    def at(time: int) -> tuple[int | None, int | None, str | None]:
        found = label_of(history, time)
        assert found is not None
        return found.is_fraud, found.label_time, found.fraud_kind

    assert label_of(history, 10) is None
    assert at(11) == (1, 10, None)
    # The report is when the bank learnt it; a confirmation tells more of it, and nothing sooner.
    assert at(21) == at(26) == (1, 10, "purchase_scam")
    assert at(31) == (0, 30, None)
    assert at(41) == (1, 40, None)
    assert at(51) == (0, 50, "first_party")
    assert label_of([one("a", 5, Status.NO_ANSWER)], 9) == Label(
        None, None, False, Status.NO_ANSWER, None, False
    )


@given(st.lists(st.lists(heard, max_size=4), max_size=4))
def test_the_history_is_what_was_added_after_reopening_too(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Heard]]
) -> None:
    path = tmp_path_factory.mktemp("outcomes")
    history, other = LabelHistory(path, VAULT), LabelHistory(path, VAULT)
    expected: list[Heard] = []
    for number, batch in enumerate(batches):
        new = [each for at, each in enumerate(batch) if each not in expected + batch[:at]]
        assert (history, other)[number % 2].add(batch) == len(new)
        expected += new
    other.refresh()
    for found in (other, LabelHistory(path, VAULT)):
        for transaction in ("a", "b", "c"):
            of = [each for each in expected if each.transaction_id == transaction]
            assert list(found.of(transaction)) == of
        labels = {name: found.label(name, 7) for name in ("a", "b", "c")}
        assert found.as_of(7) == {name: label for name, label in labels.items() if label}


def test_erased_payments_are_gone_from_the_file_and_for_other_processes(tmp_path: Path) -> None:
    history = LabelHistory(tmp_path / "outcomes")
    history.add([one("CARD-1", 1, Status.REPORTED), one("t2", 2, Status.REPORTED)])
    other = LabelHistory(tmp_path / "outcomes")
    assert history.erase(["CARD-1", "unheard-of"]) == 1
    assert b"CARD-1" not in (tmp_path / "outcomes" / "labels.log").read_bytes()
    assert other.add([one("t3", 3, Status.REPORTED)]) == 1
    history.refresh()
    for found in (history, other):
        assert [each.transaction_id for each in found.all()] == ["t2", "t3"]


def test_labels_are_sealed_and_a_cut_off_record_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "labels.log"
    history = LabelHistory(tmp_path, VAULT)
    history.add([one("CARD-1", 1, Status.REPORTED)])
    first = path.stat().st_size
    history.add([one("t2", 2, Status.REPORTED)])
    data = path.read_bytes()
    assert b"CARD-1" not in data
    for cut in range(first, len(data), 9):
        path.write_bytes(data[:cut])
        again = LabelHistory(tmp_path, VAULT)
        assert [each.transaction_id for each in again.all()] == ["CARD-1"]
        again.add([one("t3", 3, Status.REPORTED)])
        assert len(LabelHistory(tmp_path, VAULT)) == 2
    path.write_bytes(data[:80] + bytes([data[80] ^ 1]) + data[81:])
    with pytest.raises(StateError, match="wrong checksum"):
        LabelHistory(tmp_path, VAULT)


def test_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "transaction_id,time,status,source,fraud_kind,note\n"
        "a,1700000000,reported,customer,purchase_scam,x\n"
        "a,2023-11-15T00:00:00+00:00,confirmed_fraud,analyst,,\n"
    )
    first, second = read_labels(path)
    assert (first.status, first.fraud_kind) == (Status.REPORTED, "purchase_scam")
    assert (second.time, second.fraud_kind) == (1_700_006_400, None)
    table = pd.DataFrame(
        {"transaction_id": ["a", "b", "c"], "is_fraud": [1, 0, None], "label_time": [5.0, 6, None]}
    )
    table.to_parquet(tmp_path / "labels.parquet")
    history = LabelHistory(tmp_path / "outcomes")
    assert history.add(read_labels(tmp_path / "labels.parquet")) == 2
    assert history.add(read_labels(tmp_path / "labels.parquet")) == 0
    label = history.label("a", 100)
    assert label is not None
    assert (label.is_fraud, label.never_revised) == (1, True)
    with pytest.raises(ConflictError, match="one of them is final"):
        history.add([one("d", 1, Status.REPORTED), one("a", 9, Status.REVERSED)])
    assert history.of("d") == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("transaction_id,time,status\na,1,reported\n", "column 'source' is missing"),
        ("transaction_id,x\na,1\n", "column 'is_fraud' is missing"),
        ("transaction_id,time,status,source\na,1,fraud,customer\n", "row 1: status is 'fraud'"),
        ("transaction_id,time,status,source\na,1,reported,me\n", "row 1: source is 'me'"),
        ("transaction_id,time,status,source\na,noon,reported,customer\n", "time is 'noon'"),
        ("transaction_id,time,status,source\na,-4,reported,customer\n", "time is -4"),
        ("transaction_id,time,status,source\n,4,reported,customer\n", "transaction_id is empty"),
        ("transaction_id,is_fraud,label_time\na,2,4\n", "row 1: is_fraud is '2'"),
        ("", "the file is empty"),
    ],
)
def test_a_wrong_file_is_refused_by_row_and_column(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_labels(path)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


POLICY = parse_policy(
    """
version = "1"
currency = "GBP"
alert_budget_a_day = 2
[[rules]]
name = "all"
probability = {warn = 0.1, hold = 0.5}
""",
    source="policy",
)


def paid(number: int, probability: float, **more: Any) -> PastPayment:
    fields: dict[str, Any] = {
        "transaction_id": f"t{number}",
        "customer_id": f"c{number}",
        "event_time": START + number,
        "channel": "transfer",
        "direction": None,
        "amount_minor": 1000,
        "score": None,
        "is_fraud": False,
        "is_blocked": False,
    }
    return PastPayment(probability=probability, **{**fields, **more})


def test_a_policy_is_tried_by_hand_counted_payments() -> None:
    payments = [
        paid(1, 0.05),
        paid(2, 0.2, is_fraud=True, amount_minor=300),
        paid(3, 0.6, is_fraud=True, amount_minor=700),
        paid(4, 0.7, customer_id="c3"),
        paid(5, 0.05, is_fraud=True, amount_minor=50),
        paid(6, 0.3, event_time=START + 3 * DAY, channel="pos", customer_id="c3"),
    ]
    found = tried(POLICY, payments)
    whole = found[None]
    assert whole.actions == {"allow": 2, "warn": 2, "hold": 2, "block": 0}
    assert (whole.days, whole.alerts_a_day, whole.busiest_day, whole.days_over_budget) == (
        *(4, 1.0, 3),
        1,
    )
    assert (whole.frauds, whole.frauds_alerted, whole.customers_bothered) == (3, 2, 1)
    assert (whole.fraud_minor, whole.stopped_minor, whole.warned_minor) == (1050, 700, 300)
    # The third of the busiest day is one too many.
    assert whole.budget_threshold == 0.3
    assert [found["pos"].payments, found["transfer"].payments] == [1, 5]
    with pytest.raises(DataError, match="no payments"):
        tried(POLICY, [])


def test_with_costs_a_trial_says_what_the_alerts_are_worth() -> None:
    costs = Costs.model_validate(
        {"currency": "GBP", "cost_per_alert": 2, "friction": 3, "loss_share": "0.5"}
    )
    payments = [
        paid(1, 0.9, is_fraud=True, amount_minor=10_000),
        paid(2, 0.9),
        # Stopped and never reported: nobody knows.
        paid(3, 0.9, is_blocked=True),
        paid(4, 0.9, channel=None),
        paid(5, 0.01),
    ]
    found = tried(POLICY, payments, costs=costs)
    # Half of 100.00 is saved; three alerts are worked on, two of them on genuine payments.
    assert found[None].net_benefit == 50 - 3 * 2 - 2 * 3
    assert found["transfer"].net_benefit == 50 - 2 * 2 - 3


def decided(number: int, action: str, **more: Any) -> Decision:
    fields: dict[str, Any] = {
        "transaction_id": f"t{number}",
        "customer_id": "c",
        "event_time": START + number * DAY,
        "decided_at": START + number * DAY,
        "channel": "transfer",
        "direction": None,
        "amount_minor": 1000,
        "currency": "GBP",
        "margin": 0.0,
        "score": 0.5,
        "probability": 0.5,
        "action": action,
        "rule": "all",
        "step": "full",
    }
    return Decision(**{**fields, **more})


def fraud(time: int = START) -> Label:
    return Label(1, time, False, Status.REPORTED, None, False)


def test_a_week_is_divided_by_the_completeness_of_its_age() -> None:
    decisions = [
        decided(0, "hold"),
        decided(1, "warn"),
        decided(2, "allow"),
        decided(3, "allow"),
        decided(7, "hold"),
    ]
    labels = {"t0": fraud(), "t2": fraud(), "t7": fraud()}

    # Forty older frauds, half of them reported at once and half after three days.
    for number in range(-70, -30):
        decisions.append(decided(number, "allow"))
        labels[f"t{number}"] = fraud(START + (number + 3 * (number % 2)) * DAY)
    labels["t7"] = fraud(START + 7 * DAY)
    weeks, delay = weekly(decisions, labels.get, as_of=START + 9 * DAY)
    assert delay is not None
    first, second = weeks[-2:]
    assert first.monday == "2023-11-13"
    found = first.outcome
    assert (found.payments, found.alerts, found.frauds, found.frauds_found) == (4, 2, 2, 1)
    assert (found.completeness, found.is_young) == (1.0, False)
    assert (found.precision, found.precision_lower, found.precision_upper) == (0.5, 0.5, 0.5)
    assert (found.recall, found.fraud_minor, found.saved_minor) == (0.5, 2000, 1000)
    # About one fraud is known of two; it cannot be right more often than it alerted.
    found = second.outcome
    assert (found.is_young, found.precision, found.precision_upper) == (True, 1.0, 1.0)
    assert found.completeness is not None
    assert found.completeness_lower is not None
    assert found.completeness_upper is not None
    assert 0.3 < found.completeness_lower < found.completeness < found.completeness_upper < 0.7
    assert found.fraud_minor == found.saved_minor == round(1000 / found.completeness)
    (plain, *_), delay = weekly(decisions[:5], labels.get, as_of=START)
    assert delay is None
    assert (plain.outcome.completeness, plain.outcome.is_young) == (None, None)
    assert plain.outcome.recall == 0.5
    assert past_of(decisions, labels.get)[0].is_fraud


def test_a_hold_out_tells_the_share_of_right_blocks() -> None:
    assert held_out([decided(1, "block")], {}.get) is None
    rng = np.random.default_rng(5)
    labels, decisions = {}, []
    for number in range(20_000):
        is_fraud, is_held = rng.random() < 0.7, rng.random() < 0.1
        if is_fraud and is_held:
            labels[f"t{number}"] = fraud()
        propensity = 0.1 if is_held else 0.9
        action = "hold" if is_held else "block"
        decisions.append(decided(number, action, propensity=propensity))
    found = held_out(decisions, labels.get)
    assert found is not None
    assert found.blocked + found.held_out == 20_000
    assert found.precision is not None
    assert found.lower is not None
    assert found.upper is not None
    assert found.precision == pytest.approx(found.frauds / found.held_out)
    assert found.lower < 0.7 < found.upper
    expected = binomtest(found.frauds, found.held_out).proportion_ci(method="wilson")
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))
