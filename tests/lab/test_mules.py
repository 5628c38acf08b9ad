"""How well mules are found: by payment and by account, against the definitions spelt out."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from examples.reports import example
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import average_precision_score

from data_gen.cli import cli as data_gen
from fraudfed.cli import cli
from fraudfed.lab.report.mules import ArrivalTruth, MuleFacts, format_mules, measure_mules
from fraudfed.lab.report.page import render_report


def random_truth(rng: np.random.Generator, bank: str, n_rows: int = 60) -> ArrivalTruth:
    account = rng.integers(0, 12, n_rows)
    mule = account < 4
    stolen = mule & (rng.random(n_rows) < 0.6)
    return ArrivalTruth(
        is_stolen=stolen,
        account=np.array([f"{bank}{number}" for number in account], dtype=object),
        is_mule=mule,
        is_unreported=rng.random(n_rows) < np.where(mule, 0.5, 1.0),
    )


def slow(truth: ArrivalTruth, scores: np.ndarray) -> tuple[float | None, float | None]:
    frame = pd.DataFrame(
        {"account": truth.account, "score": scores, "mule": truth.is_mule, "open": ~truth.is_stolen}
    )[truth.is_unreported]
    of_account = frame.groupby("account").agg({"score": "max", "mule": "first"})
    return tuple(
        float(average_precision_score(labels, found)) if 0 < labels.sum() < len(labels) else None
        for labels, found in (
            (truth.is_stolen, scores),
            (of_account["mule"].to_numpy(), of_account["score"].to_numpy()),
        )
    )


def measured(seed: int = 5) -> tuple[dict[str, ArrivalTruth], MuleFacts, dict[str, list]]:
    rng = np.random.default_rng(seed)
    truths = {bank: random_truth(rng, bank) for bank in ("a", "b", "c")}
    scores = {
        model: [rng.random(60, dtype=np.float32) for _ in truths]
        for model in ("local", "federated", "federated_shared", "pooled")
    }
    scores["local"][2] = None
    return truths, measure_mules(truths, scores), scores


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_measures_are_those_of_the_definitions(seed: int) -> None:
    truths, facts, scores = measured(seed)
    for model, found in scores.items():
        for truth, values, bank in zip(truths.values(), found, truths, strict=True):
            ours = facts.banks[bank][model]
            expected = (None, None) if values is None else slow(truth, values)
            for got, wanted in zip((ours.payments, ours.accounts), expected, strict=True):
                assert got == (None if wanted is None else pytest.approx(wanted))
    assert set(facts.all_rows) == {"federated", "federated_shared", "pooled"}
    together = ArrivalTruth.join(list(truths.values()))
    expected = slow(together, np.concatenate(scores["federated"]))
    assert facts.all_rows["federated"].accounts == pytest.approx(expected[1])
    # Means are over the banks where every model could be measured: not the third.
    both = [facts.banks[bank]["federated"].payments for bank in ("a", "b")]
    if None not in both:
        assert facts.mean["federated"].payments == pytest.approx(np.mean(both))
    assert facts.payments == 180
    assert facts.stolen_payments == sum(truth.is_stolen.sum() for truth in truths.values())


def test_accounts_that_were_reported_have_no_part() -> None:
    truth = ArrivalTruth(
        is_stolen=np.array([True, True, False, False]),
        account=np.array(["m", "n", "n", "h"], dtype=object),
        is_mule=np.array([True, True, True, False]),
        is_unreported=np.array([True, False, False, True]),
    )
    facts = measure_mules({"a": truth}, {"federated": [np.array([0.9, 0, 0, 0.1], np.float32)]})
    assert (facts.mule_accounts, facts.accounts) == (1, 2)
    assert facts.banks["a"]["federated"].accounts == 1.0
    # Negative control: with the reported account in it, it would be less.
    everything = ArrivalTruth(truth.is_stolen, truth.account, truth.is_mule, truth.is_mule | True)
    facts = measure_mules({"a": everything}, {"federated": [np.array([0.9, 0, 0, 0.1])]})
    assert facts.banks["a"]["federated"].accounts < 1.0


def test_table_report_and_summary_show_them() -> None:
    _, facts, _ = measured()
    summary, _ = example(mules=facts)
    plain = json.loads(json.dumps(summary.to_json(), allow_nan=False))["mules"]
    assert plain["mean"]["federated"]["accounts"] == facts.mean["federated"].accounts
    assert plain["banks"]["c"]["local"] == {"payments": None, "accounts": None}
    html = render_report(summary)
    assert "How well mules are found" in html
    assert f"{facts.all_rows['pooled'].payments:.3f}" in html
    without, _ = example()
    assert "How well mules are found" not in render_report(without)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(format_mules(facts, summary.models))
    text = console.export_text()
    assert f"{facts.mean['federated_shared'].accounts:.3f}" in text
    assert "mule accounts" in text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a world without arrivals, and a file of outgoing payments."""
    path = tmp_path_factory.mktemp("outgoing")
    made = ["--banks", "3", "--customers", "90", "--days", "20", "--quiet"]
    done = CliRunner().invoke(data_gen, ["generate", "--out", str(path / "small"), *made])
    assert done.exit_code == 0
    outgoing = pd.read_parquet(path / "small" / "bank_a" / "transactions.parquet").head(4)
    outgoing.to_csv(path / "outgoing.csv", index=False)
    return path


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--table", "x.csv", "--label", "y"), 2, "--view inbound is for payments"),
        (("--data", "small"), 3, "incoming.parquet or .csv is missing.*incoming_delay_days=2"),
        (("--transactions", "outgoing.csv"), 3, "none of 4 payments is inbound"),
    ],
)
def test_what_has_no_arrivals_is_refused(
    options: tuple[str, ...],
    code: int,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    ended = CliRunner().invoke(cli, ["demo", "--view", "inbound", *options, "--out", "out"])
    error = ended.exception
    assert error is not None
    assert error.exit_code == code
    assert re.search(said, str(error))
