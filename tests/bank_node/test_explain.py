"""``bank-node explain``: a past decision says what it said, a row of a file what its score says."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from federations.bank_process import Finished

from bank_node.config import BankConfig
from bank_node.data.contract import load_scoring_rows
from bank_node.decisions.bins import bins_of
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.serving.explain import explain_decision
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.errors import StateError
from fraudfed.features import RECIPE, contract_features
from fraudfed.intake.plain_table import contract_schema
from fraudfed.parameters import BoosterParams
from fraudfed.reasons import Catalogue, Reason, reasons_in, shown_values
from fraudfed.wire.messages import DataContract, PublicKeyMessage, RunKind, RunSpec

RUN = "r1"
CONTRACT = DataContract(kind="transactions", recipe=RECIPE, features=contract_features())
START = 1_700_000_000
N_ROWS = 400


def payments() -> pd.DataFrame:
    """Return payments of a few customers; the last tenth are large, to new payees, in a hurry."""
    draws = np.random.default_rng(11)
    late = np.arange(N_ROWS) >= N_ROWS * 9 // 10
    gaps = np.where(late, 60, 4_000)
    return pd.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in range(N_ROWS)],
            "event_time": START + np.cumsum(gaps),
            "customer_id": np.where(late, "c0", draws.choice(["c0", "c1", "c2"], N_ROWS)),
            "payee_id": np.where(late, [f"new-{n}" for n in range(N_ROWS)], "known"),
            "device_id": "d0",
            "channel": "transfer",
            "amount_minor": np.where(late, 95_000, draws.integers(1_000, 5_000, N_ROWS)),
        }
    )


@dataclass
class Bank:
    """A bank with a model, a file and a log of decisions."""

    state: StateDirectory
    data: Path
    scorer: Scorer
    rows: np.ndarray
    run_bank: Callable[..., Finished]

    def explain(self, transaction: str, *options: str | Path) -> Finished:
        return self.run_bank("explain", transaction, "--state", self.state.path, *options)

    def reasons(self, number: int, currency: str | None = None) -> tuple[Reason, ...]:
        row = self.rows[number]
        found = self.scorer.row(row)
        assert found.contributions is not None
        return reasons_in(Catalogue.of(CONTRACT), found.contributions, row, currency=currency)

    def decision(self, number: int) -> Decision:
        row = self.rows[number]
        found = self.scorer.row(row)
        return Decision(
            transaction_id=f"t{number}",
            customer_id="c0",
            event_time=START,
            decided_at=START,
            channel="transfer",
            direction=None,
            amount_minor=95_000,
            currency="GBP",
            margin=found.margin,
            score=found.score,
            probability=0.25,
            action="hold",
            rule="transfers",
            step="full",
            model_sha256=self.scorer.sha256,
            bins=bins_of(row, self.scorer.model),
            shown=shown_values(self.reasons(number, "GBP"), row, Catalogue.of(CONTRACT)),
            with_reasons=True,
        )

    def log(self, *decisions: Decision) -> None:
        log = DecisionLog(self.state.serving_path / "decisions", self.state.vault)
        for each in decisions:
            log.append(each)
        log.close()


@pytest.fixture
def bank(tmp_path: Path, run_bank: Callable[..., Finished]) -> Bank:
    data = tmp_path / "payments.parquet"
    payments().to_parquet(data)
    identity = Identity.generate()
    keys = identity.member("a")
    config = BankConfig(
        name="a",
        aggregator="http://localhost:1",
        signing_key=keys.signing_key,
        agreement_key=keys.agreement_key,
    )
    state = StateDirectory.create(tmp_path / "state", config, identity)
    spec = RunSpec(name="test", key_epoch=1, contract=CONTRACT)
    key = PublicKeyMessage(n="f", fingerprint="0" * 64)
    state.pin_run(PinnedRun(run_id=RUN, spec=spec, cohort=("a", "b", "c"), public_key=key))
    state.save_config(state.config.with_last_run(RunKind.TRAINING, RUN))
    rows = load_scoring_rows(data, CONTRACT).features
    labels = (np.arange(N_ROWS) >= N_ROWS * 9 // 10).astype(np.float32)
    labels[::7] = 1.0
    table = TrainingTable(contract_schema(CONTRACT), rows, labels)
    parameters = BoosterParams.parse({"num_boost_round": 12, "max_depth": 3, "max_bin": 16})
    model = train(parameters, table, SoloCommunicator()).model
    state.model_path(RUN).write_bytes(model.to_json())
    return Bank(state, data, Scorer.read(state.model_path(RUN), CONTRACT), rows, run_bank)


def test_a_past_decision_says_what_it_said(bank: Bank) -> None:
    alert, allowed = N_ROWS - 1, 3
    bank.log(bank.decision(alert), bank.decision(allowed))
    for number in (alert, allowed):
        at_the_time = bank.reasons(number, "GBP")
        ended = bank.explain(f"t{number}", "--json")
        assert ended.code == 0, ended.err
        said = json.loads(ended.out)
        assert [(r["code"], r["contribution"], r["text"]) for r in said["reasons"]] == [
            (reason.code, reason.contribution, reason.analyst) for reason in at_the_time
        ]
        assert said["from_log"]
        assert said["score"]["margin"] == bank.scorer.row(bank.rows[number]).margin
        assert said["score"]["probability"] == 0.25
        assert said["decision"]["action"] == "hold"
    assert bank.reasons(alert, "GBP")


def test_every_logged_row_gives_its_reasons_again(bank: Bank) -> None:
    for number in range(0, N_ROWS, 5):
        found = explain_decision(bank.decision(number), bank.scorer)
        assert found.reasons == bank.reasons(number, "GBP")
        assert found.same_words


def test_without_the_values_the_texts_would_differ(bank: Bank) -> None:
    """The negative control: bins alone do not know that it was 950 pounds."""
    decision = replace(bank.decision(N_ROWS - 1), shown=b"", with_reasons=False)
    found = explain_decision(decision, bank.scorer)
    reasons = bank.reasons(N_ROWS - 1, "GBP")
    assert [(r.code, r.contribution) for r in found.reasons] == [
        (r.code, r.contribution) for r in reasons
    ]
    assert [r.analyst for r in found.reasons] != [r.analyst for r in reasons]
    bank.log(decision)
    assert "values are the ends of the model's bins" in bank.explain(f"t{N_ROWS - 1}").out


def test_customers_and_complainants_get_texts_and_nothing_else(bank: Bank) -> None:
    alert = N_ROWS - 1
    bank.log(bank.decision(alert))
    for reader in ("customer", "complaint"):
        said = json.loads(bank.explain(f"t{alert}", "--for", reader, "--json").out)
        texts = [getattr(reason, reader) for reason in bank.reasons(alert)]
        assert [r["text"] for r in said["reasons"]] == [t for t in dict.fromkeys(texts) if t]
        assert (said["score"], said["decision"]) == (None, None)
        assert {tuple(v for k, v in r.items() if k != "text") for r in said["reasons"]} <= {
            (None, None, None, None)
        }
        shown = bank.explain(f"t{alert}", "--for", reader)
        assert "hold" not in shown.out
        assert not any(character.isdigit() for character in shown.out)


def test_a_row_of_a_file_is_explained_like_it_is_scored(bank: Bank) -> None:
    number = N_ROWS - 2
    ended = bank.explain(f"t{number}", "--data", bank.data, "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert [r["text"] for r in said["reasons"]] == [r.analyst for r in bank.reasons(number)]
    assert (said["from_log"], said["decision"]) == (False, None)
    whole = said["score"]["base"] + sum(r["contribution"] for r in said["reasons"])
    whole += sum(part["contribution"] for part in said["score"]["lowered"])
    assert abs(whole - said["score"]["margin"]) < 0.2
    shown = bank.explain(f"t{number}", "--data", bank.data)
    assert f"t{number}: score " in shown.out


def test_what_cannot_be_explained(bank: Bank, tmp_path: Path) -> None:
    ended = bank.explain("t1")
    assert ended.code == 8
    assert "'t1' is not in the log of decisions; check the identifier" in ended.error()
    ended = bank.explain("nobody", "--data", bank.data)
    assert ended.code == 3
    assert "'nobody' is not among its 400 payments" in ended.error()

    unscored = replace(
        bank.decision(1), model_sha256=None, margin=None, score=None, bins=b"", shown=b""
    )
    elsewhere = replace(bank.decision(2), model_sha256="ab" * 32)
    damaged = replace(bank.decision(4), margin=9.0)
    bank.log(unscored, elsewhere, damaged)
    ended = bank.explain("t1")
    assert ended.code == 0
    assert "no model scored this payment" in ended.out
    ended = bank.explain("t2")
    assert ended.code == 2
    assert "is not among this bank's models; name its file with --model" in ended.error()
    ended = bank.explain("t2", "--model", bank.state.model_path(RUN))
    assert ended.code == 5
    assert "was scored by model abab" in ended.error()
    ended = bank.explain("t4")
    assert ended.code == 5
    assert "the record is damaged" in ended.error()


def test_values_of_another_model_are_refused(bank: Bank) -> None:
    decision = bank.decision(N_ROWS - 1)
    with pytest.raises(StateError, match="do not belong to 48 features"):
        explain_decision(replace(decision, shown=decision.shown[:-1]), bank.scorer)


def test_other_words_since_are_said(bank: Bank) -> None:
    alert = N_ROWS - 1
    decision = bank.decision(alert)
    bank.log(replace(decision, shown=b"\0\0\0\0" + decision.shown[4:]))
    ended = bank.explain(f"t{alert}")
    assert "the catalogue has changed since" in ended.out
