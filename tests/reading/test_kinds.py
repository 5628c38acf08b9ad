"""Numbers or categories: decided over the whole column, from its values alone."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from fraudfed.reading.file import DataFile
from fraudfed.reading.kinds import ColumnKind, all_columns, find_kind
from fraudfed.reading.problems import Problem


def kind_of(path: Path) -> tuple[ColumnKind | None, tuple[Problem, ...]]:
    file = DataFile.open(path)
    problems = file.problems()
    found = all_columns(file, ["x"])["x"]
    kind = find_kind(file, "x", found, problems, most_categories=20, advice="leave it out")
    return kind, problems.all()


def csv_kind(tmp_path: Path, values: list[Any]) -> tuple[ColumnKind | None, tuple[Problem, ...]]:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object), "y": 0})
    frame.to_csv(tmp_path / "d.csv", index=False)
    return kind_of(tmp_path / "d.csv")


def parquet_kind(tmp_path: Path, values: pa.Array) -> tuple[ColumnKind | None, tuple[Problem, ...]]:
    pa_parquet.write_table(pa.table({"x": values}), tmp_path / "d.parquet")
    return kind_of(tmp_path / "d.parquet")


@pytest.mark.parametrize(
    ("values", "categories"),
    [
        ([1, 2.5, None], None),
        (["1", "", "NA", "null"], None),
        ([None, None], None),
        (["NaN", ""], None),
        ([True, None, False], None),
        (["GB", "NA", None], ("GB", "NA")),
        (["NA", None], ("NA",)),
        (["1", "2", "A3"], ("1", "2", "A3")),
        (["0042", "17"], ("0042", "17")),
        (["0", "0.5", "-0.25"], None),
        (["True", "2"], ("2", "True")),
        (["09:30", "late"], ("09:30", "late")),
    ],
)
def test_kinds_in_csv(
    tmp_path: Path, values: list[Any], categories: tuple[str, ...] | None
) -> None:
    kind, problems = csv_kind(tmp_path, values)
    assert kind == ColumnKind(categories)
    assert problems == ()


@pytest.mark.parametrize("place", [0, 63, 64, 4_999])
def test_one_text_among_numbers_counts_wherever_it_is(tmp_path: Path, place: int) -> None:
    values = [str(number % 9) for number in range(5_000)]
    values[place] = "C7"
    kind, _ = csv_kind(tmp_path, values)
    assert kind is not None
    assert kind.categories == (*map(str, range(9)), "C7")


def test_types_of_parquet_say_what_a_column_holds(tmp_path: Path) -> None:
    for values in (
        *(pa.array([1, None], kind) for kind in (pa.int8(), pa.uint64(), pa.float32())),
        *(pa.array([1, None], kind) for kind in (pa.decimal128(38, 0), pa.decimal128(5, 2))),
        *(pa.array([True, None]), pa.nulls(2), pa.array([3, 4]).dictionary_encode()),
    ):
        assert parquet_kind(tmp_path, values) == (ColumnKind(), ()), values.type
    for values in (
        *(pa.array(["5", "NA", ""], kind) for kind in (pa.string(), pa.large_string())),
        *(pa.array(["5", "NA", None], pa.string_view()),),
        pa.array(["NA", "5", "NA"]).dictionary_encode(),
    ):
        assert parquet_kind(tmp_path, values) == (ColumnKind(("5", "NA")), ()), values.type


MOMENT = datetime(2024, 3, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [
        [MOMENT, None],
        [MOMENT.replace(tzinfo=None), MOMENT.replace(tzinfo=None, microsecond=5)],
        [MOMENT.date()],
        [time(23, 59, 1)],
        [timedelta(days=3, seconds=5), timedelta(0)],
    ],
)
def test_times_are_refused_in_csv_as_in_parquet(tmp_path: Path, values: list[Any]) -> None:
    of_csv, problems = csv_kind(
        tmp_path, [pd.Timedelta(v) if isinstance(v, timedelta) else v for v in values]
    )
    of_parquet, others = parquet_kind(tmp_path, pa.array(values))
    assert of_csv is of_parquet is None
    for problem in (*problems, *others):
        assert problem.kind == "wrong_type"
        assert "expected numbers or categories; convert the" in problem.text
        assert problem.text.endswith("or leave it out")


def test_too_many_texts_are_no_categories(tmp_path: Path) -> None:
    kind, (problem,) = csv_kind(tmp_path, [f"id {i}" for i in range(21)])
    assert kind is None
    assert problem.text == (
        "column 'x' holds 21 distinct texts, expected 1 to 20 categories; leave it out"
    )
    # Where most are numbers, the others are what is wrong.
    kind, (problem,) = csv_kind(tmp_path, [*range(30), "?", 5, "12,5"])
    assert kind is None
    assert problem.count == 2
    assert problem.text.startswith("row 31 (line 32), column 'x': got '?', expected a number, as m")


def test_parts_and_bytes_are_refused(tmp_path: Path) -> None:
    for values in (pa.array([[1], [2]]), pa.array([{"a": 1}]), pa.array([b"x"])):
        kind, (problem,) = parquet_kind(tmp_path, values)
        assert kind is None
        assert problem.text.startswith("column 'x' has type ")
