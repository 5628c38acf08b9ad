"""Tables that a bank writes for itself: CSV or Parquet, by the suffix of the file."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.durable_file import remove_leftovers, write_stream
from fraudfed.errors import ConfigurationError, StateError

#: Values of a group of rows: what is kept until it can be written, and a row group of Parquet.
_GROUP_CELLS: Final = 1 << 23
_LEAST_GROUP_ROWS: Final = 1 << 10
_MOST_GROUP_ROWS: Final = 1 << 17

_CSV: Final = ".csv"
_SUFFIXES: Final = (_CSV, ".parquet")


def check_output(out: Path) -> None:
    """Refuse, before any work, an ``out`` that ``write_table`` cannot write.

    Raises
    ------
    ConfigurationError
        If it is neither ``.csv`` nor ``.parquet``.
    StateError
        If its directory is missing, or it is a directory itself.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise ConfigurationError(
            f"{out}: output type {out.suffix or 'without suffix'!r}, expected .csv or .parquet"
        )
    if not out.parent.is_dir() or out.is_dir():
        raise StateError(
            f"{out}: cannot be written, expected a file in an existing directory; make "
            f"{out.parent} or name another file"
        )


def write_table(table: pa.Table, out: Path) -> None:
    """Write a table that is at hand, as ``write_pieces``."""
    write_pieces([table], out)


def write_pieces(pieces: Iterable[pa.Table], out: Path) -> int:
    """Write tables of the same columns one after the other, privately and durably.

    Law: the bytes depend on the rows alone, and not on how they are divided into pieces. A CSV file
    holds the shortest text of a float that reads back as the same float.

    What a killed process left of an earlier such file is removed first.

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
    schema = first.schema
    n_rows = 0

    def write(stream: IO[bytes]) -> None:
        nonlocal n_rows
        if out.suffix.lower() == _CSV:
            writer = pa_csv.CSVWriter(stream, schema)
        else:
            writer = pa_parquet.ParquetWriter(stream, schema)
        with writer:
            for group in _in_groups(itertools.chain([first], found), _group_rows(schema)):
                writer.write_table(group)
                n_rows += group.num_rows

    remove_leftovers(out)
    write_stream(out, write)
    return n_rows


def _group_rows(schema: pa.Schema) -> int:
    """Return how many rows are written at a time: a function of the columns alone."""
    return max(_LEAST_GROUP_ROWS, min(_MOST_GROUP_ROWS, _GROUP_CELLS // max(1, len(schema))))


def _in_groups(pieces: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the rows of all pieces again, so many at a time; the last group may have fewer."""
    held: list[pa.Table] = []
    missing = rows
    for piece in pieces:
        rest = piece
        while rest.num_rows >= missing:
            held.append(rest.slice(0, missing))
            rest = rest.slice(missing)
            yield pa.concat_tables(held).combine_chunks()
            held, missing = [], rows
        if rest.num_rows:
            held.append(rest)
            missing -= rest.num_rows
    if held:
        yield pa.concat_tables(held).combine_chunks()
