"""Tables that a bank writes for itself: CSV or Parquet, by the suffix of the file."""

from pathlib import Path

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
