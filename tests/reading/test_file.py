"""Reading files: header, structure, format; every fault with the place that a person looks for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from pydantic import ValidationError

from fraudfed.errors import DataError
from fraudfed.reading.columns import number_column
from fraudfed.reading.file import DataFile
from fraudfed.reading.file_format import FileFormat
from fraudfed.reading.problems import ProblemsError

TEXT, NUMBER = pa.string(), pa.float64()


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", ["ROWS.CSV", "rows.Csv", "rows.PARQUET", "rows.Pq"])
def test_a_suffix_counts_in_any_case(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = pd.DataFrame({"a": [1.5, 2.0], "b": ["x", "NA"]})
    (frame.to_csv if "c" in name.lower().split(".")[1] else frame.to_parquet)(path, index=False)
    found = DataFile.open(path).read({"b": TEXT, "a": NUMBER})
    assert found.to_pydict() == {"b": ["x", "NA"], "a": [1.5, 2.0]}


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (
            "\ufeffname;amount\nMüller;1.234,5\n",
            {"separator": ";", "decimal": ",", "thousands": "."},
        ),
        ("name\tamount\nMüller\t1234.5\n", {"separator": "\t"}),
        ("name|amount\r\nMüller|1234,5\r\n", {"separator": "|", "decimal": ","}),
        ("name,amount\nMüller,1234.5\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("name,amount\nMüller,1234.5\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("\ufeffname,amount\nMüller,1234.5\n", {"encoding": "utf8"}),
    ],
)
def test_a_format_says_how_a_file_is_written(tmp_path: Path, content, how) -> None:
    file = DataFile.open(written(tmp_path / "d.csv", content), file_format=FileFormat(**how))
    assert file.columns == ("name", "amount")
    table = file.read({"name": TEXT, "amount": NUMBER})
    values = number_column(file, "amount", table["amount"], file.problems())
    assert table["name"].to_pylist() == ["Müller"]
    assert values is not None
    assert values[0].tolist() == [1234.5]
    assert file.everything()[0].to_pylist() == ["Müller"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"separator": ""}, {"separator": "ab"}, {"separator": "1"}, {"separator": '"'}),
        *({"decimal": "'"}, {"thousands": "."}, {"decimal": ",", "thousands": ","}),
        *({"thousands": "x"}, {"encoding": "utf-9"}, {"encoding": "hex"}, {"unknown": 1}),
    ],
)
def test_formats_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        FileFormat(**wrong)


def test_columns_of_one_name(tmp_path: Path) -> None:
    csv = written(tmp_path / "d.csv", "From,Account,To,Account,note,note\na,1,b,2,x,y\n")
    table = pa.table([["a"], [1], ["b"], [2]], names=["From", "Account", "To", "Account"])
    pa_parquet.write_table(table, tmp_path / "d.parquet")
    for path in (csv, tmp_path / "d.parquet"):
        file = DataFile.open(path)
        # Others may be there twice.
        assert file.read({"From": TEXT})["From"].to_pylist() == ["a"]
        with pytest.raises(DataError, match=r"column 'Account' occurs 2 times, expected once; ren"):
            file.require("Account", "payer")
        numbered = DataFile.open(path, file_format=FileFormat(number_repeated=True))
        assert numbered.columns[:4] == ("From", "Account", "To", "Account#2")
        found = numbered.read({"Account#2": NUMBER, "Account": NUMBER})
        assert found.to_pydict() == {"Account#2": [2], "Account": [1]}
        assert len(file.everything()) == len(file.columns)


def test_quoted_line_ends_in_a_file_of_several_blocks(tmp_path: Path) -> None:
    rows = 40_000
    names = [f"Bakery {i}\nHigh Street {i % 7}, back" for i in range(rows)]
    frame = pd.DataFrame({"name": names, "amount": np.arange(rows) / 4})
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert (tmp_path / "d.csv").stat().st_size > 1 << 20
    file = DataFile.open(tmp_path / "d.csv")
    found = file.read({"name": TEXT, "amount": NUMBER})
    assert found["name"].to_pylist() == names
    assert found["amount"].to_pylist() == frame["amount"].tolist()
    assert file.lines([0, 1, 999]) == [2, 4, 2000]


def test_every_row_that_is_cut_off_is_counted(tmp_path: Path) -> None:
    body = "".join(f"{i},{i}\n" if i % 2 else f"{i}\n" for i in range(40))
    file = DataFile.open(written(tmp_path / "d.csv", "a,b\n" + body))
    with pytest.raises(ProblemsError) as failure:
        file.read({"a": NUMBER})
    (problem,) = failure.value.problems
    assert (problem.kind, problem.count, len(problem.cells)) == ("cut_off_row", 20, 10)
    assert [(cell.row, cell.line) for cell in problem.cells[:2]] == [(1, 2), (3, 4)]
    assert str(failure.value) == (
        f"{file.path}: row 1 (line 2): got 1 fields, expected 2 as in the header (and 19 more "
        "rows); the row is cut off or a ',' is not quoted"
    )


def test_text_that_is_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    for before in (1, 40_000):
        path = written(tmp_path / "d.csv", b"a,b\n" + b"1,x\n" * before + b"2,caf\xe9\n")
        message = rf"line {before + 2}: byte 0xe9 is not UTF-8; .*encoding in a mapping"
        with pytest.raises(DataError, match=message):
            DataFile.open(path).read({"b": TEXT})
    path = written(tmp_path / "e.csv", "a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"is written in UTF-16, expected UTF-8; save the file"):
        DataFile.open(path)


def test_one_cell_that_is_no_number_leaves_the_others_numbers(tmp_path: Path) -> None:
    file = DataFile.open(written(tmp_path / "d.csv", "a,b,c\n1,True,x\n2,,y\n?,False,NULL\n"))
    found = file.read({"a": NUMBER, "b": NUMBER, "c": TEXT})
    problems = file.problems()
    a = number_column(file, "a", found["a"], problems)
    b = number_column(file, "b", found["b"], problems)
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a[0], [1, 2, np.nan])
    np.testing.assert_array_equal(b[0], [1, np.nan, 0])
    assert found["c"].to_pylist() == ["x", "y", "NULL"]
    assert [problem.text for problem in problems.all()] == [
        "row 3 (line 4), column 'a': got '?', expected a number or nothing (missing); correct the "
        "value"
    ]
