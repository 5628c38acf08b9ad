"""The spool: parts of a bank on disk, read back by time.

Each part is sorted by time and stored in its own file, with an index of the first row of every
hour. A bank is read in buckets of consecutive hours. A bucket is the slice of every part, in the
order of the parts, sorted by time. So memory holds one part or one bucket, and rows come in the
order (time, part, position in the part) for any bucket size.
"""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from data_gen.events import Events, LabelledEvents
from data_gen.rng import IntArray

# Rows in memory at a time, unless a single hour has more. 64 bytes each, three times over.
BUCKET_ROWS: Final = 262_144
_HOUR_SECONDS: Final = 3_600
_LABEL_TIME: Final = "label_time"

Records = npt.NDArray[np.void]


@dataclass(frozen=True)
class _PartFile:
    """One stored part, and where each bucket begins in it.

    Parameters
    ----------
    path : Path
    dtype : dtype
        One field per array of ``Events``, and ``label_time``.
    start : int
        Byte of the first record.
    edges : ndarray of shape (n_buckets + 1,), dtype=int64
        Row at which each bucket begins; the last is the number of rows.
    """

    path: Path
    dtype: np.dtype[np.void]
    start: int
    edges: IntArray

    def read_into(self, records: Records, bucket: int) -> None:
        """Fill ``records`` with the rows of one bucket."""
        with self.path.open("rb") as file:
            file.seek(self.start + int(self.edges[bucket]) * self.dtype.itemsize)
            if file.readinto(records.view(np.uint8).data) != records.nbytes:
                raise OSError(None, f"{self.path.name} in the spool is cut off")


def spool_part(
    directory: Path, part: int, rows: LabelledEvents, *, start_time: int, end_time: int
) -> int:
    """Store one part of a bank and return its number of rows.

    Parameters
    ----------
    directory : Path
        Directory of the bank; created if missing.
    part : int
    rows : LabelledEvents
        In any order.
    start_time, end_time : int
        The period, UTC epoch seconds; the same for every part.
    """
    columns = {field.name: getattr(rows.events, field.name) for field in fields(Events)}
    columns[_LABEL_TIME] = rows.label_time
    spool_columns(directory, part, columns, start_time=start_time, end_time=end_time)
    return len(rows.events)


def spool_columns(
    directory: Path,
    part: int,
    columns: Mapping[str, npt.NDArray[np.generic]],
    *,
    start_time: int,
    end_time: int,
) -> None:
    """Store one part of any rows.

    Parameters
    ----------
    directory : Path
        Of all parts; created if missing.
    part : int
    columns : mapping of str to ndarray of shape (n,)
        With ``time``, UTC epoch seconds; the same names and dtypes for every part.
    start_time, end_time : int
        The period, UTC epoch seconds; the same for every part.
    """
    directory.mkdir(parents=True, exist_ok=True)
    records = np.empty(
        len(columns["time"]), dtype=[(name, values.dtype) for name, values in columns.items()]
    )
    # Stable, so that rows of the same second keep the order in which they were made.
    order = np.argsort(columns["time"], kind="stable")
    for name, values in columns.items():
        records[name] = values[order]
    hours = np.arange(start_time, end_time, _HOUR_SECONDS)
    # Rows outside the period go to the first or last hour, so that nothing is lost.
    index = np.empty(len(hours) + 1, dtype=np.int64)
    index[0], index[-1] = 0, len(records)
    index[1:-1] = np.searchsorted(records["time"], hours[1:], side="left")
    _save(_records_path(directory, part), records)
    _save(_index_path(directory, part), index)


def rows_before_hours(directory: Path, parts: int) -> IntArray:
    """Return the rows of a bank before each hour of the period; the last is all of them.

    Parameters
    ----------
    directory : Path
        With parts 0 to ``parts - 1``, all of one period.
    parts : int

    Returns
    -------
    ndarray of shape (n_hours + 1,), dtype=int64
    """
    rows: IntArray = np.load(_index_path(directory, 0))
    for part in range(1, parts):
        rows += np.load(_index_path(directory, part))
    return rows


def buckets(
    directory: Path,
    parts: int,
    *,
    bucket_rows: int = BUCKET_ROWS,
    first_hour: int = 0,
    stop_hour: int | None = None,
) -> Iterator[Records]:
    """Yield the rows of a bank sorted by (time, part, position in the part), a bucket at a time.

    Parameters
    ----------
    directory : Path
        With parts 0 to ``parts - 1``, all of one period.
    parts : int
    bucket_rows : int
        Largest bucket, unless a single hour has more rows. The sequence of rows does not
        depend on it.
    first_hour, stop_hour : int, int or None
        Which hours of the period, counted from 0; all by default.
    """
    before = rows_before_hours(directory, parts)
    stop_hour = len(before) - 1 if stop_hour is None else stop_hour
    hours = _bucket_hours(before, bucket_rows, first_hour, stop_hour)
    files = _open_parts(directory, parts, hours)
    for bucket in range(len(files[0].edges) - 1):
        counts = [int(file.edges[bucket + 1] - file.edges[bucket]) for file in files]
        together = np.empty(sum(counts), dtype=files[0].dtype)
        begin = 0
        for file, count in zip(files, counts, strict=True):
            if count:
                file.read_into(together[begin : begin + count], bucket)
            begin += count
        yield together[np.argsort(together["time"], kind="stable")]


def regroup(pieces: Iterator[Records], rows: int) -> Iterator[Records]:
    """Yield the same rows in pieces of exactly ``rows``, the last one shorter; none is empty."""
    held: list[Records] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count < rows:
            continue
        together = np.concatenate(held)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield together[start : start + rows]
        # A copy, so that the rows already yielded can be freed.
        held = [together[whole:].copy()]
        count -= whole
    if count:
        yield np.concatenate(held)


def labelled_events(records: Records) -> LabelledEvents:
    """Return records as parallel arrays, in the same order."""
    columns: dict[str, Any] = {
        field.name: np.ascontiguousarray(records[field.name]) for field in fields(Events)
    }
    return LabelledEvents(
        events=Events(**columns), label_time=np.ascontiguousarray(records[_LABEL_TIME])
    )


def _open_parts(directory: Path, parts: int, hours: IntArray) -> Sequence[_PartFile]:
    # Indices are read twice rather than kept: only the edges of buckets are needed, and parts are
    # many.
    files = []
    for part in range(parts):
        index = np.load(_index_path(directory, part))
        path = _records_path(directory, part)
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                header = np.lib.format.read_array_header_2_0
            dtype = header(file)[2]
            files.append(_PartFile(path, dtype, file.tell(), index[hours]))
    return files


def _bucket_hours(
    rows_before: IntArray, bucket_rows: int, first_hour: int, stop_hour: int
) -> IntArray:
    """Return the hours at which buckets begin, and the end of the last.

    Parameters
    ----------
    rows_before : ndarray of shape (n_hours + 1,), dtype=int64
        Rows of the bank before each hour; the last is the number of all rows.
    bucket_rows : int
    first_hour, stop_hour : int
    """
    hours = [first_hour]
    while hours[-1] < stop_hour:
        limit = rows_before[hours[-1]] + bucket_rows
        last = int(np.searchsorted(rows_before, limit, side="right")) - 1
        hours.append(min(max(last, hours[-1] + 1), stop_hour))
    return np.array(hours)


def _save(path: Path, values: npt.NDArray[Any]) -> None:
    """Write a file whole or not at all: a worker that was given up may still write the same."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}")
    with beside.open("wb") as file:
        np.save(file, values)
    beside.replace(path)


def _records_path(directory: Path, part: int) -> Path:
    return directory / f"{part:06d}.npy"


def _index_path(directory: Path, part: int) -> Path:
    return directory / f"{part:06d}.hours.npy"
