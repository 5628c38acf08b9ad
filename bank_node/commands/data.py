"""``bank-node check-data`` and ``bank-node features``: look at a file, send nothing of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.checking.against import compare_file, statistics_run
from bank_node.checking.report import (
    CheckedData,
    checked_rows,
    checked_streamed,
    failure_of,
    show_checked,
)
from bank_node.commands.options import (
    answers,
    data_option,
    last_run_option,
    map_option,
    memory_option,
    out_option,
    passphrase_option,
    state_option,
)
from bank_node.commands.output import ExportedFeatures
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import say
from fraudfed.foreign_text import visible
from fraudfed.reading.problems import ProblemsError
from fraudfed.reading.report import report_of
from fraudfed.wire.messages import RunKind

if TYPE_CHECKING:
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.features.shared_risk import SharedRisk
    from fraudfed.reading.location import Location
    from fraudfed.wire.messages import DataContract


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
@answers(CheckedData, show_checked, fails=failure_of)
def check_data(
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    run_id: str | None,
    against: str | None,
    passphrase_file: Path | None,
) -> CheckedData:
    """Check a file against the run's data contract; sends nothing of it."""
    from bank_node.checking.unlabelled import checked_without_labels, has_no_labels
    from bank_node.jobs.registry import JOBS
    from bank_node.jobs.risk.history import scoring_tables, training_tables
    from bank_node.run.choose import known_run
    from fraudfed.catalogue.run_check import check_run

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    compared_with = None if against is None else statistics_run(state, against)
    if compared_with is not None and run_id is None:
        run = compared_with
    else:
        run = known_run(
            state,
            run_id,
            (RunKind.TRAINING, RunKind.SEARCH),
            JOBS,
            passphrase=lambda: read_passphrase(passphrase_file),
        )
    # Before the file is read: of no use if the run cannot work for any bank.
    check_run(run.spec)
    without_labels = run.contract.kind == "transactions" and has_no_labels(mapping)
    tables = scoring_tables if without_labels else training_tables
    shared = tables(state, run.contract)
    try:
        if without_labels:
            checked = checked_without_labels(data, run.contract, mapping=mapping, shared=shared)
        else:
            checked = _checked(data, run.contract, mapping=mapping, shared=shared)
    except ProblemsError as error:
        return CheckedData(path=visible(str(data)), problems=report_of(error))
    if compared_with is None:
        return checked
    shared = training_tables(state, compared_with.contract)
    compared = compare_file(state, compared_with, data, mapping=mapping, shared=shared)
    return checked.model_copy(update={"against": compared})


def _checked(
    data: "Location",
    contract: "DataContract",
    *,
    mapping: "Mapping | None",
    shared: "SharedRisk | None",
) -> CheckedData:
    """Check all rows at once, or piece by piece if they need more memory than there is to use."""
    from bank_node.data.contract import load_training_rows, open_rows
    from bank_node.data.streamed_table import stream_training_rows
    from fraudfed.intake.streamed import bytes_in_memory
    from fraudfed.machine.memory import default_limit
    from fraudfed.reading.partitioned import PartitionedFile

    file, limit = open_rows(data, contract, mapping), default_limit()
    if contract.kind == "table" and bytes_in_memory(file, len(contract.features)) > limit:
        streamed = stream_training_rows(data, contract, mapping=mapping, memory_limit=limit)
        checked = checked_streamed(data, streamed)
    else:
        rows = load_training_rows(data, contract, mapping=mapping, shared=shared)
        checked = checked_rows(data, rows, horizon=contract.label_horizon_days)
    files = len(file.files) if isinstance(file, PartitionedFile) else None
    return checked.model_copy(update={"files": files})


def _show_exported(exported: ExportedFeatures) -> None:
    say(f"{exported.out}: {exported.features} features of {exported.rows} rows")


@click.command()
@state_option
@data_option
@map_option
@out_option
@last_run_option
@memory_option
@passphrase_option
@answers(ExportedFeatures, _show_exported)
def features(
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    out: Path,
    run_id: str | None,
    memory_limit: int,
    passphrase_file: Path | None,
) -> ExportedFeatures:
    """Write the features of a file, to look at or to train another model on; needs no network."""
    from bank_node.data.streamed import bounded_rows
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.feature_export import export_features

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    run = state.current_run(run_id)
    shared = scoring_tables(state, run.contract)
    bounded = bounded_rows(
        data, run.contract, mapping=mapping, memory_limit=memory_limit, directory=path
    )
    count = export_features(
        data,
        out,
        contract=run.contract,
        mapping=mapping,
        shared=shared,
        bounded=bounded,
    )
    return ExportedFeatures(out=str(out), rows=count, features=len(run.contract.features))
