"""A payment that only other banks' reports speak against is never blocked: asked over HTTP."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples.risk_states import bank_state, keep_tables
from oracles.features import DAY, START
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables
from serving_kit.service_process import ServiceProcess

from bank_node.policy import read_policy
from bank_node.serving.deciding import decide
from bank_node.serving.ladder import Judged, Step
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.payment import Payment
from fraudfed.intake.plain_table import contract_schema
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, PublicKeyMessage, RunKind, RunSpec

RUN = "r1"
MULE, OTHER = "GB29NWBK60161331926819", "other"
LARGE = 900_000
CONTRACT = DataContract(
    kind="transactions", recipe=RECIPE, features=contract_features(RECIPE, shared=True)
)
NAMES = [spec.name for spec in CONTRACT.features]
POLICY = """
version = "1"
currency = "GBP"
alert_budget_a_day = 10
lookup_most = "{most}"

[[rules]]
name = "transfers"
channels = ["transfer"]
directions = ["outbound"]
score = {{ warn = 0.3, hold = 0.4, block = 0.5 }}
"""


def training_table() -> TrainingTable:
    """Return rows in which other banks' reports are fraud, and large amounts are, too."""
    draws = np.random.default_rng(3)
    n_rows = 4000
    rows = np.full((n_rows, len(NAMES)), np.nan, dtype=np.float32)
    reports = draws.choice([0, 0, 3, np.nan], n_rows)
    amounts = draws.choice([1_000, 50_000, LARGE], n_rows)
    for days in (7, 30):
        rows[:, NAMES.index(f"shared_payee_fraud_count_{days}d")] = reports
    rows[:, NAMES.index("amount")] = amounts
    labels = ((reports > 0) | (amounts == LARGE)).astype(np.float32)
    return TrainingTable(contract_schema(CONTRACT), rows, labels)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    state = bank_state(tmp_path_factory.mktemp("bank") / "state")
    spec = RunSpec(name="test", key_epoch=1, contract=CONTRACT)
    key = PublicKeyMessage(n="f", fingerprint="0" * 64)
    state.pin_run(PinnedRun(run_id=RUN, spec=spec, cohort=("a", "b", "c"), public_key=key))
    parameters = BoosterParams.parse({"num_boost_round": 30, "max_depth": 2, "eta": 0.5})
    model = train(parameters, training_table(), SoloCommunicator()).model
    state.model_path(RUN).write_bytes(model.to_json())
    state.save_config(state.config.with_last_run(RunKind.TRAINING, RUN))
    rows = pd.DataFrame(
        {
            "event_time": [START] * 4,
            "customer_id": list("abcd"),
            "payee_id": [MULE, MULE, MULE, OTHER],
            "is_fraud": [1, 1, 1, 0],
            "label_time": [START + 60] * 4,
        }
    )
    spec_of_tables = risk_spec(delay_days=0, first_day=FIRST_DAY, last_day=FIRST_DAY + 8)
    keep_tables(state, "risk", solo_tables(rows, spec_of_tables), KEY)
    return state


@pytest.fixture(scope="module")
def policy(state: StateDirectory) -> Path:
    path = state.path.parent / "policy.toml"
    path.write_text(POLICY.format(most="warn"))
    return path


def sent(number: int, payee: str, amount: int) -> dict[str, Any]:
    return {
        "transaction_id": f"t{number}",
        "event_time": START + 4 * DAY,
        "customer_id": f"c{number}",
        "payee_id": payee,
        "channel": "transfer",
        "amount_minor": amount,
        "currency": "GBP",
    }


@pytest.mark.e2e
def test_other_banks_reports_alone_block_nothing(state: StateDirectory, policy: Path) -> None:
    asked = [
        sent(1, MULE, 50_000),
        sent(2, MULE, LARGE),
        sent(3, OTHER, LARGE),
        sent(4, OTHER, 50_000),
    ]
    options = ("--run", RUN, "--policy", str(policy), "--deadline-ms", "20000")
    with ServiceProcess(state.path, *options) as service:
        answers = service.post("/v1/score", {"payments": asked}).json()["answers"]
        assert [one["step"] for one in answers] == ["full"] * 4
        assert [one["action"] for one in answers] == ["warn", "block", "block", "allow"]
        # The score itself would block, and the answer says what kept it from that.
        assert answers[0]["score"] > 0.5
        assert answers[0]["rule"].endswith("warn at most by a look-up alone")
        assert answers[0]["reasons"][0]["code"] == "payee_reports"
        logged = service.client.get("/v1/decisions/t1").json()
        assert (logged["action"], logged["rule"]) == ("warn", answers[0]["rule"])
        # A policy that would do it is not taken: the service continues with the one before.
        policy.write_text(POLICY.format(most="block"))
        refused = service.post("/v1/swap", {})
        assert 400 <= refused.status_code < 500
        assert "blocks no payment" in refused.json()["detail"]
        (again,) = service.post("/v1/score", sent(5, MULE, 50_000)).json()["answers"]
        assert again["action"] == "warn"


@pytest.mark.parametrize(("most", "done"), [("allow", "allow"), ("warn", "warn"), ("hold", "hold")])
def test_the_policy_says_how_far_a_look_up_goes(
    state: StateDirectory, tmp_path: Path, most: str, done: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.format(most=most))
    policy = read_policy(path)
    scorer = Scorer.read(state.model_path(RUN), CONTRACT)
    payment = Payment(**sent(1, MULE, 50_000))

    def judged(reports: float, amount: float) -> Judged:
        row = np.full(len(NAMES), np.nan, dtype=np.float32)
        for days in (7, 30):
            row[NAMES.index(f"shared_payee_fraud_count_{days}d")] = reports
        row[NAMES.index("amount")] = amount
        return Judged(Step.FULL, True, 0, scorer, scorer.row(row), row, row)

    def action(judged: Judged) -> str:
        decided = decide(policy, payment, judged, amount_minor=payment.amount_minor)
        return decided.action.value

    assert action(judged(3, 50_000)) == done
    assert action(judged(3, LARGE)) == "block"
    assert action(judged(np.nan, LARGE)) == "block"
    assert action(judged(0, 50_000)) == "allow"
    assert action(Judged(Step.FALLBACK, True, None)) == "allow"
