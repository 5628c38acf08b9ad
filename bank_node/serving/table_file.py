"""Tables that a bank writes for itself: CSV or Parquet, by the suffix of the file."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.durable_file import write_stream
from fraudfed.errors import ConfigurationError, StateError

_WRITERS = {".csv": pa_csv.write_csv, ".parquet": pa_parquet.write_table}


def check_output(out: Path) -> None:
    """Refuse, before any work, an ``out`` that ``write_table`` cannot write.

    Raises
    ------
    ConfigurationError
        If it is neither ``.csv`` nor ``.parquet``.
    StateError
        If its directory is missing, or it is a directory itself.
    """
    if out.suffix.lower() not in _WRITERS:
        raise ConfigurationError(
            f"{out}: output type {out.suffix or 'without suffix'!r}, expected .csv or .parquet"
        )
    if not out.parent.is_dir() or out.is_dir():
        raise StateError(
            f"{out}: cannot be written, expected a file in an existing directory; make "
            f"{out.parent} or name another file"
        )


def write_table(table: pa.Table, out: Path) -> None:
    """Write a private file, durably.

    A CSV file holds the shortest text of a float that reads back as the same float.

    Raises
    ------
    StateError
        If ``out`` cannot be written: it is as before.
    """
    writer = _WRITERS[out.suffix.lower()]
    write_stream(out, lambda stream: writer(table, stream))


def write_pieces(pieces: Iterable[pa.Table], out: Path) -> int:
    """Write tables of the same columns one after the other, as ``write_table`` writes one.

    Parameters
    ----------
    pieces : iterable of Arrow table
        At least one; made while they are written, so what ends them ends the file.
    out : Path

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    StateError
        If ``out`` cannot be written: it is as before.
    """
    found = iter(pieces)
    first = next(found)
    n_rows = 0

    def write(stream: IO[bytes]) -> None:
        nonlocal n_rows
        if out.suffix.lower() == ".csv":
            writer = pa_csv.CSVWriter(stream, first.schema)
        else:
            writer = pa_parquet.ParquetWriter(stream, first.schema)
        with writer:
            for piece in itertools.chain([first], found):
                writer.write_table(piece)
                n_rows += piece.num_rows

    write_stream(out, write)
    return n_rows
