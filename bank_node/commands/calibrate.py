"""``bank-node calibrate``: probabilities beside a model, from this bank's own mature payments."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.options import (
    PATH,
    answers,
    data_option,
    last_run_option,
    map_option,
    passphrase_option,
    state_option,
)
from bank_node.commands.output import Calibrated
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.adaptation.method import Method
from fraudfed.console import examples, say

if TYPE_CHECKING:
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location

_TIME = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


def _show(found: Calibrated) -> None:
    method = found.method.replace("_", " ")
    of = f"{found.cases} cases of fraud among {found.rows} payments"
    if found.method is Method.POOLED:
        say(
            f"{found.out}: {method}, what all banks found, shifted to a share of fraud of "
            f"{found.prevalence:.4%}; this bank has {of}"
        )
    else:
        say(f"{found.out}: {method}, from {of}")


@click.command(epilog=examples("bank-node calibrate --state bank-a --data payments.parquet"))
@state_option
@data_option
@map_option
@click.option(
    "--model", type=PATH, default=None, help="Model file.  [default: the run's accepted model]"
)
@click.option(
    "--from",
    "start",
    type=_TIME,
    default=None,
    help="First payment used, UTC.  [default: the training's cut-off, and the gap after it]",
)
@click.option(
    "--as-of",
    type=_TIME,
    default=None,
    help="Use labels as they were known then, UTC.  [default: at the end of the file]",
)
@click.option(
    "--prevalence",
    type=_SHARE,
    default=None,
    help="Share of fraud at this bank, if it has too few cases.  [default: of its payments]",
)
@last_run_option
@passphrase_option
@answers(Calibrated, _show)
def calibrate(
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    model: Path | None,
    start: datetime | None,
    as_of: datetime | None,
    prevalence: float | None,
    run_id: str | None,
    passphrase_file: Path | None,
) -> Calibrated:
    """Fit probabilities to this bank's own mature payments; needs no network."""
    # xgboost takes a second to import, which no other command needs.
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.calibrate import calibrate as fit
    from bank_node.serving.calibrate import pooled_bins

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    with state.locked():
        run = state.current_run(run_id)
        # What all banks found is of the run's own model.
        pooled = pooled_bins(state.record(run.run_id)) if model is None else ()
        out, found = fit(
            data,
            run,
            model=state.model_path(run.run_id) if model is None else model,
            pooled=pooled,
            start=_seconds(start),
            as_of=_seconds(as_of),
            prevalence=prevalence,
            mapping=mapping,
            shared=scoring_tables(state, run.contract),
        )
    return Calibrated(
        out=str(out),
        method=found.calibration.method,
        rows=found.rows,
        frauds=found.frauds,
        cases=found.cases,
        first_event=found.first_event,
        last_event=found.last_event,
        as_of=found.as_of,
        prevalence=found.prevalence,
    )


def _seconds(time: datetime | None) -> int | None:
    """Return UTC epoch seconds of a time that was typed without a zone."""
    return None if time is None else int(time.replace(tzinfo=UTC).timestamp())
