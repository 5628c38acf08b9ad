"""``fraudfed privacy curve``: what a bound costs, beside what banks have alone.

Every training is kept as soon as it is done, so that the command can be stopped and asked again.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from data_gen.settings.config import WorldConfig
from data_gen.settings.presets import PRESETS
from fraudfed.console import say
from fraudfed.durable_file import write_atomic
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.intake.windows import JUDGE, TRAIN
from fraudfed.lab.bench.options import FiniteRange, figures_of, number_option, threads_option
from fraudfed.lab.privacy.arrays import WorldTables
from fraudfed.lab.privacy.case import CurveCase, trainings_of
from fraudfed.lab.privacy.figures import points_of
from fraudfed.lab.privacy.presets import EPSILONS
from fraudfed.lab.privacy.result import CurveFigures
from fraudfed.lab.privacy.results import CurveResults
from fraudfed.lab.privacy.tables import write_tables
from fraudfed.lab.privacy.trainings import train_one
from fraudfed.lab.privacy.worlds import write_world
from fraudfed.lab.report.privacy_curve import curve_page, curve_plot
from fraudfed.privacy.terms import TrainingWay

_CASE = "case.json"


def run_curve(
    case: CurveCase,
    tables: WorldTables,
    work: Path,
    *,
    threads: int,
    trains: bool = True,
    announce: Callable[[str], None] = lambda _line: None,
) -> CurveFigures:
    """Train what is missing, and compute the figures of all that is there.

    Parameters
    ----------
    case : CurveCase
    tables : WorldTables
    work : Path
        Keeps the trainings, and gets ``curve.json``, ``curve.svg`` and ``curve.html``.
    threads : int
    trains : bool
        False only computes the figures of what is there.
    announce : callable
        Given a line before every training.

    Raises
    ------
    StateError
        If the folder holds trainings of another world or another delta.
    DataError, FraudFedError
        As ``train_one``.
    """
    work.mkdir(parents=True, exist_ok=True)
    _claim(work, case, tables)
    results = CurveResults(work)
    if case.shared_risk and not tables.has_shared:
        raise ConfigurationError(
            "--shared-risk: a table has no features of shared risk; leave it out"
        )
    wanted = list(trainings_of(case, tables.banks, has_shared=tables.has_shared))
    done = results.done()
    for number, training in enumerate(wanted, start=1):
        if training.name in done or not trains:
            continue
        announce(f"training {number} of {len(wanted)}: {training.name}")
        results.add(training, train_one(training, tables, delta=case.delta, threads=threads), {})
    figures = figures_from(case, tables, results)
    document = asdict(figures)
    write_atomic(work / "curve.json", json.dumps(document, indent=1).encode())
    write_atomic(work / "curve.svg", curve_plot(document).encode())
    write_atomic(work / "curve.html", curve_page(document).encode())
    return figures


def figures_from(case: CurveCase, tables: WorldTables, results: CurveResults) -> CurveFigures:
    """Compute the figures of the trainings that are done."""
    points, own = points_of(case, tables, results)
    done = results.done()
    labels, judged = (
        tables.column(window, "labels")[tables.rows(window)] for window in (TRAIN, JUDGE)
    )
    return CurveFigures(
        rows=int(labels.size),
        frauds=int(np.count_nonzero(labels == 1)),
        judged_rows=int(np.count_nonzero(~np.isnan(judged))),
        judged_frauds=int(np.count_nonzero(judged == 1)),
        banks=len(tables.banks),
        features=tables.schema_of(shared=case.shared_risk).n_features,
        note=str(tables.facts["note"]),
        points=tuple(points),
        own=tuple(own),
        case=case,
        missing=tuple(
            each.name
            for each in trainings_of(case, tables.banks, has_shared=tables.has_shared)
            if each.name not in done
        ),
    )


def _claim(work: Path, case: CurveCase, tables: WorldTables) -> None:
    """Hold a folder to one world and one delta: names of trainings say the rest."""
    claim: dict[str, Any] = {"world": tables.facts["config"], "delta": case.delta}
    file = work / _CASE
    text = json.dumps(claim, indent=1, sort_keys=True)
    if not file.is_file():
        write_atomic(file, text.encode())
    elif file.read_text(encoding="utf-8") != text:
        raise StateError(
            f"{work}: holds trainings of another world or another delta; choose another --out, or "
            "give the same options as before"
        )


@click.command("curve")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the world, the trainings and the plot; the same folder goes on.",
)
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of features, .parquet or .csv, instead of a world.",
)
@click.option("--label", help="With --table: its column of 0 and 1.")
@click.option("--bank-column", help="With --table: the column that says whose row it is.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="retail",
    show_default=True,
    help="World to start from.",
)
@number_option("--customers", 2_000, "Customers of all banks together.", least=60)
@number_option("--days", 180, "Days of the world; somewhat less than half of them train.", least=60)
@number_option("--banks", 16, "Number of banks.", least=3, most=676)
@click.option(
    "--size-exponent",
    type=FiniteRange(0.0, 3.0),
    default=0.6,
    show_default=True,
    help="How unequal banks are: 0 makes them equal.",
)
@number_option("--seed", 1, "Name of the world; noise is never the same.", least=0)
@click.option(
    "--way",
    "ways",
    type=click.Choice([way.value for way in TrainingWay]),
    multiple=True,
    help="Way of training, may be given several times.  [default: all]",
)
@click.option(
    "--epsilon",
    "epsilons",
    type=FiniteRange(0.01, 100.0),
    multiple=True,
    help="Bound beside none, may be given several times.  [default: 10, 3, 1, 0.3]",
)
@number_option("--repeats", 5, "Trainings with fresh noise for each way and epsilon.")
@click.option(
    "--delta",
    type=FiniteRange(1e-12, 1e-3),
    default=1e-6,
    show_default=True,
    help="Of every bound.",
)
@click.option(
    "--shared-risk", is_flag=True, help="Features of shared risk for the consortium's model, too."
)
@number_option("--reference-banks", 16, "Banks that train alone, of all sizes.", least=0)
@click.option(
    "--exact/--no-exact",
    default=True,
    show_default=True,
    help="Train an exact model over all rows, too.",
)
@click.option(
    "--train/--no-train",
    "trains",
    default=True,
    show_default=True,
    help="Train what is missing; else show the figures of what is there.",
)
@threads_option("Threads.")
@figures_of(CurveFigures)
def curve_command(
    out: Path,
    table: Path | None,
    label: str | None,
    bank_column: str | None,
    preset: str,
    customers: int,
    days: int,
    banks: int,
    size_exponent: float,
    seed: int,
    ways: tuple[str, ...],
    epsilons: tuple[float, ...],
    repeats: int,
    delta: float,
    shared_risk: bool,
    reference_banks: int,
    exact: bool,
    trains: bool,
    threads: int,
) -> CurveFigures:
    """Train over bounds and ways, and plot what they cost beside what banks have alone.

    One machine stands for all banks, with the trainer and the noise of a run. Stopped and asked
    again, it goes on where it was.
    """
    case = CurveCase(
        ways=ways or tuple(way.value for way in TrainingWay),
        epsilons=epsilons or EPSILONS,
        repeats=repeats,
        delta=delta,
        shared_risk=shared_risk,
        reference_banks=reference_banks,
        exact=exact,
    )
    if table is not None and label is None:
        raise ConfigurationError("--table: say by --label which column is 0 and 1")
    if table is None and (label is not None or bank_column is not None):
        raise ConfigurationError("--label, --bank-column: give them with --table only")
    if table is not None and label is not None:
        say("table: divide its rows over banks", err=True)
        tables = write_tables(
            table, out / "rows", label=label, bank_column=bank_column, n_banks=banks, seed=seed
        )
    else:
        config = world_of(
            preset,
            customers=customers,
            days=days,
            banks=banks,
            size_exponent=size_exponent,
            seed=seed,
        )
        say("world: make banks and their features", err=True)
        tables = write_world(config, out / "rows")
        if tables.facts["config"] != json.loads(json.dumps(config.as_dict())):
            raise StateError(f"{out}: holds other rows; choose another --out")
    return run_curve(
        case, tables, out, threads=threads, trains=trains, announce=lambda line: say(line, err=True)
    )


def world_of(
    preset: str, *, customers: int, days: int, banks: int, size_exponent: float, seed: int
) -> WorldConfig:
    """Return a preset's world of another size; what lies beyond its end is left out.

    Raises
    ------
    ConfigurationError
        If there is no such world.
    """
    start = PRESETS[preset]
    return start.replace(
        customers=customers,
        days=days,
        banks=banks,
        size_exponent=size_exponent,
        seed=seed,
        drift_days=tuple(day for day in start.drift_days if day < days),
    )
