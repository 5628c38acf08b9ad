"""``fraudfed bench train``: a federation of real processes against XGBoost on the pooled rows."""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import (
    FiniteRange,
    figures_of,
    key_bits_option,
    number_option,
    threads_option,
    workload_options,
)
from fraudfed.lab.bench.train.own_machine import own_machines
from fraudfed.lab.bench.train.result import (
    BankCost,
    NetworkTraffic,
    Reference,
    TrainCase,
    TrainFigures,
)
from fraudfed.lab.bench.train.round_cost import RoundCost
from fraudfed.lab.bench.workload import synthetic_table, table_contract, write_shares
from fraudfed.lab.local_federation.network import EmulatedNetwork
from fraudfed.lab.local_federation.run import open_federation
from fraudfed.lab.oracle.references import train_reference
from fraudfed.lab.oracle.same_trees import (
    TreeComparison,
    compare_trees,
    installed_rules,
    table_of_bins,
    train_on_bins,
)
from fraudfed.parameters import BoosterParams

#: Reference trainings before the federation, and as many after it: at least so many, and short ones
#: until they took so long together.
_REFERENCE_REPEATS = 2
_REFERENCE_SECONDS = 2.0


def run_train(
    case: TrainCase, work: Path, *, announce: Callable[[str], None] = lambda _line: None
) -> TrainFigures:
    """Train one case encrypted and pooled, and compare.

    Parameters
    ----------
    case : TrainCase
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
    parameters = {
        "num_boost_round": case.trees,
        "max_depth": case.max_depth,
        "max_bin": case.max_bin,
        "xgboost_version": installed_rules(),
    }
    files = write_shares(table, case.shares, work)
    links = _networks(case, files)
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    announce(f"pooled xgboost on {case.rows} rows")
    pooled = _reference_seconds(table, parameters, case.threads)
    announce(f"{len(files)} banks train {case.trees} trees over {case.key_bits}-bit Paillier")
    with open_federation(
        tuple(files),
        key_bits=case.key_bits,
        work=work,
        network=lambda bank, url: links[bank].to(url) if links else nullcontext(url),
    ) as federation:
        run = federation.train(
            files,
            name="bench",
            contract=table_contract(table),
            parameters=parameters,
            threads=case.threads,
        )
    announce("pooled xgboost once more, and the same trees on the same bins")
    pooled += _reference_seconds(table, parameters, case.threads)
    compared = same_trees_as_xgboost(run.result, table, parameters, case.threads)
    records = [bank.record for bank in run.banks]
    seconds = max(record["last_process"]["run_seconds"] for record in records)
    reference = statistics.median(pooled)
    banks, rounds = tuple(BankCost.of(record) for record in records), run.status.round_number
    alone = own_machines(
        {record["bank"]: record["last_process"] for record in records},
        aggregator_cpu_seconds=run.aggregator.cpu_seconds,
        cores=case.threads,
    )
    return TrainFigures(
        ratio=seconds / reference,
        ratio_own_machines=alone.seconds / reference,
        identical_trees=compared.identical,
        trees=compared.trees,
        max_leaf_difference=compared.max_leaf_difference,
        encrypted_seconds=seconds,
        reference=Reference(reference, tuple(pooled)),
        own_machines=alone,
        set_up_seconds={
            "consortium": federation.set_up_seconds,
            "processes": run.seconds - seconds,
        },
        rounds=rounds,
        round_trips_per_round=max(sum(bank.requests.values()) for bank in banks) / rounds,
        banks=banks,
        aggregator_cpu_seconds=run.aggregator.cpu_seconds,
        round_cost=RoundCost.of(
            {record["bank"]: record["last_process"] for record in records},
            run.status.public_key,
            aggregator_cpu_seconds=run.aggregator.cpu_seconds,
            rounds=rounds,
        ),
        aggregator_peak_memory_bytes=run.aggregator.peak_bytes,
        network=tuple(
            NetworkTraffic(bank, link.up.n_bytes, link.down.n_bytes, link.connections)
            for bank, link in links.items()
        ),
        load_average=load,
        case=case,
        kernel=records[0]["kernel"],
        date=date,
        machine=Machine.here("xgboost", "numpy", "gmpy2"),
    )


def _networks(case: TrainCase, banks: Iterable[str]) -> dict[str, EmulatedNetwork]:
    if case.rtt_ms is None and case.mbit is None:
        return {}
    rtt_seconds = (case.rtt_ms or 0.0) / 1000
    return {
        bank: EmulatedNetwork(rtt_seconds=rtt_seconds, mbit_per_second=case.mbit) for bank in banks
    }


def _reference_seconds(
    table: TrainingTable, parameters: dict[str, Any], threads: int
) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < _REFERENCE_REPEATS or sum(seconds) < _REFERENCE_SECONDS:
        started = time.perf_counter()
        train_reference(table, parameters, threads=threads)
        seconds.append(time.perf_counter() - started)
    return seconds


def same_trees_as_xgboost(
    model_json: bytes, table: TrainingTable, parameters: dict[str, Any], threads: int
) -> TreeComparison:
    """Compare a model with XGBoost's on the pooled rows and the same bins, tree by tree."""
    params = BoosterParams.parse(parameters)
    cuts = find_cuts(
        LocalShard(table), SoloCommunicator(), max_bin=params.max_bin, n_rows_total=table.n_rows
    )
    codes = table_of_bins(table, cuts)
    stock = train_on_bins(codes, params, parameters, threads=threads)
    return compare_trees(model_json, stock, cuts, codes)


def _parse_shares(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r}; expected numbers, as in 50,30,20") from None
    if not all(0 < share < float("inf") for share in shares):
        raise click.BadParameter(f"{text!r}; expected numbers above 0")
    return shares


@click.command("train")
@workload_options
@number_option("--banks", 3, "Number of banks.", least=3, most=100)
@click.option(
    "--shares",
    callback=_parse_shares,
    default=None,
    metavar="N,N,...",
    help="Each bank's part of the rows.  [default: 50,30,20 of three banks, else equal]",
)
@key_bits_option
@click.option(
    "--rtt",
    "rtt_ms",
    type=FiniteRange(0.0, 10_000.0),
    default=None,
    metavar="MS",
    help="Emulate a network with this round trip between each bank and the aggregator.",
)
@click.option(
    "--mbit",
    type=FiniteRange(0.0, min_open=True),
    default=None,
    metavar="N",
    help="Emulate a network with this many Mbit/s of each bank in each direction.",
)
@threads_option("Of each bank node and of XGBoost.")
@figures_of(TrainFigures)
def train_command(
    rows: int,
    features: int,
    trees: int,
    max_depth: int,
    max_bin: int,
    banks: int,
    shares: tuple[float, ...] | None,
    key_bits: int,
    prevalence: float,
    rtt_ms: float | None,
    mbit: float | None,
    threads: int,
    seed: int,
) -> TrainFigures:
    """Compare encrypted training over real processes with XGBoost on the pooled rows."""
    if shares is None:
        shares = TrainCase.shares if banks == len(TrainCase.shares) else (1.0,) * banks
    if len(shares) != banks:
        raise click.BadParameter(
            f"{len(shares)} shares for {banks} banks; expected one for each", param_hint="--shares"
        )
    case = TrainCase(
        rows=rows,
        features=features,
        trees=trees,
        max_depth=max_depth,
        max_bin=max_bin,
        shares=shares,
        key_bits=key_bits,
        prevalence=prevalence,
        threads=threads,
        seed=seed,
        rtt_ms=rtt_ms,
        mbit=mbit,
    )
    work = Path(tempfile.mkdtemp(prefix="fraudfed-bench-"))
    figures = run_train(case, work, announce=lambda line: click.echo(line, err=True))
    # After a failure its logs are left: the message names them.
    shutil.rmtree(work)
    return figures
