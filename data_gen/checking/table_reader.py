"""Read a table of a published schema from any Parquet or CSV file, a piece at a time."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fraudfed.errors import DataError

_PIECE_ROWS: Final = 131_072
_CSV_BLOCK_BYTES: Final = 16 * 1024 * 1024


class CellError(DataError):
    """A value of a CSV file is not of its column's type.

    Parameters
    ----------
    row : int
        From 1, without the header.
    column : str
        Empty if the row has too few or too many fields.
    value, expected : str
    """

    def __init__(self, path: Path, *, row: int, column: str, value: str, expected: str) -> None:
        super().__init__(
            f"{path}: row {row}, column {column!r}: got {value}, expected {expected}",
            what_to_do="correct the value",
        )
        self.row = row
        self.column = column
        self.value = value
        self.expected = expected


def columns_of(path: Path) -> dict[str, pa.DataType | None]:
    """Return the columns of a file and their types; None for the columns of a CSV file.

    Raises
    ------
    DataError
        The file is missing, of another kind, empty or damaged.
    """
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                header = next(csv.reader(file, strict=True), None)
            if not header:
                raise DataError(f"{path}: is empty, expected a header and rows")
            return _by_name(path, header, [None] * len(header))
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as parquet:
                schema = parquet.schema_arrow
                return _by_name(path, schema.names, schema.types)
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    raise DataError(f"{path}: has suffix {path.suffix!r}, expected .parquet or .csv")


def _by_name(
    path: Path, names: Sequence[str], types: Sequence[pa.DataType | None]
) -> dict[str, pa.DataType | None]:
    twice = [name for position, name in enumerate(names) if name in names[:position]]
    if twice:
        raise DataError(f"{path}: column {twice[0]!r} occurs twice, expected once; rename one")
    return dict(zip(names, types, strict=True))


def read_tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a file with the columns of ``schema``, in its order and types.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
        Columns of the file, in types to which those of a Parquet file can be cast. In a CSV file
        an empty field is a missing value.

    Raises
    ------
    CellError
        A value of a CSV file is not of its type.
    DataError
        The file is damaged, or a type does not fit.
    """
    try:
        if path.suffix == ".csv":
            yield from _read_csv(path, schema)
            return
        with pq.ParquetFile(path) as file:
            # One row group at a time: a reader of many keeps more of them in memory than it needs.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(
                    batch_size=_PIECE_ROWS, row_groups=[group], columns=schema.names
                ):
                    table = pa.Table.from_batches([batch]).select(schema.names)
                    # The caller judges missing values, so the cast allows them.
                    yield table.cast(_nullable(schema))
    except (OSError, pa.ArrowException) as error:
        if path.suffix == ".csv":
            _raise_first_bad_cell(path, schema)
        raise _unreadable(path, error) from error


def _read_csv(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    reader = pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        convert_options=pa_csv.ConvertOptions(
            include_columns=schema.names,
            column_types=_nullable(schema),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    with reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def _raise_first_bad_cell(path: Path, schema: pa.Schema) -> None:
    """Raise for the first value that the fast reader refused; return if every value is good."""
    numbers = {field.name for field in schema if not pa.types.is_string(field.type)}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader)
            for row, fields in enumerate((line for line in reader if line), start=1):
                if len(fields) != len(header):
                    raise CellError(
                        path,
                        row=row,
                        column="",
                        value=f"{len(fields)} fields",
                        expected=f"{len(header)} as in the header",
                    )
                for name, text in zip(header, fields, strict=True):
                    if text and name in numbers and not _is_number(text, schema.field(name).type):
                        raise CellError(
                            path,
                            row=row,
                            column=name,
                            value=repr(text),
                            expected=f"a value of type {schema.field(name).type}",
                        )
    except (csv.Error, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _is_number(text: str, kind: pa.DataType) -> bool:
    try:
        value = float(text) if pa.types.is_floating(kind) else int(text)
        pa.scalar(value, kind)
    except (ValueError, pa.ArrowException, OverflowError):
        return False
    return "_" not in text and text == text.strip()


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    return DataError(f"{path}: cannot be read ({reason}); expected a .parquet or .csv table")
