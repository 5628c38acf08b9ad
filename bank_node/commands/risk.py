"""``bank-node risk``: sum tables of payments and frauds with the other banks, and show them."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bank_node.commands.options import (
    Output,
    end_in_order_when_terminated,
    json_option,
    run_options,
    state_option,
)
from bank_node.consortium.connection import read_passphrase
from bank_node.run.progress import RunProgress
from bank_node.state.directory import StateDirectory
from fraudfed.wire.messages import RunKind


@click.group()
def risk() -> None:
    """Count payments and frauds per terminal, merchant and payee together with the other banks."""


@risk.command("update")
@state_option
@run_options
@click.pass_obj
def update(output: Output, /, path: Path, passphrase_file: Path | None, **options: Any) -> None:
    """Sum the daily tables of a risk run with the other banks; goes on with what was cut off."""
    from bank_node.data.risk_days import day_text
    from bank_node.jobs.registry import JOBS
    from bank_node.run.context import RunOptions
    from bank_node.run.lifecycle import take_part

    end_in_order_when_terminated()
    state = StateDirectory(path)
    passphrase = read_passphrase(passphrase_file)
    with state.locked(), RunProgress(output.console, enabled=output.progress) as progress:
        record = take_part(
            state, RunOptions(**options), RunKind.RISK, JOBS, progress, passphrase=passphrase
        )
    result = record.result
    output.say(
        f"run {record.run_id}: risk tables of {day_text(result.first_day)}.."
        f"{day_text(result.last_day)} by {', '.join(record.members)}, {result.table_bytes:,} "
        f"bytes; a data contract names them {record.registry_sha256}"
    )


@risk.command("show")
@state_option
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show which days this bank has tables of, and how far their counts may be off."""
    from bank_node.jobs.risk.report import risk_report

    report = risk_report(StateDirectory(path))
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    table = Table("run", "days", "counts by", "delay", "bytes", "payments", "frauds")
    for run in report["runs"]:
        table.add_row(
            run["run_id"],
            f"{run['first_day']}..{run['last_day']}",
            ", ".join(run["entities"]),
            f"{run['delay_days']} d",
            f"{run['bytes']:,}",
            *(_shown(run[kind]) for kind in ("transactions", "frauds")),
        )
    console = Console()
    console.print(table)
    for gap in report["gaps"]:
        console.print(f"no table: {gap['first_day']}..{gap['last_day']}")


def _shown(sketch: dict[str, Any]) -> str:
    return (
        f"{sketch['depth']} x {sketch['width']}, {sketch['largest_total']:,} on the fullest day: "
        f"{sketch['expected_excess']:.2g} too many on average, up to {sketch['excess_bound']:.2g} "
        f"but for {sketch['failure_probability']:.1%}"
    )
