"""Many files as one table: the cells of one file, and every file that does not fit named."""

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import DataError
from fraudfed.reading import partitioned, pieces
from fraudfed.reading.location import open_data, parse_location
from fraudfed.reading.partitioned import PartitionedFile
from fraudfed.reading.partitions import partitions_of
from fraudfed.reading.pieces import in_pieces, n_rows_about
from fraudfed.reading.problems import ProblemsError

TYPES = {"amount": pa.float64(), "country": pa.string()}


def rows(n: int, start: int = 0) -> pd.DataFrame:
    numbers = np.arange(start, start + n)
    return pd.DataFrame({"amount": numbers + 0.5, "country": [f"C{i % 7}" for i in numbers]})


def opened(path: Path) -> PartitionedFile:
    file = open_data(parse_location(str(path)))
    assert isinstance(file, PartitionedFile)
    return file


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False, row_group_size=max(1, len(frame) // 3))


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    suffix=st.sampled_from([".csv", ".parquet"]),
    wanted=st.integers(1, 12),
)
def test_files_pieces_and_partitions_hold_the_rows_of_the_table_that_they_were(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], suffix: str, wanted: int
) -> None:
    directory = tmp_path_factory.mktemp("data")
    frame = rows(sum(sizes))
    ends = np.cumsum(sizes)
    for number, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        write(frame.iloc[end - size : end], directory / f"part-{number}{suffix}")
    file = opened(directory)
    assert file.read(TYPES).to_pandas()["amount"].tolist() == frame["amount"].tolist()
    parts = [pickle.loads(pickle.dumps(part)) for part in partitions_of(file, rows=wanted)]
    for read in ([p.open() for p in parts], in_pieces(file, rows=wanted)):
        tables = [one.read(TYPES).to_pandas() for one in read]
        assert pd.concat(tables)["amount"].tolist() == frame["amount"].tolist()
        assert pd.concat(tables)["country"].tolist() == frame["country"].tolist()
    assert suffix == ".csv" or n_rows_about(file) == len(frame)


def test_directories_called_column_and_value_are_a_column(tmp_path: Path) -> None:
    write(rows(2), tmp_path / "day=2026-01-01" / "a.parquet")
    write(rows(3), tmp_path / "day=__HIVE_DEFAULT_PARTITION__" / "b.parquet")
    write(rows(1), tmp_path / "day=a%2Fb" / "c.parquet")
    (tmp_path / "_SUCCESS").touch()
    file = opened(tmp_path)
    assert file.columns == ("amount", "country", "day")
    days = file.read({"day": pa.string()})["day"].to_pylist()
    assert days == ["2026-01-01"] * 2 + [None] * 3 + ["a/b"]
    assert [len(column) for column in file.everything()] == [6, 6, 6]
    glob = opened(tmp_path / "day=*" / "*.parquet")
    assert glob.read({"day": pa.string()})["day"].to_pylist() == days
    again = [piece.read({"day": pa.string()}) for piece in in_pieces(file, rows=1)]
    assert [day for table in again for day in table["day"].to_pylist()] == days


def test_a_glob_takes_what_matches_in_the_order_of_the_names(tmp_path: Path) -> None:
    for name in ("rows-2", "rows-10", "other"):
        write(rows(1, start=len(name)), tmp_path / f"{name}.csv")
    file = opened(tmp_path / "rows-*.csv")
    assert [Path(part.name).name for part in file.files] == ["rows-10.csv", "rows-2.csv"]
    odd = tmp_path / "odd[1].csv"
    write(rows(1), odd)
    assert open_data(odd).path == odd


def test_a_wrong_cell_is_named_with_its_file_and_its_row_there(tmp_path: Path) -> None:
    write(rows(3), tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text('amount,country\n"1",C\n"x\ny",C\n')
    (tmp_path / "c.csv").write_text("amount,country\n7,C\nlots,C\n")
    file = opened(tmp_path)
    problems = file.problems()
    column = file.read(TYPES)["amount"]
    bad = np.array([not text.strip('"')[0].isdigit() for text in column.to_pylist()])
    problems.add_cells(
        "k", "'amount'", bad, got=lambda row: column[row].as_py(), expected="e", advice="a"
    )
    with pytest.raises(ProblemsError, match=r"b\.csv: row 2 \(line 3\), column 'amount'") as raised:
        problems.raise_any()
    assert [(c.file, c.row, c.line) for c in raised.value.problems[0].cells] == [
        (str(tmp_path / "b.csv"), 2, 3),
        (str(tmp_path / "c.csv"), 2, 3),
    ]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            rows(1).drop(columns="country"),
            r"b.parquet: schema drift: column 'country' is missing, ",
        ),
        (rows(1).assign(more=1), r"b.parquet: schema drift: column 'more' is not in .*a.parquet"),
        (
            rows(1).assign(country=1),
            r"b.parquet: schema drift: column 'country' has type int64, expected string as in .*a",
        ),
        (
            rows(1).assign(amount=pd.Timestamp("2026-01-01")),
            r"column 'amount' has type timestamp.*, expected double as in .*a.parquet",
        ),
    ],
)
def test_drift_names_file_column_and_the_file_that_says_otherwise(
    tmp_path: Path, frame: pd.DataFrame, message: str
) -> None:
    write(rows(2), tmp_path / "a.parquet")
    write(frame, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_numbers_of_several_widths_and_columns_of_nothing_are_no_drift(tmp_path: Path) -> None:
    write(rows(2).assign(amount=[1, 2], country=None), tmp_path / "a.parquet")
    write(rows(2)[["country", "amount"]], tmp_path / "b.parquet")
    write(rows(2).assign(country=pd.Categorical(["x", "y"])), tmp_path / "c.parquet")
    found = opened(tmp_path).read(TYPES)
    assert found["amount"].to_pylist() == [1, 2, 0.5, 1.5, 0.5, 1.5]
    assert found["country"].to_pylist() == [None, None, "C0", "C1", "x", "y"]
    # What is nothing in the first file does not hide that two others differ.
    write(rows(2).assign(country=[1, 2]), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"d.parquet: schema drift: .* as in .*b.parquet"):
        opened(tmp_path)


def test_a_csv_with_a_cell_that_is_no_number_leaves_all_cells_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("amount,country\n1.50,C\n")
    (tmp_path / "b.csv").write_text("amount,country\nx,C\n")
    assert opened(tmp_path).read(TYPES)["amount"].to_pylist() == ["1.50", "x"]


def test_what_is_no_table_of_rows_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="no file matches, expected a directory of"):
        opened(tmp_path)
    with pytest.raises(DataError, match="no file matches, expected at least one"):
        opened(tmp_path / "*.csv")
    write(rows(0), tmp_path / "a.parquet")
    write(rows(0), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="2 files and no row in any of them"):
        opened(tmp_path).read(TYPES)
    with pytest.raises(DataError, match="2 files and no row in any of them"):
        list(in_pieces(opened(tmp_path), rows=10))
    write(rows(2), tmp_path / "c.csv")
    with pytest.raises(DataError, match=r"c.csv: is CSV, expected Parquet as .*a.parquet"):
        opened(tmp_path)
    (tmp_path / "c.csv").rename(tmp_path / "c.txt")
    with pytest.raises(DataError, match=r"c.txt: file type '.txt'"):
        opened(tmp_path)
    (tmp_path / "c.txt").unlink()
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"b.parquet: cannot be read as Parquet"):
        opened(tmp_path)
    monkeypatch.setattr(partitioned, "MOST_FILES", 1)
    with pytest.raises(DataError, match="2 files, expected at most 1; join small files"):
        opened(tmp_path)


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path) -> None:
    write(rows(30), tmp_path / "a.parquet")
    write(rows(30), tmp_path / "b.parquet")
    file = opened(tmp_path)
    file.read(TYPES)
    write(rows(31), tmp_path / "b.parquet")
    for read in (
        lambda: file.read(TYPES),
        lambda: list(in_pieces(file, rows=10)),
        partitions_of(file)[-1].open,
    ):
        with pytest.raises(DataError, match=r"b.parquet: has changed while it was read"):
            read()
    (tmp_path / "b.parquet").unlink()
    with pytest.raises(DataError, match=r"b.parquet: was there when the data were listed"):
        file.read(TYPES)


def test_control_without_its_stamp_other_rows_would_pass_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(rows(30), tmp_path / "a.parquet")
    write(rows(30), tmp_path / "b.parquet")
    file = opened(tmp_path)
    write(rows(30, start=7), tmp_path / "b.parquet")
    os.utime(tmp_path / "b.parquet", ns=(0, 0))
    monkeypatch.setattr(partitioned.Partition, "check_unchanged", lambda _self: None)
    assert file.read(TYPES)["amount"].to_pylist()[30] == 7.5


def test_a_large_csv_file_in_pieces_counts_rows_and_lines_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_SMALL_CSV_BYTES", 0)
    monkeypatch.setattr(pieces, "_BLOCK_BYTES", 512)
    write(rows(300), tmp_path / "a.csv")
    found = list(in_pieces(open_data(tmp_path / "a.csv"), rows=50))
    assert len(found) > 2
    sizes = [len(piece.read(TYPES)) for piece in found]
    assert sum(sizes) == 300
    assert found[2].places([1])[0][1:] == (sum(sizes[:2]) + 1, sum(sizes[:2]) + 3)


def test_a_name_with_control_characters_is_shown_as_escapes(tmp_path: Path) -> None:
    write(rows(1), tmp_path / "a\x1b[2J\nb.parquet")
    write(rows(1).assign(more=1), tmp_path / "c.parquet")
    with pytest.raises(DataError) as raised:
        opened(tmp_path)
    assert "a\\x1b[2J\\x0ab.parquet" in str(raised.value)
    assert "\x1b" not in str(raised.value)
