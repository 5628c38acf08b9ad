"""``bank-node risk``: sum tables of payments and frauds with the other banks, and show them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bank_node.commands.engine import engine_options
from bank_node.commands.options import (
    Output,
    answers,
    data_option,
    map_option,
    memory_option,
    passphrase_option,
    run_options,
    state_option,
)
from bank_node.commands.risk.lookup import lookup, lookups
from bank_node.commands.risk.output import (
    CorrectedReport,
    CorrectedReports,
    HeldRisk,
    SketchFacts,
    UpdatedRisk,
)
from bank_node.commands.taking_part import take_part_in
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import say, stdout_console
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.state.corrections import KeptCorrection
    from fraudfed.dask_engine.options import ClusterOptions
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location

_SECONDS_PER_DAY = 24 * 60 * 60


@click.group()
def risk() -> None:
    """Count payments and frauds per terminal, merchant and payee together with the other banks."""


def _show_updated(updated: UpdatedRisk) -> None:
    say(
        f"run {updated.run_id}: risk tables of {updated.first_day}..{updated.last_day} by "
        f"{', '.join(updated.members)}, {updated.table_bytes:,} bytes; a data contract names them "
        f"{updated.registry_sha256}"
    )


@risk.command("update")
@state_option
@run_options
@memory_option
@engine_options
@answers(UpdatedRisk, _show_updated)
@click.pass_obj
def update(
    output: Output,
    /,
    path: Path,
    passphrase_file: Path | None,
    cluster: "ClusterOptions | None",
    **options: Any,
) -> UpdatedRisk:
    """Sum the daily tables of a risk run with the other banks.

    A run that was stopped continues when the same command is started again.
    """
    from bank_node.data.risk_days import day_text

    record = take_part_in(
        RunKind.RISK,
        StateDirectory(path),
        output,
        passphrase_file=passphrase_file,
        options=options,
        cluster=cluster,
    )
    return UpdatedRisk(
        run_id=record.run_id,
        first_day=day_text(record.result.first_day),
        last_day=day_text(record.result.last_day),
        members=record.members,
        table_bytes=record.result.table_bytes,
        registry_sha256=record.registry_sha256,
    )


def _show_held(held: HeldRisk) -> None:
    from rich.table import Table

    table = Table("run", "days", "counts by", "delay", "bytes", "payments", "frauds", "taken back")
    for run in held.runs:
        table.add_row(
            run.run_id,
            f"{run.first_day}..{run.last_day}",
            ", ".join(run.entities),
            f"{run.delay_days} d",
            f"{run.bytes:,}",
            _shown(run.transactions),
            _shown(run.frauds),
            f"{run.corrections:,}",
        )
    stdout_console().print(table)
    for gap in held.gaps:
        say(f"no table: {gap.first_day}..{gap.last_day}")


def _shown(sketch: SketchFacts) -> str:
    if sketch.noise:
        return (
            f"{sketch.depth} x {sketch.width}, about {sketch.largest_total:,} on the fullest day: "
            f"each count is off by {sketch.noise:,.1f} (one sigma of its noise)"
        )
    return (
        f"{sketch.depth} x {sketch.width}, {sketch.largest_total:,} on the fullest day: "
        f"{sketch.expected_excess:.2g} too many on average, up to {sketch.excess_bound:.2g} "
        f"but for {sketch.failure_probability:.1%}"
    )


@risk.command("show")
@state_option
@passphrase_option
@answers(HeldRisk, _show_held)
def show(path: Path, passphrase_file: Path | None) -> HeldRisk:
    """Show which days this bank has tables of, and how far their counts may be off."""
    from bank_node.jobs.risk.report import risk_report

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    return HeldRisk.model_validate(risk_report(state))


def _show_corrected(made: CorrectedReport) -> None:
    say(
        f"the report of {made.reported_on} counts from {made.corrected_on} on as if it had never "
        f"been made, at {', '.join(made.entities)}; the next risk run over that day enters it"
    )


@risk.command("correct")
@click.argument("transaction_id")
@state_option
@data_option
@map_option
@passphrase_option
@click.option(
    "--reason",
    required=True,
    help="Why the report was wrong, without names or account numbers; for the audit log.",
)
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    default=None,
    help="From which day (UTC) on it is taken back.  [default: today]",
)
@answers(CorrectedReport, _show_corrected)
def correct(
    transaction_id: str,
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    passphrase_file: Path | None,
    reason: str,
    day: datetime | None,
) -> CorrectedReport:
    """Take back the report of fraud of the payment TRANSACTION_ID, which was wrong.

    What was counted stays as it was; the correction is counted on its own day.
    """
    from bank_node.jobs.risk.correct import WrongReport
    from bank_node.jobs.risk.correct import correct as take_back

    of_day = None if day is None else int(day.replace(tzinfo=UTC).timestamp()) // _SECONDS_PER_DAY
    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    with state.locked():
        made = take_back(
            state, WrongReport(transaction_id, reason, of_day), data=data, mapping=mapping
        )
    return _corrected(made)


def _corrected(made: "KeptCorrection") -> CorrectedReport:
    from bank_node.data.risk_days import day_text

    return CorrectedReport(
        transaction_id=made.transaction_id,
        reported_on=day_text(max(made.event_day, made.report_day)),
        corrected_on=day_text(made.day),
        entities=tuple(entity.value for entity in made.identifiers),
        reason=made.reason,
    )


def _show_corrections(found: CorrectedReports) -> None:
    from rich.table import Table

    if not found.corrections:
        say("no report was taken back")
        return
    table = Table("payment", "reported", "taken back", "counted by", "reason")
    for each in found.corrections:
        table.add_row(
            each.transaction_id,
            each.reported_on,
            each.corrected_on,
            ", ".join(each.entities),
            each.reason,
        )
    stdout_console().print(table)


@risk.command("corrections")
@state_option
@passphrase_option
@answers(CorrectedReports, _show_corrections)
def corrections(path: Path, passphrase_file: Path | None) -> CorrectedReports:
    """Show which reports of fraud this bank has taken back, and why."""
    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    made = state.corrections().all()
    return CorrectedReports(corrections=tuple(_corrected(each) for each in made))


for _command in (lookup, lookups):
    risk.add_command(_command)
