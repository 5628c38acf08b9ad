"""``bank-node monitor`` and ``monitor-run``: what drifts, at this bank and at all together."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bank_node.commands.options import (
    PATH,
    Output,
    answers,
    end_in_order_when_terminated,
    facts_table,
    last_run_option,
    map_option,
    passphrase_option,
    run_options,
    state_option,
)
from bank_node.consortium.connection import read_passphrase
from bank_node.monitoring.report import DriftReport
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from fraudfed.features.mappings.mapping import Mapping

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
    columns = ("week", "payments", "alerts", "score PSI", "frauds", "alerted on", "as of now")
    table = Table(*columns)
    for week in report.weeks[-1 - _SHOWN_WEEKS :]:
        table.add_row(
            week.start,
            f"{week.payments:,}",
            f"{week.alerts:,}",
            "" if week.score_psi is None else f"{week.score_psi:.3f}",
            f"{week.frauds:,}",
            f"{week.frauds_found:,}",
            f"{week.frauds_found_now:,} of {week.frauds_now:,}",
        )
    stdout_console().print(table)


@click.command(
    epilog=examples(
        "bank-node monitor --state bank-a --data payments.parquet",
        "bank-node monitor --state bank-a --data payments.parquet --until 2026-06-29 --json",
    )
)
@state_option
@click.option(
    "--data",
    type=PATH,
    required=True,
    help="The bank's data up to the week to watch: .csv, .parquet, or .xml of ISO 20022 messages.",
)
@map_option
@last_run_option
@click.option(
    "--until",
    type=_DAY,
    default=None,
    help="The day after the week to watch.  [default: the last midnight of the data]",
)
@click.option(
    "--reference-until",
    type=_DAY,
    default=None,
    help="Compare with weeks before this day.  [default: the run's last cut-off]",
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
    help="Payments of this score or more count as alerts.  [default: that of one payment in 200]",
)
@passphrase_option
@answers(DriftReport, _show)
def monitor(
    path: Path,
    data: Path,
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
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.monitoring.kept import keep_report
    from bank_node.monitoring.report import drift_report
    from bank_node.monitoring.window import chosen_weeks, usual_alert_score
    from bank_node.serving.watched_rows import watch_file
    from fraudfed.evaluation.drift.cells import watched_features
    from fraudfed.evaluation.drift.watch import Watch

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    run = state.current_run(run_id)
    shared = scoring_tables(state, run.contract)
    found = watch_file(
        data, run.contract, model=state.model_path(run.run_id), mapping=mapping, shared=shared
    )
    rows = found.rows
    weeks = chosen_weeks(
        rows.event_time,
        run.contract,
        until=_seconds(until),
        reference_until=_seconds(reference_until),
        reference_weeks=reference_weeks,
        source=str(data),
    )
    if alert_score is None:
        alert_score = usual_alert_score(rows.event_time, rows.margins, weeks)
    watch = Watch(weeks, watched_features(run.contract))
    watch.update(found.with_alerts(alert_score))
    report = drift_report(
        watch, run_id=run.run_id, alert_score=alert_score, fair_from=run.contract.train_until
    )
    keep_report(state.serving_path, report)
    return report


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
    from bank_node.jobs.registry import JOBS
    from bank_node.monitoring.kept import keep_report
    from bank_node.monitoring.report import drift_report
    from bank_node.run.context import RunOptions
    from bank_node.run.lifecycle import take_part
    from bank_node.run.progress import RunProgress

    end_in_order_when_terminated()
    state = StateDirectory(path)
    passphrase = read_passphrase(passphrase_file)
    with state.locked(), RunProgress(output.console, enabled=output.progress) as progress:
        record = take_part(
            state, RunOptions(**options), RunKind.MONITOR, JOBS, progress, passphrase=passphrase
        )
    run = state.current_run(record.run_id)
    report = drift_report(
        accepted_counts(state, run).watch,
        run_id=run.run_id,
        members=record.members,
        alert_score=run.monitor.alert_score,
        fair_from=run.contract.train_until,
    )
    keep_report(state.serving_path, report)
    return report
