"""``bank-node risk lookup``: what it shows, what it logs, and what it refuses."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from cli_programs import Ended, run_program
from examples.risk_states import bank_state, keep_tables
from oracles.features import START
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables

from bank_node.data.risk_days import day_text
from bank_node.lookup.log import LoggedLookup, LookupLog
from bank_node.state.directory import StateDirectory
from bank_node.vault.vault import NO_VAULT, Vault
from fraudfed.errors import KeyMaterialError
from fraudfed.wire.messages import RiskEntity

IBAN = "GB29NWBK60161331926819"


def with_tables(state: StateDirectory) -> StateDirectory:
    rows = pd.DataFrame(
        {
            "event_time": [START] * 5,
            "customer_id": list("abcde"),
            "payee_id": [IBAN] * 5,
            "is_fraud": [1, 1, 0, 0, 0],
            "label_time": [START + 60] * 5,
        }
    )
    spec = risk_spec(delay_days=0, first_day=FIRST_DAY, last_day=FIRST_DAY + 3)
    keep_tables(state, "r1", solo_tables(rows, spec), KEY)
    return state


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return with_tables(bank_state(tmp_path / "state"))


def look_up(state: StateDirectory, *asked: str | Path) -> Ended:
    where = ("--state", state.path, "--purpose", "case 4711", "--who", "ada")
    return run_program("bank-node", "risk", "lookup", *asked, *where)


def test_one_account_in_whatever_writing(state: StateDirectory) -> None:
    ended = look_up(state, "payee", "gb29 nwbk 6016 1331 9268 19", "--json")
    assert ended.code == 0, ended.err
    (found,) = json.loads(ended.out)["found"]
    assert (found["identifier"], found["banks"]) == (IBAN, 3)
    assert found["as_of"] == day_text(FIRST_DAY + 3)
    assert found["age_days"] > 0
    one, seven, thirty = found["windows"]
    assert one["payments"] == {"count": 0, "lower": 0, "upper": 0, "known": False}
    assert seven["frauds"] == {"count": 2, "lower": 2, "upper": 2, "known": True}
    # Days before the first table are said, and not counted as empty.
    assert [len(each["missing"]) for each in (one, seven, thirty)] == [0, 1, 1]
    assert seven["missing"][0]["last_day"] == day_text(FIRST_DAY - 1)
    shown = look_up(state, "payee", IBAN).out
    assert "not known (at most 0)" in shown
    assert "as of" in shown


def test_every_look_up_is_logged_before_it_is_answered(state: StateDirectory) -> None:
    look_up(state, "payee", IBAN)
    look_up(state, "terminal", " t1 ")
    ended = run_program("bank-node", "risk", "lookups", "--state", state.path, "--json")
    logged = json.loads(ended.out)["lookups"]
    assert [(e["who"], e["purpose"], e["entity"], e["identifiers"]) for e in logged] == [
        ("ada", "case 4711", "payee", [IBAN]),
        ("ada", "case 4711", "terminal", ["t1"]),
    ]
    (path,) = (state.path / "serving" / "lookups").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    # What cannot be logged is not answered.
    path.unlink()
    path.mkdir()
    refused = look_up(state, "payee", IBAN)
    assert (refused.code, refused.out) == (5, "")
    assert "not logged is not looked up" in refused.err


def test_many_from_a_file(state: StateDirectory, tmp_path: Path) -> None:
    data, out = tmp_path / "asked.csv", tmp_path / "found.csv"
    data.write_text(f"payee_id\n{IBAN}\nother\n{IBAN}\n\n")
    ended = look_up(state, "payee", "--data", data, "--out", out)
    assert ended.code == 0, ended.err
    found = pd.read_csv(out)
    assert found["identifier"].tolist() == [IBAN, "other"]
    assert found["fraud_lower_7d"].tolist() == [2, 0]
    assert found["missing_days_30d"].tolist() == [26, 26]


@pytest.mark.parametrize(
    ("asked", "code", "why"),
    [
        (("payee",), 2, "expected an IDENTIFIER, or --data with --out"),
        (("payee", "x", "--out", "x.csv"), 2, "expected an IDENTIFIER"),
        (("payee", " "), 2, "not empty"),
        (("payee", "x" * 201), 2, "up to 200 characters"),
        (("payee", "1.2E+15"), 3, "all its digits"),
        (("payee", "x", "--purpose", " "), 2, "purpose"),
    ],
)
def test_what_cannot_be_looked_up_is_refused_and_not_logged(
    state: StateDirectory, asked: tuple[str, ...], code: int, why: str
) -> None:
    where = ("--state", state.path, "--purpose", "p", "--who", "w")
    ended = run_program("bank-node", "risk", "lookup", *where, *asked)
    assert (ended.code, why in ended.err) == (code, True), ended.err
    assert not (state.path / "serving").exists()


def test_a_bank_without_tables_says_so(tmp_path: Path) -> None:
    ended = look_up(bank_state(tmp_path / "none"), "payee", "x")
    assert ended.code == 2
    assert "holds no risk tables" in ended.err


def logged(number: int) -> LoggedLookup:
    return LoggedLookup(
        time=number, who="w", purpose="p", entity=RiskEntity.PAYEE, identifiers=(f"id{number}",)
    )


def log_in(directory: Path, vault: Vault = NO_VAULT, *, retention_days: int = 365) -> LookupLog:
    return LookupLog(directory, vault, retention_days=retention_days)


def month_of(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


def test_a_month_is_kept_as_long_as_the_bank_says_and_no_longer(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    times = [month_of(2025, 12, 31), month_of(2026, 1), month_of(2026, 2)]
    for each in times:
        log_in(directory).append([logged(each)], durable=True)
    (directory / "9999-99.log").write_bytes(b"")
    # On the last day of its retention the last look-up of January is still there.
    last = month_of(2026, 2) + 30 * 86_400
    log = log_in(directory, retention_days=30)
    assert log.prune(last - 1) == 1
    assert [each.time for each in log.all()] == times[1:]
    # The next look-up removes it; one of the same day has been looked after already.
    log.append([logged(last)], durable=True)
    assert [each.time for each in log.all()] == [times[2], last]


def test_retention_is_a_setting_of_the_bank(state: StateDirectory) -> None:
    directory = state.path / "serving" / "lookups"
    now = int(time.time())
    log_in(directory, state.vault, retention_days=36_525).append([logged(1)], durable=True)
    log_in(directory, state.vault, retention_days=36_525).append([logged(now)], durable=True)
    assert len(log_in(directory, state.vault).all()) == 2
    config = state.path / "bank.toml"
    assert "retention_days = 731" in config.read_text()
    config.write_text(config.read_text().replace("days = 731", "days = 36525"))
    shown = run_program("bank-node", "risk", "lookups", "--state", state.path, "--json")
    assert len(json.loads(shown.out)["lookups"]) == 2
    config.write_text(config.read_text().replace("days = 36525", "days = 1"))
    shown = run_program("bank-node", "risk", "lookups", "--state", state.path, "--json")
    assert [each["time"] for each in json.loads(shown.out)["lookups"]] == [now]
    config.write_text(config.read_text().replace("days = 1", "days = 0"))
    refused = run_program("bank-node", "risk", "lookups", "--state", state.path)
    assert (refused.code, "lookups.retention_days is 0" in refused.err) == (5, True)


def test_each_wrong_row_of_a_file_has_its_line(state: StateDirectory, tmp_path: Path) -> None:
    data, out = tmp_path / "asked.csv", tmp_path / "found.csv"
    long = "x" * 201
    data.write_text(f"payee_id\n{IBAN}\n1.2E+15\n\n3.4E+15\n{long}\nother\n")
    ended = look_up(state, "payee", "--data", data, "--out", out)
    assert (ended.code, ended.out, out.exists()) == (3, "", False)
    lines = ended.err.splitlines()
    for place, got in (("row 2 (line 3)", "'1.2E+15'"), ("row 3 (line 5)", "'3.4E+15'")):
        assert f"{place}: got {got}, expected an identifier with all its digits" in ended.err
    (of_long,) = [line for line in lines if line.startswith("row 4 (line 6): got 'xxx")]
    assert of_long.endswith("expected up to 200 characters that can be printed")
    assert len(lines) == 4
    # Nothing was looked up.
    assert not (state.path / "serving").exists()


def test_a_record_that_a_crash_cut_off_is_no_look_up(tmp_path: Path) -> None:
    for cut in range(1, 60, 7):
        log = log_in(tmp_path / str(cut))
        log.append([logged(1), logged(2)], durable=False)
        (path,) = (tmp_path / str(cut)).iterdir()
        path.write_bytes(path.read_bytes()[:-cut])
        again = log_in(tmp_path / str(cut))
        again.append([logged(3)], durable=True)
        assert [each.time for each in again.all()] == [1, 3]


def test_the_log_of_look_ups_is_sealed(tmp_path: Path) -> None:
    state = with_tables(bank_state(tmp_path / "sealed", passphrase="a long enough passphrase"))
    log = log_in(state.path / "serving" / "lookups", state.vault)
    log.append([logged(1)], durable=True)
    (path,) = (state.path / "serving" / "lookups").iterdir()
    assert b"id1" not in path.read_bytes()
    assert log.all() == (logged(1),)
    with pytest.raises(KeyMaterialError):
        log_in(state.path / "serving" / "lookups").all()
