"""A large file as a sequence of small ones, each of which is read and checked like a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.errors import DataError
from fraudfed.reading.cells import MISSING_NUMBERS, TEXT
from fraudfed.reading.file import DataFile
from fraudfed.reading.iso20022.files import is_messages
from fraudfed.reading.problems import shortened

#: Bytes of a CSV file that are parsed at once; a row must be shorter.
_BLOCK_BYTES = 16 << 20
#: A CSV file below this is read whole: its messages name lines.
_SMALL_CSV_BYTES = 128 << 20


@dataclass(frozen=True)
class FilePiece(DataFile):
    """Some rows of a file. Its name says which.

    Attributes
    ----------
    table : Arrow table
        Of all columns, by their names in the file.
    """

    table: pa.Table = None

    def _read_parquet(self, names: Sequence[str]) -> pa.Table:
        return self.table.select(list(names))


def in_pieces(file: DataFile, *, rows: int) -> Iterator[DataFile]:
    """Yield a file as it is if it is small, or is of messages; else some rows after others.

    Parameters
    ----------
    file : DataFile
    rows : int
        Of a piece, about.

    Raises
    ------
    DataError
        If the file is damaged or cut off.
    """
    if is_messages(file.path) or n_rows_about(file) <= rows or _is_small(file):
        yield file
        return
    first, tables, count = 0, [], 0
    for table in _tables(file, rows):
        tables.append(table)
        count += table.num_rows
        if count >= rows:
            yield _piece(file, tables, first)
            first, tables, count = first + count, [], 0
    if count:
        yield _piece(file, tables, first)


def n_rows_about(file: DataFile) -> int:
    """Return the number of rows of a file, guessed from its size if it does not say it."""
    if is_messages(file.path):
        return 0
    if not file.is_csv:
        return int(pa_parquet.read_metadata(file.path).num_rows)
    # Rows of five identifiers are longer; a guess that is too high costs little.
    return file.path.stat().st_size // 50


def _is_small(file: DataFile) -> bool:
    return file.is_csv and file.path.stat().st_size <= _SMALL_CSV_BYTES


def _piece(file: DataFile, tables: list[pa.Table], first: int) -> FilePiece:
    return FilePiece(
        path=Path(f"{file.path}, rows counted from {first + 1:,}"),
        is_csv=False,
        columns=file.columns,
        source_names=file.source_names,
        file_format=file.file_format,
        table=pa.concat_tables(tables),
    )


def _tables(file: DataFile, rows: int) -> Iterator[pa.Table]:
    try:
        if not file.is_csv:
            with pa_parquet.ParquetFile(file.path, pre_buffer=False) as parquet:
                for batch in parquet.iter_batches(batch_size=rows):
                    yield pa.Table.from_batches([batch]).rename_columns(list(file.columns))
            return
        how, names = file.file_format, list(file.columns)
        with pa_csv.open_csv(
            file.path,
            read_options=pa_csv.ReadOptions(
                encoding="utf8" if how.is_utf8 else how.encoding,
                column_names=names,
                skip_rows=1,
                block_size=_BLOCK_BYTES,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=how.separator, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, TEXT),
                null_values=list(MISSING_NUMBERS),
                strings_can_be_null=False,
                decimal_point=how.decimal,
            ),
        ) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{file.path}: cannot be read to its end ({shortened(reason)}); the file is damaged or "
            "cut off, or a row has another number of fields than the header"
        ) from error
