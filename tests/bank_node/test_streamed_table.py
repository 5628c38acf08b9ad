"""Rows that stay on disk: windows, digest and problems are those of reading all at once."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data import streamed_table
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.digest import windows_digest
from bank_node.data.streamed_table import stream_training_rows
from fraudfed.boosting.sampling import row_keys
from fraudfed.boosting.table import TrainingTable
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake import streamed as intake
from fraudfed.reading import pieces
from fraudfed.reading.location import open_data
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

CONTRACT = DataContract(
    kind="table",
    label="is_fraud",
    weight="w",
    max_weight=2.0,
    features=(
        FeatureSpec(name="amount", type=FeatureType.NUMERIC),
        FeatureSpec(name="country", type=FeatureType.CATEGORICAL, categories=("A", "B", "C")),
    ),
)
LIMIT = 1 << 30


def rows(n: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": np.where(random.random(n) < 0.2, np.nan, random.integers(0, 50, n) / 2),
            "country": random.choice(["A", "B", "C", None], n),
            "is_fraud": random.integers(0, 2, n),
            "w": random.integers(1, 5, n) / 2.5,
        }
    )


def write(frame: pd.DataFrame, directory: Path, sizes: list[int], suffix: str) -> None:
    directory.mkdir(exist_ok=True)
    ends = np.cumsum(sizes)
    for number, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        part, path = frame.iloc[end - size : end], directory / f"part-{number}{suffix}"
        if suffix == ".csv":
            part.to_csv(path, index=False)
        else:
            part.to_parquet(path, index=False, row_group_size=7)


def content(table: TrainingTable | JudgedRows) -> list[list[float]]:
    labels = table.labels if isinstance(table, TrainingTable) else table.outcomes.labels
    assert table.weights is not None
    columns = [np.asarray(table.features), labels[:, None], table.weights[:, None]]
    found = np.nan_to_num(np.hstack(columns), nan=-1).tolist()
    return sorted(found)


@settings(deadline=None, max_examples=15)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(any),
    suffix=st.sampled_from([".csv", ".parquet"]),
    select=st.booleans(),
    judge=st.booleans(),
    piece=st.integers(1, 60),
)
def test_windows_in_pieces_are_those_of_all_rows_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    suffix: str,
    select: bool,
    judge: bool,
    piece: int,
) -> None:
    directory = tmp_path_factory.mktemp("data")
    write(rows(sum(sizes)), directory, sizes, suffix)
    shares = TableShares(seed=3, select=select, judge=judge)
    whole = load_training_rows(directory, CONTRACT, shares=shares)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed_table, "piece_rows", lambda *_: piece)
        patch.setattr(pieces, "_SMALL_CSV_BYTES", 0)
        patch.setattr(pieces, "_BLOCK_BYTES", 256)
        found = stream_training_rows(directory, CONTRACT, shares=shares, memory_limit=LIMIT)
        windows = found.windows
        for _ in range(2):
            tables = list(windows.train.pieces())
            together = [row for table in tables for row in content(table)]
            assert sorted(together) == content(whole.windows.train)
    assert windows.counts == whole.windows.counts
    assert (windows.train.n_rows, found.rows_read) == (whole.table.n_rows, whole.rows_read)
    assert windows.train.n_positives == int(whole.table.labels.sum())
    for mine, other in (
        (windows.select, whole.windows.select),
        (windows.judge, whole.windows.judge),
    ):
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            assert content(mine) == content(other)
    assert found.data_sha256 == windows_digest(whole.windows)
    assert found.warnings == whole.warnings
    missing = np.isnan(whole.table.features).sum(axis=0)
    assert windows.n_missing.tolist() == missing.tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_problems_in_pieces_are_those_of_all_rows_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    frame = rows(120)
    frame.loc[[5, 50, *range(80, 100)], "is_fraud"] = 3
    frame.loc[[7, 119], "country"] = "X"
    frame.loc[60, "w"] = 9.0
    write(frame, tmp_path, [40, 0, 50, 30], suffix)
    with pytest.raises(ProblemsError) as whole:
        load_training_rows(tmp_path, CONTRACT)
    monkeypatch.setattr(streamed_table, "piece_rows", lambda *_: 8)
    monkeypatch.setattr(pieces, "_SMALL_CSV_BYTES", 0)
    monkeypatch.setattr(pieces, "_BLOCK_BYTES", 256)
    with pytest.raises(ProblemsError) as found:
        stream_training_rows(tmp_path, CONTRACT, memory_limit=LIMIT)

    def told(error: ProblemsError) -> set[object]:
        return {dataclasses.replace(p, cells=p.cells) for p in error.problems}

    assert told(found.value) == told(whole.value)
    # In the order of the checks, whatever piece each is in.
    assert [p.text for p in found.value.problems] == [p.text for p in whole.value.problems]
    counts = {p.kind: p.count for p in found.value.problems}
    assert counts == {"not_a_label": 22, "unknown_category": 2, "not_a_weight": 1}
    place = f"part-2{suffix}: row 21" + (" (line 22)" if suffix == ".csv" else "")
    assert any(place in p.text for p in found.value.problems)


def test_a_row_of_another_length_is_told_first_and_its_file_is_not_passed_over(
    tmp_path: Path,
) -> None:
    write(rows(40), tmp_path, [20, 20], ".csv")
    with (tmp_path / "part-1.csv").open("a") as file:
        file.write("1\n")
    with pytest.raises(ProblemsError, match="got 1 fields") as whole:
        load_training_rows(tmp_path, CONTRACT)
    with pytest.raises(ProblemsError) as found:
        stream_training_rows(tmp_path, CONTRACT, memory_limit=LIMIT)
    assert str(found.value) == str(whole.value)


def test_one_file_in_pieces_is_told_of_as_the_file_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = rows(60)
    frame.loc[44, "is_fraud"] = 3
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path, row_group_size=7)
    with pytest.raises(ProblemsError) as whole:
        load_training_rows(path, CONTRACT)
    monkeypatch.setattr(streamed_table, "piece_rows", lambda *_: 8)
    with pytest.raises(ProblemsError) as found:
        stream_training_rows(path, CONTRACT, memory_limit=LIMIT)
    assert str(found.value) == str(whole.value)
    assert found.value.problems == whole.value.problems


def test_truth_values_in_one_piece_and_numbers_in_another_are_wrong_as_in_one_file(
    tmp_path: Path,
) -> None:
    truths = rows(20).assign(amount="true")
    write(pd.concat([truths, rows(20)]), tmp_path, [20, 20], ".csv")
    with pytest.raises(ProblemsError, match="got 'true', expected a number"):
        load_training_rows(tmp_path, CONTRACT)
    with pytest.raises(ProblemsError, match=r"'amount' holds numbers in .*part-1.csv, and truth v"):
        stream_training_rows(tmp_path, CONTRACT, memory_limit=LIMIT)
    truths.to_csv(tmp_path / "part-1.csv", index=False)
    found = stream_training_rows(tmp_path, CONTRACT, memory_limit=LIMIT)
    assert {v for t in found.windows.train.pieces() for v in t.features[:, 0].tolist()} == {1.0}


def test_rows_that_change_between_the_check_and_the_training_are_refused(tmp_path: Path) -> None:
    write(rows(40), tmp_path, [20, 20], ".parquet")
    found = stream_training_rows(tmp_path, CONTRACT, memory_limit=LIMIT)
    rows(21).to_parquet(tmp_path / "part-1.parquet")
    with pytest.raises(DataError, match=r"part-1.parquet: has changed while it was read"):
        list(found.windows.train.pieces())


def test_a_limit_decides_by_rows_and_columns(tmp_path: Path) -> None:
    write(rows(1000), tmp_path, [500, 500], ".parquet")
    need = 1000 * (2 * intake._CELL_BYTES + intake._ROW_BYTES)
    assert intake.bytes_in_memory(open_data(tmp_path), 2) == need
    assert intake.piece_rows(1 << 20, 3000) == 1 << 12
    assert intake.piece_rows(1 << 40, 3) == 1 << 18


def test_equal_rows_stay_in_one_window_whatever_file_they_are_in(tmp_path: Path) -> None:
    frame = pd.concat([rows(30), rows(30)])
    write(frame, tmp_path, [30, 30], ".parquet")
    shares = TableShares(seed=1, select=True, judge=True)
    found = stream_training_rows(tmp_path, CONTRACT, shares=shares, memory_limit=LIMIT).windows
    keys = np.concatenate([row_keys(table) for table in found.train.pieces()])
    assert (np.unique(keys, return_counts=True)[1] % 2 == 0).all()
