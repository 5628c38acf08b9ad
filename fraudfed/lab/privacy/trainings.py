"""One training of a curve: its scores of the rows that judge, and what it took.

One machine stands for all banks: the same trainer, and noise of the same distribution from the same
sampler. What encryption adds changes no score.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.private.train import train_private
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import NoisySoloCommunicator
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.windows import JUDGE, SELECT, labelled_table
from fraudfed.lab.oracle.references import matrix_of
from fraudfed.lab.oracle.same_trees import quantile_matrix, xgboost_parameters
from fraudfed.lab.privacy.arrays import WorldTables
from fraudfed.lab.privacy.case import EXACT, OWN, Training
from fraudfed.lab.privacy.presets import (
    EXACT_COMMON,
    EXACT_TREES,
    FEATURES_PER_TREE,
    OWN_CANDIDATES,
    PATIENCE,
    parameters_of,
)
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.noise.drawing import draw
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, TrainingWay

#: Epsilon and delta of a training without noise: the plan's noise is not drawn, and so small that
#: tests of significance, which know nothing of that, hide nothing.
_NO_BOUND = (40.0, 0.4)
#: Declared rows are a round number above the true one, as a consortium would declare them.
_ROUND_ROWS = 100_000
#: Rows scored at a time.
_SCORED_ROWS = 1 << 20


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gives.

    Attributes
    ----------
    scores : ndarray of shape (n_judged,), dtype=float32
        Margins of the rows that judge: of its bank, or of all.
    facts : mapping
        ``rows``, ``frauds``, ``trees``, ``parameters`` and ``cpu_seconds``.
    """

    scores: Float32Array
    facts: Mapping[str, Any]


def train_one(training: Training, tables: WorldTables, *, delta: float, threads: int) -> Trained:
    """Train, and score the rows that judge.

    Parameters
    ----------
    training : Training
    tables : WorldTables
    delta : float
    threads : int

    Raises
    ------
    DataError
        If a bank has rows of one class only.
    FraudFedError
        If the training fails.
    """
    began = time.process_time()
    table = tables.training_table(shared=training.shared_risk, bank=training.bank)
    judge = tables.judged_rows(JUDGE, shared=training.shared_risk, bank=training.bank)
    facts: dict[str, Any] = {
        "rows": table.n_rows,
        "frauds": int(np.count_nonzero(table.labels == 1)),
    }
    if training.model in {OWN, EXACT}:
        if facts["frauds"] in {0, table.n_rows}:
            raise DataError(
                f"{training.bank or 'all banks'}: training rows are of one class; take more "
                "customers or days, or fewer banks"
            )
        select = tables.judged_rows(SELECT, shared=training.shared_risk, bank=training.bank)
        candidates = OWN_CANDIDATES if training.model == OWN else OWN_CANDIDATES[:1]
        model, chosen = _best(candidates, table, select, threads=threads)
        scores = _exact_scores(model, judge)
        facts |= {"parameters": dict(chosen), "trees": model.num_boosted_rounds()}
    else:
        declared = -(-table.n_rows // _ROUND_ROWS) * _ROUND_ROWS
        parameters = parameters_of(
            training.model,
            epsilon=training.epsilon,
            declared_rows=declared,
            n_features=table.schema.n_features,
        )
        epsilon, of_delta = _NO_BOUND if training.epsilon is None else (training.epsilon, delta)
        terms = PrivacyTerms(
            epsilon=epsilon,
            delta=of_delta,
            way=TrainingWay(training.model),
            tolerated_colluders=0,
            declared_rows=declared,
            features_per_tree=min(FEATURES_PER_TREE, table.schema.n_features),
        )
        communicator = NoisySoloCommunicator(_no_noise if training.epsilon is None else draw)
        result = train_private(
            BoosterParams.parse(parameters), terms, table, communicator, threads=threads
        )
        parts = [
            predict_margins(
                result.model, judge.features[start : start + _SCORED_ROWS], threads=threads
            )
            for start in range(0, judge.n_rows, _SCORED_ROWS)
        ]
        scores = np.concatenate([np.empty(0, np.float32), *parts])
        facts |= {"parameters": parameters, "trees": len(result.model.trees)}
    facts["cpu_seconds"] = time.process_time() - began
    return Trained(scores, facts)


def _no_noise(_release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    return np.zeros(shape, dtype=np.int64)


def _best(
    candidates: tuple[Mapping[str, Any], ...],
    table: TrainingTable,
    select: JudgedRows,
    *,
    threads: int,
) -> tuple[xgboost.Booster, Mapping[str, Any]]:
    """Return the best candidate on the rows that select, grown as long as it gets better there."""
    known = labelled_table(select)
    evaluated = matrix_of(known, threads=threads)
    matrix = quantile_matrix(table, max_bin=EXACT_COMMON["max_bin"], threads=threads)
    start = {"base_score": float(np.mean(table.labels)), "eval_metric": "aucpr", "seed": 0}
    best: tuple[float, xgboost.Booster, Mapping[str, Any]] | None = None
    can_choose = bool((known.labels == 1).any() and (known.labels == 0).any())
    for candidate in candidates:
        settings = xgboost_parameters({**EXACT_COMMON, **candidate}, threads=threads) | start
        booster = xgboost.train(
            settings,
            matrix,
            EXACT_TREES,
            evals=[(evaluated, "select")] if can_choose else [],
            early_stopping_rounds=PATIENCE if can_choose else None,
            verbose_eval=False,
        )
        value = float(booster.best_score) if can_choose else 0.0
        if best is None or value > best[0]:
            kept = booster[: booster.best_iteration + 1] if can_choose else booster
            best = value, kept, candidate
    if best is None:
        raise ValueError("no candidates")
    return best[1], best[2]


def _exact_scores(model: xgboost.Booster, judge: JudgedRows) -> Float32Array:
    parts = [np.empty(0, np.float32)]
    for start in range(0, judge.n_rows, _SCORED_ROWS):
        features = np.ascontiguousarray(judge.features[start : start + _SCORED_ROWS])
        rows = TrainingTable(judge.schema, features, np.zeros(len(features), np.float32))
        margins = model.predict(matrix_of(rows), output_margin=True)
        parts.append(np.asarray(margins, dtype=np.float32))
    return np.concatenate(parts)
