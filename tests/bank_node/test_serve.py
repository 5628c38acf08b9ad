"""``bank-node serve`` as a process, over HTTP."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from federations.bank_process import Finished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_kit.scored_bank import (
    OTHER_DELAY_RUN,
    OTHER_RUN,
    RUN,
    contract,
    make_bank,
    payments,
)
from serving_kit.service_process import ServiceProcess

from bank_node.data.contract import load_features
from bank_node.outcomes.history import LabelHistory
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory
from fraudfed.intake.windows import contract_columns

pytestmark = pytest.mark.e2e

POLICY = """
version = "1"
currency = "GBP"
alert_budget_a_day = 10

[[rules]]
name = "cards"
channels = ["pos", "ecommerce"]
directions = ["outbound"]
score = { warn = 0.02, hold = 0.3 }

[[fallback]]
channels = ["ecommerce"]
directions = ["outbound"]
from_amount_minor = 5000
action = "hold"
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    return make_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def policy(state: StateDirectory) -> Path:
    path = state.path.parent / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def service(state: StateDirectory, policy: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(state.path, "--policy", str(policy), "--deadline-ms", "5000") as found:
        yield found


def sent(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in row if key not in ("label_time", "is_fraud")}


ROWS = [sent(row) for row in payments(5, 300).to_dict("records")]


def expected(state: StateDirectory, tmp_path: Path, run: str = RUN) -> tuple[Any, Scorer]:
    """Return the features of all rows by the builder of batches, and the scorer of a run."""
    path = tmp_path / "rows.parquet"
    payments(5, 300).to_parquet(path)
    terms = contract()
    built = contract_columns(load_features(path, terms), terms)
    return built, Scorer.read(state.model_path(run), terms)


def test_online_scores_are_those_of_the_batch_with_reasons(
    service: ServiceProcess, state: StateDirectory, tmp_path: Path
) -> None:
    features, scorer = expected(state, tmp_path)
    margins = scorer.margins(features)
    for start in range(0, len(ROWS), 50):
        answer = service.post("/v1/payments", {"payments": ROWS[start : start + 50]})
        assert answer.status_code == 200, answer.text
        for offset, one in enumerate(answer.json()["answers"]):
            assert one["step"] == "full"
            assert one["arrival"] == "new"
            assert one["margin"] == pytest.approx(float(margins[start + offset]), abs=0)
            assert one["model_sha256"] == scorer.sha256
            assert one["action"] in ("allow", "warn", "hold")
            assert one["policy_sha256"]
    flagged = max(range(len(ROWS)), key=lambda i: margins[i])
    again = service.post("/v1/score", ROWS[flagged]).json()["answers"][0]
    assert again["reasons"]
    assert again["reasons"][0]["analyst"]
    logged = service.client.get(f"/v1/decisions/{ROWS[flagged]['transaction_id']}").json()
    assert logged["margin"] == again["margin"]
    assert [one["code"] for one in logged["reasons"]] == [one["code"] for one in again["reasons"]]


def test_the_same_payment_gets_the_same_answer_and_another_one_a_conflict(
    service: ServiceProcess,
) -> None:
    payment = {**ROWS[0], "transaction_id": "twice", "event_time": ROWS[-1]["event_time"]}
    first = service.post("/v1/payments", payment).json()
    second = service.post("/v1/payments", payment).json()
    assert second["answers"][0].pop("arrival") == "repeated"
    assert first["answers"][0].pop("arrival") == "new"
    assert first == second
    other = service.post("/v1/payments", {**payment, "amount_minor": 1})
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"
    assert "other content" in other.json()["detail"]
    with ThreadPoolExecutor(8) as pool:
        same = {**payment, "transaction_id": "at-once"}
        found = set(pool.map(lambda _: service.post("/v1/score", same).text, range(16)))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"channel": "pigeon"}, 400, "channel is 'pigeon'"),
        ({"currency": "XXY"}, 400, "currency is 'XXY'"),
        ({"amount_minor": -1}, 400, "amount_minor"),
        ({"amount_minor": "10"}, 400, "amount_minor"),
        ({"amount_minor": 10**30}, 400, "amount_minor"),
        ({"latitude": 1.0}, 400, "one without the other"),
        ({"event_time": 1 << 32}, 422, "ahead of this machine's clock"),
        ({"unknown": 1}, 400, "unknown"),
        ({"direction": "inbound"}, 422, "inbound"),
        ({"currency": "USD"}, 422, "is in USD, expected GBP as the amounts of the policy"),
        ({"event_time": 5}, 422, "allowed lateness"),
    ],
)
def test_a_wrong_payment_is_a_problem_document(
    service: ServiceProcess, change: dict[str, Any], status: int, words: str
) -> None:
    # Of whom nobody asks; without a payment before it, none is late.
    nobody = {key: "nobody" for key in ROWS[-1] if key.endswith("_id")}
    assert service.post("/v1/observe", {**ROWS[-1], **nobody}).status_code == 200
    answer = service.post("/v1/score", {**ROWS[-1], "transaction_id": "wrong", **change})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_a_payment_refused_in_a_batch_does_not_hold_up_the_others(service: ServiceProcess) -> None:
    good = {**ROWS[-1], "transaction_id": "good"}
    bad = {**good, "transaction_id": "bad", "direction": "inbound"}
    answers = service.post("/v1/score", {"payments": [bad, good]}).json()["answers"]
    assert answers[0]["status"] == 422
    assert answers[1]["step"] == "full"


def test_what_happened_to_payments_is_noted_once(
    service: ServiceProcess, state: StateDirectory
) -> None:
    for verb in ("confirm", "decline", "reverse"):
        answer = service.post(f"/v1/payments/noted-{verb}/{verb}", {"time": 1_700_100_000})
        assert answer.json() == {"new": 1}, answer.text
        again = service.post(f"/v1/payments/noted-{verb}/{verb}", {"time": 1_700_100_000})
        assert again.json() == {"new": 0}
    history = LabelHistory(state.serving_path / "outcomes", state.vault)
    (heard,) = history.of("noted-reverse")
    assert (heard.status, heard.source) == ("payment_reversed", "system")
    known = history.label("noted-reverse", 2**33)
    assert known is not None
    assert (known.is_blocked, known.is_fraud) == (True, None)


def test_of_a_fraud_that_was_scored_here_the_transaction_is_enough(
    service: ServiceProcess,
) -> None:
    late = ROWS[-1]["event_time"]
    place = {"customer_id": "label", "merchant_id": "label-m", "terminal_id": "label-k"}
    paid = {**ROWS[-1], **place, "transaction_id": "label-1", "event_time": late}
    assert service.post("/v1/payments", paid).status_code == 200
    label = {
        "transaction_id": "label-1",
        "status": "reported",
        "source": "customer",
        "fraud_kind": "card_not_present",
        "time": late + 100,
    }
    sent_again = {**label, "transaction_id": "unknown-1"}
    answer = service.post("/v1/labels", {"labels": [label, sent_again]}).json()
    assert answer == {"new": 2, "unknown_payments": ["unknown-1"]}
    whole = {**sent_again, "payment": {**paid, "transaction_id": "unknown-1"}}
    assert service.post("/v1/labels", {"labels": [label, whole]}).json() == {
        "new": 0,
        "unknown_payments": [],
    }
    for early in ({**label, "time": 5}, {**whole, "time": 5}):
        assert service.post("/v1/labels", {"labels": [early]}).status_code in (400, 422)


def test_probes_metrics_and_the_description_are_there(service: ServiceProcess) -> None:
    assert service.client.get("/v1/health").json()["status"] == "ok"
    assert service.client.get("/v1/ready").status_code == 200
    assert 'fraudfed_scoring_payments_total{step="full"}' in service.client.get("/metrics").text
    document = service.client.get("/v1/openapi.json").json()
    assert {"/v1/score", "/v1/observe", "/v1/payments", "/v1/swap"} <= set(document["paths"])
    assert service.client.get("/v1/nowhere").status_code == 404
    assert service.client.get("/v1/score").status_code == 405


def test_a_site_that_points_its_name_here_is_refused(service: ServiceProcess) -> None:
    """DNS rebinding: to the browser the service then is that site."""
    for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[", ""):
        answer = service.client.get("/v1/serving", headers={"Host": name})
        assert 400 <= answer.status_code < 500, (name, answer.text)
    for name in ("localhost", "127.0.0.1:1", "[::1]"):
        assert service.client.get("/v1/serving", headers={"Host": name}).status_code == 200


def test_a_body_above_the_limit_is_refused(service: ServiceProcess) -> None:
    body = b" " * (5 * 1024 * 1024)
    headers = {"content-type": "application/json"}
    assert service.client.post("/v1/score", content=body, headers=headers).status_code == 413
    many = {"payments": [{**ROWS[0], "transaction_id": f"m{i}"} for i in range(1001)]}
    assert service.post("/v1/score", many).status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
MALFORMED = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(sorted(ROWS[0])), JSON).map(
        lambda change: json.dumps({**ROWS[0], change[0]: change[1]}).encode()
    ),
)
PATHS = st.sampled_from(
    (
        *("/v1/score", "/v1/observe", "/v1/payments", "/v1/labels", "/v1/swap"),
        *("/v1/payments/%00/confirm", "/v1/payments/x/reverse"),
    )
)


def mutate(service: ServiceProcess, path: str, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = service.client.post(path, content=body, headers=headers)
    assert answer.status_code < 500, (path, body, answer.text)
    assert answer.status_code == 200 or "problem+json" in answer.headers["content-type"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=PATHS, body=MALFORMED)
def test_nothing_malformed_is_an_error_of_the_service(
    service: ServiceProcess, path: str, body: bytes
) -> None:
    mutate(service, path, body)


def test_every_answer_over_swaps_is_that_of_one_bundle(
    service: ServiceProcess, state: StateDirectory, tmp_path: Path
) -> None:
    scorers = {
        found.sha256: found
        for found in (expected(state, tmp_path, run)[1] for run in (RUN, OTHER_RUN))
    }
    answers: list[dict[str, Any]] = []
    ended = threading.Event()

    def load(worker: int) -> None:
        with httpx.Client(base_url=service.url, timeout=20, trust_env=False) as client:
            number = 0
            while not ended.is_set() or number < 20:
                number += 1
                payment = {**ROWS[number % 300], "transaction_id": f"s{worker}-{number}"}
                payment["event_time"] = ROWS[-1]["event_time"]
                answer = client.post("/v1/score", json=payment)
                assert answer.status_code == 200, answer.text
                answers.extend(answer.json()["answers"])

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(load, worker) for worker in range(3)]
        for run in (OTHER_RUN, RUN, OTHER_RUN, RUN):
            swapped = service.post("/v1/swap", {"run_id": run})
            assert swapped.status_code == 200, swapped.text
        ended.set()
        for one in running:
            one.result()
    assert {one["model_sha256"] for one in answers} <= set(scorers)
    # A sum of leaves of one model, and no other: its score is that of its margin by that model.
    for one in answers:
        assert one["reasons"] is not None
        again = service.client.get(f"/v1/decisions/{one['transaction_id']}").json()
        assert (again["margin"], again["model_sha256"]) == (one["margin"], one["model_sha256"])


def test_a_swap_to_a_model_of_another_delay_is_refused(service: ServiceProcess) -> None:
    before = service.client.get("/v1/serving").json()
    refused = service.post("/v1/swap", {"run_id": OTHER_DELAY_RUN})
    assert refused.status_code == 409
    assert "risk_delay_days is 7, expected 0" in refused.json()["detail"]
    assert service.post("/v1/swap", {"run_id": "none"}).status_code == 409
    assert service.client.get("/v1/serving").json() == before


def test_an_answer_survives_kill_and_restart(state: StateDirectory, tmp_path: Path) -> None:
    payment = {**ROWS[7], "transaction_id": "survives"}
    root = tmp_path / "other"
    root.mkdir()
    other = make_bank(root)
    with ServiceProcess(other.path, "--deadline-ms", "5000") as service:
        first = service.post("/v1/score", payment).json()["answers"][0]
        service.process.kill()
        service.process.wait()
    with ServiceProcess(other.path, "--deadline-ms", "5000") as service:
        again = service.post("/v1/score", payment).json()["answers"][0]
        for name in ("margin", "score", "action", "step", "model_sha256", "decided_at"):
            assert again[name] == first[name]
        assert service.post("/v1/score", {**payment, "amount_minor": 1}).status_code == 409
        assert service.stop() == 0


def test_a_store_is_filled_before_the_service_listens_and_once(tmp_path: Path) -> None:
    state = make_bank(tmp_path)
    path = tmp_path / "history.parquet"
    payments(5, 300).to_parquet(path)
    options = ("--store", str(tmp_path / "store"), "--warm", str(path), "--deadline-ms", "20000")
    for said in ("feature store: filled with 300 payments", "was filled from", None):
        with ServiceProcess(state.path, *options) as service:
            answer = service.post("/v1/observe", ROWS[-1]).json()["answers"][0]
            assert answer["arrival"] == "repeated"
            assert said is None or said in service.log.read_text()
    assert not (state.serving_path / "filling").exists()


def test_a_token_is_needed_where_one_is_set(state: StateDirectory, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x" * 40)
    root = tmp_path / "other"
    root.mkdir()
    other = make_bank(root)
    with ServiceProcess(
        other.path, "--token-file", str(token), "--requests-per-second", "0.5"
    ) as service:
        assert service.client.get("/v1/health").status_code == 200
        assert service.post("/v1/score", ROWS[0]).status_code == 401
        wrong = service.post("/v1/score", ROWS[0], headers={"authorization": "Bearer " + "y" * 40})
        assert wrong.status_code == 401
        headers = {"authorization": "Bearer " + "x" * 40}
        codes = [service.post("/v1/score", ROWS[0], headers=headers).status_code for _ in range(8)]
        assert codes[0] == 200
        assert codes[-1] == 429


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "neither --token-file nor --client-ca"),
        (("--client-ca", "x.pem"), "without --tls-certificate"),
        (("--policy", "none.toml"), "none.toml"),
        (("--run", "none"), "does not know run none"),
        (("--token-file", "none"), "cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_listens(
    state: StateDirectory, run_bank: Any, options: tuple[str, ...], words: str
) -> None:
    ended: Finished = run_bank("serve", "--state", state.path, "--port", "0", *options)
    assert ended.code in (2, 5)
    assert words in ended.err


def test_rows_of_the_test_have_frauds() -> None:
    assert np.mean(payments()["is_fraud"]) > 0.01
