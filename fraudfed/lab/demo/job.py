"""The demo's steps in order, timed.

The banks make keys, share risk, train together, and score their own test rows; then the models
that each of them would have had alone, and the one that nobody could have, are trained beside it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.lab.demo.comparison import compare_models, verify_model
from fraudfed.lab.demo.data import BankRows, BankSource, DemoData
from fraudfed.lab.demo.summary import Runs, summarise
from fraudfed.lab.local_federation.consortium import bank_log
from fraudfed.lab.local_federation.processes import run_program
from fraudfed.lab.local_federation.run import Federation, RunOutcome, open_federation
from fraudfed.lab.report.compare import MODELS, BankResult, DemoSummary, ModelScores, score_model
from fraudfed.lab.report.mules import measure_mules
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract

_NO_SCORES = np.zeros(0, dtype=np.float32)


class Stages:
    """Wall seconds of the demo's stages, and a line to the person watching at the start of each."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.announce = announce
        self._started = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time one stage."""
        self.announce(text)
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    @property
    def total(self) -> float:
        """Wall seconds since the demo began."""
        return time.monotonic() - self._started


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo writes out.

    Attributes
    ----------
    summary : DemoSummary
    model_json : bytes
        The federated model with all that is shared, as every bank has it.
    scores : mapping of str to ndarray of shape (n_test_rows,), dtype=float32
        Scores of the models that all banks have in common, by names of ``MODELS``, on all banks'
        test rows.
    labels : ndarray of shape (n_test_rows,), dtype=float32
    """

    summary: DemoSummary
    model_json: bytes
    scores: Mapping[str, Float32Array]
    labels: Float32Array


def run_job(
    data: DemoData,
    *,
    parameters: Mapping[str, Any],
    key_bits: int,
    port: int,
    threads: int,
    work: Path,
    stages: Stages,
    on_progress: Callable[[int], None],
) -> DemoResult:
    """Let the banks share in processes of their own, then compare with what they had before.

    Parameters
    ----------
    data : what to run on
    parameters : of the training
    key_bits : size of the Paillier key
    port : of the aggregator; 0 takes a free one
    threads : cores to use at once
    work : directory for state, logs and scores
    stages : takes the time of each step
    on_progress : called with the number of trees finished so far, of all trainings together
    """
    files = {bank.name: bank.train_file for bank in data.banks}
    with ThreadPoolExecutor(max_workers=threads) as workers:
        stages.announce(f"{len(data.banks)} banks join and make a {key_bits}-bit key")
        with open_federation(tuple(files), key_bits=key_bits, work=work, port=port) as federation:
            stages.seconds["set-up"] = federation.set_up_seconds
            runs = _run_all(data, federation, files, parameters, stages, on_progress)
        with stages.stage("score", "every bank scores its test rows with what was trained"):
            scoring = partial(_score, run=runs.outcome, states=federation.states, work=work)
            score_files = workers.map(scoring, data.banks)
            exporting = partial(_export, runs=runs, states=federation.states, work=work)
            rows = [
                data.load(bank, file)
                for bank, file in zip(data.banks, workers.map(exporting, data.banks), strict=True)
            ]
            of_nodes = [
                _read_scores(file, part) for file, part in zip(score_files, rows, strict=True)
            ]
        references = "training each bank's own model, and one on the pooled rows"
        with stages.stage("references", references):
            scores = compare_models(
                data, runs, rows, of_nodes, parameters, workers=workers, threads=threads
            )
    with stages.stage("verify", "comparing with XGBoost, and training on the one pooled table"):
        verification = verify_model(data, runs, rows, parameters, threads=threads)
    labels = np.concatenate([part.test.labels for part in rows])
    common = {
        model: np.concatenate([part for part in found if part is not None])
        for model, found in scores.items()
        if not model.startswith("local")
    }
    mules = None
    if data.truth is not None:
        truths = {
            bank.name: data.truth(bank).take(part.test_positions)
            for bank, part in zip(data.banks, rows, strict=True)
        }
        mules = measure_mules(truths, scores)
    summary = summarise(
        data,
        runs,
        tuple(
            _bank_result(bank, part, {model: found[index] for model, found in scores.items()})
            for index, (bank, part) in enumerate(zip(data.banks, rows, strict=True))
        ),
        parameters,
        verification=verification,
        all_rows={model: score_model(found, labels) for model, found in common.items()},
        stage_seconds=stages.seconds,
        total_seconds=stages.total,
        mules=mules,
    )
    return DemoResult(summary, runs.outcome.result, common, labels)


def _run_all(
    data: DemoData,
    federation: Federation,
    files: Mapping[str, Path],
    parameters: Mapping[str, Any],
    stages: Stages,
    on_progress: Callable[[int], None],
) -> Runs:
    """Share risk if there is any to share, and train the model without and with it."""
    trees = BoosterParams.parse(parameters).num_boost_round

    def train(name: str, contract: DataContract, *, before: int) -> RunOutcome:
        return federation.train(
            files,
            name=name,
            contract=contract,
            parameters=parameters,
            on_progress=lambda done: on_progress(before + done),
        )

    with stages.stage("train", f"training {trees} trees over encrypted sums"):
        models = {"federated": train("train", data.contract, before=0)}
    if data.risk is None:
        return Runs(models, risk=None)
    days = data.risk.spec.last_day - data.risk.spec.first_day + 1
    with stages.stage("share risk", f"summing {days} days of counts at what banks have in common"):
        risk = federation.share_risk(files, name="risk", spec=data.risk.spec)
    with stages.stage("train with risk", f"training {trees} trees that look at the shared counts"):
        # By their digest, so that every bank trains on the same tables.
        tables = (risk.banks[0].record["registry_sha256"],)
        contract = data.risk.contract.model_copy(update={"shared_risk": tables})
        models["federated_shared"] = train("train-with-risk", contract, before=trees)
    return Runs(models, risk=risk)


def _score(bank: BankSource, *, run: RunOutcome, states: Mapping[str, Path], work: Path) -> Path:
    """Let the bank node itself score its test file, as it would in production."""
    state = states[bank.name]
    out = state / "scores.parquet"
    run_program(
        [
            *("bank-node", "--quiet", "score", "--state", str(state), "--run", run.run_id),
            *("--data", str(bank.test_file), "--out", str(out)),
        ],
        log=work / "logs" / f"{bank_log(bank.name, 'score')}.log",
    )
    return out


def _export(bank: BankSource, *, runs: Runs, states: Mapping[str, Path], work: Path) -> Path | None:
    """Let the bank node write the features it computes, for the bank's own model."""
    if runs.risk is None:
        return None
    state = states[bank.name]
    out = state / "features.parquet"
    run_program(
        [
            *("bank-node", "--quiet", "features", "--state", str(state)),
            *("--run", runs.outcome.run_id, "--data", str(bank.test_file), "--out", str(out)),
        ],
        log=work / "logs" / f"{bank_log(bank.name, 'features')}.log",
    )
    return out


def _read_scores(file: Path, part: BankRows) -> Float32Array:
    scores = pd.read_parquet(file)["score"].to_numpy(dtype=np.float32)
    if scores.shape != part.test_positions.shape:
        raise StateError(
            f"{file}: {scores.shape[0]} scores, expected {part.test_positions.shape[0]}, one per "
            "row of the bank's test file"
        )
    return scores[part.test_positions]


def _bank_result(
    bank: BankSource, part: BankRows, scores: Mapping[str, Float32Array | None]
) -> BankResult:
    labels = part.test.labels

    def measure(found: Float32Array | None) -> ModelScores:
        return score_model(_NO_SCORES, _NO_SCORES) if found is None else score_model(found, labels)

    return BankResult(
        name=bank.name,
        rows_train=part.train.n_rows,
        rows_test=part.test.n_rows,
        prevalence=float(labels.mean()) if labels.size else 0.0,
        models={model: measure(scores[model]) for model in MODELS if model in scores},
        title=bank.title,
    )
