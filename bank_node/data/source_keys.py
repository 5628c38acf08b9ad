"""What a bank's file is about, as keys of the ledger: its rows as they are, whatever a run wants.

A run's operator chooses contract, columns, window, limits and parameters, and could make the same
rows look new by them. So nothing of a run enters these keys: they are of the whole file, before
mapping, contract and sampling. There is one key of all columns together, and one of each column
whose values tell rows apart. Two files have a key in common if one such column is the same in both:
a column more or less, another name or order of columns, and reports of fraud that came in since
leave the other columns' keys as they were.

Law: keys depend neither on the order of rows or columns, nor on the names of columns, nor on CSV or
Parquet, nor on how a number is written, as far as training reads the same from it: numbers count as
float32, and what ``fraudfed.reading`` reads as missing is missing.

A file with other rows - a month more, a row corrected in every column - has other keys.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import Float32Array, Float64Array, UInt64Array
from fraudfed.intake.streamed import MappedColumn
from fraudfed.reading import cells
from fraudfed.reading.file import DataFile
from fraudfed.reading.file_format import PLAIN_CSV, FileFormat
from fraudfed.reading.location import Location, open_data
from fraudfed.reading.pieces import in_pieces

#: Columns of fewer different values say little about rows: two months could have them in common.
_FEWEST_VALUES: Final = 16
#: Rows hashed at a time; what is made of them stays in the processor's cache.
_ROWS_AT_ONCE: Final = 1 << 12
#: Values whose bytes are hashed at a time.
_VALUES_AT_ONCE: Final = 1 << 20
#: Values by which most columns show of which kind they are, before all are read.
_FIRST_VALUES: Final = 64


class KeyMaker(Protocol):
    """What computes keys: ``bank_node.state.ledger.Ledger``."""

    def key(self, domain: str, *parts: bytes) -> str:
        """Return the key of some content."""
        ...


def row_keys(
    path: Location,
    maker: KeyMaker,
    *,
    file_format: FileFormat = PLAIN_CSV,
    piece_rows: int | None = None,
) -> tuple[str, ...]:
    """Return the keys of a file's rows.

    Parameters
    ----------
    path : Location
        CSV or Parquet.
    maker : KeyMaker
    file_format : FileFormat
        How the file is written, if it is CSV.
    piece_rows : int or None
        Read so many rows at a time, and keep columns on disk; None reads all at once. The keys are
        the same.

    Returns
    -------
    tuple of str
        Sorted; at least one.

    Raises
    ------
    DataError
        If the file cannot be read.
    StateError
        If there is no room on disk.
    """
    file, digests, telling = open_data(path, file_format=file_format), [], []
    found: Iterator[tuple[bytes, bool]]
    if piece_rows is None:
        found = (_digest(column, file_format) for column in file.everything())
    else:
        found = _digests_in_pieces(file, piece_rows)
    for digest, is_telling in found:
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


def _digest(column: pa.ChunkedArray, how: FileFormat) -> tuple[bytes, bool]:
    """Return a digest of a column's values in whatever order, and whether they tell rows apart."""
    numbers = _as_numbers(column, how)
    return _digest_of(_text_hashes(column) if numbers is None else numbers)


def _digest_of(values: Float32Array | UInt64Array) -> tuple[bytes, bool]:
    """Return the same of float32 numbers or of hashes of texts; they are sorted in place."""
    values.sort()
    is_telling, is_numbers = _is_telling(values), values.dtype == np.float32
    digest = hashlib.sha256(b"numbers\0" if is_numbers else b"texts\0")
    little = "<f4" if is_numbers else "<u8"
    if is_numbers and _is_counter(values):
        is_telling = False
    for start in range(0, len(values), _VALUES_AT_ONCE):
        digest.update(values[start : start + _VALUES_AT_ONCE].astype(little).tobytes())
    return digest.digest(), is_telling


class _Column:
    """A column that is read piece by piece, as what all of its values are.

    It is taken for numbers, then for times, and then for texts: a piece that is none of it begins
    the column anew as the next.
    """

    def __init__(self, how: FileFormat) -> None:
        self._how = how
        self._steps = [_numbers, _times]
        self._is_truths: bool | None = None
        self._values = MappedColumn(1)
        #: Whether the pieces so far were not all of the column.
        self.starts_anew = False

    def add(self, piece: pa.ChunkedArray) -> None:
        """Take the values of a piece."""
        if self.starts_anew:
            return
        if not self._steps:
            self._values.add(_text_hashes(piece))
            return
        step, plain = self._steps[0], cells.plain(piece)
        values = step(plain, self._how)
        if values is not None and step is _numbers and not np.isnan(values).all():
            is_truths = cells.are_truths(plain)
            if self._is_truths not in (None, is_truths):
                # All of it together are neither.
                values = None
            self._is_truths = is_truths
        if values is not None:
            self._values.add(_narrowed(values))
            return
        self._steps.pop(0)
        self._values = MappedColumn(1, np.float32 if self._steps else np.uint64)
        self.starts_anew = True

    def digest(self) -> tuple[bytes, bool]:
        """Return what ``_digest`` does."""
        return _digest_of(self._values.mapped().reshape(-1))


def _digests_in_pieces(file: DataFile, rows: int) -> Iterator[tuple[bytes, bool]]:
    columns = [_Column(file.file_format) for _ in file.columns]
    unread = columns
    while unread:
        for piece in in_pieces(file, rows=rows):
            for column, values in zip(columns, _in_order(file, piece), strict=True):
                if column in unread:
                    column.add(values)
        unread = [column for column in unread if column.starts_anew]
        for column in unread:
            column.starts_anew = False
    return (column.digest() for column in columns)


def _in_order(file: DataFile, piece: DataFile) -> Sequence[pa.ChunkedArray]:
    """Return the columns of a piece in the order of the whole."""
    own: list[pa.ChunkedArray] = piece.everything()
    if piece.columns == file.columns:
        return own
    left = list(zip(piece.columns, own, strict=True))
    found: list[pa.ChunkedArray] = []
    for name in file.columns:
        place = next(i for i, (other, _) in enumerate(left) if other == name)
        found.append(left.pop(place)[1])
    return found


def _as_numbers(column: pa.ChunkedArray, how: FileFormat) -> Float32Array | None:
    """Return the values as training would read numbers, NaN for missing; None for texts."""
    column = cells.plain(column)
    for step in (_numbers, _times):
        if step(column.slice(0, _FIRST_VALUES), how) is None:
            continue
        values = step(column, how)
        if values is None:
            continue
        return _narrowed(values)
    return None


def _narrowed(values: Float64Array) -> Float32Array:
    """Return values as training has them, with one zero, and one NaN whatever its bits."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrowed: Float32Array = values.astype(np.float32)
    narrowed += np.float32(0)
    narrowed[np.isnan(narrowed)] = np.nan
    return narrowed


def _numbers(column: pa.ChunkedArray, how: FileFormat) -> Float64Array | None:
    if not (cells.is_text(column.type) or cells.is_number(column.type)):
        return None
    values, wrong = cells.numbers(column, how)
    return None if wrong.any() else values


def _times(column: pa.ChunkedArray, _how: FileFormat) -> Float64Array | None:
    """Return times, or ISO 8601 texts, as nanoseconds."""
    try:
        times = _known(column).cast(pa.timestamp("ns")).cast(pa.int64())
    except pa.ArrowException:
        return None
    values: Float64Array = times.cast(pa.float64(), safe=False).to_numpy()
    return values


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts with null for what counts as missing, and others as they are."""
    if not cells.is_text(column.type):
        return column
    missing = pc.is_in(column, value_set=pa.array(cells.MISSING_NUMBERS, cells.TEXT))
    return pc.if_else(missing, pa.scalar(None, cells.TEXT), column)


def _text_hashes(column: pa.ChunkedArray) -> UInt64Array:
    """Return a hash of each value as text, 0 for a missing one.

    Multilinear: the sum over the bytes, each times a weight of its place, modulo 2^64 (Lemire,
    Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014, section 3).
    """
    try:
        text = _known(cells.plain(column).cast(cells.TEXT)).combine_chunks()
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


def _is_telling(ordered: Float32Array | UInt64Array) -> bool:
    """Tell whether there are enough different values, given in order."""
    different, last = 0, None
    for start in range(0, len(ordered), _VALUES_AT_ONCE):
        present = ordered[start : start + _VALUES_AT_ONCE]
        present = present[~np.isnan(present)]
        if not len(present):
            continue
        different += int(np.count_nonzero(present[1:] != present[:-1]))
        different += last is None or bool(present[0] != last)
        last = present[-1]
        if different >= _FEWEST_VALUES:
            return True
    return False


def _is_counter(ordered: Float32Array | UInt64Array) -> bool:
    """Tell whether these are row numbers, which every file of as many rows has."""
    return all(
        bool((np.diff(ordered[start : start + _VALUES_AT_ONCE + 1]) == 1).all())
        for start in range(0, len(ordered), _VALUES_AT_ONCE)
    )
