"""Our engine against XGBoost's ``hist`` on the same bins, tree by tree and second by second."""

import dataclasses
import json
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version

import click
import numpy as np
import xgboost

from fraudfed.bench.same_trees import (
    compare_trees,
    installed_rules,
    table_of_bins,
    train_on_bins,
)
from fraudfed.bench.workload import synthetic_table
from fraudfed.boosting.params import BoosterParams
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float64Array

__all__ = ["ParityResult", "parity_command", "run_parity"]


@dataclass(frozen=True)
class ParityResult:
    """How far two models agree, and how long each engine took.

    Attributes
    ----------
    identical_trees, trees : int
        Trees with the same splits, of all.
    max_leaf_difference : float
        Largest absolute difference between corresponding leaves of identical trees.
    max_margin_difference : float
        Largest absolute difference between the margins of the training rows.
    seconds_ours, seconds_xgboost : float
        From the table to the trained model. Ours includes the search for cuts, XGBoost's the
        building of its matrix from bin numbers.
    rows, features, max_depth, max_bin, categorical, seed : int
    missing, prevalence : float
    xgboost_version : str
        Whose split rules our trees follow: those of the installed XGBoost.
    threads : int
        Cores this process may use: XGBoost's ``nthread``. Our engine is NumPy, whose elementwise
        operations run on one of them.
    versions : dict of str to str
    """

    identical_trees: int
    trees: int
    max_leaf_difference: float
    max_margin_difference: float
    seconds_ours: float
    seconds_xgboost: float
    rows: int
    features: int
    max_depth: int
    max_bin: int
    missing: float
    categorical: int
    prevalence: float
    seed: int
    xgboost_version: str
    threads: int
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return every field as one JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def to_text(self) -> str:
        """Return a short report for the terminal."""
        ratio = self.seconds_ours / self.seconds_xgboost
        used = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return "\n".join(
            (
                f"identical trees        {self.identical_trees} of {self.trees}",
                f"largest leaf diff.     {self.max_leaf_difference:.2e}",
                f"largest margin diff.   {self.max_margin_difference:.2e}",
                f"seconds, fraudfed      {self.seconds_ours:.2f}",
                f"seconds, xgboost hist  {self.seconds_xgboost:.2f}  (ratio {ratio:.1f}, "
                f"{self.threads} threads)",
                f"rows x features        {self.rows} x {self.features}, depth {self.max_depth}, "
                f"max_bin {self.max_bin}, missing {self.missing:g}, "
                f"categorical {self.categorical}, prevalence {self.prevalence:g}, "
                f"seed {self.seed}",
                f"split rules of         xgboost {self.xgboost_version}",
                f"versions               {used}",
            )
        )


def run_parity(
    rows: int = 300_000,
    features: int = 30,
    trees: int = 50,
    max_depth: int = 5,
    max_bin: int = 64,
    *,
    missing: float = 0.0,
    categorical: int = 0,
    prevalence: float = 0.02,
    seed: int = 0,
) -> ParityResult:
    """Train both engines on the same synthetic rows and bins and compare every tree.

    Ours is given the values and finds the cuts; XGBoost is given the numbers of our bins, which
    saves it the search for cuts. Ours follows the split rules of the installed XGBoost. See
    ``fraudfed.bench.same_trees`` for what identical means.
    """
    table = synthetic_table(
        rows,
        features,
        np.random.default_rng(seed),
        missing=missing,
        categorical=categorical,
        prevalence=prevalence,
    )
    settings = {
        "max_depth": max_depth,
        "max_bin": max_bin,
        "xgboost_version": installed_rules(),
    }
    params = BoosterParams.parse({**settings, "num_boost_round": trees})
    started = time.perf_counter()
    ours = train(params, table, SoloCommunicator())
    seconds_ours = time.perf_counter() - started

    threads = _usable_cores()
    codes = table_of_bins(table, ours.cuts)
    started = time.perf_counter()
    booster = train_on_bins(codes, params, settings, threads=threads)
    seconds_xgboost = time.perf_counter() - started

    compared = compare_trees(ours.model.to_json(), booster, ours.cuts, codes)
    margins = _margins(booster, codes)
    return ParityResult(
        identical_trees=compared.identical,
        trees=compared.trees,
        max_leaf_difference=compared.max_leaf_difference,
        max_margin_difference=float(np.abs(margins - ours.margins).max()),
        seconds_ours=seconds_ours,
        seconds_xgboost=seconds_xgboost,
        rows=rows,
        features=features,
        max_depth=max_depth,
        max_bin=max_bin,
        missing=missing,
        categorical=categorical,
        prevalence=prevalence,
        seed=seed,
        xgboost_version=params.xgboost_version,
        threads=threads,
        versions={
            "python": platform.python_version(),
            "fraudfed": version("fraudfed"),
            "xgboost": xgboost.__version__,
            "numpy": np.__version__,
        },
    )


def _margins(booster: xgboost.Booster, codes: TrainingTable) -> Float64Array:
    matrix = xgboost.DMatrix(
        codes.features,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
    )
    margins: Float64Array = booster.predict(matrix, output_margin=True).astype(np.float64)
    return margins


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command("parity")
@click.option("--rows", type=click.IntRange(min=100), default=300_000, show_default=True)
@click.option("--features", type=click.IntRange(1, 4096), default=30, show_default=True)
@click.option("--trees", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--max-depth", type=click.IntRange(1, 30), default=5, show_default=True)
@click.option("--max-bin", type=click.IntRange(2, 256), default=64, show_default=True)
@click.option(
    "--missing",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of values that are missing.",
)
@click.option(
    "--categorical",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many of the features are categorical.",
)
@click.option(
    "--prevalence",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.02,
    show_default=True,
    help="Share of positives.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def parity_command(
    rows: int,
    features: int,
    trees: int,
    max_depth: int,
    max_bin: int,
    missing: float,
    categorical: int,
    prevalence: float,
    seed: int,
    as_json: bool,
) -> None:
    """Compare our trees with those of the installed XGBoost's hist on the same bins."""
    if categorical > features:
        raise click.BadParameter(
            f"{categorical} of {features} features; expected at most {features}",
            param_hint="--categorical",
        )
    result = run_parity(
        rows,
        features,
        trees,
        max_depth,
        max_bin,
        missing=missing,
        categorical=categorical,
        prevalence=prevalence,
        seed=seed,
    )
    click.echo(result.to_json() if as_json else result.to_text())
