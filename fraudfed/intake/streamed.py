"""Rows that need not fit into memory: windows that are read a piece at a time.

Law: the windows of ``stream_plain_table`` hold the rows that ``windows_by_share`` puts into them
when all are read at once, whatever the files and pieces. Rows to train on are read anew each time
they are asked for; those that select and judge, a fifth each at most, are kept in unlinked files
that are mapped into memory, below ``TMPDIR``.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError, StateError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.outcomes import outcomes_without_times
from fraudfed.intake.plain_table import PlainRows, contract_schema, read_plain_table
from fraudfed.intake.windows import JUDGE, SELECT, TRAIN, WindowCounts, windows_by_share
from fraudfed.intake.windows import labelled_table as _labelled
from fraudfed.reading.file import DataFile
from fraudfed.reading.partitioned import PartitionedFile
from fraudfed.reading.pieces import in_pieces, n_rows_about
from fraudfed.reading.problems import Problems, ProblemsError
from fraudfed.wire.messages import DataContract

T = TypeVar("T")

#: What a cell of a table costs in memory when all of it is read at once: as Arrow reads it, as
#: float32, and as a bin. Measured: 916 MiB at 3 million rows of 30 features.
_CELL_BYTES: Final = 12
#: What a row costs beside: margin, gradient, hessian, label, weight, node, hash.
_ROW_BYTES: Final = 64
#: A piece of rows on its way takes this share of the limit; several copies of it are alive at once.
_PIECES_IN_LIMIT: Final = 32
_MOST_PIECE_ROWS: Final = 1 << 18
_LEAST_PIECE_ROWS: Final = 1 << 12


@dataclass(frozen=True, eq=False)
class StreamedRows:
    """Rows to train on, a piece at a time, as often as one likes.

    Attributes
    ----------
    schema : FeatureSchema
    max_weight : float
    n_rows : int
    n_positives : int
        Rows with label 1.
    has_weights : bool
    source : str
        What messages call the data.
    read : callable
        Yields all rows as tables of this schema, each of one row or more; always in the same order.
    """

    schema: FeatureSchema
    max_weight: float
    n_rows: int
    n_positives: int
    has_weights: bool
    source: str
    read: Callable[[], Iterator[TrainingTable]] = field(repr=False)

    def pieces(self) -> Iterator[TrainingTable]:
        """Yield all rows, some after others.

        Raises
        ------
        DataError
            If the data have changed since they were checked.
        """
        count = 0
        for table in self.read():
            count += table.n_rows
            yield table
        if count != self.n_rows:
            raise DataError(
                f"{self.source}: got {count:,} rows to train on, expected the {self.n_rows:,} that "
                "were checked; start the command again when nothing writes to the data"
            )


@dataclass(frozen=True, eq=False)
class StreamedWindows:
    """One bank's rows, window by window, where those to train on stay on disk.

    Attributes
    ----------
    train : StreamedRows
    select, judge, counts, periods
        As in ``Windows``; the features of the rows lie in mapped files.
    rows_read : int
        Rows of the data.
    n_missing : ndarray of shape (n_features,), dtype=int64
        Of the rows to train on: how many have no value.
    labels_seen : tuple of float
        The labels that rows to train on have, ascending.
    """

    train: StreamedRows
    select: JudgedRows | None
    judge: JudgedRows | None
    counts: Mapping[str, WindowCounts]
    rows_read: int
    n_missing: Int64Array
    labels_seen: tuple[float, ...]
    periods: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def judged(self) -> tuple[JudgedRows | None, Literal["judge", "select"] | None]:
        """The rows that a model is judged by, and which window they are of."""
        if self.judge is not None:
            return self.judge, "judge"
        return self.select, None if self.select is None else "select"

    @property
    def validation(self) -> TrainingTable | None:
        """The rows that decide early stopping: those that select, without censored ones."""
        return None if self.select is None else _labelled(self.select)


def bytes_in_memory(file: DataFile, n_features: int) -> int:
    """Return about what a training takes in memory if all rows of a table are read at once.

    Parameters
    ----------
    file : DataFile
    n_features : int
    """
    return n_rows_about(file) * (_CELL_BYTES * n_features + _ROW_BYTES)


def piece_rows(memory_limit: int, n_features: int) -> int:
    """Return how many rows are read at a time so that a limit of bytes is kept."""
    fit = memory_limit // (_PIECES_IN_LIMIT * _CELL_BYTES * max(n_features, 1))
    return min(max(fit, _LEAST_PIECE_ROWS), _MOST_PIECE_ROWS)


def read_in_pieces(
    file: DataFile,
    problems: Problems,
    read: Callable[[DataFile, Problems], T],
    *,
    rows: int,
) -> Iterator[T]:
    """Read and check a table a piece at a time; faults are raised behind the last piece.

    Pieces in which something is wrong are not yielded, nor is one behind them.

    Parameters
    ----------
    file : DataFile
    problems : Problems
        Of the file; takes those of all pieces, as if they had been looked at together.
    read : callable
        Reads a piece; adds what is wrong to the piece's own problems, and raises them.
    rows : int
        Of a piece, about.

    Raises
    ------
    DataError
        With every problem of all pieces.
    """
    names_file, before = False, dict[str, int]()
    if isinstance(file, PartitionedFile):
        names_file, before = file.names_files, file.rows_before
    for piece in in_pieces(file, rows=rows):
        found = piece.problems()
        result = None
        try:
            result = read(piece, found)
        except ProblemsError:
            # Rows of another length are no problem of cells: they come before everything else.
            if not len(found):
                raise
        problems.absorb(found, names_file=names_file, rows_before=before.get(str(piece.path), 0))
        if result is not None and not len(problems):
            yield result
    problems.keep(lambda _problem: True)
    problems.raise_any()


def stream_plain_table(
    file: DataFile,
    contract: DataContract,
    problems: Problems,
    *,
    seed: int,
    select: bool,
    judge: bool,
    rows: int,
    watch: Callable[[TrainingTable], None] = lambda _table: None,
) -> StreamedWindows:
    """Read a plain table once, check all of it, and divide it as ``windows_by_share`` does.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
        Of a plain table.
    problems : Problems
        Of the file.
    seed, select, judge
        As in ``windows_by_share``.
    rows : int
        Of a piece, about.
    watch : callable
        Is shown the rows to train on, piece by piece.

    Raises
    ------
    DataError
        With every problem, as ``read_plain_table``.
    StateError
        If there is no room on disk for the rows that select and judge.
    """
    schema = contract_schema(contract)
    kept = {name: _KeptRows(schema.n_features) for name in (SELECT, JUDGE)}
    counts: dict[str, WindowCounts] = {}
    n_missing = np.zeros(schema.n_features, dtype=np.int64)
    labels_seen: set[float] = set()
    totals = {"read": 0, "train": 0, "positives": 0}
    has_weights = contract.weight is not None

    def read_piece(piece: DataFile, problems: Problems) -> PlainRows:
        return read_plain_table(piece, contract, problems, with_labels=True)

    def divided(problems: Problems) -> Iterator[Any]:
        for read in read_in_pieces(file, problems, read_piece, rows=rows):
            if read.labels is None:
                raise ValueError("rows were read without labels")
            totals["read"] += read.n_rows
            table = TrainingTable(
                schema=schema,
                features=read.features,
                labels=read.labels,
                weights=read.weights,
                max_weight=contract.max_weight,
            )
            yield windows_by_share(table, seed=seed, select=select, judge=judge)

    for windows in divided(problems):
        for name, count in windows.counts.items():
            counts[name] = _sum_of(counts.get(name), count)
        for name, judged in ((SELECT, windows.select), (JUDGE, windows.judge)):
            if judged is not None:
                kept[name].add(judged.features, judged.outcomes.labels, judged.weights)
        train = windows.train
        if train.n_rows:
            n_missing += np.count_nonzero(np.isnan(train.features), axis=0)
            labels_seen.update(float(label) for label in np.unique(train.labels))
            watch(train)
    rows_read = totals["read"]

    def again() -> Iterator[TrainingTable]:
        # What was right before is only wrong if a file has changed, which is an error by itself.
        for windows in divided(file.problems()):
            if windows.train.n_rows:
                yield windows.train

    def judged_rows(name: str, is_there: bool) -> JudgedRows | None:
        return kept[name].as_judged(schema, contract.max_weight, has_weights) if is_there else None

    return StreamedWindows(
        train=StreamedRows(
            schema=schema,
            max_weight=contract.max_weight,
            n_rows=counts[TRAIN].rows,
            n_positives=counts[TRAIN].frauds,
            has_weights=has_weights,
            source=file.name,
            read=again,
        ),
        select=judged_rows(SELECT, select),
        judge=judged_rows(JUDGE, judge),
        counts=counts,
        rows_read=rows_read,
        n_missing=n_missing,
        labels_seen=tuple(sorted(labels_seen)),
    )


def _sum_of(one: WindowCounts | None, other: WindowCounts) -> WindowCounts:
    if one is None:
        return other
    return replace(
        one,
        rows=one.rows + other.rows,
        frauds=one.frauds + other.frauds,
        censored=one.censored + other.censored,
    )


class _KeptRows:
    """Rows of a window without times, written one piece after the other, and then mapped."""

    def __init__(self, n_features: int) -> None:
        self._features = MappedColumn(n_features)
        self._labels = MappedColumn(1)
        self._weights = MappedColumn(1)

    def add(
        self, features: Float32Array, labels: Float32Array, weights: Float32Array | None
    ) -> None:
        self._features.add(np.ascontiguousarray(features))
        self._labels.add(labels)
        if weights is not None:
            self._weights.add(weights)

    def as_judged(self, schema: FeatureSchema, max_weight: float, has_weights: bool) -> JudgedRows:
        return JudgedRows(
            schema=schema,
            features=self._features.mapped(),
            outcomes=outcomes_without_times(self._labels.mapped().reshape(-1)),
            weights=self._weights.mapped().reshape(-1) if has_weights else None,
            max_weight=max_weight,
        )


class MappedColumn:
    """An array that grows in an unlinked file below ``TMPDIR``, and is mapped when it is whole.

    Parameters
    ----------
    width : int
        Values of a row.
    dtype : dtype
    """

    def __init__(self, width: int, dtype: npt.DTypeLike = np.float32) -> None:
        self._width = width
        self._dtype = np.dtype(dtype)
        self._file: Any = None
        self.n_rows = 0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows; shape (n, width), or (n,) for a width of 1.

        Raises
        ------
        StateError
            If there is no room.
        """
        if not len(rows):
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="fraudfed-")  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        except OSError as error:
            raise StateError(
                f"rows cannot be kept on disk ({error.strerror or error}); set TMPDIR to a "
                "directory with room"
            ) from error
        self.n_rows += len(rows)

    def mapped(self) -> npt.NDArray[Any]:
        """Return all rows; shape (n_rows, width). Nothing can be added afterwards."""
        if not self.n_rows:
            return np.empty((0, self._width), dtype=self._dtype)
        self._file.flush()
        shape = (self.n_rows, self._width)
        found = np.memmap(self._file, dtype=self._dtype, mode="r+", shape=shape)
        # The mapping keeps the file.
        self._file.close()
        return found
