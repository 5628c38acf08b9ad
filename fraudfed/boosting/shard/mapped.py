"""Rows that need not fit into memory: values and bins lie in mapped files, in parts.

The rows are read once, piece by piece. Their values go to disk and are not held; cuts are counted
from there, part by part, and bins are made from there. Trees grow over the parts one after the
other, and what a part has read leaves this process's memory before the next one begins.

In memory stay, for as long as trees grow: the bins row by row, as the kernels sum by them (a byte
for each value), and 4 bytes a row. Gradients, margins, labels, weights and the order of the rows
stay there as well while there is room, and lie in mapped files otherwise.

On disk, below ``TMPDIR`` or in a directory that the caller names, lie the values as float32 and the
bins, unencrypted. Each file is readable for its owner only, and has no name from the moment on that
it is open: it is gone when the training or its process ends, however that ends. Its room is set
aside when it is made, so that a full disk is an error then and no crash later.
"""

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from fraudfed.boosting.engine.pages import huge_empty
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.parts import PartedShard
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.errors import ParameterError, StateError

#: Rows of a part, at least and at most: enough for a thread to be worth waking, and few enough for
#: the bins of a part to be in memory together.
_LEAST_PART_ROWS: Final = 1 << 16
_MOST_PART_ROWS: Final = 1 << 20
#: A part on its way from values to bins takes this share of the limit.
_PARTS_IN_LIMIT: Final = 16
#: Half of the limit is for arrays, the other half for the program, for pieces and parts on their
#: way, and for histograms.
_LIMIT_FOR_ARRAYS: Final = 2


@dataclass
class MemoryBudget:
    """Bytes that parts may take in memory together; what does not fit goes to disk.

    Attributes
    ----------
    left : int
    """

    left: int

    def take(self, n_bytes: int) -> bool:
        """Set bytes aside, if so many are left."""
        fits = n_bytes <= self.left
        self.left -= n_bytes * fits
        return fits


class MappedFiles:
    """Room in unlinked files; arrays of one part. See ``room.Room`` for the calls.

    Parameters
    ----------
    directory : Path
        On the disk that is to hold the rows.
    budget : MemoryBudget
        Arrays that change while trees grow lie in memory, as long as it lasts.
    """

    def __init__(self, directory: Path, budget: MemoryBudget) -> None:
        self._directory = directory
        self._budget = budget
        self._maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._depth = 0

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """See ``Room``."""
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self._budget.take(n_bytes):
            return huge_empty(shape, dtype)
        return self.mapped(shape, dtype)

    def keep(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See ``Room``."""
        kept = self.mapped(array.shape, array.dtype)
        kept[...] = array
        return kept

    def mapped(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array of zeros in a file of its own; C-contiguous.

        Raises
        ------
        StateError
            If the disk has no room for it.
        """
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if n_bytes == 0:
            return np.empty(shape, dtype=dtype)
        try:
            # Mode 0600; on Linux it never has a name.
            with tempfile.TemporaryFile(dir=self._directory, buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
                pages = mmap.mmap(file.fileno(), n_bytes)
        except OSError as error:
            raise StateError(
                f"{self._directory}: rows of {n_bytes:,} bytes cannot be put on disk "
                f"({error.strerror or error}); set TMPDIR to a directory on a disk with room"
            ) from error
        self._maps.add(pages)
        # The array holds the mapping, and the mapping holds the file.
        return np.frombuffer(pages, dtype=dtype).reshape(shape)

    def __enter__(self) -> Self:
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Let the pages go; they are read again from the file, or from the system's cache of it."""
        self._depth -= 1
        if self._depth == 0:
            for pages in self._maps:
                pages.madvise(mmap.MADV_DONTNEED)


def mapped_shard(
    schema: FeatureSchema,
    pieces: Iterable[TrainingTable],
    *,
    max_weight: float,
    has_weights: bool,
    engine: Engine,
    memory_limit: int,
    directory: Path | None = None,
    part_rows: int | None = None,
) -> PartedShard:
    """Put rows on disk, piece by piece, and return them as a shard.

    Parameters
    ----------
    schema : FeatureSchema
    pieces : iterable of TrainingTable
        Of this schema. It is read once; no more pieces are held than make up a part.
    max_weight : float
    has_weights : bool
    engine : Engine
    memory_limit : int
        Bytes that the process may take in all. It is held where kernels are compiled; NumPy, which
        takes their place elsewhere, needs more.
    directory : Path or None
        Where the files lie while they are open; None is below ``TMPDIR``.
    part_rows : int or None
        Most rows of a part; None is what the limit says. It changes no result.

    Raises
    ------
    ParameterError
        If what has to be in memory does not fit into the limit.
    StateError
        If the disk has no room.
    ValueError
        If a piece has another schema, or says otherwise whether rows have weights.
    """
    place = Path(tempfile.gettempdir()) if directory is None else directory
    if part_rows is None:
        part_rows = rows_of_part(memory_limit, schema.n_features)
    budget = MemoryBudget(0)
    parts: list[LocalShard] = []
    for table in _in_parts(schema, pieces, has_weights=has_weights, n_rows=part_rows):
        room = MappedFiles(place, budget)
        with room:
            kept = TrainingTable(
                schema,
                room.keep(np.ascontiguousarray(table.features)),
                room.keep(table.labels),
                None if table.weights is None else room.keep(table.weights),
                max_weight,
            )
        parts.append(LocalShard(kept, engine, room))
    held = sum(part.n_rows for part in parts) * (schema.n_features + 4)
    budget.left = memory_limit // _LIMIT_FOR_ARRAYS - held
    if budget.left < 0:
        raise ParameterError(
            f"the memory limit is {memory_limit:,} bytes, and rows as many as these need "
            f"{held * _LIMIT_FOR_ARRAYS:,} at least; raise the limit, or use an engine that "
            "spreads rows over machines"
        )
    return PartedShard(parts)


def rows_of_part(memory_limit: int, n_features: int) -> int:
    """Return how many rows a part has so that a limit of bytes is kept."""
    # A value as float32, as a bin, and as a bin once more while it is copied.
    of_row = 6 * max(n_features, 1) + 64
    fit = memory_limit // (_PARTS_IN_LIMIT * of_row)
    return min(max(fit, _LEAST_PART_ROWS), _MOST_PART_ROWS)


def _in_parts(
    schema: FeatureSchema, pieces: Iterable[TrainingTable], *, has_weights: bool, n_rows: int
) -> Iterator[TrainingTable]:
    """Yield tables of so many rows, the last one of fewer; one without rows if there are none."""
    waiting: list[TrainingTable] = []
    count = 0
    some = False
    for piece in pieces:
        if piece.schema != schema or (piece.weights is not None) != has_weights:
            raise ValueError("a piece of rows differs in features, or in whether it has weights")
        start = 0
        while start < piece.n_rows:
            stop = min(piece.n_rows, start + n_rows - count)
            waiting.append(_rows(piece, start, stop))
            count += stop - start
            start = stop
            if count == n_rows:
                yield _joined(waiting)
                some = True
                waiting, count = [], 0
    if waiting:
        yield _joined(waiting)
    elif not some:
        yield TrainingTable(
            schema,
            np.empty((0, schema.n_features), dtype=np.float32),
            np.empty(0, dtype=np.float32),
            np.empty(0, dtype=np.float32) if has_weights else None,
        )


def _rows(table: TrainingTable, start: int, stop: int) -> TrainingTable:
    rows = slice(start, stop)
    return replace(
        table,
        features=table.features[rows],
        labels=table.labels[rows],
        weights=None if table.weights is None else table.weights[rows],
        customers=None,
    )


def _joined(tables: list[TrainingTable]) -> TrainingTable:
    first = tables[0]
    if len(tables) == 1:
        return first
    return replace(
        first,
        features=np.concatenate([table.features for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
        weights=None
        if first.weights is None
        else np.concatenate([table.weights for table in tables if table.weights is not None]),
    )
