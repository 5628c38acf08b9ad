"""Banks with the default of no other set: what they do when one stays away. Real processes."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from federations.bank_process import ENVIRONMENT, Finished, Process, finish, start_bank
from federations.bank_states import Banks
from oracles import audited_stages
from oracles.stages import Bank, Stage, simulate

from bank_node.data.contract import load_training_rows
from bank_node.state.directory import StateDirectory
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import AuditLog, DropRequest, RunState, RunStatus, parse

pytestmark = pytest.mark.e2e

PARAMETERS = {"num_boost_round": 12, "max_depth": 3, "max_bin": 8, "eta": 0.4}


@pytest.fixture
def files(tmp_path: Path, make_rows) -> list[Path]:
    paths = [tmp_path / f"rows-{place}.parquet" for place in range(4)]
    for place, path in enumerate(paths):
        make_rows(place, n_rows=60 + 40 * place).to_parquet(path)
    return paths


def start(banks: Banks, files: list[Path], *places: int) -> dict[int, Process]:
    return {place: banks.train(banks.names[place], files[place]) for place in places}


def wait_until(banks: Banks, good: Callable[[RunStatus], bool], what: str) -> RunStatus:
    deadline = time.monotonic() + 60
    while not good(status := banks.aggregator.status(banks.run_id)):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)
    return status


def drop(banks: Banks, place: int) -> None:
    request = DropRequest(bank=banks.names[place], reason="test")
    banks.aggregator.operator("POST", f"/v1/runs/{banks.run_id}/drops", request)


def stages_of(banks: Banks, first: tuple[int, ...] | None = None) -> list[tuple[int, ...]]:
    answer = banks.aggregator.operator("GET", f"/v1/audit?run={banks.run_id}")
    entries = parse(AuditLog, answer, source="test").entries
    return [stage.banks for stage in audited_stages.stages_of(entries, banks.names, first)]


def ended_well(running: dict[int, Process]) -> None:
    ended = {place: finish(process) for place, process in running.items()}
    assert {one.code for one in ended.values()} == {0}, [one.err for one in ended.values()]


def sets_of(banks: Banks, place: int) -> int:
    return StateDirectory(banks.state(banks.names[place])).ledger().summary().sets


def away_and_back(banks: Banks, files: list[Path]) -> None:
    """Let a bank be dropped within a tree, and come back once the others have seen it."""
    running = start(banks, files, 0, 1, 2, 3)
    wait_until(banks, lambda status: status.round_number >= 15, "round 15")
    running[1].kill()
    running.pop(1).communicate()
    drop(banks, 1)
    time.sleep(1.5)
    running |= start(banks, files, 1)
    ended_well(running)


def test_the_others_wait_for_a_bank_and_continue_with_it(make_banks, files) -> None:
    banks = make_banks(4, parameters=PARAMETERS)
    banks.allow_set_changes(0)
    away_and_back(banks, files)
    status = banks.aggregator.status(banks.run_id)
    assert status.generation.number >= 2
    assert set(stages_of(banks)) == {(0, 1, 2, 3)}
    assert [sets_of(banks, place) for place in range(4)] == [1] * 4
    # As if it had never been away.
    parts = [Bank(load_training_rows(file, banks.contract).table) for file in files]
    model = simulate(BoosterParams.parse(PARAMETERS), parts, [Stage((0, 1, 2, 3))]).model.to_json()
    for name in banks.names:
        path = banks.state(name) / "runs" / banks.run_id / "model.json"
        assert path.read_bytes() == model


def test_control_with_an_allowance_the_others_reveal_without_it(make_banks, files) -> None:
    banks = make_banks(4, parameters=PARAMETERS)
    banks.allow_set_changes(1000)
    away_and_back(banks, files)
    assert (0, 2, 3) in stages_of(banks)
    assert sets_of(banks, 0) == 2


def refused(banks: Banks, files: list[Path], place: int, *options: str) -> Finished:
    process = banks.train(banks.names[place], files[place], *options)
    ended = finish(process)
    assert ended.code == 10, ended.err
    return ended


def run_without_the_last(banks: Banks, make_spec, **changes: object) -> None:
    spec = make_spec(banks.key_epoch.epoch, parameters=PARAMETERS, **changes)
    banks.run_id = banks.aggregator.create_run(spec)
    drop(banks, len(banks.names) - 1)


def test_rows_that_were_summed_are_summed_with_no_other_banks_in_any_run(
    make_banks, make_spec, files, make_rows
) -> None:
    """Neither an edited contract, nor another file of the same rows, nor a lost run helps."""
    banks = make_banks(4, parameters={**PARAMETERS, "num_boost_round": 1})
    banks.allow_set_changes(0)
    ended_well(start(banks, files, 0, 1, 2, 3))
    contract = banks.contract
    rows = pd.read_parquet(files[0])
    state = banks.state(banks.names[0])
    shutil.rmtree(state / "runs")
    (state / "runs").mkdir()
    reversed_features = contract.features[::-1]
    edited = [
        contract.model_copy(update={"features": reversed_features}),
        contract.model_copy(update={"features": contract.features[:1]}),
        contract.model_copy(update={"max_weight": contract.max_weight * 2}),
    ]
    other_files = [
        files[0],
        files[0].with_suffix(".csv"),
        files[0].with_name("fewer.parquet"),
    ]
    rows.sample(frac=1, random_state=1).to_csv(other_files[1], index=False)
    rows[["label", "amount"]].to_parquet(other_files[2])
    for changed, file in zip(edited, [other_files[1], other_files[2], other_files[0]], strict=True):
        run_without_the_last(banks, make_spec, contract=changed)
        files[0] = file
        why = refused(banks, files, 0).error()
        assert f"without {banks.names[3]}" in why
        assert "set_changes = 0" in why
        assert "was not joined" in why
        assert banks.aggregator.status(banks.run_id).members == ()
    status = json.loads(finish(start_bank("status", "--state", state, "--json")).out)
    assert status["ledger"]["sets"] == 1
    assert [one["changes"] for one in status["ledger"]["used_up"]] == [0]
    # Rows that were never summed are free.
    make_rows(77).to_parquet(other_files[0])
    files[0] = other_files[0]
    running = start(banks, files, 0)
    wait_until(banks, lambda found: found.members == (banks.names[0],), "it joins")
    running[0].kill()
    finish(running[0])


def killed_at(banks: Banks, file: Path, *, before: bool) -> None:
    """Train with a program that is killed around its first note in the ledger."""
    code = f"""
import os, signal, sys
from bank_node.state.ledger import Ledger
note = Ledger.note
def killed(*given, **named):
    if not {before}:
        note(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
Ledger.note = killed
sys.argv = ["bank-node", *sys.argv[1:]]
from bank_node.cli import main
main()
"""
    name = banks.names[0]
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", code, "--quiet", "train", "--state", banks.state(name)),
            *("--data", file, "--run", banks.run_id),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert finish(process).code == -9


@pytest.mark.parametrize("before", [True, False])
def test_a_kill_around_the_note_reveals_nothing_that_is_not_noted(
    make_banks, files, before: bool
) -> None:
    banks = make_banks(4, parameters={**PARAMETERS, "num_boost_round": 1})
    banks.allow_set_changes(0)
    others = start(banks, files, 1, 2, 3)
    killed_at(banks, files[0], before=before)
    state = StateDirectory(banks.state(banks.names[0]))
    assert state.ledger().knows(banks.run_id) is not before
    sent = (state.path / "audit.log").read_bytes()
    assert b"/openings" not in sent, "nothing was revealed"
    status = banks.aggregator.status(banks.run_id)
    assert status.state is RunState.TRAINING
    if before:
        # The others have revealed already; this bank has not and could still choose.
        ended_well(others | start(banks, files, 0))
        return
    # What is noted counts, revealed or not; and the same set again costs nothing.
    ended_well(others | start(banks, files, 0))
    assert sets_of(banks, 0) == 1


def test_a_bank_that_nobody_comes_back_to_ends_with_the_reason(make_banks, files) -> None:
    banks = make_banks(4, parameters=PARAMETERS)
    banks.allow_set_changes(0)
    running = {
        place: banks.train(banks.names[place], files[place], "--cohort-timeout", "3")
        for place in range(4)
    }
    wait_until(banks, lambda status: status.round_number >= 15, "round 15")
    running[1].kill()
    running.pop(1).communicate()
    drop(banks, 1)
    for process in running.values():
        ended = finish(process)
        assert ended.code == 10
        assert f"without {banks.names[1]} compared" in ended.error()
        assert "no other generation was formed within 3 s" in ended.error()
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.generation.number) == (RunState.GATHERING, 1)
    assert [sets_of(banks, place) for place in (0, 2, 3)] == [1] * 3


LONG = {**PARAMETERS, "num_boost_round": 60, "eta": 0.0}


def late(banks: Banks, files: list[Path]) -> Finished:
    """Have the last bank come late, and stop the run when that has been decided."""
    running = start(banks, files, 0, 1, 2)
    wait_until(banks, lambda status: status.round_number >= 9, "round 9")
    last = start(banks, files, 3)[3]
    ended_well(running)
    return finish(last)


def test_a_late_bank_is_turned_away_and_the_run_continues(make_banks, files) -> None:
    """With ``eta`` = 0 all steps sum the same: one more bank would be its own histogram."""
    banks = make_banks(4, parameters=LONG, join_deadline_seconds=2, max_rejoins=0)
    banks.allow_set_changes(0)
    ended = late(banks, files)
    assert ended.code == 7
    assert set(stages_of(banks, (0, 1, 2))) == {(0, 1, 2)}
    assert [sets_of(banks, place) for place in range(4)] == [1, 1, 1, 0]


def test_control_with_an_allowance_a_late_bank_comes_in(make_banks, files) -> None:
    banks = make_banks(4, parameters=LONG, join_deadline_seconds=2, max_rejoins=0)
    banks.allow_set_changes(1000)
    assert late(banks, files).code == 0
    assert stages_of(banks, (0, 1, 2)) == [(0, 1, 2), (0, 1, 2, 3)]
