"""The summary's means, its JSON form and its table."""

import json
from dataclasses import asdict

import pytest
from examples.reports import NOT_MEASURED, example
from rich.console import Console

from fraudfed.lab.report.compare import MODELS, BankResult, ModelScores, format_number, format_table


def bank(name: str, *auprcs: float | None) -> BankResult:
    scores = [ModelScores(auprc=value, auc=0.5, recall_at_1pct_fpr=None) for value in auprcs]
    models = dict(zip(("local", "federated", "pooled"), scores, strict=True))
    return BankResult(name, 100, 50, 0.02, models)


def test_gain_is_that_of_all_that_is_shared() -> None:
    scores = [ModelScores(auprc=value, auc=None, recall_at_1pct_fpr=None) for value in (0.1, 0.4)]
    models = {"local": scores[0], "federated": scores[0], "federated_shared": scores[1]}
    result = BankResult("a", 100, 50, 0.02, models)
    assert result.gain == pytest.approx(0.3)
    summary, _ = example(banks=(result,))
    assert summary.best_shared == "federated_shared"
    assert summary.mean_gain == pytest.approx(0.3)
    assert list(summary.models) == ["local", "federated", "federated_shared"]


def test_models_that_nobody_knows_are_refused() -> None:
    score = ModelScores(auprc=0.5, auc=0.5, recall_at_1pct_fpr=0.5)
    with pytest.raises(ValueError, match="expected local, federated"):
        BankResult("a", 1, 1, 0.5, {"local": score, "federated": score, "foreign": score})
    with pytest.raises(ValueError, match="expected local, federated"):
        BankResult("a", 1, 1, 0.5, {"federated": score})


def test_banks_that_compare_different_models_are_refused() -> None:
    score = ModelScores(auprc=0.5, auc=0.5, recall_at_1pct_fpr=0.5)
    other = BankResult("b", 1, 1, 0.5, {"local": score, "federated": score})
    with pytest.raises(ValueError, match="expected the same at every bank"):
        example(banks=(bank("a", 0.1, 0.2, 0.3), other))


def test_means_of_all_models_are_over_the_same_banks() -> None:
    summary, _ = example(
        banks=(bank("a", 0.2, 0.4, 0.5), bank("b", None, 0.9, 0.9), bank("c", 0.4, 0.5, 0.6))
    )
    assert summary.mean("local").auprc == pytest.approx(0.3)
    assert summary.mean("federated").auprc == pytest.approx(0.45)
    assert summary.mean("pooled").auprc == pytest.approx(0.55)
    assert summary.mean_gain == pytest.approx(0.15)
    assert summary.mean("local").auc == 0.5
    assert summary.mean("local").recall_at_1pct_fpr is None


def test_nothing_measured_is_no_number() -> None:
    summary, _ = example(banks=(bank("a", None, 0.4, 0.5),))
    assert summary.mean("federated").auprc is None
    assert summary.mean_gain is None
    assert summary.banks[0].gain is None


def test_json_form_holds_what_readers_look_for() -> None:
    summary, _ = example()
    plain = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert [entry["name"] for entry in plain["banks"]] == [
        "bank-a",
        "bank-b",
        "bank-c",
        "bank-d",
        "bank-e",
    ]
    for entry, result in zip(plain["banks"], summary.banks, strict=True):
        assert set(entry) == {
            "name",
            "title",
            "rows_train",
            "rows_test",
            "prevalence",
            "windows",
            "chosen",
            "gain_interval",
            "gate",
            *MODELS,
        }
        for model in MODELS:
            assert entry[model] == asdict(result.models[model])
            assert set(entry[model]) == {"auprc", "auc", "recall_at_1pct_fpr", "auprc_interval"}
        assert entry["windows"]["judge"]["labels_as_of"] == "2025-05-01"
    assert plain["banks"][-1]["local"] == vars(NOT_MEASURED)
    assert plain["banks"][0]["chosen"]["local"]["candidate"] == "share0.02-lambda1"
    assert plain["banks"][0]["gain_interval"] == {"lower": 0.111, "upper": 0.222}
    assert plain["mean"]["pooled"]["auprc_interval"] == {"lower": 0.515, "upper": 0.616}
    assert plain["differences"][0]["other"] == "local"
    assert plain["windows"]["select"]["frauds"] == 333
    assert plain["chosen"]["pooled"]["parameters"] == {"min_child_weight": 5.85, "lambda": 10}
    assert plain["mean"]["federated"]["auprc"] == summary.mean("federated").auprc
    assert plain["wall_seconds"] == {**summary.wall_seconds, "total": summary.total_seconds}
    assert plain["top_features"][0] == {"name": "feature_0", "total_gain": 100.0}
    for name in (
        "key_bits",
        "key_fingerprint",
        "kernel",
        "rounds",
        "ciphertexts",
        "bytes_sent",
        "model_sha256",
        "trees",
        "parameters",
        "transactions",
        "features",
        "versions",
        "identical_trees_on_same_bins",
        "verification",
        "label_horizon_days",
    ):
        assert plain[name] == getattr(summary, name)


def test_terminal_table_fits_eighty_columns() -> None:
    summary, _ = example()
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(format_table(summary))
    text = captured.get()
    for result in summary.banks:
        (line,) = [line for line in text.splitlines() if result.name in line]
        assert format_number(result.models["federated_shared"].auprc) in line
        assert format_number(result.gain, signed=True) in line
    (mean,) = [line for line in text.splitlines() if "mean" in line]
    assert format_number(summary.mean_gain, signed=True) in mean


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.12345, False, "0.123"),
        (0.1, True, "+0.100"),
        (-0.1, True, "-0.100"),
        (-0.0001, True, "+0.000"),
        (None, True, "-"),
    ],
)
def test_numbers(value: float | None, signed: bool, text: str) -> None:
    assert format_number(value, signed=signed) == text
