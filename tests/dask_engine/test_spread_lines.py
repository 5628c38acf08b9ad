"""Scores and features that workers make: the bytes of one machine's file."""

import hashlib
import itertools
import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost

from bank_node.data.contract import open_rows
from bank_node.data.spread_lines import spread_lines
from bank_node.serving.calibration_file import CalibrationFile, write_calibration
from bank_node.serving.feature_export import FeaturesOf, export_features
from bank_node.serving.score import score_file
from bank_node.serving.table_file import write_pieces
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.adaptation.calibration import Calibration
from fraudfed.adaptation.method import Method
from fraudfed.dask_engine.work import Work
from fraudfed.errors import DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    FeatureType,
    LabelHorizon,
    Population,
)

pytestmark = pytest.mark.e2e

CONTRACT = DataContract(
    kind="transactions",
    features=contract_features(),
    recipe=RECIPE,
    label_horizon_days=LabelHorizon(days=7),
)
TABLE = DataContract(
    kind="table",
    features=(
        FeatureSpec(name="x"),
        FeatureSpec(name="shop", type=FeatureType.CATEGORICAL, categories=("a", "b", "c")),
    ),
)


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    _, rows = next(iter(generate(WorldConfig(seed=3, banks=3, customers=60, days=20))))
    return rows.sample(frac=1.0, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    shops = rng.choice(np.array(["a", "b", None], dtype=object), 700)
    return pd.DataFrame({"x": rng.normal(size=700), "shop": shops, "more": 1})


def in_parts(rows: pd.DataFrame, folder: Path, n_parts: int) -> Path:
    """Write uneven files, one more of them empty; and so that a part is a file."""
    folder.mkdir()
    edges = [0, *(len(rows) * (n + 1) // (n_parts + 3) for n in range(n_parts - 1)), len(rows)]
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        rows[start:stop].to_parquet(folder / f"{number}.parquet")
    rows[:0].to_parquet(folder / "0a.parquet")
    return folder


def model_of(contract: DataContract, path: Path) -> Path:
    rng, n = np.random.default_rng(1), len(contract.features)
    matrix = xgboost.DMatrix(
        rng.integers(0, 2, (200, n)).astype(np.float32),
        label=rng.integers(0, 2, 200),
        feature_names=[spec.name for spec in contract.features],
        feature_types=["q" if spec.categories is None else "c" for spec in contract.features],
        enable_categorical=True,
    )
    params = {"objective": "binary:logistic", "max_depth": 3}
    xgboost.train(params, matrix, num_boost_round=3).save_model(path)
    return path


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_payments_on_workers_are_written_and_scored_as_on_one_machine(
    cluster: Any, payments: pd.DataFrame, tmp_path: Path, n_parts: int
) -> None:
    data = in_parts(payments, tmp_path / "rows", n_parts)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    count = export_features(data, here, contract=CONTRACT)
    assert (
        export_features(data, there, contract=CONTRACT, cluster=cluster) == count == len(payments)
    )
    assert there.read_bytes() == here.read_bytes()
    if n_parts != 2:
        return
    model = model_of(CONTRACT, tmp_path / "model.json")
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    score_file(data, here, model=model, contract=CONTRACT)
    found = score_file(data, there, model=model, contract=CONTRACT, cluster=cluster)
    assert found == (len(payments), False)
    assert there.read_bytes() == here.read_bytes()


@pytest.mark.parametrize("with_ids", [False, True])
def test_a_plain_table_too_and_its_rows_are_numbered_over_all_parts(
    cluster: Any, table: pd.DataFrame, tmp_path: Path, with_ids: bool
) -> None:
    if with_ids:
        table = table.assign(transaction_id=[f"t{number}" for number in range(len(table))])
    data = in_parts(table, tmp_path / "rows", 7)
    model = model_of(TABLE, tmp_path / "model.json")
    map_of = Calibration(method=Method.INTERCEPT_AND_SLOPE, intercept=-1.0, slope=0.5)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    about = {"model_sha256": sha256, "rows": 1, "frauds": 1, "cases": 1}
    write_calibration(model, CalibrationFile(calibration=map_of, **about))
    for suffix in ("csv", "parquet"):
        here, there = tmp_path / f"here.{suffix}", tmp_path / f"there.{suffix}"
        assert score_file(data, here, model=model, contract=TABLE) == (700, True)
        found = score_file(data, there, model=model, contract=TABLE, cluster=cluster)
        assert found == (700, True)
        assert there.read_bytes() == here.read_bytes()
        export_features(data, here, contract=TABLE)
        export_features(data, there, contract=TABLE, cluster=cluster)
        assert there.read_bytes() == here.read_bytes()


def test_those_outside_the_population_are_history_and_get_no_line(
    cluster: Any, payments: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = CONTRACT.model_copy(update={"population": Population(channels=("pos",))})
    data = in_parts(payments, tmp_path / "rows", 2)
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    export_features(data, here, contract=few)
    told = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    caplog.clear()
    count = export_features(data, there, contract=few, cluster=cluster)
    assert 0 < count < len(payments)
    assert there.read_bytes() == here.read_bytes()
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == told


def test_a_worker_that_dies_between_two_parts_changes_no_byte(
    cluster: Any, payments: pd.DataFrame, tmp_path: Path
) -> None:
    data = in_parts(payments, tmp_path / "rows", 7)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    export_features(data, here, contract=CONTRACT)
    make = FeaturesOf(CONTRACT, as_dictionary=True)
    file = open_rows(data, CONTRACT, None)
    lines = spread_lines(cluster, file, CONTRACT, None, shared=None, make=make)
    first = next(lines)
    os.kill(min(cluster.run(os.getpid).values()), signal.SIGKILL)
    write_pieces([first, *lines], there)
    assert there.read_bytes() == here.read_bytes()


def test_what_cannot_be_scored_is_refused_and_nothing_is_written(
    cluster: Any,
    payments: pd.DataFrame,
    table: pd.DataFrame,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("as it was")

    def refused(rows: pd.DataFrame, contract: DataContract) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        data = in_parts(rows, folder, 2)
        with caplog.at_level(logging.DEBUG), pytest.raises(DataError) as error:
            export_features(data, out, contract=contract, cluster=cluster)
        assert out.read_text() == "as it was"
        return str(error.value)

    bad = table.assign(x=[*table["x"][:-1].astype(object), "77777x"])
    text = refused(bad.astype({"x": str}), TABLE)
    assert "1.parquet: row" in text
    assert "77777x" in text
    truths = table.assign(x=["true"] * 140 + ["2"] * 560)
    assert "holds numbers in" in refused(truths, TABLE)
    assert "no row in any" in refused(table[:0], TABLE)
    assert "no row in any" in refused(payments[:0], CONTRACT)
    twice = payments.assign(transaction_id=["same", *payments["transaction_id"][1:-1], "same"])
    assert "occurs more than once" in refused(twice, CONTRACT)
    few = CONTRACT.model_copy(update={"population": Population(channels=("atm",))})
    assert "is in the run's population" in refused(payments[payments["channel"] == "pos"], few)
    # What is wrong with a row comes back as a value; no worker logs it.
    assert "77777x" not in str(cluster.get_worker_logs()) + caplog.text


def test_workers_hold_few_lines_that_are_not_asked_for(
    cluster: Any, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = in_parts(table, tmp_path / "rows", 20)
    given: list[str] = []
    give = Work.give
    monkeypatch.setattr(
        Work, "give", lambda work, what, *rest: given.append(what) or give(work, what, *rest)
    )
    make = FeaturesOf(TABLE, as_dictionary=True)
    lines = spread_lines(cluster, open_rows(data, TABLE, None), TABLE, None, shared=None, make=make)
    next(lines)
    n_threads = Work(cluster).n_threads
    assert given.count("lines") <= 2 * n_threads + 2 < 20
    assert sum(1 for _ in lines) == 19
    # What makes the lines travelled once.
    assert given.count("lines-of") == 1
