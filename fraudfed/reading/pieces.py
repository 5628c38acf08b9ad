"""A large file, or many files, as a sequence of small ones, each read and checked like a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.errors import DataError
from fraudfed.reading.cells import MISSING_NUMBERS, TEXT
from fraudfed.reading.file import DataFile
from fraudfed.reading.iso20022.files import is_messages
from fraudfed.reading.partitions import Partition, PartitionFile, partitions_of
from fraudfed.reading.place import readable
from fraudfed.reading.problems import Placed, shortened

#: Bytes of a CSV file that are parsed at once; a row must be shorter.
_BLOCK_BYTES = 16 << 20
#: A CSV file below this is read whole: faster, and its numbers are parsed as they are read.
_SMALL_CSV_BYTES = 32 << 20


@dataclass(frozen=True)
class FilePiece(DataFile):
    """Some rows of a file, in memory.

    Attributes
    ----------
    table : Arrow table
        Of all columns, by their names in the file.
    whole : PartitionFile
    first_row : int
        Rows of the whole before these.
    """

    may_be_empty: ClassVar[bool] = True

    table: pa.Table = field(kw_only=True, repr=False)
    whole: PartitionFile = field(kw_only=True)
    first_row: int = field(kw_only=True)

    @property
    def is_beginning(self) -> bool:
        """Whether no row of the file is before these."""
        return self.first_row == 0

    def places(self, rows: Sequence[int]) -> list[Placed]:
        """As ``DataFile.places``, with rows and lines of the whole file."""
        return self.whole.places([row + self.first_row for row in rows])

    def lines(self, rows: Sequence[int]) -> list[int | None]:
        """As ``DataFile.lines``, with lines of the whole file."""
        return [place.line for place in self.places(rows)]

    def _read_parquet(self, names: Sequence[str]) -> pa.Table:
        return self.table.select(list(names))

    def _read_everything(self) -> list[pa.ChunkedArray]:
        return list(self.table.columns)


def in_pieces(file: DataFile, *, rows: int) -> Iterator[DataFile]:
    """Yield a file as it is if it is small, or is of messages; else some rows after others.

    Rows of different files are in different pieces; a piece has at least one row, and its problems
    count rows from the beginning of its file.

    Parameters
    ----------
    file : DataFile
    rows : int
        Of a piece, about.

    Raises
    ------
    DataError
        If a file is damaged, cut off or written while it is read, or there are no rows.
    """
    if isinstance(file.path, Path) and is_messages(file.path):
        yield file
        return
    any_rows = False
    for part in partitions_of(file, rows=rows):
        for piece in pieces_of(part, rows=rows):
            any_rows = True
            yield piece
    if not any_rows:
        raise file.no_rows()


def pieces_of(part: Partition, *, rows: int) -> Iterator[DataFile]:
    """Yield a partition in pieces as ``in_pieces`` does; none if it has no rows.

    Parameters
    ----------
    part : Partition
    rows : int
        Of a piece, about.

    Raises
    ------
    DataError
        If the file is damaged, cut off or written while it is read.
    """
    file = part.open()
    if _is_small(part, rows):
        if has_rows(part):
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
    part.check_unchanged()


def n_rows_about(file: DataFile) -> int:
    """Return the number of rows of a file, guessed from its size if it does not say it."""
    if isinstance(file.path, Path) and is_messages(file.path):
        return 0
    parts = partitions_of(file) if not isinstance(file, PartitionFile) else [file.partition]
    return sum(part.n_rows_about for part in parts)


def _is_small(part: Partition, rows: int) -> bool:
    if part.n_rows is not None:
        return part.n_rows <= rows
    return part.n_rows_about <= rows or part.stamp.size <= _SMALL_CSV_BYTES


def has_rows(part: Partition) -> bool:
    """Tell whether a partition has a row; of CSV the first one is read."""
    if part.n_rows is not None:
        return part.n_rows > 0
    return next(part.open().csv_rows(), None) is not None


def _piece(file: PartitionFile, tables: list[pa.Table], first: int) -> FilePiece:
    return FilePiece(
        path=file.path,
        is_csv=False,
        columns=file.columns,
        source_names=file.source_names,
        file_format=file.file_format,
        table=pa.concat_tables(tables),
        whole=file,
        first_row=first,
    )


def _tables(file: PartitionFile, rows: int) -> Iterator[pa.Table]:
    part = file.partition
    names = list(part.columns)
    try:
        if not file.is_csv:
            groups = range(part.first_group, part.first_group + len(part.group_rows))
            with (
                readable(file.path) as opened,
                pa_parquet.ParquetFile(opened, pre_buffer=False) as parquet,
            ):
                for batch in parquet.iter_batches(batch_size=rows, row_groups=list(groups)):
                    yield file.with_keys(pa.Table.from_batches([batch]).rename_columns(names))
            return
        how = file.file_format
        with (
            readable(file.path) as opened,
            pa_csv.open_csv(
                opened,
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
            ) as reader,
        ):
            for batch in reader:
                yield file.with_keys(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{file.name}: cannot be read to its end ({shortened(reason)}); the file is damaged or "
            "cut off, or a row has another number of fields than the header"
        ) from error
