"""What each model says of the test rows: the banks' own, the shared ones, the impossible one."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import xgboost

from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError
from fraudfed.lab.demo.data import BankRows, DemoData, pick_features
from fraudfed.lab.demo.summary import Runs
from fraudfed.lab.local_federation.run import RunOutcome
from fraudfed.lab.oracle.references import pool, predict, train_reference
from fraudfed.lab.oracle.verification import Verification, verify_training
from fraudfed.wire.messages import DataContract


def compare_models(
    data: DemoData,
    runs: Runs,
    rows: Sequence[BankRows],
    of_nodes: Sequence[Float32Array],
    parameters: Mapping[str, Any],
    *,
    workers: Executor,
    threads: int,
) -> dict[str, list[Float32Array | None]]:
    """Train the models to compare with, and score the test rows with all.

    Parameters
    ----------
    data : what was run on
    runs : the federation's trainings
    rows : each bank's
    of_nodes : what each bank's node itself says with the best of the trained models
    parameters : of the training
    workers : trains several banks' own models at a time
    threads : of the pooled training

    Returns
    -------
    dict of model, by names of ``MODELS``, to list of ndarray of shape (n_test_rows,), dtype=float32
        An array for each bank; None where a bank has only one class to train on.

    Raises
    ------
    DataError
        If the pooled rows have one class only.
    """
    scores: dict[str, list[Float32Array | None]] = {}
    for model, contract in _contracts(data).items():
        # One thread each: a bank's own model is small, and there are several at a time.
        own = partial(_own_scores, contract=contract, parameters=parameters)
        scores[model.replace("federated", "local")] = list(workers.map(own, rows))
        if model == runs.best:
            scores[model] = list(of_nodes)
        else:
            run = runs.models[model]
            scores[model] = [_scores_with(run, part, contract) for part in rows]
    pooled = data.pool()
    booster = train_reference(pooled.train, parameters, threads=threads)
    if booster is None:
        raise DataError("the pooled training rows have one class only; check the split")
    scores["pooled"] = [predict(booster, test) for test in pooled.tests]
    return scores


def verify_model(
    data: DemoData,
    runs: Runs,
    rows: Sequence[BankRows],
    parameters: Mapping[str, Any],
    *,
    threads: int,
) -> Verification:
    """Check the best model on all banks' rows, with the features that their nodes computed."""
    contract = _contracts(data)[runs.best]
    everything = pool([pick_features(part.train, contract) for part in rows])
    return verify_training(runs.outcome.result, everything, parameters, threads=threads)


def _contracts(data: DemoData) -> dict[str, DataContract]:
    contracts = {"federated": data.contract}
    if data.risk is not None:
        contracts["federated_shared"] = data.risk.contract
    return contracts


def _own_scores(
    part: BankRows, contract: DataContract, parameters: Mapping[str, Any]
) -> Float32Array | None:
    """Return what the bank's own model says of its test rows; None if it cannot train one."""
    own = train_reference(pick_features(part.train, contract), parameters, threads=1)
    return None if own is None else predict(own, pick_features(part.test, contract))


def _scores_with(run: RunOutcome, part: BankRows, contract: DataContract) -> Float32Array:
    """Return what a trained model says of a bank's test rows."""
    booster = xgboost.Booster(model_file=bytearray(run.result))
    return predict(booster, pick_features(part.test, contract))
