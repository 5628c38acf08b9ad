"""What a bank's file is about, as keys of the ledger: its rows as they are, whatever a run wants.

A run's operator chooses contract, columns, window, limits and parameters, and could make the same
rows look new by them. So nothing of a run enters these keys: they are of the whole file, before
mapping, contract and sampling. There is one key of all columns together, and one of each column
whose values tell rows apart. Two files have a key in common if one such column is the same in both:
a column more or less, another name or order of columns, and reports of fraud that came in since
leave the other columns' keys as they were.

Law: keys depend neither on the order of rows or columns, nor on the names of columns, nor on CSV or
Parquet, nor on how a number is written, as far as training reads the same from it: numbers count as
float32, and what ``data.file`` reads as missing is missing.

A file with other rows - a month more, a row corrected in every column - has other keys.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.dtypes import Float32Array, UInt64Array
from fraudfed.errors import DataError
from fraudfed.reading.cells import MISSING_NUMBERS
from fraudfed.reading.file import DataFile

#: Columns of fewer different values say little about rows: two months could have them in common.
_FEWEST_VALUES: Final = 16
#: Rows hashed at a time; what is made of them stays in the processor's cache.
_ROWS_AT_ONCE: Final = 1 << 12
#: Values by which most columns show of which kind they are, before all are read.
_FIRST_VALUES: Final = 64


class KeyMaker(Protocol):
    """What computes keys: ``bank_node.state.ledger.Ledger``."""

    def key(self, domain: str, *parts: bytes) -> str:
        """Return the key of some content."""
        ...


def row_keys(path: Path, maker: KeyMaker) -> tuple[str, ...]:
    """Return the keys of a file's rows.

    Parameters
    ----------
    path : Path
        CSV or Parquet.
    maker : KeyMaker

    Returns
    -------
    tuple of str
        Sorted; at least one.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    digests, telling = [], []
    for column in _columns(DataFile.open(path)):
        digest, is_telling = _digest(column)
        digests.append(digest)
        if is_telling:
            telling.append(digest)
    whole = maker.key("rows", *sorted(digests))
    return tuple(sorted({whole, *(maker.key("column", digest) for digest in telling)}))


def day_keys(first_day: int, last_day: int, maker: KeyMaker) -> tuple[str, ...]:
    """Return the keys of days, whatever this bank has counted on them.

    Parameters
    ----------
    first_day, last_day : int
        Days since 1970-01-01 UTC, both included.
    """
    days = range(first_day, last_day + 1)
    return tuple(maker.key("risk day", day.to_bytes(8, "little", signed=True)) for day in days)


def _columns(file: DataFile) -> "list[pa.ChunkedArray]":
    """Read every column of a file, those of a CSV as text."""
    try:
        if not file.is_csv:
            with pa_parquet.ParquetFile(file.path) as found:
                return list(found.read().columns)
        table = pa_csv.read_csv(
            file.path,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(file.columns, pa.large_string()),
                strings_can_be_null=False,
            ),
        )
        return list(table.columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file.path}: cannot be read to its end ({' '.join(str(error).split())[:200]}); the "
            "file is damaged or cut off"
        ) from error


def _digest(column: pa.ChunkedArray) -> tuple[bytes, bool]:
    """Return a digest of a column's values in whatever order, and whether they tell rows apart."""
    numbers = _as_numbers(column)
    if numbers is not None:
        values = np.sort(numbers)
        is_telling = _is_telling(values) and not _is_counter(values)
        return hashlib.sha256(b"numbers\0" + values.astype("<f4").tobytes()).digest(), is_telling
    hashes = np.sort(_text_hashes(column))
    return hashlib.sha256(b"texts\0" + hashes.astype("<u8").tobytes()).digest(), _is_telling(hashes)


def _as_numbers(column: pa.ChunkedArray) -> Float32Array | None:
    """Return the values as training would read numbers, NaN for missing; None for texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan, np.float32)
    for step in _STEPS_TO_NUMBERS:
        try:
            step(column.slice(0, _FIRST_VALUES))
            found = step(column)
        except pa.ArrowException:
            continue
        values = found.cast(pa.float64(), safe=False).to_numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            narrowed: Float32Array = values.astype(np.float32)
        # One zero, and one NaN whatever its bits.
        narrowed += np.float32(0)
        narrowed[np.isnan(narrowed)] = np.nan
        return narrowed
    return None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers as they are, and texts with null for what counts as missing."""
    if not _is_text(column.type):
        return column
    text = column.cast(pa.large_string())
    missing = pc.is_in(text, value_set=pa.array(MISSING_NUMBERS, pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), text)


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_temporal(column.type):
        raise pa.ArrowInvalid("a time")
    return _plain(column).cast(pa.float64(), safe=False)


def _truths(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (_is_text(column.type) or pa.types.is_boolean(column.type)):
        raise pa.ArrowInvalid("no truth value")
    return _plain(column).cast(pa.bool_()).cast(pa.uint8())


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times, or ISO 8601 texts, as nanoseconds."""
    return _plain(column).cast(pa.timestamp("ns")).cast(pa.int64())


#: Tried in this order; the first that reads every value of a column counts.
_STEPS_TO_NUMBERS: Final[tuple[Callable[[pa.ChunkedArray], pa.ChunkedArray], ...]] = (
    _numbers,
    _truths,
    _times,
)


def _text_hashes(column: pa.ChunkedArray) -> UInt64Array:
    """Return a hash of each value as text, 0 for a missing one.

    Multilinear: the sum over the bytes, each times a weight of its place, modulo 2^64 (Lemire,
    Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014, section 3).
    """
    try:
        text = _plain(column.cast(pa.large_string())).combine_chunks()
    except pa.ArrowException:
        # Lists and the like: no column that anybody could train on.
        return np.zeros(len(column), np.uint64)
    if isinstance(text, pa.ChunkedArray):
        text = pa.concat_arrays(text.chunks) if text.num_chunks else pa.array([], text.type)
    text = pc.fill_null(text, "")
    hashes = np.zeros(len(text), np.uint64)
    weights = np.zeros(0, np.uint64)
    for start in range(0, len(text), _ROWS_AT_ONCE):
        part = text.slice(start, _ROWS_AT_ONCE)
        _, offsets_buffer, bytes_buffer = part.buffers()
        bounds = np.frombuffer(offsets_buffer, "<i8")[part.offset : part.offset + len(part) + 1]
        if bounds[-1] == bounds[0]:
            continue
        content = np.frombuffer(bytes_buffer, np.uint8)[bounds[0] : bounds[-1]]
        begins, lengths = bounds[:-1] - bounds[0], np.diff(bounds)
        if len(weights) < lengths.max():
            weights = _weights(int(lengths.max()))
        places = np.arange(len(content)) - np.repeat(begins, lengths)
        terms = weights[places] * (content.astype(np.uint64) + np.uint64(1))
        filled = lengths > 0
        hashes[start : start + len(part)][filled] = np.add.reduceat(terms, begins[filled])
    return hashes


def _weights(count: int) -> UInt64Array:
    """Return the weights of the first places; the same in every process."""
    return np.random.Generator(np.random.PCG64(0)).integers(0, 2**64, count, dtype=np.uint64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_telling(ordered: Float32Array | UInt64Array) -> bool:
    """Tell whether there are enough different values, given in order."""
    present = ordered[~np.isnan(ordered)]
    return int(np.count_nonzero(present[1:] != present[:-1])) + 1 >= _FEWEST_VALUES


def _is_counter(ordered: Float32Array) -> bool:
    """Tell whether these are row numbers, which every file of as many rows has."""
    return bool((np.diff(ordered) == 1).all())
