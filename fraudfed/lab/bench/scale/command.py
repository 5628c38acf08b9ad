"""``fraudfed bench scale``: time by phase and memory by process as rows grow, features fixed.

Rows are generated and written a block at a time, read by the bank nodes as partitioned Parquet,
and read by pooled XGBoost out of the same files. What encryption takes must not grow with rows.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import (
    figures_of,
    key_bits_option,
    number_option,
    threads_option,
)
from fraudfed.lab.bench.scale.pooled import PooledCost, train_pooled
from fraudfed.lab.bench.scale.result import CRYPTO_PHASES, ScaleCase, ScaleFigures, SizeFigures
from fraudfed.lab.bench.scale.rows import bank_rows, scale_contract, write_banks
from fraudfed.lab.bench.train.own_machine import own_machines
from fraudfed.lab.bench.train.result import BankCost
from fraudfed.lab.local_federation.run import RunOutcome, open_federation
from fraudfed.lab.oracle.same_trees import installed_rules

_SIZES = (300_000, 3_000_000, 30_000_000)


def run_scale(
    case: ScaleCase,
    sizes: Sequence[int],
    work: Path,
    *,
    announce: Callable[[str], None] = lambda _line: None,
) -> ScaleFigures:
    """Train one case at several numbers of rows.

    Parameters
    ----------
    case : ScaleCase
    sizes : sequence of int
        Rows of all banks together, ascending.
    work : Path
        For files, states and logs: of one number of rows at a time.
    announce : callable
        Given a line at the start of every stage.

    Raises
    ------
    FraudFedError
        The error of the first program that failed.
    """
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    found = []
    for rows in sizes:
        folder = work / str(rows)
        folder.mkdir()
        found.append(_run_size(case, rows, folder, announce))
        shutil.rmtree(folder)
    crypto = [size.crypto_cpu_seconds for size in found]
    return ScaleFigures(
        sizes=tuple(found),
        crypto_spread=max(crypto) / min(crypto),
        case=case,
        date=date,
        load_average=load,
        machine=Machine.here("xgboost", "numpy", "gmpy2"),
    )


def _run_size(
    case: ScaleCase, rows: int, work: Path, announce: Callable[[str], None]
) -> SizeFigures:
    announce(f"{rows:,} rows are written")
    started = time.perf_counter()
    directories = write_banks(
        bank_rows(rows, case.shares),
        case.features,
        work / "rows",
        prevalence=case.prevalence,
        seed=case.seed,
    )
    generated = time.perf_counter() - started
    parameters = {
        "num_boost_round": case.trees,
        "max_depth": case.max_depth,
        "max_bin": case.max_bin,
        "xgboost_version": installed_rules(),
    }
    pooled: list[PooledCost] = []
    for external in (False, True) if case.external_memory else (False,):
        announce("pooled xgboost" + (", external memory" if external else ""))
        pooled.append(
            train_pooled(
                list(directories.values()),
                parameters,
                threads=case.threads,
                external_memory=external,
            )
        )
    announce(f"{len(directories)} banks train {case.trees} trees")
    (work / "banks").mkdir()
    with open_federation(
        tuple(directories), key_bits=case.key_bits, work=work / "banks"
    ) as federation:
        run = federation.train(
            directories,
            name="bench",
            contract=scale_contract(case.features),
            parameters=parameters,
            threads=case.threads,
            options=() if case.memory_limit is None else ("--memory-limit", case.memory_limit),
            engines=_engines(case, next(iter(directories))),
        )
    return _figures(case, rows, run, pooled, generated, _size_of(directories.values()))


def _engines(case: ScaleCase, largest: str) -> dict[str, tuple[str, ...]]:
    if case.engine == "local":
        return {}
    return {largest: ("--engine", case.engine, "--workers", str(case.threads))}


def _size_of(directories: Iterable[Path]) -> int:
    return sum(file.stat().st_size for folder in directories for file in folder.iterdir())


def _figures(
    case: ScaleCase,
    rows: int,
    run: RunOutcome,
    pooled: list[PooledCost],
    generated: float,
    file_bytes: int,
) -> SizeFigures:
    records = [bank.record for bank in run.banks]
    seconds = max(record["last_process"]["run_seconds"] for record in records)
    alone = own_machines(
        {record["bank"]: record["last_process"] for record in records},
        aggregator_cpu_seconds=run.aggregator.cpu_seconds,
        cores=case.threads,
    )
    banks = sorted((BankCost.of(record) for record in records), key=lambda bank: -bank.rows)
    reference = pooled[0].train_seconds
    return SizeFigures(
        rows=rows,
        file_bytes=file_bytes,
        generate_seconds=generated,
        ratio=seconds / reference,
        ratio_own_machines=alone.seconds / reference,
        encrypted_seconds=seconds,
        own_machine_seconds=alone.seconds,
        wall_seconds=run.seconds,
        rounds=run.status.round_number,
        crypto_cpu_seconds=sum(banks[0].cpu_seconds.get(phase, 0.0) for phase in CRYPTO_PHASES),
        banks=tuple(banks),
        aggregator_cpu_seconds=run.aggregator.cpu_seconds,
        aggregator_peak_memory_bytes=run.aggregator.peak_bytes,
        pooled=tuple(pooled),
        model_sha256=hashlib.sha256(run.result).hexdigest(),
    )


@click.command("scale")
@click.option(
    "--rows",
    "sizes",
    type=click.IntRange(300, 2**31),
    multiple=True,
    default=_SIZES,
    help="Rows of all banks together; may be given several times.  [default: 0.3, 3, 30 million]",
)
@number_option("--features", ScaleCase.features, "Features of a row.", most=4096)
@number_option("--trees", ScaleCase.trees, "Trees of the model.")
@key_bits_option
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="What does the work on the rows of the largest bank; dask with --threads workers.",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    default=None,
    help="Of each bank node, as `bank-node train --memory-limit`.",
)
@click.option(
    "--external-memory",
    is_flag=True,
    help="Measure XGBoost in its external memory mode as well: many times slower.",
)
@threads_option("Of each bank node and of XGBoost.")
@figures_of(ScaleFigures)
def scale_command(
    sizes: tuple[int, ...],
    features: int,
    trees: int,
    key_bits: int,
    engine: str,
    memory_limit: str | None,
    external_memory: bool,
    threads: int,
) -> ScaleFigures:
    """Measure one training as rows grow, out of partitioned files, beside pooled XGBoost."""
    case = ScaleCase(
        features=features,
        trees=trees,
        key_bits=key_bits,
        engine=engine,
        memory_limit=memory_limit,
        external_memory=external_memory,
        threads=threads,
    )
    work = Path(tempfile.mkdtemp(prefix="fraudfed-bench-"))
    figures = run_scale(
        case, sorted(set(sizes)), work, announce=lambda line: click.echo(line, err=True)
    )
    # After a failure its logs are left: the message names them.
    shutil.rmtree(work)
    return figures
