"""What a demo run found, did and cost; costs from the records that the bank nodes keep."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xgboost

import fraudfed
from fraudfed.dtypes import Float32Array
from fraudfed.intake.windows import JUDGE, SELECT, TRAIN, Windows
from fraudfed.lab.demo.comparison import Comparison
from fraudfed.lab.demo.cutoffs import date_of
from fraudfed.lab.demo.data import BankRows, BankSource, DemoData
from fraudfed.lab.demo.plan import Fitting
from fraudfed.lab.demo.runs import Runs
from fraudfed.lab.local_federation.run import RunOutcome
from fraudfed.lab.oracle.verification import Verification
from fraudfed.lab.report.alerts import alert_curves
from fraudfed.lab.report.compare import (
    MODELS,
    BankResult,
    DemoSummary,
    ModelScores,
    RiskFacts,
    score_model,
)
from fraudfed.lab.report.facts import SearchFacts, WindowFacts
from fraudfed.lab.report.gate import ask_gate
from fraudfed.lab.report.judged import judged_facts
from fraudfed.lab.report.mules import MuleFacts
from fraudfed.lab.report.resampling import Resampled, difference, mean_of_banks
from fraudfed.wire.messages import DataContract

#: Features listed in the report.
_TOP_FEATURES = 12
_NO_SCORES = np.zeros(0, dtype=np.float32)


def summarise(
    data: DemoData,
    fitting: Fitting,
    runs: Runs,
    rows: Sequence[BankRows],
    compared: Comparison,
    *,
    verification: Verification,
    stage_seconds: Mapping[str, float],
    total_seconds: float,
    mules: MuleFacts | None = None,
) -> DemoSummary:
    """Return the summary of a demo: its costs are those of the model with all that is shared."""
    run = runs.outcome
    records = [bank.record for bank in run.banks]
    phases = sorted({name for record in records for name in record["last_process"]["wall_seconds"]})
    model_json = runs.model_json(runs.best)
    booster = xgboost.Booster(model_file=bytearray(model_json))
    gained = booster.get_score(importance_type="total_gain")
    gains = [(str(name), float(np.sum(gain))) for name, gain in gained.items()]
    top = sorted(gains, key=lambda item: (-item[1], item[0]))[:_TOP_FEATURES]
    by_bank = [
        {model: found[index] for model, found in compared.scores.items()}
        for index in range(len(rows))
    ]
    resampled = [
        Resampled.of(scores, part.judge.outcomes, seed=index)
        for index, (scores, part) in enumerate(zip(by_bank, rows, strict=True))
    ]
    means = mean_of_banks(resampled)
    labels = np.concatenate([part.judge.outcomes.labels for part in rows])
    banks = tuple(
        _bank_result(bank, part, scores, of_bank, runs.best, data.contract, seed=index)
        for index, (bank, part, scores, of_bank) in enumerate(
            zip(data.banks, rows, by_bank, resampled, strict=True)
        )
    )
    banks = tuple(
        replace(
            bank,
            chosen={
                model: choice
                for model, of_banks in compared.own.items()
                if (choice := of_banks[index]) is not None
            },
        )
        for index, bank in enumerate(banks)
    )
    return DemoSummary(
        banks=banks,
        key_bits=records[0]["key_bits"],
        key_fingerprint=records[0]["key_fingerprint"],
        kernel=records[0]["kernel"],
        rounds=run.status.round_number,
        rounds_verified=min(
            record["whole_run"]["protection"]["rounds_verified"] for record in records
        ),
        ciphertexts=run.status.ciphertexts,
        bytes_sent=sum(record["whole_run"]["bytes_sent"] for record in records),
        wall_seconds={
            name: float(
                np.mean(
                    [record["last_process"]["wall_seconds"].get(name, 0.0) for record in records]
                )
            )
            for name in phases
        },
        total_seconds=total_seconds,
        model_sha256=hashlib.sha256(model_json).hexdigest(),
        trees=booster.num_boosted_rounds(),
        parameters=runs.parameters,
        transactions=data.rows,
        features=booster.num_features(),
        versions={
            "fraudfed": fraudfed.__version__,
            "python": platform.python_version(),
            "xgboost": xgboost.__version__,
            "numpy": np.__version__,
        },
        identical_trees_on_same_bins=verification.identical,
        verification=verification.sentence,
        top_features=tuple(top),
        stage_seconds=dict(stage_seconds),
        data=data.data,
        split=data.split,
        windows={
            name: _window_facts(name, [part.windows for part in rows], data.contract)
            for name in rows[0].windows.counts
        },
        label_horizon_days=None
        if data.contract.kind == "table"
        else data.contract.label_horizon_days.days,
        search=_search_facts(
            fitting, shared=runs.risk is not None, seconds=stage_seconds.get("search", 0.0)
        ),
        chosen=compared.common,
        mean_intervals={} if means is None else means.intervals(),
        differences=()
        if means is None
        else tuple(
            found
            for other in ("local", "local_shared", "federated", "pooled")
            if other != runs.best and (found := difference(means, runs.best, other)) is not None
        ),
        all_rows={
            model: score_model(np.concatenate([part for part in found if part is not None]), labels)
            for model, found in compared.scores.items()
            if not model.startswith("local")
        },
        shared_risk=None if runs.risk is None else _risk_facts(data, runs.risk),
        mules=mules,
        judged=judged_facts(records[0]["result"]),
        alerts=alert_curves(compared.scores, [part.judge.outcomes for part in rows]),
    )


def _bank_result(
    bank: BankSource,
    part: BankRows,
    scores: Mapping[str, Float32Array | None],
    resampled: Resampled | None,
    best: str,
    contract: DataContract,
    *,
    seed: int,
) -> BankResult:
    labels = part.judge.outcomes.labels
    intervals = {} if resampled is None else resampled.intervals()

    def measure(model: str, found: Float32Array | None) -> ModelScores:
        if found is None:
            return score_model(_NO_SCORES, _NO_SCORES)
        return replace(score_model(found, labels), auprc_interval=intervals.get(model))

    gain = None if resampled is None else difference(resampled, best, "local")
    return BankResult(
        name=bank.name,
        rows_train=part.train.n_rows,
        rows_test=part.judge.n_rows,
        prevalence=float(labels.mean()) if labels.size else 0.0,
        models={model: measure(model, scores[model]) for model in MODELS if model in scores},
        title=bank.title,
        windows={
            name: _window_facts(name, [part.windows], contract) for name in part.windows.counts
        },
        gain_interval=None if gain is None else gain.interval,
        gate=ask_gate(scores.get(best), scores.get("local"), part.judge.outcomes, seed=seed),
    )


def _window_facts(name: str, windows: Sequence[Windows], contract: DataContract) -> WindowFacts:
    counts = [part.counts[name] for part in windows]
    periods = [part.periods[name] for part in windows if name in part.periods]
    cutoff = {
        TRAIN: contract.train_until,
        SELECT: contract.select_until,
        JUDGE: contract.judge_until,
    }[name]
    return WindowFacts(
        first_day=date_of(min(first for first, _ in periods)) if periods else None,
        last_day=date_of(max(last for _, last in periods)) if periods else None,
        labels_as_of=None if cutoff is None else date_of(cutoff),
        rows=sum(part.rows for part in counts),
        frauds=sum(part.frauds for part in counts),
        censored=sum(part.censored for part in counts),
    )


def _search_facts(fitting: Fitting, *, shared: bool, seconds: float) -> SearchFacts | None:
    if fitting.plan is None:
        return None
    spec = fitting.plan.spec
    note = "Each bank's own models and the pooled one were chosen by a search of their own."
    if shared:
        note = (
            "One search of the federation serves two models: what it chose with shared risk is "
            f"what the model without is trained with. {note}"
        )
    return SearchFacts(
        plan=fitting.plan.name,
        candidates=len(spec.candidates),
        trees=spec.rungs[-1].trees,
        rungs=tuple((rung.trees, rung.alive) for rung in spec.rungs),
        seconds=seconds,
        note=note,
    )


def _risk_facts(data: DemoData, run: RunOutcome) -> RiskFacts:
    if data.risk is None:
        raise ValueError("a run of shared risk without a plan for it")
    spec = data.risk.spec
    return RiskFacts(
        days=spec.last_day - spec.first_day + 1,
        ciphertexts=run.status.ciphertexts,
        bytes_sent=sum(bank.record["whole_run"]["bytes_sent"] for bank in run.banks),
        rounds=run.status.round_number,
        seconds=run.seconds,
        sha256=run.banks[0].record["model_sha256"],
        min_customers=spec.min_customers,
    )
