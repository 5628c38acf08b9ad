"""Every figure of the governance folder stands in the records of a run; a changed one is found."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from federations.watched import WatchedRun
from judging.governed import with_another
from oracles.judged import make_banks

from bank_node.commands.deciding.answers import OutcomesReport, ReportedHoldOut, ReportedWeek
from bank_node.evaluation.document import (
    Bounds,
    EvaluatedModel,
    EvaluatedWindow,
    Evaluation,
    Held,
)
from bank_node.jobs.judging import NOTES, Verdict
from bank_node.monitoring.kept import keep_report
from bank_node.monitoring.report import DriftAlarm, DriftReport, WatchedWeek
from fraudfed.cli import cli
from fraudfed.communicator import SoloCommunicator
from fraudfed.evaluation.fairness import gaps
from fraudfed.evaluation.pooled import judge
from fraudfed.gate.decision import Verdict as GateVerdict
from fraudfed.lab.governance.documents import build
from fraudfed.lab.governance.records import Records
from fraudfed.wire.messages import RunKind

pytestmark = pytest.mark.e2e


def _edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def _evaluation(run_id: str) -> Evaluation:
    bounds = Bounds(estimate=0.51, lower=0.42, upper=0.6)
    held = Held(
        model="shared",
        against="own",
        verdict=GateVerdict.ADOPT,
        confidence=0.95,
        difference=Bounds(estimate=0.07, lower=0.011, upper=0.125),
        value_difference=None,
        only_model=9,
        only_own=2,
        discordant_share=0.1,
        cases_to_tell_apart=180,
        cases_to_adopt=90,
    )
    model = EvaluatedModel(
        name="shared",
        what="all banks'",
        file="model.json",
        sha256="a" * 64,
        trees=3,
        candidate=None,
        select_auprc=None,
        case_recall=bounds,
        case_value_recall=None,
        auprc=bounds,
        threshold=0.5,
    )
    window = EvaluatedWindow(
        name="judge", rows=900, frauds=40, censored=0, first_event=None, last_event=None
    )
    return Evaluation(
        run_id=run_id,
        name="watched",
        bank="bank_a",
        kind=RunKind.TRAINING,
        in_time=False,
        windows=(window,),
        cases=123,
        days=30,
        alerts=45,
        alerts_per_day=1.5,
        margin=0.02,
        plan="standard",
        models=(model,),
        own="own",
        decision=held,
        sentence="",
        advice=(),
        others=(),
        adapted_advised=None,
        limits=(),
        gate=False,
        currency=None,
        earlier_uses=(),
        warnings=(),
        windows_sha256="b" * 64,
    )


@pytest.fixture
def state(watched_run: WatchedRun, tmp_path: Path) -> Path:
    """Return a bank's state after a real run, with a judged window and an evaluation added."""
    state = tmp_path / "bank"
    run = state / "runs" / watched_run.run_id
    shutil.copytree(watched_run.states["bank_a"] / "runs" / watched_run.run_id, run)
    bank = make_banks(5, 1, n_rows=2500)[0]
    bank.outcomes.cells["channel"][:] = np.arange(bank.margins.size) % 2
    report = judge(bank.margins, bank.outcomes, SoloCommunicator())
    assert report is not None
    assert gaps(report.groups)
    verdict = Verdict(window="judge", note=NOTES["judge"], report=report)

    def judged(record: Any) -> None:
        record["result"]["verdict"] = json.loads(verdict.model_dump_json())
        record["name"] = "fraud | *2026* <b>"

    _edit(run / "record.json", judged)
    (run / "evaluation").mkdir()
    (run / "evaluation" / "evaluation.json").write_text(
        _evaluation(watched_run.run_id).model_dump_json()
    )
    keep_report(state / "serving", _monitored(watched_run.run_id))
    (state / "serving" / "outcomes.json").write_text(_outcomes())
    return state


def _monitored(run_id: str) -> DriftReport:
    """Return a report of drift as ``bank-node monitor`` makes it."""
    figures: dict[str, Any] = {
        "completeness": 0.625,
        "completeness_lower": 0.5,
        "completeness_upper": 0.75,
        "is_young": True,
        "precision": 0.4375,
        "precision_lower": 0.375,
        "precision_upper": 0.5,
        "recall": 0.7,
        "fraud_minor": 1234,
        "saved_minor": 567,
    }
    week = WatchedWeek(
        start="2026-01-05",
        is_reference=False,
        payments=1357,
        alerts=24,
        fallbacks=2,
        score_psi=0.3125,
        high_score=1.5,
        frauds=3,
        frauds_found=2,
        frauds_now=11,
        frauds_found_now=7,
        **figures,
    )
    alarm = DriftAlarm(
        subject="missing",
        scale="week",
        text="merchant_category is missing in 50 % (usual: 0 %), this week",
        expected=0.0,
        found=0.5,
        p=1e-9,
        channel=None,
        feature="merchant_category",
        fraud_kind=None,
        hour=None,
    )
    return DriftReport(
        source="decisions",
        run_id=run_id,
        model_sha256="c" * 64,
        scored_since="2025-10-01 00:00",
        as_of=1_768_000_000,
        delay_window_days=61.5,
        members=(),
        since="2026-01-05",
        until="2026-01-12",
        action="mend",
        causes=(alarm.text,),
        alarms=(alarm,),
        alert_score=None,
        weeks=(week,),
        hours=(),
    )


def _outcomes() -> str:
    """Return outcomes as ``bank-node outcomes report`` keeps them."""
    week = ReportedWeek(
        monday="2026-01-05",
        decisions=1359,
        alerts=26,
        frauds=13,
        frauds_alerted=9,
        completeness=0.6875,
        completeness_lower=0.5625,
        completeness_upper=0.8125,
        is_young=True,
        precision=0.46875,
        precision_lower=0.40625,
        precision_upper=0.53125,
        recall=0.71875,
        fraud_minor=4321,
        saved_minor=765,
    )
    return OutcomesReport(
        as_of=1_768_100_000,
        currency="GBP",
        delay_window_days=62.5,
        weeks=(week,),
        holdout=ReportedHoldOut(
            blocked=90, held_out=10, frauds=7, precision=0.71, lower=0.43, upper=0.88
        ),
    ).model_dump_json()


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["governance", *map(str, arguments)])


def test_every_figure_stands_in_a_record_and_a_changed_one_is_found(
    watched_run: WatchedRun, state: Path, tmp_path: Path
) -> None:
    run, out = watched_run.run_id, tmp_path / "governance"
    built = _run("build", run, "--state", state, "--out", out, "--json")
    assert built.exit_code == 0, built.output
    found = json.loads((out / "figures.json").read_text())
    records = Records.read(state, run)
    assert records.result_sha256 == records.find("record.json", "/model_sha256")
    n_figures = 0
    for name, document in found["documents"].items():
        text = (out / name).read_text()
        for figure in document["figures"]:
            assert figure["value"] == records.find(figure["file"], figure["pointer"])
            assert f"{figure['text']} [{figure['number']}]" in text
            assert f"| {figure['number']} | {figure['file']} | `{figure['pointer']}` |" in text
            n_figures += 1
        # Every number in brackets is a source.
        cited = {int(number) for number in re.findall(r"(?<!\\)\[(\d+)\]", text)}
        assert cited == {figure["number"] for figure in document["figures"]}
        assert document["open_points"]
    assert json.loads(built.output)["figures"] == n_figures > 100
    assert "**adopt** [" not in (out / "validation-report.md").read_text()
    assert "0.070 (0.011 to 0.125)" in (out / "validation-report.md").read_text()
    # A run's name is text, whatever it holds.
    assert "fraud \\| \\*2026\\* \\<b\\>" in (out / "model-card.md").read_text()
    assert _run("check", run, out, "--state", state).exit_code == 0

    card = out / "model-card.md"
    right = card.read_text()
    card.write_text(right.replace("| trees | 3 ", "| trees | 4 "))
    edited = _run("check", run, out, "--state", state)
    assert edited.exit_code != 0
    card.write_text(right)
    _edit(
        state / "runs" / run / "record.json",
        lambda record: record["whole_run"]["protection"].update(rounds_verified=1),
    )
    assert _run("check", run, out, "--state", state).exit_code != 0


def _report(state: Path) -> str:
    """Return the file of the one report of monitoring."""
    (path,) = (state / "serving" / "monitoring").iterdir()
    return str(path.relative_to(state))


def test_every_figure_of_every_record_changes_its_document(
    watched_run: WatchedRun, state: Path
) -> None:
    """Monitoring and outcomes among them; the text changes, and not a hash beside it alone."""
    records = Records.read(state, watched_run.run_id)
    files = build(records)
    found = json.loads(files["figures.json"])
    seen = set()
    for name, document in found["documents"].items():
        for figure in document["figures"]:
            file, pointer = figure["file"], figure["pointer"]
            again = build(with_another(records, file, pointer))
            assert again[name] != files[name], (name, file, pointer)
            seen.add((file, pointer))
    for file, pointers in {
        _report(state): ("/report/action", "/report/alarms/0/text", "/report/weeks/0/precision"),
        "serving/outcomes.json": ("/weeks/0/completeness", "/weeks/0/saved_minor", "/as_of"),
        "evaluation/evaluation.json": ("/decision/verdict",),
    }.items():
        assert {(file, pointer) for pointer in pointers} <= seen


def test_a_figure_changed_in_a_document_or_a_record_ends_the_check(
    watched_run: WatchedRun, state: Path, tmp_path: Path
) -> None:
    run, out = watched_run.run_id, tmp_path / "governance"
    assert _run("build", run, "--state", state, "--out", out).exit_code == 0
    for name, text in (
        ("outcomes-analysis.md", "68.75 %"),
        ("review-triggers.md", "1,357"),
        ("validation-report.md", "0.070 (0.011 to 0.125)"),
    ):
        document = out / name
        right = document.read_text()
        assert text in right
        document.write_text(right.replace(text, text.replace("7", "8", 1)))
        ended = _run("check", run, out, "--state", state)
        assert name in str(ended.exception)
        document.write_text(right)
    for file in (_report(state), "serving/outcomes.json"):
        record = state / file
        right = record.read_text()
        _edit(record, lambda found: found.get("report", found)["weeks"][0].update(precision=0.9))
        assert _run("check", run, out, "--state", state).exit_code != 0
        record.write_text(right)
    assert _run("check", run, out, "--state", state).exit_code == 0


def test_what_was_never_watched_is_an_open_point(
    watched_run: WatchedRun, state: Path, tmp_path: Path
) -> None:
    run, out = watched_run.run_id, tmp_path / "governance"
    of_run = state / _report(state)
    other = of_run.rename(of_run.with_name("2026-01-05-another.json"))
    _edit(other, lambda found: found["report"].update(run_id="another"))
    (state / "serving" / "outcomes.json").unlink()
    assert _run("build", run, "--state", state, "--out", out).exit_code == 0
    triggers = (out / "review-triggers.md").read_text()
    assert "is of another run" in triggers
    assert "merchant" not in triggers
    other.unlink()
    assert _run("build", run, "--state", state, "--out", out).exit_code == 0
    assert "Drift since deployment: nothing is kept" in (out / "review-triggers.md").read_text()
    assert "since deployment: nothing is kept" in (out / "outcomes-analysis.md").read_text()


def test_a_model_that_is_not_the_signed_one_is_said(
    watched_run: WatchedRun, state: Path, tmp_path: Path
) -> None:
    model = state / "runs" / watched_run.run_id / "model.json"
    model.write_bytes(model.read_bytes() + b" ")
    out = tmp_path / "governance"
    assert _run("build", watched_run.run_id, "--state", state, "--out", out).exit_code == 0
    assert "| the file here has that hash | no |" in (out / "model-card.md").read_text()


@pytest.mark.parametrize(
    ("run", "says"), [("nosuchrun", "no finished run"), ("../x", "is no run id")]
)
def test_an_unknown_run_writes_nothing(state: Path, tmp_path: Path, run: str, says: str) -> None:
    out = tmp_path / "governance"
    ended = _run("build", run, "--state", state, "--out", out)
    assert ended.exit_code != 0
    assert says in str(ended.exception)
    assert not out.exists()


def test_a_folder_of_something_else_is_left_alone(
    watched_run: WatchedRun, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    ended = _run("build", watched_run.run_id, "--state", state, "--out", tmp_path / "photos")
    assert ended.exit_code != 0
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]
