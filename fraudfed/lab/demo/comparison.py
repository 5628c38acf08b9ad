"""What each model says of the rows that judge: the banks' own, the shared ones, the impossible one.

Every model is fitted by the same plan on the same windows, or with the same fixed parameters.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

import xgboost

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.windows import labelled_table
from fraudfed.lab.demo.data import BankRows, DemoData, pick_features, with_features
from fraudfed.lab.demo.plan import Fitting
from fraudfed.lab.demo.runs import Runs
from fraudfed.lab.demo.tuning import FittedModel, fit_alone
from fraudfed.lab.oracle.references import pool, predict
from fraudfed.lab.oracle.verification import Verification, verify_training
from fraudfed.lab.report.facts import Choice
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores of every model, and with what it was fitted.

    Attributes
    ----------
    scores : dict of str to list of ndarray of shape (n_judge_rows,), dtype=float32, or None
        By names of ``MODELS``: an array for each bank; None where a bank has only one class to
        train on.
    own : dict of str to list of Choice or None
        Of the banks' own models.
    common : dict of str to Choice
        Of the models that all banks have in common.
    """

    scores: dict[str, list[Float32Array | None]] = field(default_factory=dict)
    own: dict[str, list[Choice | None]] = field(default_factory=dict)
    common: dict[str, Choice] = field(default_factory=dict)


def compare_models(
    data: DemoData,
    runs: Runs,
    rows: Sequence[BankRows],
    of_nodes: Sequence[Float32Array],
    fitting: Fitting,
    *,
    workers: Executor,
    threads: int,
) -> Comparison:
    """Fit the models to compare with, and score the rows that judge with all.

    Parameters
    ----------
    data : what was run on
    runs : what the federation ran
    rows : each bank's
    of_nodes : what each bank's node itself says with the best of the federation's models
    fitting : how all models are fitted
    workers : fits several banks' own models at a time
    threads : of the pooled model

    Raises
    ------
    DataError
        If the pooled rows have one class only.
    """
    found = Comparison(common=dict(runs.choices))
    for model, contract in contracts_of(data).items():
        local = model.replace("federated", "local")
        # One thread each: a bank's own model is small, and there are several at a time.
        fit = partial(_own_model, fitting=fitting, contract=contract)
        fitted = list(workers.map(fit, rows))
        found.own[local] = [None if one is None else one.choice for one in fitted]
        found.scores[local] = [
            None if one is None else _scores(one.model_json, with_features(part, contract).judge)
            for one, part in zip(fitted, rows, strict=True)
        ]
        found.scores[model] = (
            list(of_nodes)
            if model == runs.best
            else [
                _scores(runs.model_json(model), with_features(part, contract).judge)
                for part in rows
            ]
        )
    everything = data.pool()
    pooled = fit_alone(fitting, data.contract, everything.train, everything.select, threads=threads)
    if pooled is None:
        raise DataError("the pooled training rows have one class only; check the windows")
    found.common["pooled"] = pooled.choice
    found.scores["pooled"] = [_scores(pooled.model_json, judge) for judge in everything.judges]
    return found


def verify_model(
    data: DemoData, runs: Runs, rows: Sequence[BankRows], *, threads: int
) -> Verification:
    """Check the federation's best model with all banks' rows in one table.

    The rows have the features that the banks' nodes computed.
    """
    contract = contracts_of(data)[runs.best]
    everything = pool([pick_features(part.train, contract) for part in rows])
    parameters = runs.parameters
    validation: TrainingTable | None = None
    if BoosterParams.parse(parameters).early_stopping_rounds is not None:
        judged = [with_features(part, contract).select for part in rows]
        validation = pool([labelled_table(part) for part in judged])
    return verify_training(
        runs.model_json(runs.best), everything, parameters, validation=validation, threads=threads
    )


def contracts_of(data: DemoData) -> dict[str, DataContract]:
    """Return the contract of each of the federation's models, by names of ``MODELS``."""
    contracts = {"federated": data.contract}
    if data.risk is not None:
        contracts["federated_shared"] = data.risk.contract
    return contracts


def _own_model(part: BankRows, fitting: Fitting, contract: DataContract) -> FittedModel | None:
    picked = with_features(part, contract)
    return fit_alone(fitting, contract, picked.train, picked.select, threads=1)


def _scores(model_json: bytes, rows: JudgedRows) -> Float32Array:
    booster = xgboost.Booster(model_file=bytearray(model_json))
    return predict(booster, labelled_table(rows))


def common_models(scores: Mapping[str, Sequence[Float32Array | None]]) -> list[str]:
    """Return the models that all banks have in common, by names of ``MODELS``."""
    return [model for model in scores if not model.startswith("local")]
