"""The promises of the product, on real processes over real HTTP."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from federations.watched import (
    BANKS,
    CATEGORIES,
    WatchedRun,
    make_rows,
    split_rows,
    train_in_process,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.lab.local_federation.processes import run_program

pytestmark = pytest.mark.e2e


def test_three_processes_over_http_make_the_bytes_of_one_table(watched_run: WatchedRun) -> None:
    rows = make_rows()
    assert train_in_process([rows]) == [watched_run.model_json]


def test_seven_banks_make_the_same_bytes(watched_run: WatchedRun) -> None:
    models = train_in_process(split_rows(make_rows(), 7))
    assert models == [watched_run.model_json] * 7


@settings(max_examples=8, deadline=None)
@given(n_banks=st.integers(1, 7), seed=st.integers(0, 2**32 - 1))
def test_no_partition_and_no_order_changes_the_model(
    watched_run: WatchedRun, n_banks: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = make_rows().iloc[rng.permutation(1500)]
    owner = rng.integers(0, n_banks, len(rows))
    parts = [rows[owner == bank] for bank in range(n_banks)]
    assert set(train_in_process(parts)) == {watched_run.model_json}


def test_other_rows_make_another_model(watched_run: WatchedRun) -> None:
    rows = make_rows()
    rows.loc[0, "label"] = 1 - rows.loc[0, "label"]
    assert train_in_process([rows]) != [watched_run.model_json]


def test_bank_node_scores_as_xgboost_in_a_process_of_its_own(watched_run: WatchedRun) -> None:
    rows = make_rows(400)
    data = watched_run.work / "to_score.csv"
    rows.drop(columns="label").to_csv(data, index=False)
    out = watched_run.work / "scores.csv"
    state = watched_run.states[BANKS[0]]
    run_program(
        ["bank-node", "score", "--state", str(state), "--data", str(data), "--out", str(out)],
        log=watched_run.work / "score.log",
    )
    scored = pd.read_csv(out)
    assert list(scored["row"]) == list(range(1, 401))

    model = state / "runs" / watched_run.run_id / "model.json"
    program = f"""
import json, numpy as np, pandas as pd, xgboost
rows = pd.read_csv({str(data)!r})
rows["channel"] = pd.Categorical(rows["channel"], categories={list(CATEGORIES)!r})
booster = xgboost.Booster()
booster.load_model({str(model)!r})
matrix = xgboost.DMatrix(rows, enable_categorical=True, feature_types=booster.feature_types)
print(json.dumps(booster.predict(matrix).astype(float).tolist()))
"""
    alone = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    expected = np.array(json.loads(alone.stdout))
    assert np.abs(scored["score"].to_numpy() - expected).max() < 1e-6
    assert len(np.unique(expected)) > 10


def test_the_record_of_a_run_says_what_protected_it(watched_run: WatchedRun) -> None:
    for name in BANKS:
        path = watched_run.states[name] / "runs" / watched_run.run_id / "record.json"
        record = json.loads(path.read_text())
        assert record["key_bits"] == 2048
        assert record["key_fingerprint"] == watched_run.key_package.public_key.fingerprint
        whole_run = record["whole_run"]
        assert whole_run["ciphertexts"] > 0
        assert whole_run["bytes_sent"] > whole_run["ciphertexts"] * 512
        assert {"histogram", "encrypt", "sum", "open", "wait"} <= set(
            record["last_process"]["wall_seconds"]
        )


def test_status_tells_what_is_there(watched_run: WatchedRun, tmp_path: Path) -> None:
    state = watched_run.states[BANKS[1]]
    printed = run_program(
        ["bank-node", "status", "--state", str(state), "--json"], log=tmp_path / "status.log"
    )
    assert json.loads(printed)["name"] == BANKS[1]
