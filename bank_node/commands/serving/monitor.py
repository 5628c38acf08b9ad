"""``bank-node monitor`` and ``monitor-run``: what drifts, at this bank and at all together."""

import datetime
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bank_node.commands.deciding.week_text import completeness_text, ends_text
from bank_node.commands.options import (
    Output,
    answers,
    facts_table,
    map_option,
    passphrase_option,
    rows_option,
    run_options,
    state_option,
)
from bank_node.commands.taking_part import take_part_in
from bank_node.consortium.connection import read_passphrase
from bank_node.monitoring.report import DriftReport
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.monitoring.decided import DecidingModel
    from bank_node.monitoring.window import Asked
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location

_DAY = click.DateTime(formats=["%Y-%m-%d"])
#: Weeks before the one under watch that the text shows.
_SHOWN_WEEKS = 8
_ADVICE = {
    "nothing": "nothing: no week of these differs by more than weeks do",
    "mend": "mend what feeds the model; retrain on nothing that was broken",
    "look": "look closer; nothing here asks for another model yet",
    "retrain": "retrain",
}


def _show(report: DriftReport) -> None:
    from rich.table import Table

    for alarm in report.alarms:
        say(f"! {alarm.text}" + (f" ({alarm.hour} UTC)" if alarm.hour else ""))
    facts = facts_table(f"week {report.since} to {report.until}")
    facts.add_row("do", _ADVICE[report.action])
    for cause in report.causes:
        facts.add_row("because", cause)
    if report.members:
        facts.add_row("banks", ", ".join(report.members))
    reference = [week.start for week in report.weeks if week.is_reference]
    facts.add_row("compared with", f"{len(reference)} weeks from {reference[0]} on")
    if report.alert_score is not None:
        facts.add_row("alerts are", f"scores of {report.alert_score:.4g} or more")
    stdout_console().print(facts)
    if report.scored_since is not None:
        facts_since = f"decided from {report.scored_since} UTC on by the model under watch"
        say(f"scores and features: of payments {facts_since}")
    table = Table(
        *("week", "payments", "alerts", "score PSI", "frauds found, now"),
        *("completeness", "precision", "saved, minor units"),
    )
    for week in report.weeks[-1 - _SHOWN_WEEKS :]:
        table.add_row(
            week.start,
            f"{week.payments:,}",
            f"{week.alerts:,}",
            "" if week.score_psi is None else f"{week.score_psi:.3f}",
            f"{week.frauds_found_now:,} of {week.frauds_now:,}",
            ends_text(
                week.completeness,
                week.completeness_lower,
                week.completeness_upper,
                is_young=week.is_young,
            ),
            ends_text(week.precision, week.precision_lower, week.precision_upper),
            "-" if week.saved_minor is None else f"{week.saved_minor:,} of {week.fraud_minor:,}",
        )
    stdout_console().print(table)
    if report.as_of is not None:
        say(completeness_text(report.delay_window_days))


@click.command(
    epilog=examples(
        "bank-node monitor --state bank-a",
        "bank-node monitor --state bank-a --data payments.parquet --until 2026-06-29 --json",
    )
)
@state_option
@rows_option(
    "--data",
    required=False,
    help="Watch a file, scored now, up to the week to watch: .csv, .parquet, or .xml of ISO 20022 "
    "messages.  [default: what 'bank-node serve' decided]",
)
@map_option
@click.option(
    "--run",
    "run_id",
    default=None,
    help="Whose model is watched.  [default: the one that decided last; with --data, of this "
    "bank's last run]",
)
@click.option(
    "--until",
    type=_DAY,
    default=None,
    help="The day after the week to watch.  [default: the last midnight of the payments]",
)
@click.option(
    "--reference-until",
    type=_DAY,
    default=None,
    help="Compare with weeks before this day.  [default: of a file the run's last cut-off, of "
    "decisions the week to watch]",
)
@click.option(
    "--reference-weeks",
    type=click.IntRange(6, 60),
    default=None,
    help="Weeks to compare with.  [default: 12, or as many as there are]",
)
@click.option(
    "--alert-score",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    help="Payments of this score or more count as alerts.  [default: that of one payment in "
    "200; of decisions, their actions say it]",
)
@passphrase_option
@answers(DriftReport, _show)
def monitor(
    path: Path,
    data: "Location | None",
    mapping: "Mapping | None",
    run_id: str | None,
    until: datetime.datetime | None,
    reference_until: datetime.datetime | None,
    reference_weeks: int | None,
    alert_score: float | None,
    passphrase_file: Path | None,
) -> DriftReport:
    """Say what drifts in this bank's payments, what is wrong first; needs no network.

    The report is kept for this bank's pages. Exit code 0 whether there are alarms or not: with
    --json, "alarms" is empty without any.
    """
    from bank_node.monitoring.kept import keep_report
    from bank_node.monitoring.window import Asked

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    asked = Asked(_seconds(until), _seconds(reference_until), reference_weeks)
    if data is not None:
        report = _of_file(state, data, mapping, run_id, asked, alert_score)
    else:
        for option, value in (("--map", mapping), ("--alert-score", alert_score)):
            if value is not None:
                raise ConfigurationError(
                    f"{option}: goes with --data alone, got decisions of a service; leave it out, "
                    "or name a file with --data"
                )
        report = _of_decisions(state, run_id, asked)
    keep_report(state.serving_path, report)
    return report


def _of_file(
    state: StateDirectory,
    data: "Location",
    mapping: "Mapping | None",
    run_id: str | None,
    asked: "Asked",
    alert_score: float | None,
) -> DriftReport:
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.monitoring.report import Outcomes, drift_report
    from bank_node.monitoring.window import chosen_weeks, trained_until, usual_alert_score
    from bank_node.serving.watched_rows import watch_file
    from fraudfed.evaluation.drift.cells import watched_features
    from fraudfed.evaluation.drift.outcomes import WeeklyOutcomes, delay_of
    from fraudfed.evaluation.drift.watch import Watch
    from fraudfed.evaluation.reporting_delay import reporting_delay

    run = state.current_run(run_id)
    shared = scoring_tables(state, run.contract)
    model = state.model_path(run.run_id)
    found = watch_file(data, run.contract, model=model, mapping=mapping, shared=shared)
    rows = found.rows
    weeks = chosen_weeks(
        rows.event_time, asked, trained=trained_until(run.contract), source=str(data)
    )
    if alert_score is None:
        alert_score = usual_alert_score(rows.event_time, rows.margins, weeks)
    watch = Watch(weeks, watched_features(run.contract))
    watch.update(found.with_alerts(alert_score))
    counted, decided = WeeklyOutcomes(weeks.start, weeks.n_weeks), found.decided(alert_score)
    counted.update(decided)
    as_of = found.as_of
    delay = reporting_delay(*delay_of(decided, as_of=as_of), end=as_of)
    return drift_report(
        watch,
        source="file",
        run_id=run.run_id,
        model_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        alert_score=alert_score,
        fair_from=run.contract.train_until,
        outcomes=Outcomes(weeks=counted.weeks(delay, as_of=as_of), as_of=as_of, delay=delay),
    )


def _of_decisions(state: StateDirectory, run_id: str | None, asked: "Asked") -> DriftReport:
    from bank_node.commands.deciding.common import history_of, log_of
    from bank_node.lifecycle.models_on_hand import model_of_digest, pinned
    from bank_node.monitoring.decided import DecidingModel, watch_log
    from bank_node.monitoring.report import drift_report
    from bank_node.outcomes.report import known_fraud
    from bank_node.serving.scorer import read_model_file
    from fraudfed.boosting.model_reader import read_model
    from fraudfed.intake.plain_table import contract_schema

    watched = None
    if run_id is not None:
        path = state.model_path(state.current_run(run_id).run_id)
        watched = hashlib.sha256(read_model_file(path)).hexdigest()

    def model_of(sha256: str) -> "DecidingModel | None":
        held = model_of_digest(state, sha256)
        if held is None:
            return None
        model_path, model_run = held
        contract = pinned(state, model_run).contract
        content = read_model_file(model_path)
        model = read_model(content, schema=contract_schema(contract), source=str(model_path))
        return DecidingModel(model_run, contract, model)

    if not (state.serving_path / "decisions").is_dir():
        raise StateError(
            f"{state.serving_path / 'decisions'}: has no decisions to watch; start 'bank-node "
            "serve', which writes them, or watch a file (--data)"
        )
    log, history = log_of(state), history_of(state)
    now = int(time.time())
    found = watch_log(
        log.between,
        lambda transaction: known_fraud(history.label(transaction, now)),
        model_of,
        watched=watched,
        as_of=now,
        asked=asked,
        source=str(state.serving_path / "decisions"),
    )
    return drift_report(
        found.watch,
        source="decisions",
        run_id=found.model.run_id,
        model_sha256=found.sha256,
        scored_since=found.scored_since,
        alert_score=None,
        fair_from=None,
        outcomes=found.outcomes,
    )


def _seconds(day: datetime.datetime | None) -> int | None:
    return None if day is None else int(day.replace(tzinfo=datetime.UTC).timestamp())


@click.command(
    name="monitor-run",
    epilog=examples("bank-node monitor-run --state bank-a --data payments.parquet"),
)
@state_option
@run_options
@answers(DriftReport, _show)
@click.pass_obj
def monitor_run(
    output: Output, /, path: Path, passphrase_file: Path | None, **options: Any
) -> DriftReport:
    """Say what drifts in the payments of all banks together: take part in a monitor run.

    A run that was stopped continues when the same command is started again.
    """
    from bank_node.jobs.monitor import accepted_counts
    from bank_node.monitoring.kept import keep_report
    from bank_node.monitoring.report import drift_report

    state = StateDirectory(path)
    record = take_part_in(
        RunKind.MONITOR, state, output, passphrase_file=passphrase_file, options=options
    )
    run = state.current_run(record.run_id)
    report = drift_report(
        accepted_counts(state, run).watch,
        source="members",
        run_id=run.run_id,
        members=record.members,
        alert_score=run.monitor.alert_score,
        fair_from=run.contract.train_until,
    )
    keep_report(state.serving_path, report)
    return report
