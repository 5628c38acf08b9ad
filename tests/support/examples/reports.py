"""A summary as a demo would fill it, with every optional part."""

from dataclasses import replace
from typing import Any

import numpy as np

from fraudfed.evaluation import PrecisionRecallCurve, precision_recall_curve
from fraudfed.gate.decision import Verdict
from fraudfed.lab.report.compare import (
    MODELS,
    BankResult,
    DemoSummary,
    Difference,
    ModelScores,
    RiskFacts,
    score_model,
)
from fraudfed.lab.report.facts import Choice, Interval, SearchFacts, WindowFacts
from fraudfed.lab.report.gate import GateAnswer

NOT_MEASURED = ModelScores(auprc=None, auc=None, recall_at_1pct_fpr=None)


def scored_bank(
    name: str, rng: np.random.Generator, *, n_rows: int = 3000, strength: float = 1.0
) -> tuple[BankResult, dict[str, PrecisionRecallCurve]]:
    """Return a bank whose models see the label through less and less noise."""
    labels = (rng.random(n_rows) < 0.02).astype(np.float32)
    results: dict[str, ModelScores] = {}
    curves: dict[str, PrecisionRecallCurve] = {}
    for model, lift in (
        ("local", 1.0),
        ("local_shared", 1.5),
        ("federated", 2.0),
        ("federated_shared", 2.1),
        ("pooled", 2.2),
    ):
        scores = rng.normal(size=n_rows) + strength * lift * labels
        results[model] = score_model(scores, labels)
        curve = precision_recall_curve(scores, labels)
        assert curve is not None
        curves[model] = curve
    results = {
        model: replace(scores, auprc_interval=around(scores.auprc))
        for model, scores in results.items()
    }
    bank = BankResult(
        name=name,
        rows_train=10 * n_rows,
        rows_test=n_rows,
        prevalence=float(labels.mean()),
        models=results,
        windows=windows(n_rows, 60),
        chosen={
            "local": Choice("share0.02-lambda1", 31, {"min_child_weight": 12.5, "lambda": 1}),
            "local_shared": Choice(None, 100, {}, "preset fraud: no frauds to choose by"),
        },
        gain_interval=Interval(0.111, 0.222),
        gate=GateAnswer(
            verdict=Verdict.ADOPT,
            cases=123,
            alerts=456,
            difference=0.0789,
            interval=Interval(0.0123, 0.1456),
            only_shared=31,
            only_own=7,
            cases_to_adopt=88,
        ),
    )
    return bank, curves


def around(value: float | None) -> Interval | None:
    """Return an interval of 0.1 around a number."""
    return None if value is None else Interval(value - 0.05, value + 0.05)


def windows(n_rows: int, n_frauds: int) -> dict[str, WindowFacts]:
    """Return three windows in the spring of 2025."""
    return {
        "train": WindowFacts("2025-01-01", "2025-02-28", "2025-03-08", 10 * n_rows, 777, 13),
        "select": WindowFacts("2025-03-08", "2025-03-23", "2025-04-01", 3 * n_rows, 333, 5),
        "judge": WindowFacts("2025-04-01", "2025-04-22", "2025-05-01", n_rows, n_frauds, 3),
    }


def example(**changes: Any) -> tuple[DemoSummary, dict[str, dict[str, PrecisionRecallCurve]]]:
    """Return five unequal banks, one of which could not train alone."""
    rng = np.random.default_rng(11)
    names = ("bank-a", "bank-b", "bank-c", "bank-d", "bank-e")
    made = [
        scored_bank(name, rng, n_rows=6000 - 1000 * i, strength=1.3) for i, name in enumerate(names)
    ]
    banks = [bank for bank, _ in made]
    last = banks[-1]
    banks[-1] = BankResult(
        last.name,
        last.rows_train,
        last.rows_test,
        last.prevalence,
        {**last.models, "local": NOT_MEASURED, "local_shared": NOT_MEASURED},
        windows=last.windows,
    )
    fields: dict[str, Any] = {
        "banks": tuple(banks),
        "key_bits": 3072,
        "key_fingerprint": "c4" * 32,
        "kernel": "gmp",
        "rounds": 214,
        "ciphertexts": 48230,
        "bytes_sent": 37_120_512,
        "wall_seconds": {
            "cuts": 4.1,
            "histogram": 6.5,
            "encrypt": 31.25,
            "sum": 12.0,
            "open": 22.0,
            "wait": 8.0,
        },
        "total_seconds": 127.6,
        "model_sha256": "0123456789abcdef" * 4,
        "trees": 30,
        "parameters": {"eta": 0.3, "max_depth": 5, "max_bin": 64, "lambda": 1.0},
        "transactions": 220_000,
        "features": 48,
        "versions": {"fraudfed": "0.1.0", "xgboost": "3.0.0", "python": "3.11.7"},
        "identical_trees_on_same_bins": 30,
        "top_features": tuple((f"feature_{i}", 100.0 / (i + 1)) for i in range(20)),
        "stage_seconds": {"generate": 9.0, "start": 2.5, "train": 91.0, "evaluate": 14.0},
        "data": "Synthetic transactions of five unequal banks, seed 7.",
        "shared_risk": RiskFacts(
            days=120,
            ciphertexts=9_000,
            bytes_sent=7_000_000,
            rounds=36,
            seconds=8.5,
            sha256="fedcba9876543210" * 4,
            min_customers=3,
        ),
        "verification": "30 of 30 trees are identical to stock XGBoost's",
        "windows": windows(3000, 411),
        "label_horizon_days": 8,
        "search": SearchFacts("demo", 4, 60, ((15, 4), (30, 2), (60, 1)), 33.0, "One serves two."),
        "chosen": {
            model: Choice("share0.005-lambda10", 44, {"min_child_weight": 5.85, "lambda": 10}, note)
            for model, note in (
                ("federated", "what the search with shared risk chose"),
                ("federated_shared", ""),
                ("pooled", ""),
            )
        },
        "mean_intervals": {model: Interval(0.515, 0.616) for model in MODELS},
        "differences": (
            Difference("federated_shared", "local", 0.251, Interval(0.201, 0.302)),
            Difference("federated_shared", "pooled", -0.004, Interval(-0.011, 0.007)),
        ),
        "split": "Tested on the last 30 days, trained on the days before.",
    }
    if "banks" in changes:
        fields.update(chosen={}, mean_intervals={}, differences=())
    fields.update(changes)
    curves = {bank.name: dict(lines) for bank, (_, lines) in zip(banks, made, strict=True)}
    for model in ("local", "local_shared"):
        del curves["bank-e"][model]
    return DemoSummary(**fields), curves
