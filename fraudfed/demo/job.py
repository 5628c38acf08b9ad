"""The demo's steps in order, timed: keys, federation, scoring, reference models, summary."""

import dataclasses
import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

import fraudfed
from fraudfed.bench.references import pool, predict, train_reference
from fraudfed.bench.same_trees import compare_trees, table_of_bins, train_on_bins
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.params import BoosterParams
from fraudfed.communicator import SoloCommunicator
from fraudfed.demo.sources import BankRows, BankSource, DemoData
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError, StateError
from fraudfed.evaluation.compare import BankResult, DemoSummary, score_model
from fraudfed.federation.processes import run_program
from fraudfed.federation.run import BankOutcome, FederationOutcome, run_federation

__all__ = ["DemoResult", "Stages", "run_job"]

#: Features listed in the report.
_TOP_FEATURES = 12


class Stages:
    """Wall seconds of the demo's stages, and a line to the person watching at the start of each."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._started = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time one stage."""
        self._announce(text)
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
        The federated model, as every bank has it.
    scores : mapping of str to ndarray of shape (n_test_rows,), dtype=float32
        Scores of the models "federated" and "pooled" on all banks' test rows.
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
    """Train the federation in processes of its own, then compare it with what banks had before."""
    params = BoosterParams.parse(parameters)
    training = (
        f"{len(data.banks)} banks join, make a {key_bits}-bit key and train "
        f"{params.num_boost_round} trees over encrypted sums"
    )
    with stages.stage("federation", training):
        federation = run_federation(
            {bank.name: bank.train_file for bank in data.banks},
            name="demo",
            contract=data.contract,
            parameters=parameters,
            key_bits=key_bits,
            work=work,
            port=port,
            on_progress=on_progress,
        )
    # In two, because people ask what the training took.
    del stages.seconds["federation"]
    stages.seconds["set-up"] = federation.set_up_seconds
    stages.seconds["train"] = federation.train_seconds
    with (
        stages.stage("score", "every bank scores its test rows with the federated model"),
        ThreadPoolExecutor(max_workers=threads) as workers,
    ):
        files = list(
            workers.map(
                lambda outcome, bank: _score(outcome, bank.test_file, work),
                federation.banks,
                data.banks,
            )
        )
    with stages.stage("references", "training each bank's own model, and one on the pooled rows"):
        rows = [data.load(bank) for bank in data.banks]
        own = [train_reference(part.train, parameters, threads=threads) for part in rows]
        everything = pool([part.train for part in rows])
        pooled = train_reference(everything, parameters, threads=threads)
        if pooled is None:
            raise DataError("the pooled training rows have one class only; check the split")
    federated_scores = [_read_scores(file, part) for file, part in zip(files, rows, strict=True)]
    pooled_scores = [predict(pooled, part.test) for part in rows]
    results = tuple(
        _bank_result(bank, part, local, mine, theirs)
        for bank, part, local, mine, theirs in zip(
            data.banks, rows, own, federated_scores, pooled_scores, strict=True
        )
    )
    with stages.stage("verify", "comparing with XGBoost on the pooled rows and the same bins"):
        cuts = find_cuts(
            everything, SoloCommunicator(), max_bin=params.max_bin, n_rows_total=everything.n_rows
        )
        codes = table_of_bins(everything, cuts)
        stock = train_on_bins(codes, params, parameters, threads=threads)
        compared = compare_trees(federation.model_json, stock, cuts, codes)
    scores = {
        "federated": np.concatenate(federated_scores),
        "pooled": np.concatenate(pooled_scores),
    }
    labels = np.concatenate([part.test.labels for part in rows])
    summary = _summary(data, federation, results, parameters, stages)
    summary = dataclasses.replace(
        summary,
        identical_trees_on_same_bins=compared.identical,
        all_rows={model: score_model(found, labels) for model, found in scores.items()},
    )
    return DemoResult(summary, federation.model_json, scores, labels)


def _score(outcome: BankOutcome, test_file: Path, work: Path) -> Path:
    """Let the bank node itself score its test file, as it would in production."""
    out = outcome.state / "scores.parquet"
    run_program(
        [
            *("bank-node", "--quiet", "score", "--state", str(outcome.state)),
            *("--data", str(test_file), "--out", str(out)),
        ],
        log=work / "logs" / f"{outcome.name}-score.log",
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
    bank: BankSource,
    part: BankRows,
    own: xgboost.Booster | None,
    federated: Float32Array,
    pooled: Float32Array,
) -> BankResult:
    labels = part.test.labels
    nothing = np.zeros(0, dtype=np.float32)
    return BankResult(
        name=bank.name,
        rows_train=part.train.n_rows,
        rows_test=part.test.n_rows,
        prevalence=float(labels.mean()) if labels.size else 0.0,
        local=(
            score_model(nothing, nothing)
            if own is None
            else score_model(predict(own, part.test), labels)
        ),
        federated=score_model(federated, labels),
        pooled=score_model(pooled, labels),
    )


def _summary(
    data: DemoData,
    federation: FederationOutcome,
    results: Sequence[BankResult],
    parameters: Mapping[str, Any],
    stages: Stages,
) -> DemoSummary:
    records = [outcome.record for outcome in federation.banks]
    phases = sorted({name for record in records for name in record["wall_seconds"]})
    booster = xgboost.Booster(model_file=bytearray(federation.model_json))
    scores = booster.get_score(importance_type="total_gain")
    gains = [(str(name), float(np.sum(gain))) for name, gain in scores.items()]
    top = sorted(gains, key=lambda item: (-item[1], item[0]))[:_TOP_FEATURES]
    return DemoSummary(
        banks=tuple(results),
        key_bits=records[0]["key_bits"],
        key_fingerprint=records[0]["key_fingerprint"],
        kernel=records[0]["kernel"],
        rounds=federation.status.round_number,
        rounds_verified=min(record["protection"]["rounds_verified"] for record in records),
        ciphertexts=federation.status.ciphertexts,
        bytes_sent=sum(record["bytes_sent"] for record in records),
        wall_seconds={
            name: float(np.mean([record["wall_seconds"].get(name, 0.0) for record in records]))
            for name in phases
        },
        total_seconds=stages.total,
        model_sha256=hashlib.sha256(federation.model_json).hexdigest(),
        trees=booster.num_boosted_rounds(),
        parameters=parameters,
        transactions=data.rows,
        features=len(data.contract.features),
        versions={
            "fraudfed": fraudfed.__version__,
            "python": platform.python_version(),
            "xgboost": xgboost.__version__,
            "numpy": np.__version__,
        },
        top_features=tuple(top),
        stage_seconds=dict(stages.seconds),
        data=data.data,
        split=data.split,
    )
