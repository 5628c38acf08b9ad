"""Rows read and built in pieces: what is written is what it is when all is read at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import xgboost

from bank_node.data import streamed
from bank_node.data.contract import load_training_rows
from bank_node.data.streamed import Bounded, stream_windows
from bank_node.serving.feature_export import export_features
from bank_node.serving.score import score_file
from data_gen.settings.config import WorldConfig
from data_gen.world.making import generate
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.parts import PartedShard
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.intake.pieced_windows import total_counts
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec, LabelHorizon, Population

CONTRACT = DataContract(
    kind="transactions",
    features=contract_features(),
    recipe=RECIPE,
    label_horizon_days=LabelHorizon(days=7),
)
TABLE = DataContract(kind="table", features=(FeatureSpec(name="x"), FeatureSpec(name="y")))
ROWS = 400
DAY_ONE = LabelHorizon(days=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces and buckets as small as no limit would make them."""
    monkeypatch.setattr(Bounded, "piece_rows", ROWS)
    monkeypatch.setattr(streamed, "n_buckets_for", lambda n_rows, *, memory_bytes: 5)


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    _, rows = next(iter(generate(WorldConfig(seed=3, banks=3, customers=200, days=30))))
    assert len(rows) > 3 * ROWS
    # Frauds in every window and piece, each reported an hour later.
    is_fraud = np.arange(len(rows)) % 17 == 0
    hour_later = rows["event_time"] + 3_600
    return rows.assign(
        is_fraud=is_fraud.astype(np.int8),
        label_time=hour_later.where(is_fraud, rows["label_time"]),
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, payments: pd.DataFrame) -> Path:
    """Uneven files, in no order of time, one of them empty."""
    directory = tmp_path_factory.mktemp("parts") / "rows"
    directory.mkdir()
    shuffled = payments.sample(frac=1.0, random_state=0)
    for number, (start, stop) in enumerate([(0, 900), (900, 900), (900, 950), (950, None)]):
        shuffled.iloc[start:stop].to_parquet(directory / f"{number}.parquet", row_group_size=300)
    return directory


@pytest.fixture
def bounded(tmp_path: Path) -> Bounded:
    return Bounded(1 << 30, tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_features_in_pieces_are_those_of_all_at_once(
    parts: Path, suffix: str, tmp_path: Path, bounded: Bounded
) -> None:
    whole, pieces = (tmp_path / f"{name}.{suffix}" for name in ("whole", "pieces"))
    count = export_features(parts, whole, contract=CONTRACT)
    assert export_features(parts, pieces, contract=CONTRACT, bounded=bounded) == count
    assert pieces.read_bytes() == whole.read_bytes()
    assert pieces.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == sorted([whole, pieces])


def test_those_outside_the_population_are_history_and_not_written(
    parts: Path,
    payments: pd.DataFrame,
    tmp_path: Path,
    bounded: Bounded,
    caplog: pytest.LogCaptureFixture,
) -> None:
    few = CONTRACT.model_copy(update={"population": Population(channels=("transfer",))})
    whole, pieces = tmp_path / "whole.csv", tmp_path / "pieces.csv"
    count = export_features(parts, whole, contract=few)
    told = caplog.text
    caplog.clear()
    assert export_features(parts, pieces, contract=few, bounded=bounded) == count
    assert pieces.read_bytes() == whole.read_bytes()
    assert caplog.text.splitlines()[-1].split("payments", 1)[1] in told
    others = tmp_path / "others.parquet"
    payments[payments["channel"] == "pos"].to_parquet(others)
    with pytest.raises(DataError, match=r"none of \d+ payments is in the run's population"):
        export_features(others, pieces, contract=few, bounded=bounded)
    # It is as before.
    assert pieces.read_bytes() == whole.read_bytes()


def test_scores_in_pieces_are_those_of_all_at_once(
    payments: pd.DataFrame, parts: Path, tmp_path: Path, bounded: Bounded
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(3 * ROWS, 2)), columns=["x", "y"])
    table.to_parquet(tmp_path / "rows.parquet", row_group_size=ROWS)
    model = _model(tmp_path / "model.json", TABLE, rng)
    whole, pieces = tmp_path / "whole.csv", tmp_path / "pieces.csv"
    data = tmp_path / "rows.parquet"
    assert score_file(data, whole, model=model, contract=TABLE) == (3 * ROWS, False)
    found = score_file(data, pieces, model=model, contract=TABLE, bounded=bounded)
    assert found == (3 * ROWS, False)
    # Numbers of rows continue over the pieces.
    assert pieces.read_bytes() == whole.read_bytes()
    model = _model(tmp_path / "other.json", CONTRACT, rng)
    score_file(parts, whole, model=model, contract=CONTRACT)
    score_file(parts, pieces, model=model, contract=CONTRACT, bounded=bounded)
    assert pieces.read_bytes() == whole.read_bytes()
    assert len(pd.read_csv(pieces)) == len(payments)


def test_a_tables_identifiers_are_texts_whatever_each_file_stores(
    tmp_path: Path, bounded: Bounded
) -> None:
    data = tmp_path / "rows"
    data.mkdir()
    kinds = (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))
    for number, kind in enumerate(kinds):
        names = pa.array([f"{number}{row}" for row in range(3)]).cast(kind)
        table = {"transaction_id": names, "x": np.arange(3.0), "y": np.arange(3.0)}
        pa_parquet.write_table(pa.table(table), data / f"{number}.parquet")
    whole, pieces = tmp_path / "whole.parquet", tmp_path / "pieces.parquet"
    export_features(data, whole, contract=TABLE)
    assert export_features(data, pieces, contract=TABLE, bounded=bounded) == 9
    assert pieces.read_bytes() == whole.read_bytes()
    numbers = tmp_path / "numbers.parquet"
    pa_parquet.write_table(
        pa.table({"transaction_id": [7, None], "x": [1.0] * 2, "y": [1.0] * 2}), numbers
    )
    export_features(numbers, whole, contract=TABLE)
    assert pa_parquet.read_table(whole)["transaction_id"].to_pylist() == ["7", None]


def test_what_is_wrong_with_a_table_is_said_of_all_pieces_together(
    tmp_path: Path, bounded: Bounded
) -> None:
    data, out = tmp_path / "rows.parquet", tmp_path / "out.csv"
    n = 3 * ROWS

    def refused(**columns: list[Any]) -> list[str]:
        pd.DataFrame({"x": 1.0, "y": [1.0] * n} | columns).to_parquet(data, row_group_size=ROWS)
        found = []
        for how in (None, bounded):
            with pytest.raises(DataError) as error:
                export_features(data, out, contract=TABLE, bounded=how)
            found.append(str(error.value))
        assert not out.exists()
        return found

    # A fault in the first and in the last piece; each is written down as in memory.
    one, other = refused(x=[np.inf, *[1.0] * (n - 1)], transaction_id=[*[1.0] * (n - 1), 1.5])
    assert one == other
    assert "1 more problem" in one
    # What a text means depends on the whole column.
    truths = ["true"] * ROWS + ["2"] * (n - ROWS)
    one, other = refused(x=truths)
    assert "expected a number" in one
    assert "holds numbers in" in other
    assert "truth values in" in other


def test_wide_rows_are_read_fewer_at_a_time(
    tmp_path: Path, bounded: Bounded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bounded, "piece_rows", 1 << 18)
    seen = []
    monkeypatch.setattr(streamed, "read_in_pieces", lambda *_, rows: seen.append(rows) or iter(()))
    pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "rows.parquet")
    for width in (1, 3000):
        wide = DataContract(
            kind="table", features=tuple(FeatureSpec(name=f"x{n}") for n in range(width))
        )
        list(streamed.stream_scoring_rows(tmp_path / "rows.parquet", wide, bounded))
    assert seen[0] == 1 << 18
    # Many arrays of such a piece fit into the limit.
    assert seen[1] * 3000 * 4 <= bounded.memory_bytes // 16


def _model(path: Path, contract: DataContract, rng: np.random.Generator) -> Path:
    n = len(contract.features)
    names = [spec.name for spec in contract.features]
    types = ["q" if spec.categories is None else "c" for spec in contract.features]
    values = rng.integers(0, 2, (200, n)).astype(np.float32)
    matrix = xgboost.DMatrix(
        values,
        label=rng.integers(0, 2, 200),
        feature_names=names,
        feature_types=types,
        enable_categorical=True,
    )
    params = {"objective": "binary:logistic", "max_depth": 3}
    xgboost.train(params, matrix, num_boost_round=3).save_model(path)
    return path


def test_a_repeated_identifier_is_found_over_all_files(
    parts: Path, payments: pd.DataFrame, tmp_path: Path, bounded: Bounded
) -> None:
    out = tmp_path / "more"
    out.mkdir()
    for number, start in enumerate((0, 500)):
        payments.iloc[start : start + 501].to_parquet(out / f"{number}.parquet")
    with pytest.raises(DataError, match="rows 501 and 502 have"):
        export_features(out, tmp_path / "x.csv", contract=CONTRACT, bounded=bounded)


def test_a_limit_is_not_too_small(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--memory-limit is 100 MiB, expected 512 MiB"):
        Bounded(100 << 20, tmp_path)


def test_a_model_trained_on_pieces_has_the_bytes_of_one_trained_at_once(
    parts: Path, payments: pd.DataFrame, bounded: Bounded
) -> None:
    end = int(payments["event_time"].max()) + 1
    contract = CONTRACT.model_copy(
        update={"train_until": end - 6 * 86_400, "select_until": end, "label_horizon_days": DAY_ONE}
    )
    whole = load_training_rows(parts, contract).windows
    pieces = list(stream_windows(parts, contract, bounded))
    assert len(pieces) > 3
    assert total_counts(piece.counts for piece in pieces) == whole.counts
    params = BoosterParams(num_boost_round=4, max_depth=3, eta=0.3)
    at_once = train(params, whole.train, SoloCommunicator(), validation=whole.validation)
    shards = [
        PartedShard([LocalShard(table) for table in tables if table is not None])
        for tables in ([w.train for w in pieces], [w.validation for w in pieces])
    ]
    in_pieces = train(params, shards[0], SoloCommunicator(), validation=shards[1])
    assert in_pieces.model.to_json() == at_once.model.to_json()
    assert in_pieces.history == at_once.history


def test_pieces_without_a_label_or_too_short_are_refused(
    payments: pd.DataFrame, tmp_path: Path, bounded: Bounded
) -> None:
    path = tmp_path / "rows.parquet"
    unknown = payments.astype({"is_fraud": "Int64", "label_time": "Int64"})
    unknown[["is_fraud", "label_time"]] = pd.NA
    unknown.to_parquet(path)
    with pytest.raises(DataError, match="no row has a label"):
        list(stream_windows(path, CONTRACT, bounded))
    payments.drop(columns=["is_fraud", "label_time"]).to_parquet(path)
    with pytest.raises(DataError, match="'is_fraud' and 'label_time' are missing"):
        list(stream_windows(path, CONTRACT, bounded))
    payments.to_parquet(path)
    late = CONTRACT.model_copy(update={"train_until": 2**31})
    with pytest.raises(DataError, match="train_until"):
        list(stream_windows(path, late, bounded))
