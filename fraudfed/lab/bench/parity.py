"""Our engine against XGBoost's ``hist``, tree by tree and second by second.

Both engines get the same job: the table of values in memory, the same parameters and threads, and
in the end a model. Trees are compared on the same bins, in a run of XGBoost of its own, because
the two choose their cuts differently; with samples of rows or columns tree by tree on our draws,
because XGBoost draws others.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import xgboost

from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import TrainResult, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float64Array
from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.options import (
    F,
    FiniteRange,
    figures_of,
    missing_option,
    number_option,
    threads_option,
    workload_options,
)
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.lab.oracle.our_draws import compare_on_our_draws, has_draws
from fraudfed.lab.oracle.same_trees import (
    TreeComparison,
    compare_trees,
    installed_rules,
    quantile_matrix,
    table_of_bins,
    train_on_bins,
    xgboost_parameters,
)
from fraudfed.machine.threads import usable_cores
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True)
class ParityResult:
    """How far two models agree, and how long each engine took.

    Attributes
    ----------
    identical_trees, trees : int
        Trees that send every training row the same way, of all.
    exchanged_trees, unreached_trees : int
        Identical trees with the sides of some split exchanged, and further ones that differ for
        values that no training row of a node has.
    our_draws : bool
        Whether XGBoost was given the rows and columns of each of our trees, and our margins.
    max_leaf_difference : float
        Largest absolute difference between corresponding leaves of identical trees.
    max_margin_difference : float or None
        Largest absolute difference between the margins of the training rows after all trees; None
        with our draws, where XGBoost grows each tree from our margins.
    ratio, training_ratio : float
        Our seconds by XGBoost's: of the whole job, and of training alone.
    seconds_ours, seconds_xgboost : float
        From the table of values to the trained model, the least of ``repeats`` runs.
    preparing_seconds_ours, preparing_seconds_xgboost : float
        Thereof before the first tree: our cuts and bins, XGBoost's ``QuantileDMatrix``.
    rows, features, max_depth, max_bin, categorical, seed : int
    missing, prevalence, subsample, colsample_bytree : float
    xgboost_version : str
        Whose split rules our trees follow: those of the installed XGBoost.
    threads, repeats : int
    kernel : str
        ``compiled``, or ``numpy`` and why.
    cpu : str
    versions : dict of str to str
    """

    identical_trees: int
    trees: int
    exchanged_trees: int
    unreached_trees: int
    our_draws: bool
    max_leaf_difference: float
    max_margin_difference: float | None
    ratio: float
    training_ratio: float
    seconds_ours: float
    seconds_xgboost: float
    preparing_seconds_ours: float
    preparing_seconds_xgboost: float
    rows: int
    features: int
    max_depth: int
    max_bin: int
    missing: float
    categorical: int
    prevalence: float
    subsample: float
    colsample_bytree: float
    seed: int
    xgboost_version: str
    threads: int
    repeats: int
    kernel: str
    cpu: str
    versions: dict[str, str]

    def to_text(self) -> str:
        """Return a short report for the terminal."""
        used = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        compared = TreeComparison(
            self.identical_trees,
            self.trees,
            self.max_leaf_difference,
            self.exchanged_trees,
            self.unreached_trees,
        )
        margins = self.max_margin_difference
        return "\n".join(
            (
                f"identical trees        {self.identical_trees} of {self.trees}{compared.remarks}",
                "draws                  "
                + ("ours, given to xgboost tree by tree" if self.our_draws else "none"),
                f"largest leaf diff.     {self.max_leaf_difference:.2e}",
                "largest margin diff.   "
                + ("not compared" if margins is None else f"{margins:.2e}"),
                f"seconds, fraudfed      {self.seconds_ours:.2f}  "
                f"(cuts and bins {self.preparing_seconds_ours:.2f})",
                f"seconds, xgboost hist  {self.seconds_xgboost:.2f}  "
                f"(QuantileDMatrix {self.preparing_seconds_xgboost:.2f})",
                f"ratio                  {self.ratio:.2f}  (training alone "
                f"{self.training_ratio:.2f}; least of {self.repeats}, {self.threads} threads)",
                f"rows x features        {self.rows} x {self.features}, depth {self.max_depth}, "
                f"max_bin {self.max_bin}, missing {self.missing:g}, "
                f"categorical {self.categorical}, prevalence {self.prevalence:g}, "
                f"subsample {self.subsample:g}, colsample_bytree {self.colsample_bytree:g}, "
                f"seed {self.seed}",
                f"split rules of         xgboost {self.xgboost_version}",
                f"kernel                 {self.kernel}",
                f"cpu                    {self.cpu}",
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
    subsample: float = 1.0,
    colsample_bytree: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
    repeats: int = 1,
) -> ParityResult:
    """Train both engines on the same synthetic rows, time them, and compare every tree.

    Ours follows the split rules of the installed XGBoost. See ``lab.oracle.same_rows`` for what
    identical means, and ``lab.oracle.our_draws`` for samples of rows and columns. Without
    ``threads``, both use as many as the process may use cores.
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
        "subsample": subsample,
        "colsample_bytree": colsample_bytree,
        "seed": seed,
        "num_boost_round": trees,
        "xgboost_version": installed_rules(),
    }
    params = BoosterParams.parse(settings)
    threads = usable_cores() if threads is None else threads
    # In turn, so that both meet the same moments of a busy machine.
    ours: list[_Times] = []
    theirs: list[_Times] = []
    for _ in range(repeats):
        result, times = _train_ours(table, params, threads=threads)
        ours.append(times)
        theirs.append(_train_xgboost(table, params, settings, threads=threads))
    our_least, their_least = _Times.least(ours), _Times.least(theirs)

    our_draws = has_draws(params)
    model = result.model.to_json()
    if our_draws:
        compared = compare_on_our_draws(model, table, result.cuts, settings, threads=threads)
        margin_difference = None
    else:
        codes = table_of_bins(table, result.cuts)
        booster = train_on_bins(codes, params, settings, threads=threads)
        compared = compare_trees(model, booster, result.cuts, codes)
        margin_difference = float(np.abs(_margins(booster, codes) - result.margins).max())
    machine = Machine.here("xgboost", "numpy")
    return ParityResult(
        identical_trees=compared.identical,
        trees=compared.trees,
        exchanged_trees=compared.exchanged,
        unreached_trees=compared.unreached,
        our_draws=our_draws,
        max_leaf_difference=compared.max_leaf_difference,
        max_margin_difference=margin_difference,
        ratio=our_least.total / their_least.total,
        training_ratio=our_least.training / their_least.training,
        seconds_ours=our_least.total,
        seconds_xgboost=their_least.total,
        preparing_seconds_ours=our_least.preparing,
        preparing_seconds_xgboost=their_least.preparing,
        rows=rows,
        features=features,
        max_depth=max_depth,
        max_bin=max_bin,
        missing=missing,
        categorical=categorical,
        prevalence=prevalence,
        subsample=subsample,
        colsample_bytree=colsample_bytree,
        seed=seed,
        xgboost_version=params.xgboost_version,
        threads=threads,
        repeats=repeats,
        kernel=load_engine().name,
        cpu=machine.cpu,
        versions=machine.versions,
    )


@dataclass(frozen=True)
class _Times:
    """Seconds of one run, or the least of several, part by part."""

    preparing: float
    training: float
    total: float

    @classmethod
    def least(cls, runs: list["_Times"]) -> "_Times":
        return cls(
            preparing=min(run.preparing for run in runs),
            training=min(run.training for run in runs),
            total=min(run.total for run in runs),
        )


def _train_ours(
    table: TrainingTable, params: BoosterParams, *, threads: int
) -> tuple[TrainResult, _Times]:
    """Train, and find cuts and bins once more by themselves: training is the rest."""
    started = time.perf_counter()
    shard = LocalShard(table, load_engine(threads))
    shard.bin(
        find_cuts(shard, SoloCommunicator(), max_bin=params.max_bin, n_rows_total=table.n_rows)
    )
    prepared = time.perf_counter()
    result = train(params, table, SoloCommunicator(), threads=threads)
    total = time.perf_counter() - prepared
    preparing = prepared - started
    return result, _Times(preparing, max(total - preparing, 0.0), total)


def _train_xgboost(
    table: TrainingTable, params: BoosterParams, settings: Mapping[str, Any], *, threads: int
) -> _Times:
    started = time.perf_counter()
    matrix = quantile_matrix(table, max_bin=params.max_bin, threads=threads)
    prepared = time.perf_counter()
    xgboost.train(
        xgboost_parameters(settings, threads=threads),
        matrix,
        num_boost_round=params.num_boost_round,
    )
    ended = time.perf_counter()
    return _Times(prepared - started, ended - prepared, ended - started)


def _margins(booster: xgboost.Booster, codes: TrainingTable) -> Float64Array:
    matrix = xgboost.DMatrix(
        codes.features,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
    )
    margins: Float64Array = booster.predict(matrix, output_margin=True).astype(np.float64)
    return margins


def _fraction_option(name: str, text: str) -> Callable[[F], F]:
    """``name``: a share above 0, by default all."""
    kind = FiniteRange(0.0, 1.0, min_open=True)
    return click.option(name, type=kind, default=1.0, show_default=True, help=text)


@click.command("parity")
@workload_options
@missing_option
@number_option("--categorical", 0, "How many of the features are categorical.", least=0)
@_fraction_option("--subsample", "Share of rows that each tree draws.")
@_fraction_option("--colsample-bytree", "Share of features that each tree draws.")
@threads_option("Threads of either engine.")
@number_option("--repeats", 3, "Runs of either engine, in turn; the least seconds count.")
@figures_of(ParityResult)
def parity_command(
    rows: int,
    features: int,
    trees: int,
    max_depth: int,
    max_bin: int,
    missing: float,
    categorical: int,
    prevalence: float,
    subsample: float,
    colsample_bytree: float,
    seed: int,
    threads: int | None,
    repeats: int,
) -> ParityResult:
    """Compare our engine with the installed XGBoost's hist: every tree, and the time of both."""
    if categorical > features:
        raise click.BadParameter(
            f"{categorical} of {features} features; expected at most {features}",
            param_hint="--categorical",
        )
    return run_parity(
        rows,
        features,
        trees,
        max_depth,
        max_bin,
        missing=missing,
        categorical=categorical,
        prevalence=prevalence,
        subsample=subsample,
        colsample_bytree=colsample_bytree,
        seed=seed,
        threads=threads,
        repeats=repeats,
    )
