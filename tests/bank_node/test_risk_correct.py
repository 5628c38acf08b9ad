"""``bank-node risk correct``: what is written down, what is counted of it, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest
from cli_programs import Ended, run_program
from examples.risk_states import bank_state, keep_tables
from oracles.features import DAY, START
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, solo_tables

from bank_node.data.risk_days import day_text
from bank_node.state.audit_log import verify_audit_log
from bank_node.state.directory import StateDirectory

REPORTED = FIRST_DAY + 2


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    frame = pd.DataFrame(
        {
            "transaction_id": ["wrong", "clean", "nowhere"],
            "event_time": [START, START + 60, START + 120],
            "customer_id": ["c", "c", "c"],
            "account_id": ["a", "a", "a"],
            "amount_minor": [100, 200, 300],
            "currency": ["GBP"] * 3,
            "channel": ["transfer"] * 3,
            "payee_id": ["GB29 NWBK 6016 1331 9268 19", "x", None],
            "is_fraud": [1, 0, 1],
            "label_time": [REPORTED * DAY] * 3,
        }
    )
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path)
    return path


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = bank_state(tmp_path / "state")
    empty = pd.DataFrame(
        {"event_time": [START], "customer_id": ["c"], "is_fraud": [0], "label_time": [None]}
    )
    spec = risk_spec(delay_days=0, first_day=FIRST_DAY, last_day=FIRST_DAY + 9)
    keep_tables(made, "r1", solo_tables(empty, spec), KEY)
    return made


def correct(state: StateDirectory, rows: Path, payment: str = "wrong", *more: str) -> Ended:
    where = ("--state", str(state.path), "--data", str(rows))
    return run_program("bank-node", "risk", "correct", payment, *where, *more)


def test_what_is_taken_back_is_kept_and_the_audit_log_says_why(
    state: StateDirectory, rows: Path
) -> None:
    day = day_text(FIRST_DAY + 12)
    ended = correct(state, rows, "wrong", "--reason", "paid  to himself", "--day", day)
    assert ended.code == 0, ended.err
    (kept,) = state.corrections().all()
    assert (kept.event_day, kept.report_day, kept.day) == (FIRST_DAY, REPORTED, FIRST_DAY + 12)
    assert kept.identifiers == {"payee": "GB29NWBK60161331926819"}
    (entry,) = verify_audit_log(state.audit_path, signing_key=state.config.signing_key)
    assert entry.event == "noted"
    assert entry.note is not None
    assert "paid to himself" in entry.note
    assert "GB29" not in state.audit_path.read_text()
    explained = run_program("bank-node", "audit", "explain", "--state", str(state.path))
    assert "paid to himself" in explained.out
    shown = run_program("bank-node", "risk", "corrections", "--state", str(state.path))
    assert "paid to himself" in shown.out
    again = correct(state, rows, "wrong", "--reason", "again", "--day", day)
    assert again.code == 2
    assert "taken back already" in again.err


@pytest.mark.parametrize(
    ("payment", "day", "code", "why"),
    [
        ("wrong", FIRST_DAY + 1, 2, "before it is made"),
        ("wrong", FIRST_DAY + 60_000, 2, "or earlier"),
        ("clean", FIRST_DAY + 12, 3, "has no report"),
        ("nowhere", FIRST_DAY + 12, 3, "counted nowhere"),
        ("absent", FIRST_DAY + 12, 3, "holds no payment"),
    ],
)
def test_what_cannot_be_taken_back_is_refused(
    state: StateDirectory, rows: Path, payment: str, day: int, code: int, why: str
) -> None:
    ended = correct(state, rows, payment, "--reason", "r", "--day", day_text(day))
    assert (ended.code, why in ended.err) == (code, True), ended.err
    assert state.corrections().all() == ()
    assert not state.audit_path.exists()


def test_a_day_that_was_counted_takes_no_correction(state: StateDirectory, rows: Path) -> None:
    ended = correct(state, rows, "wrong", "--reason", "r", "--day", day_text(FIRST_DAY + 5))
    assert ended.code == 2
    assert "was counted already, by run r1" in ended.err


def test_what_others_entered_is_not_taken_back(state: StateDirectory, rows: Path) -> None:
    """Before this bank joined, its rows were in no table."""
    tables = state.risk_file(state.tables_paths()[0]).keyed.tables
    keep_tables(state, "r1", tables, KEY, members=("bank-b", "bank-c"))
    ended = correct(state, rows, "wrong", "--reason", "r", "--day", day_text(FIRST_DAY + 12))
    assert ended.code == 2
    assert "no table that this bank helped to make" in ended.err


def test_what_was_taken_back_is_sealed(tmp_path: Path, rows: Path) -> None:
    state = bank_state(tmp_path / "sealed", passphrase="a long enough passphrase")
    from bank_node.state.corrections import KeptCorrection

    made = KeptCorrection(
        transaction_id="wrong",
        event_day=1,
        report_day=2,
        day=3,
        identifiers={"payee": "GB29"},
        reason="r",
        at=4,
    )
    state.corrections().add(made)
    state.corrections().add(made.model_copy(update={"transaction_id": "other"}))
    data = (state.path / "risk.corrections").read_bytes()
    assert b"wrong" not in data
    assert b"GB29" not in data
    assert [each.transaction_id for each in state.corrections().all()] == ["wrong", "other"]
