"""What drifts in what a service decided: the log and the history give what the file gives."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judging.payments import CONTRACT, DAY, START, bank_that_knows, payments, run_spec

from bank_node.data.contract import load_training_rows
from bank_node.decisions.bins import bins_of
from bank_node.decisions.decision import Decision
from bank_node.decisions.log import DecisionLog
from bank_node.monitoring.kept import kept_reports
from bank_node.outcomes.history import LabelHistory
from bank_node.outcomes.label import Heard, LabelSource, Status
from bank_node.serving.scorer import Scorer
from bank_node.serving.watched_rows import watch_file
from bank_node.state.directory import StateDirectory
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.evaluation.drift.rows import WEEK
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import RunKind

TRAINED = CONTRACT.model_copy(
    update={"select_until": None, "judge_until": None, "train_until": START + 30 * DAY}
)
PARAMETERS = {"num_boost_round": 3, "max_depth": 3, "max_bin": 16}
UNTIL = START + 126 * DAY
WEEKS = ("--until", "2025-02-07", "--reference-weeks", "10")
ALERT = 0.3


@dataclass(frozen=True)
class Decided:
    """A bank whose service has decided about every payment of a file."""

    state: StateDirectory
    file: Path
    rows: pd.DataFrame
    decisions: list[Decision]

    def copy(self, path: Path, change: Callable[[Decision], Decision]) -> StateDirectory:
        """Return the bank with other decisions."""
        shutil.copytree(self.state.path, path, ignore=shutil.ignore_patterns("decisions"))
        state = StateDirectory(path)
        written(state, [change(each) for each in self.decisions])
        return state


def written(state: StateDirectory, decisions: list[Decision]) -> None:
    log = DecisionLog(state.serving_path / "decisions", state.vault)
    for each in decisions:
        log.append(each)
    log.close()


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Decided:
    root = tmp_path_factory.mktemp("decided")
    rows = payments(0, 6000, blocked=False)
    file = root / "payments.parquet"
    rows.to_parquet(file)
    spec = run_spec(kind=RunKind.TRAINING, contract=TRAINED, parameters=PARAMETERS, search=None)
    table = load_training_rows(file, TRAINED).table
    model = train(BoosterParams.parse(PARAMETERS), table, SoloCommunicator()).model
    state = bank_that_knows(root / "bank", spec, model=model.to_json())
    scorer = Scorer.read(state.model_path("r1"), TRAINED)
    seen = watch_file(file, TRAINED, model=state.model_path("r1")).with_alerts(ALERT)
    decisions = [
        Decision(
            transaction_id=str(row.transaction_id),
            customer_id=f"c{at % 50}",
            event_time=int(seen.event_time[at]),
            decided_at=int(seen.event_time[at]),
            channel=str(row.channel),
            direction=None,
            amount_minor=int(row.amount_minor),  # type: ignore[arg-type]
            currency="GBP",
            margin=float(seen.margins[at]),
            score=0.5,
            probability=None,
            action="hold" if seen.is_alert[at] else "allow",
            rule="all",
            step="full",
            model_sha256=scorer.sha256,
            bins=bins_of(seen.features[at], scorer.model),
        )
        for at, row in enumerate(rows.itertuples())
    ]
    written(state, decisions)
    frauds = rows[rows["is_fraud"] == 1]
    LabelHistory(state.serving_path / "outcomes", state.vault).add(
        Heard(
            transaction_id=str(row.transaction_id),
            time=int(row.label_time),  # type: ignore[arg-type]
            status=Status.REPORTED,
            source=LabelSource.CUSTOMER,
        )
        for row in frauds.itertuples()
    )
    return Decided(state, file, rows, decisions)


def monitored(run_bank: Any, state: StateDirectory, *more: Any) -> dict[str, Any]:
    ended = run_bank("monitor", "--state", state.path, *more, "--json")
    assert ended.code == 0, ended.err + ended.out
    return json.loads(ended.out)


def test_the_log_says_what_the_file_says(run_bank: Any, decided: Decided) -> None:
    found = monitored(run_bank, decided.state, *WEEKS)
    kept = kept_reports(decided.state.serving_path)[0].report
    assert json.loads(kept.model_dump_json()) == found
    of_file = monitored(
        *(run_bank, decided.state, "--data", decided.file, *WEEKS),
        *("--alert-score", ALERT, "--reference-until", "2025-01-31"),
    )
    assert (found["source"], of_file["source"]) == ("decisions", "file")
    assert found["model_sha256"] == of_file["model_sha256"]
    assert (found["alarms"], found["alert_score"]) == ([], None)
    assert len(found["weeks"]) == 11
    for one, other in zip(found["weeks"], of_file["weeks"], strict=True):
        # By today every report of the log is old; the file ends with its last.
        differ = {"completeness", "is_young", "precision", "fraud_minor", "saved_minor"}
        for name in one:
            if not any(name.startswith(each) for each in differ):
                assert one[name] == other[name], name
        assert (one["completeness"], one["is_young"]) == (1.0, False)
        assert one["precision"] == one["frauds_found_now"] / one["alerts"]
    assert found["hours"] == of_file["hours"]
    young = of_file["weeks"][-1]
    assert young["completeness_lower"] <= young["completeness"] <= young["completeness_upper"]


def test_outcomes_and_monitoring_say_the_same_of_the_same_payments(
    run_bank: Any, decided: Decided
) -> None:
    """2025-01-06 is a Monday, so that the weeks of both can be the same."""
    found = monitored(run_bank, decided.state, "--until", "2025-02-03", "--reference-weeks", "10")
    ended = run_bank(
        *("outcomes", "report", "--state", decided.state.path, "--from", "2024-01-01", "--json")
    )
    assert ended.code == 0, ended.err
    kept = json.loads((decided.state.serving_path / "outcomes.json").read_text())
    assert kept == json.loads(ended.out)
    reported = {week["monday"]: week for week in kept["weeks"]}
    same = ("completeness", "precision", "recall", "fraud_minor", "saved_minor", "is_young")
    for week in found["weeks"]:
        other = reported[week["start"]]
        assert (week["payments"], week["frauds_now"]) == (other["decisions"], other["frauds"])
        assert [week[name] for name in same] == [other[name] for name in same]


def last_week(change: Callable[[Decision], Decision]) -> Callable[[Decision], Decision]:
    return lambda one: change(one) if one.event_time >= UNTIL - WEEK else one


def test_drifts_of_what_was_decided_are_told(
    run_bank: Any, decided: Decided, tmp_path: Path
) -> None:
    scorer = Scorer.read(decided.state.model_path("r1"), TRAINED)
    nothing = np.full(len(TRAINED.features), np.nan, dtype=np.float32)
    missing = bins_of(nothing, scorer.model)

    def broken(one: Decision) -> Decision:
        number = int(one.transaction_id.removeprefix("b0t"))
        if number % 3 == 0:
            # No model scored it: neither its score nor its columns say anything.
            return replace(one, step="fallback", model_sha256=None, margin=None, bins=b"")
        return replace(one, bins=missing) if number % 3 == 1 else one

    found = monitored(run_bank, decided.copy(tmp_path / "a", last_week(broken)), *WEEKS)
    told = {alarm["subject"]: alarm for alarm in found["alarms"]}
    assert {"fallback", "missing"} <= set(told)
    # Half of the payments that the model scored lack the column, and not two thirds of all.
    assert told["missing"]["found"] == pytest.approx(0.5, abs=0.1)
    assert found["action"] == "mend"


def test_decisions_of_another_model_count_without_their_scores(
    run_bank: Any, decided: Decided, tmp_path: Path
) -> None:
    """A bank has changed its model: volumes go on, scores begin anew."""
    table = load_training_rows(decided.file, TRAINED).table
    other = train(
        BoosterParams.parse({**PARAMETERS, "num_boost_round": 2}), table, SoloCommunicator()
    ).model
    state = decided.copy(tmp_path / "a", lambda one: one)
    pinned = state.pinned_run("r1")
    assert pinned is not None
    state.pin_run(pinned.model_copy(update={"run_id": "r0"}))
    state.model_path("r0").write_bytes(other.to_json())
    old = Scorer.read(state.model_path("r0"), TRAINED)
    new = Scorer.read(state.model_path("r1"), TRAINED)
    swap = UNTIL - 6 * WEEK

    def before(one: Decision) -> Decision:
        if one.event_time >= swap:
            return one
        features = np.zeros(len(TRAINED.features), dtype=np.float32)
        return replace(one, model_sha256=old.sha256, margin=9.0, bins=bins_of(features, old.model))

    shutil.rmtree(state.serving_path / "decisions")
    written(state, [before(one) for one in decided.decisions])
    found = monitored(run_bank, state, *WEEKS)
    # Nothing of the old model's scores of 9 is held against those of the new one.
    assert not {a["subject"] for a in found["alarms"]} & {"scores", "high-scores", "feature"}
    assert found["model_sha256"] == new.sha256
    assert found["scored_since"] >= "2024-12-27"
    payments_now = [week["payments"] for week in found["weeks"]]
    assert payments_now == [
        w["payments"] for w in monitored(run_bank, decided.state, *WEEKS)["weeks"]
    ]
    # A model that the bank does not hold any more has unknown features: the log begins after it.
    state.model_path("r0").unlink()
    ended = run_bank("monitor", "--state", state.path, *WEEKS[:2])
    assert ended.code == 3
    assert "begins on 2024-12-2" in ended.err
    assert "watch a file that does (--data)" in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--alert-score", "0.5"), 2, "--alert-score: goes with --data alone"),
        (("--map", "handbook"), 2, "--map: goes with --data alone"),
        (("--until", "2025-06-01"), 3, "a whole model has scored no payment"),
        ((), 3, "a whole model has scored no payment"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    run_bank: Any, decided: Decided, options: tuple[str, ...], code: int, words: str
) -> None:
    ended = run_bank("monitor", "--state", decided.state.path, *options)
    assert (ended.code, words in " ".join(ended.error().split())) == (code, True), ended.err


def test_a_bank_without_a_service_is_told_of_files(
    run_bank: Any, decided: Decided, tmp_path: Path
) -> None:
    state = bank_that_knows(tmp_path / "new", run_spec(), model=b"{}")
    ended = run_bank("monitor", "--state", state.path)
    assert (ended.code, "has no decisions to watch" in ended.err) == (5, True)
    other = decided.copy(tmp_path / "a", lambda one: replace(one, model_sha256="5" * 64))
    ended = run_bank("monitor", "--state", other.path, *WEEKS)
    assert ended.code == 2
    assert "this bank does not hold it" in " ".join(ended.err.split())
