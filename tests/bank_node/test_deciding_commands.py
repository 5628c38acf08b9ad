"""``bank-node policy``, ``decisions`` and ``outcomes``, typed as a person types them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from bank_node.cli import cli
from bank_node.config import BankConfig
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.policy import read_policy
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.identity import Identity
from fraudfed.errors import ConfigurationError, FraudFedError, NotFoundError, StateError

DAY = 86_400
NOW = int(time.time())
POLICY = """
version = "new"
currency = "GBP"
alert_budget_a_day = 1
[[rules]]
name = "all"
probability = {warn = 0.2, hold = 0.5}
"""


class Bank:
    """A state directory, and the commands of its bank."""

    def __init__(self, path: Path) -> None:
        identity = Identity.generate()
        keys = identity.member("a")
        config = BankConfig(
            name="a",
            aggregator="http://localhost:1",
            signing_key=keys.signing_key,
            agreement_key=keys.agreement_key,
        )
        self.state = StateDirectory.create(path / "state", config, identity)
        self.path = path
        (path / "policy.toml").write_text(POLICY)

    def run(self, *arguments: str) -> str:
        ended = CliRunner().invoke(cli, arguments)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    def answer(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--state", str(self.state.path), "--json"))

    def fails(self, error: type[FraudFedError], *arguments: str) -> str:
        with pytest.raises(error) as caught:
            self.run(*arguments, "--state", str(self.state.path))
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    """Give a bank a log of six decisions of the last days, one of them 60 days old."""
    found = Bank(tmp_path)
    log = DecisionLog(found.state.serving_path / "decisions", found.state.vault)
    probabilities = (0.1, 0.3, 0.6, 0.7, 0.05, 0.9)
    for number, probability in enumerate(probabilities):
        at = NOW - (60 * DAY if number == 5 else 3 * DAY)
        log.append(
            Decision(
                transaction_id=f"t{number}",
                customer_id=f"c{number % 2}",
                event_time=at,
                decided_at=at,
                channel="transfer",
                direction="outbound",
                amount_minor=10_000,
                currency="GBP",
                margin=0.0,
                score=probability,
                probability=probability,
                action="hold" if probability > 0.5 else "allow",
                rule="all: probability",
                step="full",
                bins=b"\1\2",
            )
        )
    (tmp_path / "labels.csv").write_text(
        "transaction_id,time,status,source,fraud_kind\n"
        f"t1,{NOW - DAY},reported,customer,purchase_scam\n"
        f"t2,{NOW - DAY},confirmed_fraud,analyst,\n"
        f"t0,{NOW - DAY},confirmed_genuine,customer,\n"
    )
    yield found
    log.close()


def test_a_policy_is_checked_and_tried_on_the_log(bank: Bank) -> None:
    policy = str(bank.path / "policy.toml")
    bank.answer("outcomes", "add", "--data", str(bank.path / "labels.csv"))
    assert read_policy(Path(policy)).sha256 in bank.run("policy", "check", policy)
    current = bank.path / "current.toml"
    current.write_text(POLICY.replace("0.5", "0.8").replace('"new"', '"current"'))
    found = bank.answer("policy", "try", policy, "--against", str(current))
    new, old = (each["parts"][0] for each in found["policies"])
    # The old decision is not of the last 28 days.
    assert (new["payments"], new["frauds"]) == (5, 2)
    assert new["actions"] == {"allow": 2, "warn": 1, "hold": 2, "block": 0}
    assert (new["stopped_minor"], new["warned_minor"], old["stopped_minor"]) == (10_000, 10_000, 0)
    assert (new["customers_bothered"], new["days_over_budget"]) == (1, 1)
    shown = bank.run("policy", "try", policy, "--state", str(bank.state.path), "--days", "100")
    assert "budget: 1 alerts a day; the busiest day has 3, and 1 of" in shown
    assert "--data and --scores belong together" in bank.fails(
        ConfigurationError, "policy", "try", policy, "--scores", "x.csv"
    )


def test_a_policy_is_tried_on_a_scored_file(bank: Bank) -> None:
    rows = pd.DataFrame(
        {
            "transaction_id": ["p1", "p2", "p3"],
            "event_time": [NOW, NOW + 1, NOW + DAY],
            "label_time": [NOW + DAY] * 3,
            "customer_id": ["x", "y", "z"],
            "amount_minor": [500, 600, 700],
            "is_fraud": [1, 0, 0],
            "is_blocked": [0, 0, 1],
        }
    )
    rows.to_parquet(bank.path / "rows.parquet")
    scores = bank.path / "scores.csv"
    scores.write_text("transaction_id,score,probability\np1,0.9,0.6\np2,0.9,0.3\np3,0.1,0.01\n")
    policy = str(bank.path / "policy.toml")
    files = ("--data", str(bank.path / "rows.parquet"), "--scores", str(scores))
    (whole,) = bank.answer("policy", "try", policy, *files)["policies"][0]["parts"]
    assert whole["actions"] == {"allow": 1, "warn": 1, "hold": 1, "block": 0}
    assert (whole["stopped_minor"], whole["customers_bothered"], whole["days"]) == (500, 1, 2)


def test_a_decision_is_shown_exported_and_erased_with_its_labels(bank: Bank) -> None:
    bank.answer("outcomes", "add", "--data", str(bank.path / "labels.csv"))
    shown = bank.answer("decisions", "show", "t2")
    assert (shown["probability"], shown["action"], shown["bins"]) == (0.6, "hold", "0102")
    assert shown["labels"][0]["status"] == "confirmed_fraud"
    assert "heard: " in bank.run("decisions", "show", "t2", "--state", str(bank.state.path))
    out = bank.path / "decisions.parquet"
    assert bank.answer("decisions", "export", "--out", str(out))["rows"] == 6
    table = pd.read_parquet(out)
    assert table["probability"].tolist() == [0.1, 0.3, 0.6, 0.7, 0.05, 0.9]
    assert out.stat().st_mode & 0o077 == 0
    counted = {"decisions": 3, "labels": 2, "done": False}
    assert bank.answer("decisions", "erase", "c0") == counted
    assert bank.answer("decisions", "verify")["erased"] == 0
    assert bank.answer("decisions", "erase", "c0", "--yes") == {**counted, "done": True}
    verified = bank.answer("decisions", "verify")
    assert (verified["decisions"], verified["erased"]) == (3, 3)
    assert "its customer was erased" in bank.fails(NotFoundError, "decisions", "show", "t2")
    assert "nothing was heard" in bank.fails(NotFoundError, "outcomes", "show", "t2")
    assert bank.answer("outcomes", "show", "t1")["is_fraud"] == 1


def test_labels_are_added_once_exported_and_reported_on(bank: Bank) -> None:
    labels = str(bank.path / "labels.csv")
    assert bank.answer("outcomes", "add", "--data", labels) == {"rows": 3, "new": 3}
    assert bank.answer("outcomes", "add", "--data", labels) == {"rows": 3, "new": 0}
    out = bank.path / "labels.parquet"
    assert bank.answer("outcomes", "export", "--out", str(out))["rows"] == 3
    assert pd.read_parquet(out)["is_fraud"].tolist() == [0, 1, 1]
    assert (
        bank.answer("outcomes", "export", "--out", str(out), "--as-of", "2020-01-01")["rows"] == 0
    )
    report = bank.answer("outcomes", "report")
    assert sum(week["decisions"] for week in report["weeks"]) == 6
    last = report["weeks"][-1]
    assert (last["frauds"], last["recall"], last["precision"]) == (2, 0.5, 0.5)
    # Two frauds say nothing of how late reports come.
    assert last["completeness"] is None
    assert report["currency"] == "GBP"
    shown = bank.run("outcomes", "report", "--state", str(bank.state.path))
    assert "too few frauds say how late reports come" in shown


def test_a_bank_without_decisions_is_told_what_writes_them(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    assert "bank-node serve" in bank.fails(StateError, "decisions", "verify")
