"""A bank's data file, CSV or Parquet, read as typed columns; faults are named to the cell.

CSV: UTF-8, comma, one header line. An empty field is a missing value; in number columns so are
``NaN``, ``nan``, ``NA``, ``N/A``, ``null`` and ``NULL``. Rows are counted from 1 without the
header, lines from 1 with it.
"""

import csv
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.errors import DataError
from fraudfed.features.source_column import shortened

_log = logging.getLogger(__name__)

_CSV = ".csv"
_PARQUET = (".parquet", ".pq")
#: What stands for a missing number in a CSV file.
MISSING_NUMBERS = ("", "NaN", "nan", "NA", "N/A", "null", "NULL")


@dataclass(frozen=True)
class DataFile:
    """A file whose header has been read.

    Attributes
    ----------
    path : Path
    is_csv : bool
    columns : tuple of str
        All columns of the file, in its order and by its names.
    source_names : dict of str to str
        Name in the file of each column that is called otherwise here.
    """

    path: Path
    is_csv: bool
    columns: tuple[str, ...]
    source_names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, *, source_names: Mapping[str, str] | None = None) -> "DataFile":
        """Read the header.

        Parameters
        ----------
        path : Path
        source_names : mapping of str to str, or None
            What columns are called in the file, by what they are called here; the others have one
            name.

        Raises
        ------
        DataError
            If the file is missing, empty, of another kind, or has no readable header.
        """
        if not path.is_file():
            found = "a directory" if path.is_dir() else "no such file"
            raise DataError(f"{path}: {found}, expected a CSV or Parquet file; check the path")
        suffix = path.suffix.lower()
        if suffix != _CSV and suffix not in _PARQUET:
            raise DataError(
                f"{path}: file type {suffix or 'without suffix'!r}, expected .csv or .parquet; "
                "convert or rename the file"
            )
        try:
            if path.stat().st_size == 0:
                raise DataError(f"{path}: the file is empty, expected a header and rows")
            columns = _csv_header(path) if suffix == _CSV else _parquet_header(path)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        return cls(path, suffix == _CSV, columns, dict(source_names or {}))

    def require(self, name: str, purpose: str) -> None:
        """Raise DataError unless the column is there exactly once."""
        count = self.columns.count(self._source(name))
        if count == 1:
            return
        if count > 1:
            raise DataError(
                f"{self.path}: column {self.named(name)} occurs {count} times, expected once; "
                "rename or drop the others"
            )
        raise DataError(
            f"{self.path}: column {self.named(name)} ({purpose}) is missing; the file has "
            f"{shortened(', '.join(self.columns))}: add or rename the column"
        )

    def has(self, name: str) -> bool:
        """Whether the column is in the file."""
        return self._source(name) in self.columns

    def named(self, name: str) -> str:
        """Return a column's name for a message, with the one that it has in the file."""
        source = self._source(name)
        return repr(name) if source == name else f"{name!r} (from {source!r})"

    def _source(self, name: str) -> str:
        return self.source_names.get(name, name)

    def read(self, columns: Mapping[str, pa.DataType]) -> pa.Table:
        """Read some columns.

        Parameters
        ----------
        columns : mapping of column name to Arrow type
            How a CSV column is parsed, ``float64`` or ``string``. Parquet columns keep the type
            that the file gives them.

        Raises
        ------
        DataError
            If the file is damaged, has no rows, a row is cut off, or a value cannot be parsed.
        """
        types = {self._source(name): kind for name, kind in columns.items()}
        ignored = [name for name in self.columns if name not in types]
        if ignored:
            _log.info("%s: columns not used: %s", self.path, ", ".join(ignored))
        try:
            found = self._read(types)
        except (pa.ArrowException, OSError) as error:
            if self.is_csv:
                self._raise_first_csv_fault(columns)
            reason = " ".join(str(error).split())
            raise DataError(
                f"{self.path}: cannot be read as {'CSV' if self.is_csv else 'Parquet'} "
                f"({shortened(reason)}); the file is damaged or cut off"
            ) from error
        if found.num_rows == 0:
            raise DataError(f"{self.path}: has a header and no rows, expected at least one row")
        return found.select([self._source(name) for name in columns]).rename_columns(list(columns))

    def _read(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """Read columns by their names in the file."""
        if not self.is_csv:
            with pa_parquet.ParquetFile(self.path) as file:
                return file.read(columns=list(types))
        return pa_csv.read_csv(
            self.path,
            # Quoted fields may hold line ends, in names of merchants for example.
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(types),
                column_types=dict(types),
                null_values=list(MISSING_NUMBERS),
                strings_can_be_null=False,
            ),
        )

    def place(self, row: int) -> str:
        """Say where a row is: ``row 7 (line 8)`` in CSV, ``row 7`` in Parquet.

        Parameters
        ----------
        row : int
            Counted from 0.
        """
        if self.is_csv:
            for number, (line, _) in enumerate(self._csv_rows()):
                if number == row:
                    return f"row {row + 1} (line {line})"
        return f"row {row + 1}"

    def _raise_first_csv_fault(self, columns: Mapping[str, pa.DataType]) -> None:
        """Find what the fast reader stumbled over; returns if there is nothing to find."""
        numeric = [
            (self.columns.index(self._source(name)), name)
            for name, kind in columns.items()
            if pa.types.is_floating(kind)
        ]
        try:
            for number, (line, fields) in enumerate(self._csv_rows(), start=1):
                where = f"{self.path}: row {number} (line {line})"
                if len(fields) != len(self.columns):
                    raise DataError(
                        f"{where}: {len(fields)} fields, expected {len(self.columns)} as in the "
                        "header; the row is cut off or a comma is not quoted"
                    )
                for index, name in numeric:
                    if not _is_number(fields[index]):
                        raise DataError(
                            f"{where}, column {self.named(name)}: got "
                            f"{shortened(repr(fields[index]))}, expected a number or nothing "
                            "(missing); correct the value"
                        )
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}: byte {error.object[error.start]:#04x} is not UTF-8; save the file "
                "as UTF-8"
            ) from None
        except csv.Error as error:
            raise DataError(f"{self.path}: not readable as CSV ({error}); mend the file") from None

    def _csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield first line number and fields of every data row; blank lines are none."""
        with self.path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header_seen = False
            line = 1
            for fields in reader:
                if fields and header_seen:
                    yield line, fields
                header_seen = header_seen or bool(fields)
                line = reader.line_num + 1


def _csv_header(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next((fields for fields in csv.reader(stream, strict=True) if fields), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: the header cannot be read as UTF-8 CSV ({shortened(str(error))}); is it a "
            "CSV file?"
        ) from None
    if header is None:
        raise DataError(f"{path}: the file is empty, expected a header and rows")
    return tuple(header)


def _parquet_header(path: Path) -> tuple[str, ...]:
    try:
        with pa_parquet.ParquetFile(path) as file:
            return tuple(file.schema_arrow.names)
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({shortened(str(error))}); the file is damaged or "
            "cut off"
        ) from None


def _is_number(text: str) -> bool:
    if text in MISSING_NUMBERS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
