"""Tables as files: Parquet and CSV, written piece by piece.

Parquet files hold no time, host or Arrow schema. They name the version of the writer in Parquet's
``created_by``, so their bytes are the same for the same version of pyarrow. The bytes of CSV files
do not depend on it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fraudfed.errors import ConfigurationError

FORMATS: Final = ("parquet", "csv")
# Rows converted and written at a time; also the row group size, so it is part of the bytes.
ROW_GROUP_ROWS: Final = 131_072


def check_formats(formats: Sequence[str]) -> None:
    """Raise ConfigurationError unless ``formats`` holds one or more known formats and no other."""
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        raise ConfigurationError(f"formats: got {unknown or 'none'}, expected parquet or csv")


class TableWriter(Protocol):
    """An open file that rows are added to."""

    def write(self, table: pa.Table) -> None:
        """Add the rows of ``table``: one row group."""
        ...


@contextlib.contextmanager
def open_writers(
    stem: Path, schema: pa.Schema, formats: Sequence[str], *, dictionary: Sequence[str]
) -> Iterator[dict[Path, TableWriter]]:
    """Open ``stem.parquet``, ``stem.csv`` or both, and yield them by their path, Parquet first.

    Parameters
    ----------
    stem : Path
        Path without the suffix, in a directory that exists.
    schema : pyarrow.Schema
    formats : sequence of str
        Of ``FORMATS``.
    dictionary : sequence of str
        Text columns with few distinct values.
    """
    with contextlib.ExitStack() as stack:
        writers: dict[Path, TableWriter] = {}
        if "parquet" in formats:
            path = stem.with_name(f"{stem.name}.parquet")
            writers[path] = stack.enter_context(_open_parquet(path, schema, dictionary))
        if "csv" in formats:
            path = stem.with_name(f"{stem.name}.csv")
            writers[path] = stack.enter_context(_open_csv(path, schema))
        yield writers


class _ParquetTable:
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


@contextlib.contextmanager
def _open_parquet(
    path: Path, schema: pa.Schema, dictionary: Sequence[str]
) -> Iterator[TableWriter]:
    with pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=list(dictionary),
        write_statistics=True,
        store_schema=False,
    ) as writer:
        yield _ParquetTable(writer)


class _CsvTable:
    # No identifier or name holds a comma, quote or line break, so nothing needs quoting.
    _OPTIONS = pa_csv.WriteOptions(include_header=False, quoting_style="none")

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file

    def write(self, table: pa.Table) -> None:
        pa_csv.write_csv(table, self._file, self._OPTIONS)


@contextlib.contextmanager
def _open_csv(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    with pa.OSFile(str(path), "wb") as file:
        file.write((",".join(schema.names) + "\n").encode("ascii"))
        yield _CsvTable(file)
