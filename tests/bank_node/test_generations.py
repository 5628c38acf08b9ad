"""Banks that are killed, dropped, come back or come late: the run goes on, with the right model.

Real processes over a real aggregator. What the model must be is computed by ``oracles.stages``,
which knows no protocol, from who took part in which step according to the aggregator's audit log.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from federations.bank_process import Finished, Process, finish
from federations.bank_states import Banks
from oracles import audited_stages as generation_stages
from oracles.stages import Bank, Stage, simulate
from proxies.fault_plan import FaultKind, PlannedFault
from proxies.faulty import FaultProxy

from bank_node.data.contract import load_training_rows
from bank_node.state.directory import StateDirectory
from fraudfed.intake.windows import windows_by_share
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import AuditLog, DropRequest, RunState, parse

pytestmark = pytest.mark.e2e

PARAMETERS = {"num_boost_round": 12, "max_depth": 3, "max_bin": 8, "eta": 0.4}


def start_all(banks: Banks, files: list[Path], *which: int) -> dict[int, Process]:
    places = which or range(len(banks.names))
    return {place: banks.train(banks.names[place], files[place]) for place in places}


def wait_until(banks: Banks, condition, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition(banks.aggregator.status(banks.run_id)):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


def stages_of(banks: Banks, first: tuple[int, ...] | None = None) -> list[Stage]:
    """Return who took part in which steps, as the aggregator's audit log says."""
    answer = banks.aggregator.operator("GET", f"/v1/audit?run={banks.run_id}")
    entries = parse(AuditLog, answer, source="test").entries
    return generation_stages.stages_of(entries, banks.names, first)


def expected_model(banks: Banks, files: list[Path], stages: list[Stage], parameters) -> bytes:
    params = BoosterParams.parse(parameters)
    parts = []
    for file in files:
        table, validation = load_training_rows(file, banks.contract).table, None
        if params.early_stopping_rounds is not None:
            windows = windows_by_share(table, seed=params.seed, select=True)
            table, validation = windows.train, windows.validation
        parts.append(Bank(table, validation))
    return simulate(params, parts, stages).model.to_json()


def model_of(banks: Banks, place: int) -> bytes:
    return (banks.state(banks.names[place]) / "runs" / banks.run_id / "model.json").read_bytes()


def assert_ended_well(ended: dict[int, Finished]) -> None:
    assert {place: one.code for place, one in ended.items()} == dict.fromkeys(ended, 0), [
        one.err for one in ended.values()
    ]


@pytest.fixture
def files(tmp_path: Path, make_rows) -> list[Path]:
    paths = [tmp_path / f"rows-{place}.parquet" for place in range(4)]
    for place, path in enumerate(paths):
        make_rows(place, n_rows=60 + 40 * place).to_parquet(path)
    return paths


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_killed_bank_goes_on_where_it_was(make_banks, files, victim: int) -> None:
    banks = make_banks(parameters=PARAMETERS)
    running = start_all(banks, files)
    # In the preparation, within a tree, and late in the training.
    for number in (1, 9, 22):
        wait_until(banks, lambda status, n=number: status.round_number >= n, f"round {number}")
        running[victim].kill()
        running[victim].communicate()
        time.sleep(0.3)
        assert banks.aggregator.status(banks.run_id).state is RunState.TRAINING
        running |= start_all(banks, files, victim)
    assert_ended_well({place: finish(process) for place, process in running.items()})
    status = banks.aggregator.status(banks.run_id)
    assert status.generation.number == 0
    expected = expected_model(banks, files[:3], [Stage((0, 1, 2))], PARAMETERS)
    assert [model_of(banks, place) for place in range(3)] == [expected] * 3
    # Every round is on record once, at restarted banks too.
    record = banks.record(banks.names[victim])
    assert [one["number"] for one in record["whole_run"]["round_records"]] == list(
        range(status.round_number)
    )
    assert record["whole_run"]["protection"]["rounds_verified"] == status.round_number
    # Nothing that could be resumed is left, and nothing was sealed twice.
    left = banks.state(banks.names[victim]) / "runs" / banks.run_id
    assert sorted(path.name for path in left.iterdir()) == [
        *("agreement", "features.json", "model.json", "record.json"),
        *("run.json", "sealed", "signatures.json"),
    ]


def test_all_banks_are_killed_at_once(make_banks, files) -> None:
    banks = make_banks(parameters=PARAMETERS)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 12, "round 12")
    for process in running.values():
        process.kill()
        process.communicate()
    assert_ended_well({p: finish(one) for p, one in start_all(banks, files).items()})
    expected = expected_model(banks, files[:3], [Stage((0, 1, 2))], PARAMETERS)
    assert [model_of(banks, place) for place in range(3)] == [expected] * 3


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_bank_does_not_end_the_run(make_banks, files, stop: signal.Signals) -> None:
    banks = make_banks(parameters=PARAMETERS)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 12, "round 12")
    running[1].send_signal(stop)
    assert finish(running[1]).code in (130, 143)
    assert banks.aggregator.status(banks.run_id).state is RunState.TRAINING
    wait_until(
        banks,
        lambda status: status.waits_for is not None and status.waits_for.banks == (banks.names[1],),
        "the others wait for it by name",
    )
    running |= start_all(banks, files, 1)
    assert_ended_well({place: finish(process) for place, process in running.items()})
    assert model_of(banks, 0) == model_of(banks, 1) == model_of(banks, 2)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_others_go_on_without_a_bank_that_misses_the_deadline(
    make_banks, files, early_stopping: bool
) -> None:
    stopping = {"early_stopping_rounds": 12} if early_stopping else {}
    parameters = PARAMETERS | stopping
    banks = make_banks(4, parameters=parameters, deadline_seconds=2)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 15, "round 15")
    running[2].kill()
    running.pop(2).communicate()
    assert_ended_well({place: finish(process) for place, process in running.items()})
    status = banks.aggregator.status(banks.run_id)
    assert (status.generation.number, len(status.generation.banks)) == (1, 3)
    stages = stages_of(banks)
    assert [stage.banks for stage in stages] == [(0, 1, 2, 3), (0, 1, 3)]
    expected = expected_model(banks, files, stages, parameters)
    assert expected != expected_model(banks, files, [Stage((0, 1, 2, 3))], parameters)
    assert [model_of(banks, place) for place in (0, 1, 3)] == [expected] * 3
    record = banks.record(banks.names[0])
    assert record["members"] == [banks.names[place] for place in (0, 1, 3)]
    # The one that was dropped gets the model that the others have signed.
    assert_ended_well({2: finish(start_all(banks, files, 2)[2])})
    assert model_of(banks, 2) == expected
    assert banks.record(banks.names[2])["taken_from_registry"]


@pytest.mark.parametrize("loses_its_state", [False, True])
def test_a_bank_that_was_dropped_comes_back_at_the_next_tree(
    make_banks, files, loses_its_state: bool
) -> None:
    parameters = PARAMETERS | {"num_boost_round": 40}
    banks = make_banks(4, parameters=parameters, deadline_seconds=2)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 15, "round 15")
    running[1].kill()
    running.pop(1).communicate()
    wait_until(
        banks,
        lambda status: status.generation.number == 1 and status.state is RunState.TRAINING,
        "the others go on",
    )
    if loses_its_state:
        for file in (banks.state(banks.names[1]) / "runs" / banks.run_id).rglob("*"):
            if file.is_file() and file.name != "run.json":
                file.unlink()
    running |= start_all(banks, files, 1)
    assert_ended_well({place: finish(process) for place, process in running.items()})
    stages = stages_of(banks)
    assert [stage.banks for stage in stages] == [(0, 1, 2, 3), (0, 2, 3), (0, 1, 2, 3)]
    expected = expected_model(banks, files, stages, parameters)
    assert [model_of(banks, place) for place in range(4)] == [expected] * 4


def test_a_bank_that_comes_late_takes_part_from_the_next_tree_on(make_banks, files) -> None:
    parameters = PARAMETERS | {"num_boost_round": 40}
    banks = make_banks(4, parameters=parameters, join_deadline_seconds=2)
    running = start_all(banks, files, 0, 1, 2)
    wait_until(banks, lambda status: status.round_number >= 12, "round 12")
    running |= start_all(banks, files, 3)
    assert_ended_well({place: finish(process) for place, process in running.items()})
    stages = stages_of(banks, (0, 1, 2))
    assert [stage.banks for stage in stages] == [(0, 1, 2), (0, 1, 2, 3)]
    expected = expected_model(banks, files, stages, parameters)
    assert [model_of(banks, place) for place in range(4)] == [expected] * 4


def test_below_the_least_number_of_banks_the_run_waits_and_says_for_whom(make_banks, files) -> None:
    banks = make_banks(3, parameters=PARAMETERS, deadline_seconds=1)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 10, "round 10")
    running[0].kill()
    running.pop(0).communicate()
    time.sleep(3)
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.generation.number) == (RunState.TRAINING, 0)
    assert status.waits_for is not None
    assert status.waits_for.banks == (banks.names[0],)
    running |= start_all(banks, files, 0)
    assert_ended_well({place: finish(process) for place, process in running.items()})
    expected = expected_model(banks, files[:3], [Stage((0, 1, 2))], PARAMETERS)
    assert [model_of(banks, place) for place in range(3)] == [expected] * 3


def test_a_bank_with_other_rows_is_refused_when_it_goes_on(make_banks, files, make_rows) -> None:
    banks = make_banks(parameters=PARAMETERS)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 10, "round 10")
    running[1].kill()
    running.pop(1).communicate()
    kept = files[1].read_bytes()
    pd.concat([pd.read_parquet(files[1]), make_rows(9)]).to_parquet(files[1])
    refused = finish(start_all(banks, files, 1)[1])
    assert refused.code == 5
    assert "data differ" in refused.error()
    # Nor does a file that no bank could begin with end the run for the others.
    pd.read_parquet(files[1]).assign(label=7).to_parquet(files[1])
    assert finish(start_all(banks, files, 1)[1]).code == 3
    assert banks.aggregator.status(banks.run_id).state is RunState.TRAINING
    files[1].write_bytes(kept)
    running |= start_all(banks, files, 1)
    assert_ended_well({place: finish(process) for place, process in running.items()})


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign", "outbox"])
def test_damaged_state_is_named_and_nothing_is_trained_anew(make_banks, files, damage: str) -> None:
    banks = make_banks(parameters=PARAMETERS)
    running = start_all(banks, files)
    wait_until(banks, lambda status: status.round_number >= 12, "round 12")
    running[0].kill()
    running.pop(0).communicate()
    directory = banks.state(banks.names[0]) / "runs" / banks.run_id
    # Not what a kill in the middle of a write left behind.
    kept = (directory / "checkpoints").glob("step-*.checkpoint")
    newest = max(kept, key=lambda path: path.stat().st_mtime_ns)
    victim = directory / "sealed" if damage == "outbox" else newest
    whole = victim.read_bytes()
    if damage == "truncate":
        victim.write_bytes(whole[: len(whole) // 2])
    elif damage == "foreign":
        other = banks.state(banks.names[1]) / "runs" / banks.run_id / "checkpoints" / newest.name
        deadline = time.monotonic() + 30
        while not other.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        victim.write_bytes(other.read_bytes())
    else:
        middle = len(whole) // 3
        victim.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    before = banks.aggregator.status(banks.run_id)
    refused = finish(start_all(banks, files, 0)[0])
    assert refused.code == 5
    assert victim.name in refused.error()
    after = banks.aggregator.status(banks.run_id)
    assert (after.state, after.round_number) == (before.state, before.round_number)
    victim.write_bytes(whole)
    running |= start_all(banks, files, 0)
    assert_ended_well({place: finish(process) for place, process in running.items()})
    assert json.loads(model_of(banks, 0)) == json.loads(model_of(banks, 1))


# What a bank sends may be overtaken: a proxy holds one request back until the others have gone on.


@contextmanager
def behind_a_proxy(banks: Banks, place: int) -> Iterator[FaultProxy]:
    state = StateDirectory(banks.state(banks.names[place]))
    with FaultProxy(banks.aggregator.url) as proxy:
        with state.locked():
            state.save_config(state.config.model_copy(update={"aggregator": proxy.url}))
        yield proxy


def drop(banks: Banks, place: int) -> None:
    request = DropRequest(bank=banks.names[place], reason="test")
    banks.aggregator.operator("POST", f"/v1/runs/{banks.run_id}/drops", request)


def test_an_agreement_that_the_next_generation_overtakes_is_made_anew(make_banks, files) -> None:
    banks = make_banks(4, parameters=PARAMETERS)
    held: list[int] = []

    def drop_another() -> None:
        # The bank that was dropped first asks to rejoin at once, and comes in.
        wait_until(banks, lambda status: status.generation.number == 2, "it is back")
        drop(banks, 1)
        held.append(banks.aggregator.status(banks.run_id).generation.number)

    with behind_a_proxy(banks, 0) as proxy:
        agreement = PlannedFault(
            FaultKind.DELAY, method="POST", ending="/banks", seconds=0.0, meanwhile=drop_another
        )
        proxy.plan.add(agreement)
        running = start_all(banks, files)
        wait_until(banks, lambda status: status.round_number >= 10, "round 10")
        drop(banks, 2)
        assert_ended_well({place: finish(process) for place, process in running.items()})
    assert held[0] >= 3
    expected = expected_model(banks, files, stages_of(banks), PARAMETERS)
    assert [model_of(banks, place) for place in range(4)] == [expected] * 4


def test_a_contribution_that_the_end_overtakes_leads_to_the_others_model(make_banks, files) -> None:
    banks = make_banks(4, parameters=PARAMETERS)
    held: list[RunState] = []

    def finish_without() -> None:
        drop(banks, 0)
        wait_until(banks, lambda status: status.state is RunState.FINISHED, "the end", seconds=100)
        held.append(banks.aggregator.status(banks.run_id).state)

    with behind_a_proxy(banks, 0) as proxy:
        contribution = PlannedFault(
            FaultKind.DELAY,
            after=12,
            method="POST",
            ending="/contributions",
            seconds=0.0,
            meanwhile=finish_without,
        )
        proxy.plan.add(contribution)
        running = start_all(banks, files)
        assert_ended_well({place: finish(process) for place, process in running.items()})
    assert held == [RunState.FINISHED]
    expected = expected_model(banks, files, stages_of(banks), PARAMETERS)
    assert [model_of(banks, place) for place in range(4)] == [expected] * 4
    assert banks.record(banks.names[0])["taken_from_registry"]
