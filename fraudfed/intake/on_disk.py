"""Rows to train on in files that are mapped into memory: a shard that needs little memory at once.

The files have no name, lie below ``TMPDIR``, and go with the process. A part of the rows is in
memory while it is worked on; afterwards its pages may leave, and are read again when they are
needed.
"""

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.parts import PartedShard
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError
from fraudfed.intake.streamed import StreamedRows

#: Rows of a part: fewer cost more calls, more take more memory at once.
_PART_ROWS: Final = 1 << 20
_LEAST_PART_ROWS: Final = 1 << 14
#: Of the limit, for what is worked on at once; a row takes about so many bytes for each feature.
_SHARE: Final = 4
_CELL_BYTES: Final = 12


class DiskRoom:
    """Room in mapped files; see ``boosting.shard.room.Room``."""

    def __init__(self) -> None:
        self._maps: list[weakref.ref[mmap.mmap]] = []

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """See ``Room``."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not size:
            return np.empty(shape, dtype)
        try:
            with tempfile.TemporaryFile(prefix="fraudfed-") as file:
                os.posix_fallocate(file.fileno(), 0, size)
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise DataError(
                f"no room on disk for {size:,} bytes of rows ({error.strerror or error}); set "
                "TMPDIR to a directory with room, or give more memory with --memory-limit"
            ) from error
        self._maps.append(weakref.ref(mapped))
        return np.frombuffer(mapped, dtype).reshape(shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the pages go; what was written to them stays with the system."""
        alive = []
        for reference in self._maps:
            mapped = reference()
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)
                alive.append(reference)
        self._maps = alive


def map_rows(rows: StreamedRows, *, memory_limit: int, threads: int | None = None) -> Shard:
    """Read the rows to train on once more, into mapped files, and return them as a shard.

    Parameters
    ----------
    rows : StreamedRows
    memory_limit : int
        Bytes; says how many rows are worked on at once.
    threads : int or None
        As in ``boosting.train``.

    Raises
    ------
    DataError
        If the data have changed since they were checked, or there is no room on disk.
    """
    fit = memory_limit // (_SHARE * _CELL_BYTES * max(rows.schema.n_features, 1))
    size = min(max(fit, _LEAST_PART_ROWS), _PART_ROWS)
    engine, parts = load_engine(threads), list[Shard]()
    for tables in _groups(rows.pieces(), size):
        room = DiskRoom()
        with room:
            parts.append(LocalShard(_kept(tables, rows, room), engine, room))
    if not parts:
        parts.append(LocalShard(_kept([], rows, DiskRoom()), engine))
    return parts[0] if len(parts) == 1 else PartedShard(parts)


def _groups(pieces: Iterable[TrainingTable], size: int) -> Iterator[list[TrainingTable]]:
    group: list[TrainingTable] = []
    count = 0
    for table in pieces:
        group.append(table)
        count += table.n_rows
        if count >= size:
            yield group
            group, count = [], 0
    if group:
        yield group


def _kept(tables: list[TrainingTable], rows: StreamedRows, room: DiskRoom) -> TrainingTable:
    n_rows = sum(table.n_rows for table in tables)
    # Column by column, as binning reads it.
    columns: Float32Array = room.empty((rows.schema.n_features, n_rows), np.float32)
    labels: Float32Array = room.empty((n_rows,), np.float32)
    weights = room.empty((n_rows,), np.float32) if rows.has_weights else None
    start = 0
    while tables:
        table = tables.pop(0)
        stop = start + table.n_rows
        columns[:, start:stop] = table.features.T
        labels[start:stop] = table.labels
        if weights is not None and table.weights is not None:
            weights[start:stop] = table.weights
        start = stop
    return TrainingTable(
        schema=rows.schema,
        features=columns.T,
        labels=labels,
        weights=weights,
        max_weight=rows.max_weight,
    )
