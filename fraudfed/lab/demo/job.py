"""The demo's steps in order, timed.

The banks make keys, share risk, search and train together, and score their own rows that judge;
then the models that each of them would have had alone, and the one that nobody could have, are
fitted beside it by the same plan.
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
from fraudfed.lab.demo.comparison import common_models, compare_models, contracts_of, verify_model
from fraudfed.lab.demo.data import BankRows, BankSource, DemoData
from fraudfed.lab.demo.plan import Fitting
from fraudfed.lab.demo.runs import Runs
from fraudfed.lab.demo.summary import summarise
from fraudfed.lab.demo.tuning import fitting_parameters, parameters_of, read_choice
from fraudfed.lab.local_federation.consortium import bank_log
from fraudfed.lab.local_federation.processes import run_program
from fraudfed.lab.local_federation.run import Federation, RunOutcome, open_federation
from fraudfed.lab.report.compare import DemoSummary
from fraudfed.lab.report.facts import Choice
from fraudfed.lab.report.mules import measure_mules
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract
from fraudfed.wire.search_results import decode


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
    scores : mapping of str to ndarray of shape (n_judge_rows,), dtype=float32
        Scores of the models that all banks have in common, by names of ``MODELS``, on all banks'
        rows that judge.
    labels : ndarray of shape (n_judge_rows,), dtype=float32
    run_id : str
        Of the run that made the model.
    """

    summary: DemoSummary
    model_json: bytes
    scores: Mapping[str, Float32Array]
    labels: Float32Array
    run_id: str


def run_job(
    data: DemoData,
    *,
    fitting: Fitting,
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
    fitting : how every model is fitted
    key_bits : size of the Paillier key
    port : of the aggregator; 0 takes a free one
    threads : cores to use at once
    work : directory for state, logs and scores
    stages : takes the time of each step
    on_progress : called with the number of trees finished so far, of all trainings together; of
        candidates that grow at the same time, only one counts
    """
    files = {bank.name: bank.train_file for bank in data.banks}
    with ThreadPoolExecutor(max_workers=threads) as workers:
        stages.announce(f"{len(data.banks)} banks join and make a {key_bits}-bit key")
        with open_federation(tuple(files), key_bits=key_bits, work=work, port=port) as federation:
            stages.seconds["set-up"] = federation.set_up_seconds
            runs = _run_all(data, federation, files, fitting, stages, on_progress)
        with stages.stage("score", "every bank scores its rows with what was trained"):
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
        how = "training" if fitting.plan is None else "searching for"
        references = f"{how} each bank's own models, and one on the pooled rows"
        with stages.stage("references", references):
            compared = compare_models(
                data, runs, rows, of_nodes, fitting, workers=workers, threads=threads
            )
    with stages.stage("verify", "comparing with XGBoost, and training on the one pooled table"):
        verification = verify_model(data, runs, rows, threads=threads)
    labels = np.concatenate([part.judge.outcomes.labels for part in rows])
    common = {
        model: np.concatenate([part for part in compared.scores[model] if part is not None])
        for model in common_models(compared.scores)
    }
    mules = None
    if data.truth is not None:
        truths = {
            bank.name: data.truth(bank).take(part.judge_positions)
            for bank, part in zip(data.banks, rows, strict=True)
        }
        mules = measure_mules(truths, compared.scores)
    summary = summarise(
        data,
        fitting,
        runs,
        rows,
        compared,
        verification=verification,
        stage_seconds=stages.seconds,
        total_seconds=stages.total,
        mules=mules,
    )
    model = runs.model_json(runs.best)
    return DemoResult(summary, model, common, labels, runs.outcome.run_id)


def _run_all(
    data: DemoData,
    federation: Federation,
    files: Mapping[str, Path],
    fitting: Fitting,
    stages: Stages,
    on_progress: Callable[[int], None],
) -> Runs:
    """Share risk if there is any to share, and train the model with and without it.

    With a plan, the search is that of the model with all that is shared. What it chose is what the
    model without shared risk is trained with, too.
    """
    contracts = contracts_of(data)
    best = next(reversed(contracts))
    risk: RunOutcome | None = None
    if data.risk is not None:
        days = data.risk.spec.last_day - data.risk.spec.first_day + 1
        what = f"summing {days} days of counts at what banks have in common"
        with stages.stage("share risk", what):
            risk = federation.share_risk(files, name="risk", spec=data.risk.spec)
        # By their digest, so that every bank trains on the same tables.
        tables = (risk.banks[0].record["registry_sha256"],)
        contracts[best] = contracts[best].model_copy(update={"shared_risk": tables})
    models: dict[str, RunOutcome] = {}
    choices: dict[str, Choice] = {}
    done = 0

    def progress(trees: int) -> None:
        on_progress(done + trees)

    def train(contract: DataContract, name: str, parameters: Mapping[str, Any]) -> RunOutcome:
        return federation.train(
            files, name=name, contract=contract, parameters=parameters, on_progress=progress
        )

    for model in reversed(contracts):
        contract, with_risk = contracts[model], model == "federated_shared"
        suffix, on_what = (
            ("-with-risk", " that look at the shared counts") if with_risk else ("", "")
        )
        if fitting.plan is not None and model == best:
            spec = fitting.plan.spec_for(contract)
            text = f"growing {len(spec.candidates)} candidates over encrypted sums{on_what}"
            with stages.stage("search", text):
                models[model] = federation.search(
                    files,
                    name=f"search{suffix}",
                    contract=contract,
                    parameters=fitting.parameters,
                    search=spec,
                    on_progress=progress,
                )
            found, _ = decode(models[model].result, source="the aggregator")
            choices[model] = read_choice(fitting, found)
            done += spec.rungs[-1].trees
            continue
        if fitting.plan is None:
            parameters = fitting_parameters(fitting.parameters, contract)
            note = ""
        else:
            parameters = parameters_of(choices[best], contract)
            note = "what the search with shared risk chose"
        trees = BoosterParams.parse(parameters).num_boost_round
        stage = "train with risk" if with_risk else "train"
        with stages.stage(stage, f"training {trees} trees over encrypted sums{on_what}"):
            models[model] = train(contract, f"train{suffix}", parameters)
        candidate = None if fitting.plan is None else choices[best].candidate
        choices[model] = Choice(candidate, trees, parameters, note)
        done += trees
    return Runs({name: models[name] for name in contracts}, risk, choices, fitting)


def _score(bank: BankSource, *, run: RunOutcome, states: Mapping[str, Path], work: Path) -> Path:
    """Let the bank node itself score its file, as it would in production."""
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
    if scores.shape != part.judge_positions.shape:
        raise StateError(
            f"{file}: {scores.shape[0]} scores, expected {part.judge_positions.shape[0]}, one per "
            "row of the bank's file"
        )
    return scores[part.judge_positions]
