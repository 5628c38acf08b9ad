"""``fraudfed bench search``: a federation searches, then trains once what the search has chosen."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.catalogue.plans import PLANS, SearchPlan, find_plan
from fraudfed.intake.windows import windows_by_share
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import (
    FiniteRange,
    figures_of,
    key_bits_option,
    number_option,
    threads_option,
)
from fraudfed.lab.bench.search.result import RunCost, SearchCase, SearchFigures
from fraudfed.lab.bench.workload import synthetic_table, table_contract, write_shares
from fraudfed.lab.local_federation.run import RunOutcome, open_federation
from fraudfed.wire.messages import SearchRung, SearchSpec

#: Of the first candidate's parameters, where a plan does not name one: divides rows into windows.
_SEED = 0


def run_search(
    case: SearchCase, work: Path, *, announce: Callable[[str], None] = lambda _line: None
) -> SearchFigures:
    """Search, train the winner once on the same rows, and train it on all rows.

    Parameters
    ----------
    case : SearchCase
    work : Path
        For the banks' files, states and logs.
    announce : callable
        Given a line at the start of every stage.

    Raises
    ------
    FraudFedError
        The error of the first program that failed.
    """
    rng = np.random.default_rng(case.seed)
    table = synthetic_table(case.rows, case.features, rng, prevalence=case.prevalence)
    shares = (1.0,) * case.banks
    (work / "train").mkdir()
    files = write_shares(table, shares, work)
    # The one training has the rows that the search trains on, of the same bank.
    parts = np.split(np.arange(table.n_rows), _ends(table.n_rows, shares)[:-1])
    train_files = {}
    for (name, _), part in zip(files.items(), parts, strict=True):
        mine = TrainingTable(table.schema, table.features[part], table.labels[part])
        windows = windows_by_share(mine, seed=_SEED, select=True, judge=True)
        (only,) = write_shares(windows.train, (1.0,), work / "train").values()
        train_files[name] = only.rename(only.with_name(f"{name}_train.parquet"))
    plan = find_plan(case.plan)
    spec = scaled(plan, case.trees)
    contract = table_contract(table)
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    with open_federation(tuple(files), key_bits=case.key_bits, work=work) as federation:
        announce(f"{case.banks} banks search: {len(spec.candidates)} candidates of {case.plan}")
        searched = federation.search(
            files,
            name="search",
            contract=contract,
            parameters=plan.common,
            search=spec,
            threads=case.threads,
        )
        chosen = searched.banks[0].record["result"]["parameters"]
        best = chosen["num_boost_round"]

        def train(name: str, of: Mapping[str, Path], trees: int) -> RunOutcome:
            announce(f"one training of the winner: {trees} trees, {name}")
            return federation.train(
                of,
                name=name,
                contract=contract,
                parameters={**chosen, "num_boost_round": trees},
                threads=case.threads,
            )

        trained = train("training", train_files, case.trees)
        refitted = train("refit", files, best)
    search_cost, training, refit = map(RunCost.of, (searched, trained, refitted))
    return SearchFigures(
        ratio_to_one_training=search_cost.seconds / training.seconds,
        rounds_ratio=search_cost.rounds / training.rounds,
        with_refit_ratio=(search_cost.seconds + refit.seconds) / training.seconds,
        with_refit_rounds_ratio=(search_cost.rounds + refit.rounds) / training.rounds,
        ciphertexts_ratio=search_cost.ciphertexts / training.ciphertexts,
        winner=searched.banks[0].record["result"]["winner"],
        winner_trees=best,
        is_model_of_training=_begins_alike(searched, trained, best),
        search=search_cost,
        training=training,
        refit=refit,
        case=case,
        kernel=searched.banks[0].record["kernel"],
        date=date,
        load_average=load,
        machine=Machine.here("numpy", "gmpy2"),
    )


def scaled(plan: SearchPlan, trees: int) -> SearchSpec:
    """Return a plan whose last rung has so many trees, the others in proportion; without patience.

    Without it the winner grows in the search as long as in the training beside it.
    """
    longest = plan.spec.rungs[-1].trees
    rungs = [
        SearchRung(trees=max(number, rung.trees * trees // longest), alive=rung.alive)
        for number, rung in enumerate(plan.spec.rungs, start=1)
    ]
    return SearchSpec.model_validate(
        plan.spec.model_dump() | {"rungs": [rung.model_dump() for rung in rungs], "patience": None}
    )


def _ends(n_rows: int, shares: tuple[float, ...]) -> list[int]:
    # As write_shares cuts them.
    return [int(end) for end in np.round(np.cumsum(shares) / np.sum(shares) * n_rows)]


def _begins_alike(searched: RunOutcome, trained: RunOutcome, best: int) -> bool:
    """Tell whether the search's trees are the first ones of the training."""
    state = searched.banks[0].state / "runs" / searched.run_id / "model.json"
    found, alone = (
        json.loads(content)["learner"]["gradient_booster"]["model"]["trees"]
        for content in (state.read_bytes(), trained.result)
    )
    return bool(found == alone[:best])


@click.command("search")
@number_option("--rows", 60_000, "Rows of all banks together.", least=100)
@number_option("--features", 30, "Features of a row.", most=4096)
@number_option("--trees", 200, "Trees of the plan's last rung; the others in proportion.", least=4)
@number_option("--banks", 3, "Number of banks.", least=3, most=100)
@click.option(
    "--plan",
    type=click.Choice(list(PLANS)),
    default="standard",
    show_default=True,
    help="Candidates and rungs.",
)
@key_bits_option
@click.option(
    "--prevalence",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.02,
    show_default=True,
    help="Share of positives.",
)
@number_option("--seed", 0, "Seed of the rows.", least=0)
@threads_option("Of each bank node.")
@figures_of(SearchFigures)
def search_command(**options: Any) -> SearchFigures:
    """Compare a search with one training of what it chose, both over real processes."""
    case = SearchCase(**options)
    work = Path(tempfile.mkdtemp(prefix="fraudfed-bench-"))
    figures = run_search(case, work, announce=lambda line: click.echo(line, err=True))
    # After a failure its logs are left: the message names them.
    shutil.rmtree(work)
    return figures
