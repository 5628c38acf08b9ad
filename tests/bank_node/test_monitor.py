"""What drifts: at one bank from its file, and at three as real processes over real HTTP."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from federations.bank_process import finish, start_bank
from federations.bank_states import Banks, serving
from judging.payments import CONTRACT, DAY, START, bank_that_knows, payments, run_spec

from bank_node.data.contract import load_training_rows
from bank_node.jobs.monitor import accepted_counts, empty_watch
from bank_node.serving.watched_rows import watch_file
from bank_node.state.directory import StateDirectory
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.parameters import BoosterParams
from fraudfed.statistics.counts import entered
from fraudfed.wire.messages import ModelVisibility, MonitorSpec, RunKind, RunSpec

TRAINED = CONTRACT.model_copy(
    update={"select_until": None, "judge_until": None, "train_until": START + 70 * DAY}
)
PARAMETERS = {"num_boost_round": 3, "max_depth": 3, "max_bin": 16}
UNTIL = START + 126 * DAY


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("monitored") / "payments.parquet"
    payments(0, 12_000).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, file: Path) -> StateDirectory:
    table = load_training_rows(file, TRAINED).table
    model = train(BoosterParams.parse(PARAMETERS), table, SoloCommunicator()).model
    spec = run_spec(kind=RunKind.TRAINING, contract=TRAINED, parameters=PARAMETERS, search=None)
    path = tmp_path_factory.mktemp("state") / "bank"
    return bank_that_knows(path, spec, model=model.to_json())


def changed(file: Path, out: Path, **columns: Any) -> Path:
    """Write the file with other values in the last week."""
    rows = pd.read_parquet(file)
    last = rows["event_time"] >= UNTIL - 7 * DAY
    for name, change in columns.items():
        rows.loc[last, name] = change(rows.loc[last, name])
    rows.to_parquet(out)
    return out


def monitored(run_bank: Any, state: StateDirectory, data: Path, *more: Any) -> dict[str, Any]:
    ended = run_bank("monitor", "--state", state.path, "--data", data, *more, "--json")
    assert ended.code == 0, ended.err + ended.out
    return json.loads(ended.out)


def test_a_file_without_drift_gives_no_alarm_and_its_weeks(
    run_bank: Any, state: StateDirectory, file: Path
) -> None:
    found = monitored(run_bank, state, file, "--until", "2025-02-07")
    assert (found["alarms"], found["action"], found["members"]) == ([], "nothing", [])
    assert found["until"] == "2025-02-07"
    weeks = found["weeks"]
    assert [week["is_reference"] for week in weeks] == [True] * 10 + [False] * 8
    rows = pd.read_parquet(file)
    start = UNTIL - 18 * 7 * DAY
    week_of = (rows["event_time"] - start) // (7 * DAY)
    assert [week["payments"] for week in weeks] == [int((week_of == at).sum()) for at in range(18)]
    now = rows["is_fraud"].groupby(week_of).sum()
    assert [week["frauds_now"] for week in weeks] == [int(now[at]) for at in range(18)]
    assert all(week["frauds"] <= week["frauds_now"] for week in weeks)
    hours = found["hours"]
    assert sum(h["payments"] for h in hours) == int(
        rows["event_time"].between(UNTIL - DAY, UNTIL - 1).sum()
    )
    shown = run_bank("monitor", "--state", state.path, "--data", file, "--until", "2025-02-07")
    assert "no week of these differs" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("columns", "subject", "action"),
    [
        ({"amount_minor": lambda x: x * 8}, "feature", "retrain"),
        ({"merchant_id": lambda x: x.where(np.arange(len(x)) % 2 == 0, None)}, "missing", "mend"),
    ],
)
def test_a_drift_is_printed_first(
    run_bank: Any,
    state: StateDirectory,
    file: Path,
    tmp_path: Path,
    columns: dict[str, Any],
    subject: str,
    action: str,
) -> None:
    data = changed(file, tmp_path / "drifted.parquet", **columns)
    found = monitored(run_bank, state, data, "--until", "2025-02-07")
    assert subject in {alarm["subject"] for alarm in found["alarms"]}
    assert found["action"] == action
    shown = run_bank("monitor", "--state", state.path, "--data", data, "--until", "2025-02-07")
    assert shown.out.startswith("! ")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--until", "2025-06-01"), 3, "ends on 2025-02-1"),
        (("--reference-until", "2025-02-09"), 2, "lies within the week to watch"),
        (("--reference-weeks", "40"), 3, "40 reference weeks on"),
        (("--reference-until", "2024-10-20"), 3, "give older payments, or a later"),
    ],
)
def test_weeks_that_the_file_does_not_hold_are_refused(
    run_bank: Any,
    state: StateDirectory,
    file: Path,
    options: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    ended = run_bank("monitor", "--state", state.path, "--data", file, *options)
    assert ended.code == code, ended.err
    assert words in " ".join(ended.error().split())


@dataclass(frozen=True)
class Monitored:
    """Three banks that have trained, and then watched their model together."""

    banks: Banks
    files: list[Path]
    trained: str
    run_id: str

    def state(self, bank: int) -> StateDirectory:
        return StateDirectory(self.banks.state(self.banks.names[bank]))

    def where(self, bank: int) -> tuple[str, Path, str, Path]:
        return ("--state", self.state(bank).path, "--data", self.files[bank])


def monitor_spec(epoch: int, model_run: str, sha256: str, **changes: Any) -> RunSpec:
    settings: dict[str, Any] = {
        "model_run": model_run,
        "model_sha256": sha256,
        "until": UNTIL,
        "reference_weeks": 8,
        "alert_score": 0.3,
        "min_count": 5,
        **changes,
    }
    return RunSpec(
        name="watch",
        key_epoch=epoch,
        kind=RunKind.MONITOR,
        contract=TRAINED,
        model_visibility=ModelVisibility.MEMBERS,
        monitor=MonitorSpec(**settings),
    )


@pytest.fixture(scope="module")
def together(
    tmp_path_factory: pytest.TempPathFactory, key_package: KeyPackage
) -> Iterator[Monitored]:
    root = tmp_path_factory.mktemp("together")
    with serving(root, root) as aggregator:
        banks = Banks(root, aggregator, key_package)
        files = [root / f"{bank}.parquet" for bank in range(3)]
        for bank, path in enumerate(files):
            payments(bank, 4000).to_parquet(path)
            if bank == 2:
                changed(path, path, merchant_id=lambda x: x.where(np.arange(len(x)) % 4 == 0, None))
        epoch = banks.key_epoch.epoch
        trained = aggregator.create_run(
            run_spec(
                key_epoch=epoch,
                kind=RunKind.TRAINING,
                contract=TRAINED,
                parameters=PARAMETERS,
                search=None,
            )
        )
        everybody(Monitored(banks, files, trained, ""), "train", "--run", trained)
        sha256 = aggregator.status(trained).model_sha256
        assert sha256 is not None
        run_id = aggregator.create_run(monitor_spec(epoch, trained, sha256))
        made = Monitored(banks, files, trained, run_id)
        everybody(made, "monitor-run", "--run", run_id)
        yield made


def everybody(made: Monitored, *command: str) -> None:
    processes = [
        start_bank("--quiet", command[0], *made.where(bank), *command[1:]) for bank in range(3)
    ]
    ended = [finish(process) for process in processes]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]


@pytest.mark.e2e
def test_all_banks_have_the_sum_of_what_each_enters(together: Monitored) -> None:
    states = [together.state(bank) for bank in range(3)]
    run = states[0].current_run(together.run_id)
    found = [accepted_counts(state, run) for state in states]
    assert len({each.to_bytes() for each in found}) == 1
    parts = []
    for bank in range(3):
        part = empty_watch(run)
        model = states[bank].model_path(together.trained)
        part.update(watch_file(together.files[bank], TRAINED, model=model).with_alerts(0.3))
        parts.append(part)
    for at, metric in enumerate(found[0].watch.metrics):
        # The bank's own rule asks for 10 where the run asks for 5.
        summed = sum(entered(part.metrics[at].counts, 10) for part in parts)
        assert (metric.counts == summed).all(), metric.name
        assert metric.counts.any(), metric.name
    status = together.banks.aggregator.status(together.run_id)
    assert status.round_number == 2
    record = states[0].record(together.run_id)
    assert record is not None
    assert record["result"] == {"kind": "monitor", "weeks": 9, "payments": found[0].payments}


@pytest.mark.e2e
def test_what_is_wrong_at_all_together_is_said_again(together: Monitored, run_bank: Any) -> None:
    again = run_bank("monitor-run", *together.where(0), "--run", together.run_id, "--json")
    assert again.code == 0, again.err
    answer = json.loads(again.out)
    assert answer["members"] == together.banks.names
    assert "missing" in {alarm["subject"] for alarm in answer["alarms"]}
    assert answer["action"] == "mend"
    assert answer["hours"] == []
    stored = together.banks.aggregator.operator("GET", f"/v1/runs/{together.run_id}/model")
    assert b"traffic" not in stored


@pytest.mark.e2e
def test_a_review_shows_what_is_counted(together: Monitored, run_bank: Any) -> None:
    shown = run_bank("runs", "review", together.run_id, *together.where(0)[:2])
    assert shown.code == 0, shown.err
    text = " ".join(shown.out.split())
    for part in (
        "smaller ones are entered as 0",
        together.trained,
        "2 rounds",
        "9 from 2024-12-06",
    ):
        assert part in text, text


@pytest.mark.e2e
def test_a_run_over_another_model_is_refused_before_anything_is_read(
    together: Monitored, run_bank: Any
) -> None:
    aggregator, epoch = together.banks.aggregator, together.banks.key_epoch.epoch
    sha256 = aggregator.status(together.trained).model_sha256
    assert sha256 is not None
    other = TRAINED.model_copy(update={"train_until": START + 71 * DAY})
    for spec, words in (
        (monitor_spec(epoch, "unknown", sha256), "which this bank has not finished"),
        (monitor_spec(epoch, together.trained, "ab" * 32), "this bank has accepted"),
        (
            monitor_spec(epoch, together.trained, sha256).model_copy(update={"contract": other}),
            "has another data contract than run",
        ),
    ):
        run_id = aggregator.create_run(spec)
        ended = run_bank("monitor-run", *together.where(0), "--run", run_id)
        assert ended.code == 2, ended.err
        assert words in " ".join(ended.error().split())
