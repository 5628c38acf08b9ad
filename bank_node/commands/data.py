"""``bank-node check-data`` and ``bank-node features``: look at a file, send nothing of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.options import (
    answers,
    data_option,
    facts_table,
    last_run_option,
    map_option,
    out_option,
    passphrase_option,
    state_option,
)
from bank_node.commands.output import CheckedData, ExportedFeatures, MissingValues
from bank_node.commands.statistics import compared_file, show_compared
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import say, stdout_console
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from bank_node.data.contract import TrainingRows
    from fraudfed.features.mapping import Mapping


def _show_checked(checked: CheckedData) -> None:
    from rich.table import Table

    facts = facts_table(checked.path)
    facts.add_row("rows in the file", f"{checked.rows_read:,}")
    facts.add_row("rows for training", f"{checked.rows:,}")
    if checked.period is not None:
        first, last = (datetime.fromtimestamp(time, UTC).isoformat() for time in checked.period)
        facts.add_row("period", f"{first} to {last}")
    facts.add_row("prevalence", f"{checked.prevalence:.4%}")
    missing = Table("feature", "missing", "share")
    for one in checked.features:
        missing.add_row(one.feature, f"{one.missing:,}", f"{one.share:.2%}")
    console = stdout_console()
    console.print(facts)
    console.print(missing)
    for warning in checked.warnings:
        say(f"warning: {warning}")
    say("The data meet the contract.")
    if checked.against is not None:
        show_compared(checked.against)


@click.command("check-data")
@state_option
@data_option
@map_option
@click.option(
    "--run",
    "run_id",
    default=None,
    help="The run.  [default: the last one of this bank, else the one open to it]",
)
@click.option(
    "--against",
    default=None,
    metavar="RUN",
    help="Compare with the other banks of this statistics run, whose contract is the default.",
)
@passphrase_option
@answers(CheckedData, _show_checked)
def check_data(
    path: Path,
    data: Path,
    mapping: "Mapping | None",
    run_id: str | None,
    against: str | None,
    passphrase_file: Path | None,
) -> CheckedData:
    """Check a file against the run's data contract; sends nothing of it."""
    from bank_node.checking.against import statistics_run
    from bank_node.data.contract import load_training_rows
    from bank_node.jobs.registry import JOBS
    from bank_node.jobs.risk.history import training_tables
    from bank_node.run.choose import known_run

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    if against is not None and run_id is None:
        run = statistics_run(state, against)
    else:
        run = known_run(
            state,
            run_id,
            RunKind.TRAINING,
            JOBS,
            passphrase=lambda: read_passphrase(passphrase_file),
        )
    shared = training_tables(state, run.contract)
    checked = _checked(data, load_training_rows(data, run.contract, mapping=mapping, shared=shared))
    if against is None:
        return checked
    shared = training_tables(state, statistics_run(state, against).contract)
    compared = compared_file(state, against, data, mapping=mapping, shared=shared)
    return checked.model_copy(update={"against": compared})


def _checked(path: Path, rows: "TrainingRows") -> CheckedData:
    import numpy as np

    table = rows.table
    counts = np.count_nonzero(np.isnan(table.features), axis=0).tolist()
    return CheckedData(
        path=str(path),
        rows_read=rows.rows_read,
        rows=table.n_rows,
        period=rows.period,
        prevalence=float(np.mean(table.labels, dtype=np.float64)),
        features=tuple(
            MissingValues(feature=name, missing=count, share=count / table.n_rows)
            for name, count in zip(table.schema.names, counts, strict=True)
        ),
        warnings=rows.warnings,
    )


def _show_exported(exported: ExportedFeatures) -> None:
    say(f"{exported.out}: {exported.features} features of {exported.rows} rows")


@click.command()
@state_option
@data_option
@map_option
@out_option
@last_run_option
@passphrase_option
@answers(ExportedFeatures, _show_exported)
def features(
    path: Path,
    data: Path,
    mapping: "Mapping | None",
    out: Path,
    run_id: str | None,
    passphrase_file: Path | None,
) -> ExportedFeatures:
    """Write the features of a file, to look at or to train another model on; needs no network."""
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.feature_export import export_features

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    run = state.current_run(run_id)
    shared = scoring_tables(state, run.contract)
    count = export_features(data, out, contract=run.contract, mapping=mapping, shared=shared)
    return ExportedFeatures(out=str(out), rows=count, features=len(run.contract.features))
