"""Rows on disk train the model that they train in memory, byte for byte."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bank_node.data import streamed
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.streamed_table import stream_training_rows
from fraudfed.boosting.train import check_tables, train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import DataError
from fraudfed.intake import on_disk
from fraudfed.intake.on_disk import DiskRoom, map_rows
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
    monkeypatch.setattr(streamed, "piece_rows", lambda *_: 60)
    monkeypatch.setattr(on_disk, "_LEAST_PART_ROWS", 1)
    monkeypatch.setattr(on_disk, "_PART_ROWS", 150)
    found = stream_training_rows(data, CONTRACT, shares=shares, memory_limit=LIMIT).windows
    shard = map_rows(found.train, memory_limit=LIMIT, threads=1)
    assert len(shard.parts) > 2  # type: ignore[attr-defined]
    check_tables(params, shard, found.validation)
    result = train(params, shard, SoloCommunicator(), validation=found.validation)
    assert result.model.to_json() == expected.model.to_json()


def test_a_room_on_disk_keeps_what_was_written_and_says_when_it_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = DiskRoom()
    with room:
        array = room.empty((7, 1000), np.int64)
        array[:] = np.arange(7000).reshape(7, 1000)
    assert (array == np.arange(7000).reshape(7, 1000)).all()
    assert room.empty((0, 3), np.float32).shape == (0, 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(on_disk.os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"no room on disk for 8 bytes of rows .No space left"):
        room.empty((1,), np.int64)
