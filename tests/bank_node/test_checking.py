"""``check-data`` tells all that is wrong with a file at once, and the demo in the same words."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from examples.published_tables import handbook_rows
from federations.bank_process import Finished
from federations.commands import run_in_process

from bank_node.cli import cli
from bank_node.commands import options
from bank_node.config import BankConfig
from bank_node.data.contract import load_scoring_rows, load_training_rows
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.cli import main
from fraudfed.console import commands_of
from fraudfed.consortium.identity import Identity
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.mappings.mapping import load_mapping
from fraudfed.machine import memory
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import DataContract, PublicKeyMessage, RunKind

TRANSACTIONS = DataContract(kind="transactions", recipe=RECIPE, features=contract_features())


@pytest.fixture
def state(tmp_path, small_package, make_spec) -> StateDirectory:
    """Make a bank that knows a run of ``CONTRACT``, and needs no network for it."""
    identity = Identity.generate()
    config = BankConfig(
        name="bank-a",
        aggregator="https://a.example",
        last_runs={RunKind.TRAINING: "r1"},
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    made = StateDirectory.create(tmp_path / "bank", config, identity)
    key = PublicKeyMessage.model_validate(small_package.public_key.to_hex())
    made.pin_run(PinnedRun(run_id="r1", spec=make_spec(), cohort=("bank-a",), public_key=key))
    return made


def spoiled(make_rows: Callable[..., pd.DataFrame], path: Path) -> Path:
    """Write a CSV file with four kinds of faults, of which one is in 14 rows."""
    rows = make_rows().astype(object)
    rows.loc[20:33, "amount"] = [f"{row},5" for row in range(14)]
    rows.loc[3, "age"] = np.nan
    rows.loc[40, "channel"] = "fax"
    rows.loc[[7, 9], "label"] = 2
    rows.to_csv(path, index=False)
    return path


FOUND = {"not_a_number": 14, "missing_value": 1, "unknown_category": 1, "not_a_label": 2}


def test_every_problem_is_reported_at_once(
    state: StateDirectory, make_rows, tmp_path: Path, run_bank: Callable[..., Finished]
) -> None:
    path = spoiled(make_rows, tmp_path / "rows.csv")
    where = ("--state", state.path, "--data", path)
    ended = run_bank("check-data", *where)
    assert ended.code == 3
    first = "row 21 (line 22), column 'amount': got '0,5', expected a number or nothing (missing)"
    assert ended.error() == (
        f"error: {path}: {first} (and 13 more rows); correct the value; 3 more problems in the file"
    )
    lines = ended.out.splitlines()
    assert lines[0] == (
        f"{path}: problems found: not a number 14, missing value 1, unknown category 1, "
        "not a label 2"
    )
    assert lines[1].startswith("  column 'amount', 14 rows: expected a number or nothing")
    assert lines[2] == "    row 21 (line 22): '0,5'"
    assert lines[12] == "    and 4 more"
    assert "    row 41 (line 42): 'fax'" in lines
    assert "    row 4 (line 5): no value" in lines

    document = json.loads(run_bank("check-data", *where, "--json").out)
    assert document["error"]["kind"] == "data"
    report = document["result"]["problems"]
    assert report["counts"] == FOUND
    assert document["result"]["rows"] is None
    numbers = report["problems"][0]
    assert numbers["column"] == "'amount'"
    assert numbers["count"] == 14
    assert [cell["row"] for cell in numbers["cells"]] == list(range(21, 31))
    assert numbers["cells"][0] == {
        "row": 21,
        "line": 22,
        "got": "'0,5'",
        "origin": None,
        "file": None,
    }

    ended = run_bank("score", *where, "--out", tmp_path / "s.csv", "--model", path)
    assert ended.code in (3, 5)
    with pytest.raises(DataError) as failure:
        load_training_rows(path, state.current_run(None).contract)
    assert str(failure.value).endswith(
        "3 more problems in the file: `bank-node check-data` lists all of them"
    )


def test_a_good_file_has_no_problems(
    state: StateDirectory, make_rows, tmp_path: Path, run_bank: Callable[..., Finished]
) -> None:
    make_rows().to_csv(tmp_path / "ROWS.CSV", index=False)
    ended = run_bank("check-data", "--state", state.path, "--data", tmp_path / "ROWS.CSV", "--json")
    document = json.loads(ended.out)
    assert document["problems"] is None
    assert document["rows"] == document["rows_read"] == 60
    assert [one["feature"] for one in document["features"]] == ["amount", "age", "channel"]


def test_the_demo_reports_the_same(make_rows, contract, tmp_path: Path) -> None:
    rows = make_rows().astype({"amount": object, "label": object}).drop(columns="note")
    rows.loc[2, "amount"] = "inf"
    rows.loc[[7, 9], "label"] = ["x", 2]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    command = ("fraudfed", "demo", "--table", str(tmp_path / "rows.csv"), "--label", "label")
    done = run_in_process(main, *command, "--out", str(tmp_path / "out"))
    assert done.returncode == 3
    assert "    row 10 (line 11): 2" in done.stderr.splitlines()
    with pytest.raises(ProblemsError) as failure:
        load_training_rows(tmp_path / "rows.csv", contract)
    assert f"error: {failure.value.summary}" in done.stderr.splitlines()
    assert not (tmp_path / "out" / "work" / "data").exists()
    document = json.loads(
        run_in_process(main, *command, "--out", str(tmp_path / "out"), "--json").stdout
    )
    assert document["error"]["message"] == failure.value.summary
    assert document["result"]["counts"] == {"not_finite": 1, "not_a_number": 1, "not_a_label": 1}


def test_columns_that_are_missing_do_not_hide_cells(make_rows, contract, tmp_path: Path) -> None:
    rows = make_rows().drop(columns=["age", "label"])
    rows.loc[4, "channel"] = "fax"
    rows.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ProblemsError) as failure:
        load_training_rows(tmp_path / "rows.parquet", contract)
    assert [(p.kind, p.column) for p in failure.value.problems] == [
        ("missing_column", "'age'"),
        ("missing_column", "'label'"),
        ("unknown_category", "'channel'"),
    ]
    with pytest.raises(ProblemsError) as failure:
        load_scoring_rows(tmp_path / "rows.parquet", contract)
    assert len(failure.value.problems) == 2


def test_every_problem_of_mapped_transactions(tmp_path: Path) -> None:
    rows = handbook_rows(50).astype({"TX_AMOUNT": object, "TX_FRAUD": object})
    rows.loc[[4, 6], "TX_AMOUNT"] = [-1.0, "free"]
    rows.loc[8, "TX_FRAUD"] = 3
    rows.loc[9, "TRANSACTION_ID"] = rows.loc[2, "TRANSACTION_ID"]
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ProblemsError) as failure:
        load_training_rows(tmp_path / "rows.csv", TRANSACTIONS, mapping=load_mapping("handbook"))
    found = {problem.kind: problem for problem in failure.value.problems}
    assert found.keys() == {"not_in_the_mapping", "repeated_value", "out_of_range"}
    assert found["not_in_the_mapping"].text.startswith("row 7 (line 8), column 'TX_AMOUNT': got 'f")
    assert found["repeated_value"].cells[0].row == 10
    assert found["out_of_range"].text.startswith("row 9 (line 10), column 'is_fraud' (from 'TX_FR")


def test_every_problem_of_transactions_under_our_names(tmp_path: Path) -> None:
    day = 86_400
    rows = pd.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(30)],
            "event_time": [day * i for i in range(30)],
            "label_time": [day * i + 5 for i in range(30)],
            "customer_id": "c",
            "channel": "pos",
            "amount_minor": 100,
            "is_fraud": [0, 1] * 15,
        }
    ).astype(object)
    rows.loc[3, "channel"] = "fax"
    rows.loc[4, "label_time"] = 1
    rows.loc[5, "amount_minor"] = "2.50 EUR"
    rows.loc[6, "amount_minor"] = 1.5
    rows.loc[7, "customer_id"] = None
    rows.drop(columns="event_time").to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ProblemsError) as failure:
        load_training_rows(tmp_path / "rows.csv", TRANSACTIONS)
    kinds = [problem.kind for problem in failure.value.problems]
    assert sorted(kinds) == sorted(
        ["missing_column", "unknown_value", "not_a_number", "not_a_whole_number", "missing_value"]
    )
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ProblemsError) as failure:
        load_training_rows(tmp_path / "rows.csv", TRANSACTIONS)
    assert "label_before_payment" in {problem.kind for problem in failure.value.problems}


def test_a_directory_is_checked_with_its_files_by_name_and_names_are_printed_safely(
    state: StateDirectory,
    make_rows,
    tmp_path: Path,
    run_bank: Callable[..., Finished],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "rows"
    data.mkdir()
    good = make_rows()
    good.iloc[:25].to_csv(data / "a.csv", index=False)
    good.iloc[25:].to_csv(data / "b\x1b[2J\u202e.csv", index=False)
    where = ("--state", state.path, "--data", data)
    whole = json.loads(run_bank("check-data", *where, "--json").out)
    assert (whole["files"], whole["rows"], whole["problems"]) == (2, 60, None)
    assert "files" in run_bank("check-data", *where).out
    # A piece at a time it is the same.
    monkeypatch.setattr(memory, "default_limit", lambda: 1)
    assert json.loads(run_bank("check-data", *where, "--json").out) == whole
    monkeypatch.undo()
    spoiled(make_rows, data / "b\x1b[2J\u202e.csv")
    ended = run_bank("check-data", *where)
    assert ended.code == 3
    for text in (ended.out, ended.err):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "b\\x1b[2J\\u202e.csv: row 21 (line 22): '0,5'" in ended.out
    cells = json.loads(run_bank("check-data", *where, "--json").out)["result"]["problems"]
    assert cells["problems"][0]["cells"][0]["file"].endswith("b\\x1b[2J\\u202e.csv")


def test_mistakes_about_where_data_lie_are_one_line(
    state: StateDirectory, tmp_path: Path, run_bank: Callable[..., Finished]
) -> None:
    secret = "postgresql://u:geheim@127.0.0.1:1/d"
    for arguments, code, message in (
        (("--data", secret), 2, "--query: missing beside --data postgresql://"),
        (("--data", secret, "--query", "SELECT 1"), 6, "postgresql://u@127.0.0.1:1/d: the server"),
        (("--data", "x.csv", "--query", "SELECT 1"), 2, "--query: goes with --data postgresql"),
        (("--data", tmp_path / "*.csv"), 3, "no file matches"),
        (("--data", "nosuch://bucket/x"), 2, "fsspec knows no such store"),
    ):
        ended = run_bank("check-data", "--state", state.path, *arguments)
        assert ended.code == code, ended.err
        assert message in ended.error()
        assert "geheim" not in ended.out + ended.err
    ended = run_bank("serve", "--state", state.path, "--query", "SELECT 1")
    assert ended.code == 2
    assert "--query: is given without --warm" in ended.error()


def test_there_is_one_way_in_for_data() -> None:
    found = {
        (name, parameter.opts[0]): parameter.callback
        for name, command in commands_of(cli).items()
        for parameter in command.params
        if parameter.opts[0] in ("--data", "--warm", "--transactions")
    }
    assert len(found) > 15
    assert set(found.values()) == {options._location}


def test_there_is_one_memory_limit_with_one_default(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        name: parameter
        for name, command in commands_of(cli).items()
        for parameter in command.params
        if parameter.opts[0] == "--memory-limit"
    }
    assert set(found) == {"features", "score", "search", "train"}
    monkeypatch.setattr(memory, "default_limit", lambda: 5 << 30)
    context = click.Context(click.Command("x"))
    for parameter in found.values():
        assert parameter.callback is options._memory_limit
        assert options._memory_limit(context, parameter, None) == 5 << 30
        assert options._memory_limit(context, parameter, "4GiB") == 4 << 30
        for text in ("4 apples", "100MiB"):
            with pytest.raises(ConfigurationError, match=f"--memory-limit is '{text}'"):
                options._memory_limit(context, parameter, text)
