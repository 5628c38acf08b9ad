"""``bank-node check-data`` and ``bank-node features``: look at a file, send nothing of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.checking.against import compare_file, statistics_run
from bank_node.checking.report import CheckedData, failure_of, show_checked
from bank_node.commands.engine import engine_options, opened
from bank_node.commands.options import (
    answers,
    data_option,
    end_in_order_when_terminated,
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
    from fraudfed.dask_engine.options import ClusterOptions
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location


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
@memory_option
@engine_options
@passphrase_option
@answers(CheckedData, show_checked, fails=failure_of)
def check_data(
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    run_id: str | None,
    against: str | None,
    memory_limit: int,
    cluster: "ClusterOptions | None",
    passphrase_file: Path | None,
) -> CheckedData:
    """Check a file against the run's data contract; sends nothing of it."""
    from bank_node.checking.check import Where, check_rows, check_without_labels
    from bank_node.checking.unlabelled import has_no_labels
    from bank_node.jobs.registry import JOBS
    from bank_node.jobs.risk.history import scoring_tables, training_tables
    from bank_node.run.choose import known_run
    from fraudfed.catalogue.run_check import check_run

    # A cluster that was started ends with the command.
    end_in_order_when_terminated()
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
    check = check_without_labels if without_labels else check_rows
    try:
        with opened(cluster) as client:
            checked = check(
                data, run.contract, Where(memory_limit, client), mapping=mapping, shared=shared
            )
    except ProblemsError as error:
        return CheckedData(path=visible(str(data)), problems=report_of(error))
    if compared_with is None:
        return checked
    shared = training_tables(state, compared_with.contract)
    compared = compare_file(
        state, compared_with, data, mapping=mapping, shared=shared, memory_limit=memory_limit
    )
    return checked.model_copy(update={"against": compared})


def _show_exported(exported: ExportedFeatures) -> None:
    say(f"{exported.out}: {exported.features} features of {exported.rows} rows")


@click.command()
@state_option
@data_option
@map_option
@out_option
@last_run_option
@memory_option
@engine_options
@passphrase_option
@answers(ExportedFeatures, _show_exported)
def features(
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    out: Path,
    run_id: str | None,
    memory_limit: int,
    cluster: "ClusterOptions | None",
    passphrase_file: Path | None,
) -> ExportedFeatures:
    """Write the features of a file, to look at or to train another model on; needs no network."""
    from bank_node.data.streamed import bounded_rows
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.feature_export import export_features

    end_in_order_when_terminated()
    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    run = state.current_run(run_id)
    shared = scoring_tables(state, run.contract)
    bounded = bounded_rows(
        data, run.contract, mapping=mapping, memory_limit=memory_limit, directory=path
    )
    with opened(cluster) as client:
        count = export_features(
            data,
            out,
            contract=run.contract,
            mapping=mapping,
            shared=shared,
            bounded=bounded,
            cluster=client,
        )
    return ExportedFeatures(out=str(out), rows=count, features=len(run.contract.features))
