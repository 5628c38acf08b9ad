"""Banks as real processes sum risk tables over a real aggregator, and train and score with them.

The tables of each bank alone, added up, are the oracle: what a bank enters is the bank's own
matter, and the federation's tables are their sum.
"""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_programs import run_program
from examples.risk import (
    DAY,
    DAYS,
    DELAY_DAYS,
    PARAMETERS,
    SPEC,
    START,
    as_bank_writes,
    expected_tables,
    payments,
    risk_run,
    wait_until_round,
)
from federations.bank_process import finish, start_bank
from federations.bank_states import Banks, serving

from bank_node.data.contract import load_training_rows
from bank_node.data.risk_days import day_text
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.risk_file import read_risk_file
from bank_node.vault.vault import PlainVault
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.risk_key import derive_risk_key
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, LabelHorizon, RunKind, RunSpec, RunState

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Federation:
    """Three banks that have the tables of a risk run; one of them was killed meanwhile."""

    banks: Banks
    files: list[Path]
    run_id: str
    state: Path
    key: bytes

    def where(self, bank: int) -> tuple[str, Path, str, Path]:
        return (
            *("--state", self.banks.state(self.banks.names[bank])),
            *("--data", self.files[bank]),
        )

    def directory(self, bank: int) -> StateDirectory:
        return StateDirectory(self.banks.state(self.banks.names[bank]))

    def tables_path(self, bank: int) -> Path:
        return self.directory(bank).path / "runs" / self.run_id / TABLES_FILE

    def everybody(self, *command: str) -> None:
        """Have all banks run a command at once."""
        processes = [start_bank("--quiet", *command, *self.where(bank)) for bank in range(3)]
        ended = [finish(process) for process in processes]
        assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]

    def contract(self, **changes: Any) -> DataContract:
        chosen = ("amount", "shared_terminal_count_7d", "shared_terminal_fraud_rate_30d")
        settings: dict[str, Any] = {
            "kind": "transactions",
            "recipe": RECIPE,
            "features": tuple(
                spec for spec in contract_features(shared=True) if spec.name in chosen
            ),
            "train_until": START + DAYS * DAY,
            "label_horizon_days": LabelHorizon(days=DELAY_DAYS),
            "risk_delay_days": DELAY_DAYS,
            "shared_risk": (self.banks.aggregator.status(self.run_id).model_sha256,),
        }
        return DataContract(**{**settings, **changes})

    def open_run(self, **changes: Any) -> str:
        settings: dict[str, Any] = {
            "name": "test",
            "key_epoch": self.banks.key_epoch.epoch,
            **changes,
        }
        return self.banks.aggregator.create_run(RunSpec(**settings))


@pytest.fixture(scope="module")
def federation(
    tmp_path_factory: pytest.TempPathFactory, key_package: KeyPackage
) -> Iterator[Federation]:
    root = tmp_path_factory.mktemp("risk")
    with serving(root, root) as aggregator:
        banks = Banks(root, aggregator, key_package)
        files = [root / f"{seed}.parquet" for seed in range(3)]
        for seed, path in enumerate(files):
            # Three banks that write one thing in three ways; counted it must be as one.
            as_bank_writes(seed, payments(seed)).to_parquet(path)
        run_id = aggregator.create_run(risk_run(banks.key_epoch.epoch))
        made = Federation(banks, files, run_id, root / "state", derive_risk_key(key_package))
        processes = [
            start_bank("--quiet", "risk", "update", *made.where(bank)) for bank in range(3)
        ]
        wait_until_round(aggregator, run_id, 5)
        processes[1].kill()
        assert finish(processes[1]).code == -signal.SIGKILL
        assert aggregator.status(run_id).state is not RunState.FINISHED, "killed too late"
        processes[1] = start_bank("--quiet", "risk", "update", *made.where(1))
        ended = [finish(process) for process in processes]
        assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
        yield made


def test_all_banks_have_the_sum_of_what_each_counts(federation: Federation) -> None:
    expected = expected_tables(federation.key)
    for bank in range(3):
        kept = read_risk_file(federation.tables_path(bank), vault=PlainVault(), name="risk.tables")
        assert kept.keyed.tables.to_bytes() == expected.to_bytes()
        assert kept.run_id == federation.run_id
        assert federation.tables_path(bank).stat().st_mode & 0o077 == 0
    assert any(day.frauds.any() for day in expected.days)
    status = federation.banks.aggregator.status(federation.run_id)
    assert status.state is RunState.FINISHED
    # Two rounds for each step; a round of nothing at all is not made.
    assert SPEC.last_day - SPEC.first_day < status.round_number <= 2 * (DAYS + 1)


def test_the_aggregator_stores_no_table_and_no_key(federation: Federation) -> None:
    tables = expected_tables(federation.key)
    sketch = max((day.transactions for day in tables.days), key=lambda day: int(day.sum()))
    needles = [sketch.tobytes(), sketch[0].tobytes(), federation.key, federation.key.hex().encode()]
    stored = federation.banks.aggregator.operator("GET", f"/v1/runs/{federation.run_id}/model")
    places = {"registry": stored}
    places |= {
        str(path): path.read_bytes() for path in federation.state.rglob("*") if path.is_file()
    }
    for place, content in places.items():
        assert not any(needle in content for needle in needles), place
    # Control: the banks' own files do hold them.
    kept = federation.tables_path(0).read_bytes()
    assert needles[0] in kept
    assert needles[3] in kept


def test_the_operator_sees_kind_and_days_and_the_registry_only_sealed_tables(
    federation: Federation,
) -> None:
    status = federation.banks.aggregator.status(federation.run_id)
    assert status.spec.risk == SPEC
    record = federation.directory(0).record(federation.run_id)
    assert record is not None
    assert record["result"]["kind"] == "risk"
    assert record["registry_sha256"] == status.model_sha256 != record["model_sha256"]
    assert record["whole_run"]["protection"]["rounds_verified"] == record["whole_run"]["rounds"]


def test_updating_again_does_nothing_and_show_says_what_is_there(
    federation: Federation, run_bank
) -> None:
    sha256 = federation.banks.aggregator.status(federation.run_id).model_sha256
    again = run_bank("risk", "update", *federation.where(0))
    assert again.code == 0, again.err
    assert f"a data contract names them {sha256}" in again.out
    assert "2023-05-31..2023-06-12" in again.out
    document = run_program("bank-node", "risk", "update", *federation.where(0), "--json")
    assert document.answer("bank-node risk update")["registry_sha256"] == sha256
    where = federation.where(0)[:2]
    report = json.loads(run_bank("risk", "show", *where, "--json").out)
    (run,) = report["runs"]
    assert (run["first_day"], run["last_day"], report["gaps"]) == ("2023-05-31", "2023-06-12", [])
    assert run["registry_sha256"] == sha256
    assert run["transactions"]["width"] == 64
    fullest = max(int(day.transactions[0].sum()) for day in expected_tables(federation.key).days)
    assert run["transactions"]["largest_total"] == fullest
    assert run["transactions"]["expected_excess"] == fullest / 64
    assert 0 < run["transactions"]["false_presence"] < 1
    printed = " ".join(run_bank("risk", "show", *where).out.split())
    assert "terminal" in printed
    assert "no table" not in printed


def test_a_model_is_trained_and_scores_with_the_tables(
    federation: Federation, run_bank, tmp_path: Path
) -> None:
    contract = federation.contract()
    run_id = federation.open_run(parameters=PARAMETERS, contract=contract)
    federation.everybody("train", "--run", run_id)
    models = {federation.directory(bank).model_path(run_id).read_bytes() for bank in range(3)}
    assert len(models) == 1
    # The pooled rows on one machine, with the tables of the oracle, give a model that splits alike.
    shared = SharedRisk([KeyedTables(expected_tables(federation.key), federation.key)])
    tables = [load_training_rows(path, contract, shared=shared).table for path in federation.files]
    pooled = tables[0]
    pooled = type(pooled)(
        schema=pooled.schema,
        features=np.concatenate([table.features for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
    )
    solo = train(BoosterParams.parse(PARAMETERS), pooled, SoloCommunicator()).model.to_json()
    assert models == {solo}
    assert b"shared_terminal_fraud_rate_30d" in solo
    out = tmp_path / "scores.csv"
    where = federation.where(0)
    scored = run_bank("score", *where, "--out", out, "--run", run_id)
    assert scored.code == 0, scored.err
    assert len(np.unique(pd.read_csv(out)["score"])) > 1
    # Scoring needs no network and takes the last training, though a risk run came after it.
    config = federation.directory(0).config
    assert config.last_runs == {RunKind.TRAINING: run_id, RunKind.RISK: federation.run_id}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shared_risk": ("0" * 64,)}, "which this bank does not hold"),
        ({"risk_delay_days": 3}, "expected the 3 of risk_delay_days"),
    ],
)
def test_a_training_without_its_tables_is_refused(
    federation: Federation, run_bank, changes: dict[str, Any], message: str
) -> None:
    run_id = federation.open_run(parameters=PARAMETERS, contract=federation.contract(**changes))
    ended = run_bank("check-data", *federation.where(0), "--run", run_id)
    assert ended.code in {2, 3}
    assert message in ended.error()


def test_a_run_of_the_other_kind_is_refused(federation: Federation, run_bank) -> None:
    ended = run_bank("train", *federation.where(0), "--run", federation.run_id)
    assert ended.code == 2
    assert "is of kind risk, expected training; use 'bank-node risk update'" in ended.error()
    out = federation.state.parent / "none.csv"
    ended = run_bank("score", *federation.where(0), "--out", out, "--run", federation.run_id)
    assert ended.code == 2
    assert "is a risk run and has no model" in ended.error()


def test_a_damaged_file_of_tables_is_named(federation: Federation, run_bank) -> None:
    path = federation.tables_path(2)
    whole = path.read_bytes()
    try:
        for damaged in (whole[:-1], b"\0" + whole[1:], whole[:200] + b"\xff" + whole[201:]):
            path.write_bytes(damaged)
            ended = run_bank("risk", "show", *federation.where(2)[:2])
            assert ended.code == 5
            assert f"{path}: damaged" in ended.error()
            assert federation.key.hex() not in ended.err
    finally:
        path.write_bytes(whole)


def test_what_one_bank_takes_back_is_missing_in_the_next_tables_of_all(
    federation: Federation, run_bank
) -> None:
    """The last test of this file: it adds a day to the tables."""
    rows = pd.read_parquet(federation.files[0])
    prompt = rows["label_time"] - rows["event_time"] < DAY
    wrong = str(rows.loc[(rows["is_fraud"] == 1) & prompt, "transaction_id"].iloc[0])

    def frauds(bank: int) -> int:
        asked = ("risk", "lookup", "terminal", "t0", *federation.where(bank)[:2])
        ended = run_bank(*asked, "--purpose", "test", "--json")
        assert ended.code == 0, ended.err
        (found,) = json.loads(ended.out)["found"]
        return max(window["frauds"]["upper"] for window in found["windows"])

    before = [frauds(bank) for bank in range(3)]
    assert len(set(before)) == 1
    assert before[0] > 1
    day = SPEC.last_day + 1
    reason = "the customer had paid it after all"
    ended = run_bank(
        *("risk", "correct", wrong, *federation.where(0)),
        *("--day", day_text(day), "--reason", reason),
    )
    assert ended.code == 0, ended.err
    next_day = SPEC.model_copy(update={"first_day": day, "last_day": day})
    run_id = federation.banks.aggregator.create_run(
        risk_run(federation.banks.key_epoch.epoch, risk=next_day)
    )
    federation.everybody("risk", "update", "--run", run_id)
    directories = [federation.directory(bank) for bank in range(3)]
    tables = [
        read_risk_file(
            directory.path / "runs" / run_id / TABLES_FILE, vault=PlainVault(), name="risk.tables"
        ).keyed.tables
        for directory in directories
    ]
    assert len({one.to_bytes() for one in tables}) == 1
    (counted,) = tables[0].days
    # Once for the terminal and once for its merchant; nobody sees of which bank.
    assert counted.corrections.sum(axis=1).tolist() == [2, 2]
    assert counted.frauds.sum() == 0
    assert [frauds(bank) for bank in range(3)] == [before[0] - 1] * 3
    audits = [directory.audit_path.read_text() for directory in directories]
    assert [reason in text for text in audits] == [True, False, False]
