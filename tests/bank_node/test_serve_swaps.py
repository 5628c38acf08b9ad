"""Swaps of model, policy and tables under load: each answer is that of what it names."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from oracles.shared_risk import KEY, risk_spec, solo_tables
from serving_kit.scored_bank import DAY, OTHER_DELAY_RUN, OTHER_RUN, START, put
from serving_kit.service_process import ServiceProcess
from serving_kit.shared_bank import (
    INBOUND_RUN,
    LAST_DAY,
    SHARED_RUNS,
    SharedBank,
    make_shared_bank,
    risky_payments,
)

from bank_node.lifecycle.changes import Wish, roll_back
from bank_node.lifecycle.stage_history import Action
from bank_node.policy.policy_file import parse_policy
from bank_node.state.risk_file import RiskFile
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.wire.messages import RiskEntity

pytestmark = pytest.mark.e2e

POLICIES = tuple(
    f"""
version = "{number}"
currency = "GBP"
alert_budget_a_day = 10
lookup_most = "hold"
[[rules]]
name = "rule {number}"
score = {{ hold = {0.05 + number / 10} }}
[[fallback]]
channels = ["ecommerce"]
from_amount_minor = 3000
action = "hold"
"""
    for number in (0, 1)
)
PAYMENTS = (
    risky_payments(9, 12)
    .assign(event_time=(LAST_DAY + 1) * DAY + 100)
    .drop(columns=["label_time", "is_fraud"])
)
ROWS: list[dict[str, Any]] = PAYMENTS.to_dict("records")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> SharedBank:
    return make_shared_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def policy(bank: SharedBank) -> Path:
    path = bank.state.path.parent / "policy.toml"
    path.write_text(POLICIES[0])
    return path


@pytest.fixture(scope="module")
def service(bank: SharedBank, policy: Path) -> Iterator[ServiceProcess]:
    options = ("--policy", str(policy), "--deadline-ms", "20000")
    with ServiceProcess(bank.state.path, *options) as found:
        yield found


def until(holds: Callable[[], bool]) -> None:
    """Wait, up to a minute."""
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def serving(service: ServiceProcess) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/v1/serving").json()
    return found


def test_every_answer_over_swaps_is_that_of_what_it_names(
    service: ServiceProcess, bank: SharedBank, policy: Path
) -> None:
    scorers = {found.sha256: found for found in map(bank.scorer, SHARED_RUNS)}
    policies = {found.sha256: found for found in (parse_policy(p, source="p") for p in POLICIES)}
    tables = {bank.use_tables(found): found for found in reversed(bank.tables)}
    expected = {
        (model, digest, number): bank.margin(PAYMENTS.iloc[[number]], scorers[model], found)
        for model in scorers
        for digest, found in tables.items()
        for number in range(len(ROWS))
    }
    # Whatever is mixed up is seen: each of the four gives another margin.
    assert all(
        len({expected[model, digest, number] for model in scorers for digest in tables}) == 4
        for number in range(len(ROWS))
    )
    answers: list[tuple[int, dict[str, Any]]] = []
    ended = threading.Event()

    def load(worker: int) -> None:
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
            for count in itertools.count():
                if ended.is_set():
                    return
                rows = [
                    {**row, "transaction_id": f"w{worker}-{count}-{number}"}
                    for number, row in enumerate(ROWS)
                ]
                answer = client.post("/v1/score", json={"payments": rows, "reasons": False})
                assert answer.status_code == 200, answer.text
                answers.extend(enumerate(answer.json()["answers"]))

    model, other = scorers
    old, new = tables
    changes: list[tuple[Callable[[], object], str, str]] = [
        (lambda: put(bank.state, Action.PROMOTE, SHARED_RUNS[1]), "model_sha256", other),
        (lambda: policy.write_text(POLICIES[1]), "policy_sha256", list(policies)[1]),
        (lambda: bank.use_tables(tables[old]), "tables_sha256", old),
        (lambda: roll_back(bank.state, Wish(by="test")), "model_sha256", model),
        (lambda: bank.use_tables(tables[new]), "tables_sha256", new),
        (lambda: policy.write_text(POLICIES[0]), "policy_sha256", next(iter(policies))),
    ]
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(load, worker) for worker in range(3)]
        try:
            for number, (change, name, digest) in enumerate(changes * 2):
                seen = len(answers)
                until(lambda seen=seen: len(answers) > seen + 30)  # type: ignore[misc]
                change()
                assert number >= 6 or serving(service)[name] != digest
                if (number // 6 + number) % 2:
                    service.swap_by_signal()
                else:
                    assert service.post("/v1/swap", {}).json()[name] == digest
                until(lambda n=name, d=digest: serving(service)[n] == d)  # type: ignore[misc]
        finally:
            ended.set()
        for one in running:
            one.result()
    named = set()
    for number, one in answers:
        key = (one["model_sha256"], one["tables_sha256"])
        assert one["step"] == "full"
        assert one["margin"] == expected[(*key, number)]
        row, decided = (
            ROWS[number],
            policies[one["policy_sha256"]].decide(
                probability=None,
                score=one["score"],
                amount_minor=ROWS[number]["amount_minor"],
                channel=ROWS[number]["channel"],
                direction=None,
            ),
        )
        assert row["amount_minor"] > 0
        assert (one["action"], one["rule"]) == (decided.action, decided.rule)
        named.add((*key, one["policy_sha256"]))
    assert len(named) >= 5


def test_steps_by_shared_risk_are_said(service: ServiceProcess, bank: SharedBank) -> None:
    fallback = bank.scorer(OTHER_RUN)
    late = {**ROWS[0], "event_time": ROWS[0]["event_time"] + 6 * DAY}
    found = service.post("/v1/score", {**late, "transaction_id": "old-1"}).json()["answers"][0]
    assert (found["step"], found["model_sha256"]) == ("no-shared-risk", fallback.sha256)
    # A payment looks back to the day before the one whose table is published the day before.
    assert found["age"]["risk_days"] == 5
    assert found["reasons"]
    put(bank.state, Action.RETIRE, OTHER_RUN)
    assert service.post("/v1/swap", {}).json()["second_sha256"] is None
    for number, (channel, amount, action) in enumerate(
        [("ecommerce", 3000, "hold"), ("ecommerce", 2999, "allow"), ("pos", 3000, "allow")]
    ):
        paid = {**late, "channel": channel, "amount_minor": amount}
        sent = {**paid, "transaction_id": f"old-2-{number}"}
        found = service.post("/v1/score", sent).json()["answers"][0]
        assert (found["step"], found["action"]) == ("fallback", action)
        assert (found["model_sha256"], found["score"], found["margin"]) == (None, None, None)
        assert "fallback" in found["rule"]
    metrics = service.client.get("/metrics").text
    log = service.log.read_text()
    for step in ("no-shared-risk", "fallback"):
        assert f'fraudfed_scoring_payments_total{{step="{step}"}}' in metrics
        assert f"answered at step {step} of the ladder" in log
    assert "old-2" not in log


def test_what_cannot_be_served_is_refused_and_nothing_changes(
    service: ServiceProcess, bank: SharedBank, policy: Path
) -> None:
    before = serving(service)

    def refused(body: dict[str, str], words: str) -> None:
        answer = service.post("/v1/swap", body)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.json()["detail"], answer.text
        assert serving(service) == before

    refused({"run_id": OTHER_DELAY_RUN}, "risk_delay_days is 7, expected 0")
    refused({"run_id": INBOUND_RUN}, "the model's recipe is 'fraudfed-inbound")
    text = policy.read_text()
    for other, words in (
        (text.split("[[rules]]", maxsplit=1)[0], "it can never alert"),
        (text.replace("GBP", "gbp"), "currency"),
        (text.replace("score", "probability"), "can never alert"),
    ):
        policy.write_text(other)
        refused({}, words)
    policy.write_text(text)
    spec = risk_spec(
        delay_days=7, first_day=START // DAY, last_day=LAST_DAY, entities=(RiskEntity.TERMINAL,)
    )
    late = solo_tables(risky_payments(7, 10), spec)
    bank.use_tables(RiskFile("zz-risk", "22" * 32, KeyedTables(late, KEY)))
    refused({}, "holds no risk tables with a delay of 0 days")
    bank.use_tables(bank.tables[0])
    put(bank.state, Action.RETIRE, SHARED_RUNS[0])
    refused({}, "has no champion")
    # A swap by signal is refused in the log, and the service continues.
    service.swap_by_signal()
    until(lambda: "swap refused, the service continues as before" in service.log.read_text())
    assert service.post("/v1/swap", {"run_id": SHARED_RUNS[0]}).status_code == 200
