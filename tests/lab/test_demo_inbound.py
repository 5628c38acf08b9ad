"""``fraudfed demo --view inbound``: what arrives at banks, over real processes, and the truth."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_gen.settings.presets import PRESETS
from data_gen.writing.output import write
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.errors import DataError
from fraudfed.lab.demo.generated import open_generated
from fraudfed.lab.demo.transactions import open_payments
from fraudfed.lab.report.mules import ArrivalTruth

BIN = Path(sys.executable).parent
CONFIG = PRESETS["aml-mules"].replace(banks=3, customers=300, days=30, seed=4, fraud_rate=0.03)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("arrivals") / "world"
    write(CONFIG, out, formats=("csv",))
    return out


@pytest.mark.e2e
def test_what_arrives_end_to_end(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick = (
        "--parameters",
        "parity",
        "--trees",
        "2",
        "--max-depth",
        "2",
        "--max-bin",
        "8",
        "--key-bits",
        "2048",
    )
    done = subprocess.run(
        [
            *(str(BIN / "fraudfed"), "demo", "--view", "inbound", *quick),
            *("--data", str(world), "--out", str(out)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mule accounts" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["identical_trees_on_same_bins"] == 2
    incoming = pd.read_csv(world / "bank_a" / "incoming.csv")
    manifest = json.loads((world / "manifest.json").read_text())
    first = summary["banks"][0]
    horizon = 86_400 * summary["label_horizon_days"]
    time, end = incoming["event_time"], manifest["end_time"]
    judged = (time >= manifest["split_time"]) & (time < end - horizon)
    stopped = (incoming["is_blocked"] == 1) & (incoming["is_fraud"] != 1)
    assert first["rows_test"] == (judged & ~stopped).sum()
    facts = summary["mules"]
    assert facts["payments"] == sum(bank["rows_test"] for bank in summary["banks"])
    assert 0 < facts["mule_accounts"] < facts["accounts"]
    models = {"local", "local_shared", "federated", "federated_shared", "pooled"}
    assert facts["mean"].keys() == models
    # What the banks have in common is measured on all arrivals, their own models bank by bank.
    assert set(facts["all_rows"]) == {"federated", "federated_shared", "pooled"}
    assert facts["all_rows"]["pooled"]["payments"] > 0
    features = json.loads((out / "model.json").read_text())["learner"]["feature_names"]
    assert {"new_payer", "passed_on_6h", "shared_payer_fraud_count_30d"} <= set(features)


def test_the_truth_is_in_the_order_of_the_banks_file(world: Path, tmp_path: Path) -> None:
    data = open_generated(world, work=tmp_path, inbound=True)
    assert data.contract.recipe == INBOUND_RECIPE
    assert data.truth is not None
    for bank in data.banks:
        incoming = pd.read_csv(world / bank.name / "incoming.csv")
        mules = pd.read_csv(world / bank.name / "mules.csv").set_index("payee_id")
        truth = data.truth(bank)
        assert truth.account.tolist() == incoming["payee_id"].tolist()
        np.testing.assert_array_equal(truth.is_mule, incoming["payee_id"].isin(mules.index))
        report = incoming["payee_id"].map(mules["first_report_time"])
        known = report.notna() & (report <= incoming["event_time"])
        np.testing.assert_array_equal(truth.is_unreported, ~known)
        assert (truth.is_stolen <= truth.is_mule).all()
        both = pd.read_parquet(bank.train_file)
        assert (both["direction"] == "inbound").sum() == len(incoming)
    pooled = data.pool()
    rows = [ArrivalTruth.join([data.truth(bank)]).account.size for bank in data.banks]
    assert pooled.train.n_rows < sum(rows)


def test_anybodys_file_of_both_directions(world: Path, tmp_path: Path) -> None:
    parts = [
        pd.read_csv(world / bank / f"{name}.csv")
        for bank in ("bank_a", "bank_b")
        for name in ("transactions", "incoming")
    ]
    file = tmp_path / "payments.parquet"
    pd.concat(parts, ignore_index=True).to_parquet(file)
    options = {"mapping": None, "bank_column": None, "n_banks": 3, "seed": 1}
    data = open_payments(file, work=tmp_path / "in", recipe=INBOUND_RECIPE, **options)
    assert data.contract.recipe == INBOUND_RECIPE
    assert data.truth is None
    pooled = data.pool()
    assert {"passed_on_6h", "new_payer"} <= set(pooled.train.schema.names)
    n_inbound = sum(len(part) for part in parts if "payer_id" in part)
    assert 0 < pooled.train.n_rows < n_inbound
    pd.concat(parts[::2]).to_parquet(file)
    with pytest.raises(DataError, match="is inbound, expected some in column 'direction'"):
        open_payments(file, work=tmp_path / "out", recipe=INBOUND_RECIPE, **options)
