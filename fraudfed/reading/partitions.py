"""Rows as an ordered list of partitions, each read and checked by itself, here or elsewhere.

``partitions_of(DataFile.open(location))`` gives the list, for one file as for a directory, a glob
or a query. A :class:`Partition` is small and can be pickled: a worker on another machine that sees
the same paths calls ``partition.open()`` and has a :class:`~fraudfed.reading.file.DataFile` of
exactly these rows, whose problems name the file and count its rows from the file's beginning.

Partitions come in the order of the bytes of their files' names, then of rows within a file. That
order is for messages only: a model depends neither on it nor on how rows are divided.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from fraudfed.errors import DataError
from fraudfed.foreign_text import visible
from fraudfed.reading.cells import TEXT
from fraudfed.reading.file import DataFile
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.place import AnyPath, Stamp, readable, stamp_of
from fraudfed.reading.problems import Placed, shortened

#: Rows of a partition, about, where a file can be divided.
ROWS: Final = 1 << 18


@dataclass(frozen=True)
class Partition:
    """A file, or row groups of a Parquet file.

    Attributes
    ----------
    path : Path or ObjectPath
    stamp : Stamp
        Of the file when it was listed.
    is_csv : bool
    columns : tuple of str
        Of the file itself, in its order.
    group_rows : tuple of int
        Rows of each row group of this partition; empty for CSV, whose rows nobody has counted.
    first_group, first_row : int
        Row groups and rows of the file before this partition.
    keys : tuple of (str, str or None)
        Columns whose value is in the file's directory, as ``day=2026-01-01``; None is missing.
    source_names : dict of str to str
    file_format : FileFormat
        As in ``DataFile``.
    """

    path: AnyPath
    stamp: Stamp
    is_csv: bool
    columns: tuple[str, ...]
    group_rows: tuple[int, ...] = ()
    first_group: int = 0
    first_row: int = 0
    keys: tuple[tuple[str, str | None], ...] = ()
    source_names: Mapping[str, str] = field(default_factory=dict)
    file_format: FileFormat = PLAIN_CSV

    @property
    def name(self) -> str:
        """The file, for messages; several partitions may be of one."""
        return visible(str(self.path))

    @property
    def n_rows(self) -> int | None:
        """Number of rows, which may be 0; None for CSV."""
        return None if self.is_csv else sum(self.group_rows)

    @property
    def n_rows_about(self) -> int:
        """Number of rows, guessed from the size where nobody has counted them."""
        # Rows of five identifiers are longer; a guess that is too high costs little.
        return self.stamp.size // 50 if self.is_csv else sum(self.group_rows)

    def open(self) -> "PartitionFile":
        """Open these rows as a file that may be empty.

        Raises
        ------
        DataError
            If the file is gone, or is another than when it was listed.
        """
        self.check_unchanged()
        return PartitionFile(
            path=self.path,
            is_csv=self.is_csv,
            columns=(*self.columns, *(name for name, _ in self.keys)),
            source_names=self.source_names,
            file_format=self.file_format,
            partition=self,
        )

    def check_unchanged(self) -> None:
        """Make sure that the file is what it was when it was listed.

        Raises
        ------
        DataError
        """
        try:
            found = stamp_of(self.path)
        except OSError as error:
            raise DataError(
                f"{self.name}: was there when the data were listed and cannot be read now "
                f"({error.strerror or type(error).__name__}); start the command again when nothing "
                "writes to the data"
            ) from error
        if found != self.stamp:
            raise DataError(
                f"{self.name}: has changed while it was read: got {found.size:,} bytes of version "
                f"{found.version}, expected {self.stamp.size:,} of {self.stamp.version}; start the "
                "command again when nothing writes to the data"
            )

    def split(self, rows: int) -> "list[Partition]":
        """Divide a Parquet file between its row groups; what cannot be divided stays whole.

        Parameters
        ----------
        rows : int
            The least that a part has, except for the last.
        """
        parts: list[Partition] = []
        start, row, count = 0, self.first_row, 0
        for index, group in enumerate(self.group_rows):
            count += group
            if count >= rows or index == len(self.group_rows) - 1:
                part = replace(
                    self,
                    group_rows=self.group_rows[start : index + 1],
                    first_group=self.first_group + start,
                    first_row=row,
                )
                parts.append(part)
                start, row, count = index + 1, row + count, 0
        return parts or [self]


@dataclass(frozen=True)
class PartitionFile(DataFile):
    """The rows of one partition, read as a file; there may be none.

    Attributes
    ----------
    partition : Partition
    """

    partition: Partition = field(kw_only=True)

    may_be_empty: ClassVar[bool] = True

    @property
    def first_row(self) -> int:
        """Rows of the file before these."""
        return self.partition.first_row

    @property
    def file_columns(self) -> tuple[str, ...]:
        """As ``DataFile.file_columns``."""
        return self.partition.columns

    def read(self, columns: Mapping[str, pa.DataType]) -> pa.Table:
        """Read some columns; raises as ``DataFile.read``, but not if there are no rows."""
        found = super().read(columns)
        # Nothing may have been written while it was read.
        self.partition.check_unchanged()
        return found

    def places(self, rows: Sequence[int]) -> list[Placed]:
        """As ``DataFile.places``, with rows counted from the beginning of the file."""
        return [place._replace(row=place.row + self.first_row) for place in super().places(rows)]

    def _read_everything(self) -> list[pa.ChunkedArray]:
        part = self.partition
        groups = range(part.first_group, part.first_group + len(part.group_rows))
        with readable(part.path) as opened, pa_parquet.ParquetFile(opened) as file:
            own = list(file.read_row_groups(list(groups)).columns)
        n_rows = sum(part.group_rows)
        return own + [pa.chunked_array([_constant(value, n_rows)]) for _, value in part.keys]

    def _read_parquet(self, names: Sequence[str]) -> pa.Table:
        part = self.partition
        keys = dict(part.keys)
        groups = range(part.first_group, part.first_group + len(part.group_rows))
        own = [name for name in names if name not in keys]
        with readable(part.path) as opened, pa_parquet.ParquetFile(opened) as file:
            there = tuple(file.schema_arrow.names)
            if there == part.columns:
                found = file.read_row_groups(list(groups), columns=own)
            else:
                found = file.read_row_groups(list(groups)).rename_columns(list(part.columns))
        return self.with_keys(found.select(own), sum(part.group_rows)).select(list(names))

    def _parsed_csv(
        self, types: Mapping[str, pa.DataType], *, names: Sequence[str] | None = None
    ) -> pa.Table:
        keys = dict(self.partition.keys)
        if names is None:
            own = {name: kind for name, kind in types.items() if name not in keys}
            # Of a table without columns nobody knows how many rows it has.
            read = own or {self.partition.columns[0]: TEXT}
            found = super()._parsed_csv(read)
            return self.with_keys(found.select(list(own)), found.num_rows).select(list(types))
        places = names[: len(self.partition.columns)]
        found = super()._parsed_csv(dict.fromkeys(places, TEXT), names=places)
        for place, (_, value) in zip(names[len(places) :], self.partition.keys, strict=True):
            found = found.append_column(place, _constant(value, found.num_rows))
        return found

    def with_keys(self, found: pa.Table, n_rows: int | None = None) -> pa.Table:
        """Return a table of the file's columns with those that its directory says.

        Parameters
        ----------
        found : Arrow table
        n_rows : int or None
            For a table that may have no columns to count by.
        """
        n_rows = found.num_rows if n_rows is None else n_rows
        keys = self.partition.keys
        if not keys:
            return found
        columns = [*found.columns, *(_constant(value, n_rows) for _, value in keys)]
        return pa.table(columns, [*found.column_names, *(name for name, _ in keys)])


def _constant(value: str | None, n_rows: int) -> pa.Array:
    return pa.array([value], TEXT).take(pa.array(np.zeros(n_rows, np.int64)))


def partition_of(file: DataFile) -> Partition:
    """Return the one file that a ``DataFile`` is, as a partition.

    Raises
    ------
    DataError
        If it is damaged, cut off or gone.
    """
    try:
        stamp = stamp_of(file.path)
        group_rows: tuple[int, ...] = ()
        if not file.is_csv:
            with readable(file.path) as opened, pa_parquet.ParquetFile(opened) as parquet:
                meta = parquet.metadata
                group_rows = tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file.name}: cannot be read ({shortened(str(error))}); the file is damaged or cut off"
        ) from error
    return Partition(
        path=file.path,
        stamp=stamp,
        is_csv=file.is_csv,
        columns=file.file_columns,
        group_rows=group_rows,
        source_names=file.source_names,
        file_format=file.file_format,
    )


def partitions_of(file: DataFile, *, rows: int = ROWS) -> list[Partition]:
    """Return the partitions of whatever was opened, in their order.

    Parameters
    ----------
    file : DataFile
        One table file, or a ``PartitionedFile``; not of messages.
    rows : int
        The least that a part of a large Parquet file has.

    Raises
    ------
    DataError
        If a file is damaged, cut off or gone.
    """
    files = file.files if isinstance(file, ManyFiles) else (partition_of(file),)
    return [part for each in files for part in each.split(rows)]


def rows_before(partitions: Sequence[Partition]) -> list[int]:
    """Return how many rows are in the parts before each; those of CSV, uncounted, as none."""
    return [0, *itertools.accumulate(part.n_rows or 0 for part in partitions)][:-1]


@runtime_checkable
class ManyFiles(Protocol):
    """What consists of files: ``fraudfed.reading.partitioned.PartitionedFile``."""

    @property
    def files(self) -> tuple[Partition, ...]:
        """One partition for each file."""
        ...
