"""Many files as one table: a directory, a glob, the objects under a prefix, or a query's answer.

All files have the same columns, in whatever order, and each column is of one kind in all of them:
numbers, texts, times of one type. Where they are not, that is *drift*: the error names the file and
the column, what it has, and which file says otherwise. A file without rows is a partition like any
other; only all of them together may not be empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from fraudfed.errors import DataError
from fraudfed.foreign_text import visible
from fraudfed.reading import cells
from fraudfed.reading.file import DataFile
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.partitions import Partition, partition_of
from fraudfed.reading.place import AnyPath, ObjectPath, readable
from fraudfed.reading.problems import Placed, shortened

#: More than anybody writes on purpose; each costs a look at its header.
MOST_FILES: Final = 100_000
#: Headers in an object store that are asked for at once.
_AT_ONCE: Final = 16
_DRIFT_ADVICE: Final = "write both alike, or read them apart"
#: What Hive and Spark write for a missing value.
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class PartitionedFile(DataFile):
    """Files that are read as one, row after row in their order.

    Attributes
    ----------
    files : tuple of Partition
        One for each file.
    shown : str
        What messages call all of them.
    names_files : bool
        Whether messages say in which file a row is; the answer of a query has none.
    """

    files: tuple[Partition, ...] = field(kw_only=True)
    shown: str = field(kw_only=True)
    names_files: bool = field(default=True, kw_only=True)

    @property
    def name(self) -> str:
        """What messages call it."""
        return visible(self.shown)

    @property
    def place_column(self) -> None:
        """Nothing but file and number says where a row comes from."""
        return

    @property
    def rows_before(self) -> dict[str, int]:
        """Rows of the files before each, by its path; those of CSV, which nobody counts, as 0."""
        before, count = {}, 0
        for part in self.files:
            before[str(part.path)] = count
            count += part.n_rows or 0
        return before

    def read(self, columns: Mapping[str, pa.DataType]) -> pa.Table:
        """Read some columns of all files; raises as ``DataFile.read``."""
        tables = [part.open().read(columns) for part in self.files]
        if self.is_csv and len({tuple(table.schema.types) for table in tables}) > 1:
            # Where one file has a cell that is no number, all give their cells as they are.
            texts = dict.fromkeys(columns, pa.string())
            tables = [part.open().read(texts) for part in self.files]
        tables = [table for table in tables if table.num_rows]
        if not tables:
            raise self.no_rows()
        return joined(tables)

    def no_rows(self) -> DataError:
        """Return what is wrong if no file has a row."""
        return DataError(
            f"{self.name}: {_counted(len(self.files))} and no row in any of them, expected at "
            "least one row"
        )

    def everything(self) -> list[pa.ChunkedArray]:
        """Read every column of all files; raises as ``DataFile.everything``."""
        names = [str(place) for place in range(len(self.columns))]
        tables = []
        for part in self.files:
            file = part.open()
            own = pa.table(file.everything(), [str(self.columns.index(n)) for n in file.columns])
            if own.num_rows:
                tables.append(own.select(names))
        return list(joined(tables).columns) if tables else []

    def lines(self, rows: Sequence[int]) -> list[int | None]:
        """Return the line of its file in which each of some rows begins; see ``places``."""
        return [place.line for place in self.places(rows)]

    def places(self, rows: Sequence[int]) -> list[Placed]:
        """Return file, row and line of each of some rows, counted from 0 over all files."""
        if not self.names_files:
            return [Placed(None, row, None) for row in rows]
        ends = np.cumsum(self._n_rows)
        found = []
        for row in rows:
            number = int(np.searchsorted(ends, row, side="right"))
            part = self.files[number]
            (place,) = part.open().places([row - (int(ends[number - 1]) if number else 0)])
            found.append(place._replace(file=part.name))
        return found

    @cached_property
    def _n_rows(self) -> list[int]:
        counts = []
        for part in self.files:
            if part.n_rows is not None:
                counts.append(part.n_rows)
                continue
            counts.append(part.open().read({part.columns[0]: cells.TEXT}).num_rows)
        return counts


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables of the same columns one after the other, each column with one type.

    Parameters
    ----------
    tables : sequence of Arrow table
        At least one. A column of numbers is of integers where all are, else of doubles; one of
        texts is of large strings.
    """
    names = tables[0].column_names
    columns = [_joined([table[name] for table in tables]) for name in names]
    return pa.table(columns, names)


def _joined(parts: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    kinds = {part.type for part in parts}
    if len(kinds) > 1:
        parts = [cells.plain(part) for part in parts]
        kinds = {part.type for part in parts if not pa.types.is_null(part.type)}
    if len(kinds) > 1:
        if all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in kinds):
            kinds = {pa.int64()}
        elif all(cells.is_number(kind) for kind in kinds):
            # An identifier that a double may have rounded is refused where it is read.
            kinds = {pa.float64()}
    kind = next(iter(kinds)) if kinds else pa.null()
    cast = [_cast(part, kind) for part in parts]
    return pa.chunked_array([chunk for part in cast for chunk in part.chunks], kind)


def _cast(part: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if part.type == kind:
        return part
    if pa.types.is_decimal(part.type) and pa.types.is_floating(kind):
        part = part.cast(cells.TEXT)
    return part.cast(kind, safe=False)


def open_files(
    root: AnyPath,
    paths: Iterable[AnyPath],
    *,
    shown: str,
    source_names: Mapping[str, str] | None = None,
    file_format: FileFormat = PLAIN_CSV,
    names_files: bool = True,
) -> PartitionedFile:
    """Read the headers of files, and make sure that they are of one kind.

    Parameters
    ----------
    root : Path or ObjectPath
        Directories below it that are called ``column=value`` are columns.
    paths : iterable of Path or ObjectPath
        In their order; at least one.
    shown, names_files
        As in ``PartitionedFile``.
    source_names, file_format
        As in ``DataFile.open``.

    Raises
    ------
    DataError
        If a file cannot be read, is of another kind than the first, or has other columns.
    """
    found = list(paths)
    if len(found) > MOST_FILES:
        raise DataError(
            f"{shown}: {len(found):,} files, expected at most {MOST_FILES:,}; join small files, or "
            "name fewer of them by a glob"
        )
    _check_one_kind(found)
    remote = isinstance(found[0], ObjectPath)
    # Headers of this machine's files are waited for by nobody.
    with ThreadPoolExecutor(max_workers=_AT_ONCE if remote else 1) as threads:
        headers = list(
            threads.map(
                lambda path: _header(root, path, source_names=source_names, how=file_format), found
            )
        )
    part, kinds = headers[0].part, _Kinds(headers[0])
    for header in headers[1:]:
        _check_names(part, header.part)
        kinds.check(header)
    return PartitionedFile(
        path=root,
        is_csv=part.is_csv,
        columns=(*part.columns, *(name for name, _ in part.keys)),
        source_names=part.source_names,
        file_format=part.file_format,
        files=tuple(header.part for header in headers),
        shown=shown,
        names_files=names_files,
    )


@dataclass(frozen=True)
class _Header:
    """What the header of a file says; ``types`` of a CSV file are none."""

    part: Partition
    types: dict[str, pa.DataType]


def _header(
    root: AnyPath, path: AnyPath, *, source_names: Mapping[str, str] | None, how: FileFormat
) -> _Header:
    file = DataFile.open(path, source_names=source_names, file_format=how)
    part, types = partition_of(file), {}
    if not file.is_csv:
        with readable(path) as opened:
            schema = pa_parquet.read_schema(opened)
        types = dict(zip(part.columns, schema.types, strict=True))
    keys = tuple(key for key in _keys(root, path) if key[0] not in part.columns)
    return _Header(replace(part, keys=keys), types)


def _keys(root: AnyPath, path: AnyPath) -> tuple[tuple[str, str | None], ...]:
    """Return the ``column=value`` of the directories between root and file."""
    if isinstance(path, Path) and isinstance(root, Path):
        between = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    else:
        whole, above = PurePosixPath(str(path)), PurePosixPath(str(root))
        between = whole.relative_to(above).parts[:-1] if whole.is_relative_to(above) else ()
    found = []
    for name in between:
        column, sign, value = name.partition("=")
        if sign and column:
            found.append((unquote(column), None if value == _NO_VALUE else unquote(value)))
    return tuple(found)


def _check_one_kind(paths: Sequence[AnyPath]) -> None:
    def kind(path: AnyPath) -> str:
        suffix = path.suffix.lower()
        return "CSV" if suffix == ".csv" else "Parquet"

    for path in paths[1:]:
        if kind(path) != kind(paths[0]):
            raise DataError(
                f"{visible(str(path))}: is {kind(path)}, expected {kind(paths[0])} as "
                f"{visible(str(paths[0]))}; name the files "
                "of one format by a glob"
            )


def _check_names(first: Partition, other: Partition) -> None:
    """Raise a DataError if a file has other columns than the first."""
    of, name = first.name, other.name
    expected = (*first.columns, *(key for key, _ in first.keys))
    got = (*other.columns, *(key for key, _ in other.keys))
    for column in dict.fromkeys((*expected, *got)):
        there, wanted = got.count(column), expected.count(column)
        if there == wanted:
            continue
        what = f"{name}: schema drift: column {shortened(column)!r}"
        if not wanted:
            raise DataError(f"{what} is not in {of}, expected the same columns; {_DRIFT_ADVICE}")
        if not there:
            raise DataError(f"{what} is missing, expected it as in {of}; {_DRIFT_ADVICE}")
        raise DataError(f"{what} is there {there} times, expected {wanted} as in {of}")


class _Kinds:
    """Of which kind each column is, by the first file that says it."""

    def __init__(self, first: _Header) -> None:
        self._known: dict[str, tuple[pa.DataType, str]] = {}
        self.check(first)

    def check(self, header: _Header) -> None:
        """Raise a DataError if a column is of another kind than in a file before."""
        for column, kind in header.types.items():
            if pa.types.is_null(_stored(kind)):
                continue
            known, of = self._known.setdefault(column, (kind, header.part.name))
            if not _is_same_kind(known, kind):
                raise DataError(
                    f"{header.part.name}: schema drift: column {shortened(column)!r} has type "
                    f"{cells.type_name(kind)}, expected {cells.type_name(known)} as in {of}; "
                    f"{_DRIFT_ADVICE}"
                )


def _is_same_kind(one: pa.DataType, other: pa.DataType) -> bool:
    one, other = _stored(one), _stored(other)
    if one == other:
        return True
    if cells.is_text(one) or cells.is_text(other):
        return cells.is_text(one) and cells.is_text(other)
    return cells.is_number(one) and cells.is_number(other)


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return a type without what is only a way to store it."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _counted(n_files: int) -> str:
    return "1 file" if n_files == 1 else f"{n_files:,} files"
