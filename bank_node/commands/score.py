"""``bank-node score``: the probability of fraud of each row of a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.commands.engine import engine_options, opened
from bank_node.commands.options import (
    PATH,
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
from bank_node.commands.output import Scored
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say

if TYPE_CHECKING:
    from fraudfed.dask_engine.options import ClusterOptions
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location


def _show(scored: Scored) -> None:
    beside = ", with probabilities beside them" if scored.probabilities else ""
    say(f"{scored.out}: {scored.rows} scores{beside}")


@click.command(
    epilog=examples(
        "bank-node score --state bank-a --data new.parquet --out scores.csv",
        "bank-node score --state bank-a --data payments/ --out scores.parquet --engine dask "
        "--scheduler tls://host:8786",
    )
)
@state_option
@data_option
@map_option
@out_option
@click.option(
    "--model", type=PATH, default=None, help="Model file.  [default: the run's accepted model]"
)
@last_run_option
@memory_option
@engine_options
@passphrase_option
@answers(Scored, _show)
def score(
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    out: Path,
    model: Path | None,
    run_id: str | None,
    memory_limit: int,
    cluster: "ClusterOptions | None",
    passphrase_file: Path | None,
) -> Scored:
    """Score a file with the trained model; needs no network."""
    # xgboost takes a second to import, which no other command needs.
    from bank_node.data.streamed import bounded_rows
    from bank_node.jobs.risk.history import scoring_tables
    from bank_node.serving.score import score_file

    end_in_order_when_terminated()
    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    run = state.current_run(run_id)
    chosen = state.model_path(run.run_id) if model is None else model
    shared = scoring_tables(state, run.contract)
    bounded = bounded_rows(
        data, run.contract, mapping=mapping, memory_limit=memory_limit, directory=path
    )
    with opened(cluster) as client:
        count, has_probabilities = score_file(
            data,
            out,
            model=chosen,
            contract=run.contract,
            mapping=mapping,
            shared=shared,
            bounded=bounded,
            cluster=client,
        )
    return Scored(out=str(out), rows=count, probabilities=has_probabilities)
