"""Every training ends with a verdict on its model, the same after any kill and for any banks."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from federations.bank_process import ENVIRONMENT, Finished, finish
from federations.bank_states import Banks
from rich.console import Console

from bank_node.commands.training.run import _verdict_text
from bank_node.commands.training.verdict import bounded_text, show_verdict, verdict_facts
from bank_node.data.contract import load_training_rows
from bank_node.jobs.judging import NOTES, JudgedState, Judging, Verdict
from bank_node.jobs.training import TrainingWork
from bank_node.run.progress import RunProgress
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError
from fraudfed.evaluation.outcomes import JudgedRows, Outcomes
from fraudfed.evaluation.pooled import judge
from fraudfed.evaluation.score_histogram import Bounded
from fraudfed.intake.windows import Windows, windows_by_share
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec

DAY = 86_400
PARAMETERS = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8, "early_stopping_rounds": 3}
PARAMS = BoosterParams.parse(PARAMETERS)
TABLE = synthetic_table(500, 3, np.random.default_rng(0), prevalence=0.3)
WINDOWS = windows_by_share(TABLE, seed=0, select=True, judge=True)


def contract_of(**changes: Any) -> DataContract:
    return DataContract(features=(FeatureSpec(name="a"),), **changes)


PLAIN = contract_of(kind="table")
IN_TIME = contract_of(
    kind="transactions",
    recipe="any",
    train_until=100 * DAY,
    select_until=140 * DAY,
    judge_until=180 * DAY,
    gap_days=2,
    alerts_per_day=7,
)


def make_work(windows: Windows = WINDOWS, contract: DataContract = PLAIN) -> TrainingWork:
    return TrainingWork(
        params=PARAMS,
        table=windows.train,
        validation=windows.validation,
        judging=Judging.of(windows, contract),
        rows_read=TABLE.n_rows,
        data_sha256="0" * 64,
        row_keys=("0" * 32,),
        progress=RunProgress(Console(), enabled=False),
        threads=1,
    )


class Labels(SoloCommunicator):
    """Notes what is summed."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        self.seen.append(label)
        return super().sum(values, bound=bound, low=low, label=label)


def test_judging_is_the_last_step_and_is_done_once() -> None:
    steps: list[JudgedState[TrainingState]] = []
    work = make_work()
    found = work.run(SoloCommunicator(), start=None, on_step=steps.append)
    verdict = found.result.verdict
    assert verdict is not None
    assert [state.n_steps for state in steps] == list(range(1, len(steps) + 1))
    assert [state.verdict for state in steps] == [None] * (len(steps) - 1) + [verdict]
    assert verdict.window == "judge"
    assert verdict.report is not None
    model = train(PARAMS, WINDOWS.train, SoloCommunicator(), validation=WINDOWS.validation).model
    assert found.content == model.to_json()
    assert verdict.report == judged_alone(model, WINDOWS.judge)
    for state in steps[-2:]:
        # As a bank that was killed continues, and as others take the work over.
        read = work.decode(state.to_bytes())
        assert read.to_bytes() == state.to_bytes()
        labels = Labels()
        again = work.run(labels, start=read, on_step=lambda _: None)
        assert (again.content, again.result) == (found.content, found.result)
        expected = [] if state.verdict else ["judge:rows", "judge:scores", "judge:thresholds"]
        assert labels.seen == expected
    regrouped = work.regroup(steps[-1], more_rows=8)
    assert regrouped.verdict == verdict
    assert work.run(Labels(), start=regrouped, on_step=lambda _: None).content == found.content


def judged_alone(model: Model, rows: JudgedRows | None) -> object:
    assert rows is not None
    return judge(predict_margins(model, rows.features), rows.outcomes, SoloCommunicator())


def test_which_rows_judge_is_said() -> None:
    in_time = Judging.of(WINDOWS, IN_TIME)
    assert in_time.note == NOTES["judge"]
    # 40 days less a gap of 2 and a horizon of 30.
    assert in_time.plan.n_alerts == 7 * 8
    assert "hash of its content" in Judging.of(WINDOWS, PLAIN).note
    selecting = Judging.of(replace(WINDOWS, judge=None), IN_TIME)
    assert (selecting.window, selecting.note) == ("select", NOTES["select"])
    work = make_work(windows_by_share(TABLE, seed=0))
    labels = Labels()
    work = replace(work, params=BoosterParams.parse({"num_boost_round": 1}))
    verdict = work.run(labels, start=None, on_step=lambda _: None).result.verdict
    assert verdict == Verdict(note=NOTES[None])
    assert not any(label.startswith("judge") for label in labels.seen)


def test_one_class_at_all_banks_costs_no_model() -> None:
    assert WINDOWS.judge is not None
    clean = np.zeros(WINDOWS.judge.n_rows, dtype=np.float32)
    outcomes = Outcomes(labels=clean, is_blocked=clean == 1)
    work = make_work(replace(WINDOWS, judge=replace(WINDOWS.judge, outcomes=outcomes)))
    verdict = work.run(SoloCommunicator(), start=None, on_step=lambda _: None).result.verdict
    assert verdict is not None
    assert (verdict.window, verdict.report) == ("judge", None)
    assert "there is nothing to judge" in verdict.note


def test_a_state_that_no_training_comes_to_is_refused() -> None:
    steps: list[JudgedState[TrainingState]] = []
    work = make_work()
    work.run(SoloCommunicator(), start=None, on_step=steps.append)
    verdict = steps[-1].verdict
    with pytest.raises(StateError, match="verdict on a model that is not finished"):
        work.decode(JudgedState(steps[1].work, verdict).to_bytes())
    with pytest.raises(StateError, match="keeps no rows to judge by"):
        replace(work, judging=Judging()).decode(steps[-1].to_bytes())
    for old, new in ((b'"window":"judge"', b'"window": "judge"'), (b'"window"', b'"widow"')):
        damaged = steps[-1].to_bytes().replace(old, new)
        with pytest.raises(StateError):
            work.decode(damaged)


def test_the_table_shows_values_with_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = make_work().run(SoloCommunicator(), start=None, on_step=lambda _: None).result.verdict
    assert verdict is not None
    assert verdict.report is not None
    facts = dict(verdict_facts(verdict.report))
    auprc = verdict.report.known.auprc
    assert facts["AUPRC"] == bounded_text(auprc)
    assert list(facts) == [
        *("payments", "AUPRC", "recall at 1 % false positives"),
        *("case recall with 1 alerts", "precision of these alerts"),
    ]
    assert bounded_text(Bounded(0.5, 0.25, 0.75)) == "0.5000 (0.2500 to 0.7500)"
    assert (bounded_text(Bounded(1, 1, 1)), bounded_text(None)) == ("1.0000", "none")
    show_verdict(verdict)
    show_verdict(None)
    show_verdict(Verdict(note=NOTES[None]))
    printed = " ".join(capsys.readouterr().out.split())
    assert "all banks' rows, window judge" in printed
    assert "not judged: no rows were kept to judge by" in printed


#: Kills its process around a sum, or when the result is sent.
_KILLED = """
import os, signal, sys
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
at = sys.argv[1]
from bank_node.http.client import AggregatorClient
from bank_node.run.sums.secure_communicator import SecureCommunicator
summed = SecureCommunicator.sum
def sum(self, values, *, label, **given):
    if at == "before " + label:
        kill()
    found = summed(self, values, label=label, **given)
    if at == "after " + label:
        kill()
    return found
SecureCommunicator.sum = sum
if at == "vote":
    AggregatorClient.submit_model = lambda *given, **named: kill()
sys.argv = ["bank-node", *sys.argv[2:]]
from bank_node.cli import main
main()
"""


def killed(banks: Banks, place: int, file: Path, at: str) -> None:
    """Train with a program that is killed at a place of its judging."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _KILLED, at, "--quiet", "train"),
            *("--state", banks.state(banks.names[place])),
            *("--data", file, "--run", banks.run_id),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert finish(process).code == -9


@pytest.fixture
def files(tmp_path: Path, make_rows) -> list[Path]:
    paths = [tmp_path / f"{place}.csv" for place in range(4)]
    for seed, path in enumerate(paths):
        make_rows(seed, n_rows=60 + 20 * seed).to_csv(path, index=False)
    return paths


def judged_together(banks: Banks, files: list[Path], tmp_path: Path, model: bytes) -> object:
    """Return what one process says of a model and the rows of some banks together."""
    pooled = tmp_path / "pooled.parquet"
    pd.concat([pd.read_csv(file) for file in files]).to_parquet(pooled)
    assert banks.contract is not None
    table = load_training_rows(pooled, banks.contract).table
    windows = windows_by_share(table, seed=0, select=True)
    trained = train(PARAMS, windows.train, SoloCommunicator(), validation=windows.validation)
    assert trained.model.to_json() == model
    return json.loads(
        Verdict(
            window="select",
            note=NOTES["select"],
            report=judged_alone(trained.model, windows.select),
        ).to_bytes()
    )


def well(ended: list[Finished]) -> None:
    assert {one.code for one in ended} == {0}, [one.err for one in ended]


@pytest.mark.e2e
def test_killed_while_judging(make_banks, files: list[Path], tmp_path: Path) -> None:
    banks = make_banks(parameters=PARAMETERS)
    banks.allow_set_changes(0)
    others = [banks.train(banks.names[place], files[place]) for place in (0, 2)]
    for at in ("before judge:scores", "after judge:thresholds", "vote"):
        killed(banks, 1, files[1], at)
    well([finish(process) for process in (*others, banks.train(banks.names[1], files[1]))])
    verdicts = [banks.record(name)["result"]["verdict"] for name in banks.names]
    model = (banks.state(banks.names[1]) / "runs" / banks.run_id / "model.json").read_bytes()
    assert verdicts == [judged_together(banks, files[:3], tmp_path, model)] * 3
    record = banks.record(banks.names[1])
    rounds = record["whole_run"]["round_records"]
    assert [one["label"] for one in rounds[-3:]] == [
        *("judge:rows", "judge:scores", "judge:thresholds"),
    ]
    assert record["whole_run"]["protection"]["rounds_verified"] == len(rounds)


@pytest.mark.e2e
def test_the_others_judge_without_a_bank_that_stays_away(make_banks, files: list[Path]) -> None:
    banks = make_banks(4, parameters=PARAMETERS, deadline_seconds=2)
    others = [banks.train(banks.names[place], files[place]) for place in (0, 2, 3)]
    killed(banks, 1, files[1], "before judge:scores")
    well([finish(process) for process in others])
    status = banks.aggregator.status(banks.run_id)
    assert (status.generation.number, len(status.generation.banks)) == (1, 3)
    verdicts = [banks.record(banks.names[place])["result"]["verdict"] for place in (0, 2, 3)]
    assert verdicts == [verdicts[0]] * 3
    # The model is that of four banks, the verdict that of the three that were there.
    assert banks.contract is not None
    selecting = [
        windows_by_share(
            load_training_rows(files[place], banks.contract).table, seed=0, select=True
        )
        for place in (0, 2, 3)
    ]
    n_rows = sum(windows.counts["select"].rows for windows in selecting)
    assert verdicts[0]["report"]["rows"] == n_rows


def test_status_has_a_line_of_it() -> None:
    verdict = make_work().run(SoloCommunicator(), start=None, on_step=lambda _: None).result.verdict
    assert verdict is not None
    assert verdict.report is not None
    auprc = verdict.report.known.auprc
    assert auprc is not None
    text = _verdict_text(json.loads(verdict.to_bytes()))
    rows = verdict.report.known.rows
    assert text == f"AUPRC {auprc.estimate:.4f} on {rows} payments of all banks, window judge"
    assert "no rows" in _verdict_text(json.loads(Verdict(note=NOTES[None]).to_bytes()))
