"""``bank-node risk``: sum tables of payments and frauds with the other banks, and show them."""

from pathlib import Path
from typing import Any

import click

from bank_node.commands.options import (
    Output,
    answers,
    end_in_order_when_terminated,
    passphrase_option,
    run_options,
    state_option,
)
from bank_node.commands.output import HeldRisk, SketchFacts, UpdatedRisk
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import say, stdout_console
from fraudfed.wire.messages import RunKind


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
@answers(UpdatedRisk, _show_updated)
@click.pass_obj
def update(
    output: Output, /, path: Path, passphrase_file: Path | None, **options: Any
) -> UpdatedRisk:
    """Sum the daily tables of a risk run with the other banks.

    A run that was stopped continues when the same command is started again.
    """
    from bank_node.data.risk_days import day_text
    from bank_node.jobs.registry import JOBS
    from bank_node.run.context import RunOptions
    from bank_node.run.lifecycle import take_part
    from bank_node.run.progress import RunProgress

    end_in_order_when_terminated()
    state = StateDirectory(path)
    passphrase = read_passphrase(passphrase_file)
    with state.locked(), RunProgress(output.console, enabled=output.progress) as progress:
        record = take_part(
            state, RunOptions(**options), RunKind.RISK, JOBS, progress, passphrase=passphrase
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

    table = Table("run", "days", "counts by", "delay", "bytes", "payments", "frauds")
    for run in held.runs:
        table.add_row(
            run.run_id,
            f"{run.first_day}..{run.last_day}",
            ", ".join(run.entities),
            f"{run.delay_days} d",
            f"{run.bytes:,}",
            _shown(run.transactions),
            _shown(run.frauds),
        )
    stdout_console().print(table)
    for gap in held.gaps:
        say(f"no table: {gap.first_day}..{gap.last_day}")


def _shown(sketch: SketchFacts) -> str:
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
