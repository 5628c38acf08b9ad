"""Rows on disk train the model that they train in memory, byte for byte."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bank_node.data import streamed_table
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.streamed_table import stream_training_rows
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.mapped import mapped_shard
from fraudfed.boosting.train import check_tables, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

CONTRACT = DataContract(
    kind="table",
    label="is_fraud",
    weight="w",
    max_weight=2.0,
    features=(
        FeatureSpec(name="amount", type=FeatureType.NUMERIC),
        FeatureSpec(name="age", type=FeatureType.NUMERIC),
        FeatureSpec(name="country", type=FeatureType.CATEGORICAL, categories=("A", "B", "C")),
    ),
)
LIMIT = 1 << 29


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(4)
    n = 900
    amount = np.where(random.random(n) < 0.1, np.nan, random.lognormal(3, 1, n))
    frame = pd.DataFrame(
        {
            "amount": amount,
            "age": random.integers(18, 90, n),
            "country": random.choice(["A", "B", "C"], n),
            "is_fraud": (np.nan_to_num(amount) + 20 * random.random(n) > 40).astype(int),
            "w": random.integers(1, 5, n) / 2.5,
        }
    )
    directory = tmp_path / "data"
    directory.mkdir()
    for number, (start, stop) in enumerate([(0, 500), (500, 500), (500, 900)]):
        frame.iloc[start:stop].to_parquet(directory / f"{number}.parquet", row_group_size=100)
    return directory


@pytest.mark.parametrize(
    "parameters",
    [{}, {"subsample": 0.7, "eval_metric": ["aucpr"], "early_stopping_rounds": 3}],
    ids=["all", "drawn"],
)
def test_the_same_model_from_disk_as_from_memory(
    data: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, object]
) -> None:
    params = BoosterParams.parse({"num_boost_round": 4, "max_depth": 3, **parameters})
    shares = TableShares(seed=params.seed, select=params.early_stopping_rounds is not None)
    whole = load_training_rows(data, CONTRACT, shares=shares).windows
    expected = train(params, whole.train, SoloCommunicator(), validation=whole.validation)
    monkeypatch.setattr(streamed_table, "piece_rows", lambda *_: 60)
    found = stream_training_rows(data, CONTRACT, shares=shares, memory_limit=LIMIT).windows
    rows = found.train
    shard = mapped_shard(
        rows.schema,
        rows.pieces(),
        max_weight=rows.max_weight,
        has_weights=rows.has_weights,
        engine=load_engine(1),
        memory_limit=LIMIT,
        part_rows=150,
    )
    assert len(shard.parts) > 2
    check_tables(params, shard, found.validation)
    result = train(params, shard, SoloCommunicator(), validation=found.validation)
    assert result.model.to_json() == expected.model.to_json()
