"""What was answered about a payment is what is said of it later: after kill -9 and a restart.

The subject is processes: ``bank-node serve``, killed and started again, and ``bank-node explain``.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from federations.bank_process import Finished
from serving_kit.scored_bank import OTHER_RUN, RUN, make_bank, payments
from serving_kit.service_process import ServiceProcess

from bank_node.lifecycle.stages import StageDirectory
from bank_node.state.directory import StateDirectory

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
"""
EXACT = ("code", "title", "contribution", "share")
SCORED = ("margin", "score", "probability", "model_sha256")
DECIDED = ("decided_at", "action", "rule", "step", "policy_sha256", "tables_sha256")
#: Payments without reasons stand at the end.
N_WITH, N_WITHOUT = 40, 5


def sent(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a caller sends it."""
    found = {key: row[key] for key in row if key not in ("label_time", "is_fraud")}
    return {**found, "currency": "GBP"}


ROWS = [sent(row) for row in payments(5, N_WITH + N_WITHOUT).to_dict("records")]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    return make_bank(tmp_path_factory.mktemp("bank"))


def without_arrival(answer: dict[str, Any]) -> str:
    """Return an answer's bytes, but for what became of the payment in the store."""
    return json.dumps({**answer, "arrival": None})


def test_the_answer_of_the_time_is_given_again_byte_for_byte(
    state: StateDirectory, run_bank: Callable[..., Finished], tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    options = ("--policy", str(policy), "--deadline-ms", "20000")
    asked = {"payments": ROWS[:N_WITH]}
    unasked = {"payments": ROWS[N_WITH:], "reasons": False}
    with ServiceProcess(state.path, *options) as service:
        answers = service.post("/v1/payments", asked).json()["answers"]
        answers += service.post("/v1/payments", unasked).json()["answers"]
        service.process.kill()
        service.process.wait(30)
    assert {one["action"] for one in answers} > {"allow"}
    assert all(one["step"] == "full" for one in answers)
    explained = answers[:N_WITH]
    assert any(one["reasons"] for one in explained if one["action"] == "allow")
    assert any(one["reasons"] for one in explained if one["action"] != "allow")
    assert not any(one["reasons"] for one in answers[N_WITH:])

    with ServiceProcess(state.path, *options) as service:
        for one in explained:
            assert logged(service, one) == without_arrival(one)
        for one in answers[N_WITH:]:
            later = json.loads(logged(service, one))
            assert later.pop("reasons_are") == "by-bins"
            assert later.pop("reasons")
            assert later == {key: one[key] for key in later} | {"arrival": None}
        again = service.post("/v1/payments", asked).json()["answers"]
        again += service.post("/v1/payments", unasked).json()["answers"]
        assert list(map(without_arrival, again)) == list(map(without_arrival, answers))
        # Another model, of other trees, answers from now on.
        assert service.post("/v1/swap", {"run_id": OTHER_RUN}).status_code == 200
        for one in explained:
            assert logged(service, one) == without_arrival(one)

    for one in [*explained[::16], max(explained, key=lambda each: each["margin"])]:
        check_command(state, run_bank, one)
    said = json.loads(run_bank("explain", f"t{N_WITH}", "--state", state.path, "--json").out)
    assert "values are the ends of the model's bins" in said["note"]

    # What is erased is said by nobody any more.
    customer = ROWS[0]["customer_id"]
    erased = run_bank("decisions", "erase", customer, "--yes", "--state", state.path)
    assert erased.code == 0, erased.err
    assert run_bank("explain", "t0", "--state", state.path).code == 8
    with ServiceProcess(state.path, *options) as service:
        assert service.client.get("/v1/decisions/t0").status_code == 404
        path = state.model_path(RUN)
        staged = StageDirectory.of_state(state.path)
        staged.model_path(hashlib.sha256(path.read_bytes()).hexdigest()).unlink(missing_ok=True)
        path.unlink()
        assert service.post("/v1/swap", {"run_id": OTHER_RUN}).status_code == 200
        gone = service.client.get(f"/v1/decisions/{explained[1]['transaction_id']}").json()
        assert (gone["reasons"], gone["reasons_are"]) == ([], "model-gone")


def logged(service: ServiceProcess, answer: dict[str, Any]) -> str:
    """Return what the service says later of a payment."""
    found = service.client.get(f"/v1/decisions/{answer['transaction_id']}")
    assert found.status_code == 200, found.text
    answer = found.json()
    # No model scores in the shadow here.
    assert answer.pop("challenger_sha256") is answer.pop("challenger_margin") is None
    return json.dumps(answer)


def check_command(
    state: StateDirectory, run_bank: Callable[..., Finished], answer: dict[str, Any]
) -> None:
    """Hold ``bank-node explain`` against an answer, for each of its readers."""
    command = ("explain", answer["transaction_id"], "--state", state.path)
    ended = run_bank(*command, "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert [(r["text"], *(r[key] for key in EXACT)) for r in said["reasons"]] == [
        (r["analyst"], *(r[key] for key in EXACT)) for r in answer["reasons"]
    ]
    assert {key: said["score"][key] for key in SCORED} == {key: answer[key] for key in SCORED}
    assert {key: said["decision"][key] for key in DECIDED} == {key: answer[key] for key in DECIDED}
    for reader in ("customer", "complaint"):
        texts = dict.fromkeys(reason[reader] for reason in answer["reasons"])
        said = json.loads(run_bank(*command, "--for", reader, "--json").out)
        assert [reason["text"] for reason in said["reasons"]] == [text for text in texts if text]
