"""A data file, CSV, Parquet or XML messages, read as typed columns; faults are named to the cell.

CSV: one header line, then rows; ``file_format`` says how it is written. ``cells`` says what the
cells mean. Rows are counted from 1 without the header, lines from 1 with it.
"""

import csv
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.errors import DataError
from fraudfed.foreign_text import visible
from fraudfed.reading.cells import MISSING_NUMBERS, TEXT
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.iso20022.files import MESSAGE_COLUMNS, PLACE, is_messages
from fraudfed.reading.place import AnyPath, ObjectPath, open_bytes, open_text, readable, stamp_of
from fraudfed.reading.problems import Placed, Problems, shortened

_log = logging.getLogger(__name__)

_CSV = ".csv"
#: What tables are written in; messages are another matter.
SUFFIXES = (_CSV, ".parquet", ".pq")
#: Byte order marks of what is not UTF-8.
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class DataFile:
    """A file whose header has been read.

    Attributes
    ----------
    path : Path or ObjectPath
    is_csv : bool
    columns : tuple of str
        All columns of the file, in its order and by its names.
    source_names : dict of str to str
        Name in the file of each column that is called otherwise here.
    file_format : FileFormat
        How it is written, if it is CSV; says too what columns of one name are called.
    """

    #: Whether no rows are an answer, and not a fault.
    may_be_empty: ClassVar[bool] = False

    path: AnyPath
    is_csv: bool
    columns: tuple[str, ...]
    source_names: Mapping[str, str] = field(default_factory=dict)
    file_format: FileFormat = PLAIN_CSV

    @classmethod
    def open(
        cls,
        path: AnyPath,
        *,
        source_names: Mapping[str, str] | None = None,
        file_format: FileFormat = PLAIN_CSV,
    ) -> "DataFile":
        """Read the header.

        Parameters
        ----------
        path : Path or ObjectPath
            Its suffix, in whatever case, says what it is.
        source_names : mapping of str to str, or None
            What columns are called in the file, by what they are called here; the others have one
            name.
        file_format : FileFormat

        Raises
        ------
        DataError
            If the file is missing, empty, of another kind, or has no readable header.
        """
        shown = visible(str(path))
        if isinstance(path, Path):
            if is_messages(path) and path.exists():
                return cls(path, False, MESSAGE_COLUMNS, dict(source_names or {}), file_format)
            if not path.is_file():
                found = "a directory" if path.is_dir() else "no such file"
                raise DataError(f"{shown}: {found}, expected a CSV or Parquet file; check the path")
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise DataError(
                f"{shown}: file type {suffix or 'without suffix'!r}, expected .csv or .parquet, or "
                ".xml of ISO 20022 messages; convert or rename the file"
            )
        is_csv = suffix == _CSV
        try:
            if stamp_of(path).size == 0:
                raise DataError(f"{shown}: the file is empty, expected a header and rows")
            columns = _csv_header(path, file_format) if is_csv else _parquet_header(path)
        except OSError as error:
            raise DataError(
                f"{shown}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        if file_format.number_repeated:
            columns = _numbered(columns)
        return cls(path, is_csv, columns, dict(source_names or {}), file_format)

    @property
    def name(self) -> str:
        """What messages call it."""
        return visible(str(self.path))

    @property
    def is_beginning(self) -> bool:
        """Whether it is a whole file, or the first piece of one."""
        return True

    @property
    def file_columns(self) -> tuple[str, ...]:
        """The columns that stand in the file itself."""
        return self.columns

    @property
    def place_column(self) -> str | None:
        """The column that says where a row comes from; None if nothing but its number does."""
        return PLACE if self.columns == MESSAGE_COLUMNS else None

    def problems(self, *, where_all: str | None = None) -> Problems:
        """Return an empty collection of what is wrong with this file.

        Parameters
        ----------
        where_all : str or None
            As in ``Problems``.
        """
        return Problems(self.name, places=self.places, where_all=where_all)

    def no_rows(self) -> DataError:
        """Return what is wrong if there is no row."""
        return DataError(f"{self.name}: has a header and no rows, expected at least one row")

    def require(self, name: str, purpose: str, problems: Problems | None = None) -> bool:
        """Make sure that a column is there exactly once.

        Parameters
        ----------
        name : str
        purpose : str
            What it is wanted for, for the error text.
        problems : Problems or None
            Takes what is wrong, instead of an exception.

        Returns
        -------
        bool
            Whether it is there once.

        Raises
        ------
        DataError
            If it is not, and there are no ``problems`` to say so.
        """
        count = self.columns.count(self._source(name))
        if count == 1:
            return True
        found = self.problems() if problems is None else problems
        named = self.named(name)
        if count > 1:
            advice = "rename or drop the others, or let a mapping number them (number_repeated)"
            kind, expected = "repeated_column", "once"
            sentence = f"column {named} occurs {count} times, expected {expected}; {advice}"
        else:
            advice = "add or rename the column, or map it with --map"
            kind, expected = "missing_column", purpose
            sentence = (
                f"column {named} ({purpose}) is missing; the file has "
                f"{shortened(', '.join(self.columns))}: {advice}"
            )
        found.add_whole(kind, named, sentence, expected=expected, advice=advice)
        if problems is None:
            found.raise_any()
        return False

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
        """Read some columns, each of which is there once.

        Parameters
        ----------
        columns : mapping of column name to Arrow type
            How a CSV column is parsed, ``float64`` or ``string``. Where a cell of a number column
            is no number as Arrow writes it, such columns are given as text, for ``cells`` to look
            at. Parquet columns keep the type that the file gives them.

        Raises
        ------
        DataError
            If the file is damaged, has no rows, or a row is cut off.
        """
        types = {self._source(name): kind for name, kind in columns.items()}
        ignored = [name for name in self.columns if name not in types]
        # What else a message holds is no news, nor what every piece of a file has.
        if ignored and self.is_beginning and self.columns != MESSAGE_COLUMNS:
            _log.info("%s: columns not used: %s", self.name, ", ".join(ignored))
        try:
            if self._is_messages:
                found = self._read_messages(tuple(types))
            else:
                found = self._read_csv(types) if self.is_csv else self._read_parquet(tuple(types))
        except (pa.ArrowException, OSError, UnicodeError) as error:
            if self.is_csv:
                self._raise_csv_faults()
            reason = " ".join(str(error).split())
            raise DataError(
                f"{self.name}: cannot be read as {'CSV' if self.is_csv else 'Parquet'} "
                f"({shortened(reason)}); the file is damaged or cut off"
            ) from error
        if found.num_rows == 0 and not self.may_be_empty:
            raise self.no_rows()
        return found.select([self._source(name) for name in columns]).rename_columns(list(columns))

    def everything(self) -> list[pa.ChunkedArray]:
        """Read every column, those of a CSV as text, also where two have one name.

        Raises
        ------
        DataError
            If the file is damaged, or a row is cut off.
        """
        try:
            if self._is_messages:
                return list(self._read_messages(self.columns).columns)
            if not self.is_csv:
                return self._read_everything()
            names = [str(place) for place in range(len(self.columns))]
            return list(self._parsed_csv(dict.fromkeys(names, TEXT), names=names).columns)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            if self.is_csv:
                self._raise_csv_faults()
            raise DataError(
                f"{self.name}: cannot be read to its end ({' '.join(str(error).split())[:200]}); "
                "the file is damaged or cut off"
            ) from error

    @property
    def _is_messages(self) -> bool:
        return isinstance(self.path, Path) and is_messages(self.path)

    def _read_everything(self) -> list[pa.ChunkedArray]:
        with readable(self.path) as opened, pa_parquet.ParquetFile(opened) as file:
            return list(file.read().columns)

    def _read_messages(self, names: Sequence[str]) -> pa.Table:
        # Only those with messages need the XML library.
        from fraudfed.reading.iso20022.messages import read_messages

        if isinstance(self.path, ObjectPath):
            raise TypeError("messages are read on this machine")
        return read_messages(self.path).select(list(names))

    def _read_parquet(self, names: Sequence[str]) -> pa.Table:
        with readable(self.path) as opened, pa_parquet.ParquetFile(opened) as file:
            there = _numbered if self.file_format.number_repeated else tuple
            if there(file.schema_arrow.names) == tuple(file.schema_arrow.names):
                return file.read(columns=list(names))
            return file.read().rename_columns(list(self.columns)).select(list(names))

    def _read_csv(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """Read columns by their names in the file; numbers as text if not all can be parsed."""
        as_text = {
            name: TEXT if pa.types.is_floating(kind) else kind for name, kind in types.items()
        }
        if self.file_format.thousands is not None:
            types = as_text
        try:
            return self._parsed_csv(types)
        except pa.ArrowInvalid:
            if types == as_text:
                raise
            return self._parsed_csv(as_text)

    def _parsed_csv(
        self, types: Mapping[str, pa.DataType], *, names: Sequence[str] | None = None
    ) -> pa.Table:
        how = self.file_format
        if names is None and how.number_repeated:
            # Arrow would take the first of two columns for both.
            names = self.file_columns
        with readable(self.path) as opened:
            return pa_csv.read_csv(
                opened,
                read_options=pa_csv.ReadOptions(
                    encoding="utf8" if how.is_utf8 else how.encoding,
                    column_names=None if names is None else list(names),
                    skip_rows_after_names=0 if names is None else 1,
                ),
                # Quoted fields may hold line ends, in names of merchants for example.
                parse_options=pa_csv.ParseOptions(delimiter=how.separator, newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=list(types),
                    column_types=dict(types),
                    null_values=list(MISSING_NUMBERS),
                    strings_can_be_null=False,
                    decimal_point=how.decimal,
                ),
            )

    def place(self, row: int) -> str:
        """Say where a row is: ``row 7 (line 8)`` in CSV, ``row 7`` in Parquet.

        Parameters
        ----------
        row : int
            Counted from 0.
        """
        (line,) = self.lines([row])
        return f"row {row + 1}" + ("" if line is None else f" (line {line})")

    def lines(self, rows: Sequence[int]) -> list[int | None]:
        """Return the line in which each of some rows begins, None where there are no lines.

        Parameters
        ----------
        rows : sequence of int
            Counted from 0.
        """
        found: dict[int, int] = {}
        wanted = set(rows)
        if self.is_csv and wanted:
            last = max(wanted)
            try:
                for number, (line, _) in enumerate(self.csv_rows()):
                    if number in wanted:
                        found[number] = line
                    if number >= last:
                        break
            except (csv.Error, UnicodeDecodeError):
                pass
        return [found.get(row) for row in rows]

    def places(self, rows: Sequence[int]) -> list[Placed]:
        """Return where each of some rows is: file, row, line.

        Parameters
        ----------
        rows : sequence of int
            Counted from 0.
        """
        return [Placed(None, row, line) for row, line in zip(rows, self.lines(rows), strict=True)]

    def _raise_csv_faults(self) -> None:
        """Find every row of another length; returns if there is nothing to find."""
        problems = self.problems()
        lengths: list[int] = []
        try:
            lengths.extend(len(fields) for _, fields in self.csv_rows())
        except UnicodeError as error:
            raise _not_text(self.path, self.file_format, error) from None
        except csv.Error as error:
            raise DataError(f"{self.name}: not readable as CSV ({error}); mend the file") from None
        problems.add_cells(
            "cut_off_row",
            None,
            np.array(lengths, np.int64) != len(self.file_columns),
            got=lambda row: f"{lengths[row]} fields",
            expected=f"{len(self.file_columns)} as in the header",
            advice=f"the row is cut off or a {self.file_format.separator!r} is not quoted",
        )
        problems.raise_any()

    def csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield first line number and fields of every data row; blank lines are none."""
        how = self.file_format
        with open_text(self.path, how.python_encoding) as stream:
            reader = csv.reader(stream, strict=True, delimiter=how.separator)
            header_seen = False
            line = 1
            for fields in reader:
                if fields and header_seen:
                    yield line, fields
                header_seen = header_seen or bool(fields)
                line = reader.line_num + 1


def _csv_header(path: AnyPath, how: FileFormat) -> tuple[str, ...]:
    try:
        with open_text(path, how.python_encoding) as stream:
            rows = csv.reader(stream, strict=True, delimiter=how.separator)
            header = next((fields for fields in rows if fields), None)
    except UnicodeError as error:
        raise _not_text(path, how, error) from None
    except csv.Error as error:
        raise DataError(
            f"{path}: the header cannot be read as CSV ({shortened(str(error))}); is it a CSV file?"
        ) from None
    if header is None:
        raise DataError(f"{visible(str(path))}: the file is empty, expected a header and rows")
    return tuple(header)


def _not_text(path: AnyPath, how: FileFormat, error: UnicodeError) -> DataError:
    """Return the error of a file in another encoding, with the first byte that shows it."""
    advice = "save the file as UTF-8, or name its encoding in a mapping"
    expected = how.encoding.upper()
    with open_bytes(path) as stream:
        if stream.read(2) in _UTF_16:
            return DataError(f"{path}: is written in UTF-16, expected {expected}; {advice}")
        stream.seek(0)
        for line, content in enumerate(stream, start=1):
            try:
                content.decode(how.encoding)
            except UnicodeDecodeError as found:
                byte = f"line {line}: byte {content[found.start]:#04x}"
                return DataError(f"{path}: {byte} is not {expected}; {advice}")
    return DataError(f"{path}: is not {expected} ({shortened(str(error))}); {advice}")


def _parquet_header(path: AnyPath) -> tuple[str, ...]:
    try:
        with readable(path) as opened, pa_parquet.ParquetFile(opened) as file:
            return tuple(file.schema_arrow.names)
    except pa.ArrowException as error:
        raise DataError(
            f"{visible(str(path))}: cannot be read as Parquet ({shortened(str(error))}); the file "
            "is damaged or cut off"
        ) from None


def _numbered(columns: Sequence[str]) -> tuple[str, ...]:
    """Return names with ``#2`` at the second of a name, ``#3`` at the third."""
    seen: Counter[str] = Counter()
    named = []
    for name in columns:
        seen[name] += 1
        named.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(named)
