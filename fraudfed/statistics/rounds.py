"""Sum the counts of all banks; every bank runs this and ends with the same statistics.

Law: the sums depend on what all banks enter together, not on how it is split over them. All that
passes between banks goes through ``Communicator.sum``, in three rounds: totals, which bound all
that follows; every column at once, with the cells of identifiers; and the parts of the coarse cells
that are not empty, with how many identifiers each bank knows alone.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.communicator import Communicator
from fraudfed.dtypes import Int64Array
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.held_sums import hold_counted
from fraudfed.statistics.counts import N_PARTS, Counts, entered
from fraudfed.statistics.layout import Layout
from fraudfed.statistics.occupancy import marks, only_here
from fraudfed.statistics.pooled import MAX_TOTAL, Known, PooledColumn, Statistics


@dataclass(frozen=True, eq=False)
class PooledAndOwn:
    """The sums, and what this bank entered in them, in the same layout.

    Attributes
    ----------
    pooled, own : Statistics
    """

    pooled: Statistics
    own: Statistics


def pool(
    counts: Counts,
    layout: Layout,
    communicator: Communicator,
    *,
    least: int,
    hash_key: bytes,
) -> PooledAndOwn:
    """Sum what all banks have counted.

    Parameters
    ----------
    counts : Counts
        This bank's; all may be 0.
    layout : Layout
        The same at every bank.
    communicator : Communicator
    least : int
        Smallest count that this bank enters; another bank may have another one.
    hash_key : bytes of length 32

    Raises
    ------
    SumError
        If an opened sum is none of rows.
    FraudFedError
        If a sum fails.
    """
    own_totals, totals = _totals(counts, layout, communicator, least=least)
    own_cells, cells = _cells(counts, layout, communicator, totals, least=least)
    own_rest, rest = _rest(counts, layout, communicator, totals, own_cells, cells, least=least)
    key_id, filled = hash_key_id(hash_key), _filled(layout, cells)
    return PooledAndOwn(
        pooled=_statistics(layout, key_id, totals, cells, rest, filled),
        own=_statistics(layout, key_id, own_totals, own_cells, own_rest, filled),
    )


class _Parts:
    """Arrays that are summed as one vector, and split again."""

    def __init__(self) -> None:
        self._values: list[Int64Array] = [np.zeros(0, dtype=np.int64)]
        self._bounds: list[Int64Array] = [np.zeros(0, dtype=np.int64)]
        self._shapes: list[tuple[int, ...]] = []

    def add(self, values: Int64Array, bound: int | Int64Array) -> None:
        """Add an array and the bounds of its sum, which are broadcast to it."""
        self._values.append(values.ravel())
        self._bounds.append(np.broadcast_to(bound, values.shape).astype(np.int64).ravel())
        self._shapes.append(values.shape)

    def sum(self, communicator: Communicator, *, label: str) -> list[Int64Array]:
        """Return the sum of each array; nothing is sent if all are empty."""
        values = np.concatenate(self._values)
        if values.size:
            bounds = np.concatenate(self._bounds)
            values = communicator.sum(values, bound=bounds, low=0, label=label)
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        split = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
        return [part.reshape(shape) for part, shape in zip(split, self._shapes, strict=True)]


def _totals(
    counts: Counts, layout: Layout, communicator: Communicator, *, least: int
) -> tuple[Int64Array, Int64Array]:
    """Return rows, labelled, frauds; missing of each column; distinct and entered identifiers."""
    exact = [counts.rows, counts.labelled, counts.frauds]
    exact += [column.missing for column in counts.columns]
    for entity in layout.entities:
        exact += [counts.n_identifiers[entity], counts.cells[entity].size]
    own = entered(np.array(exact, dtype=np.int64), least)
    pooled = communicator.sum(own, bound=MAX_TOTAL, low=0, label="statistics:totals")
    rows, labelled, frauds = pooled[:3].tolist()
    missing = pooled[3 : 3 + len(layout.columns)]
    pairs = pooled[3 + len(layout.columns) :].reshape(-1, 2)
    hold_counted(bool(frauds <= labelled <= rows))
    hold_counted(bool((missing <= rows).all() and (pairs[:, 1] <= pairs[:, 0]).all()))
    return own, pooled


def _identifier_totals(totals: Int64Array, layout: Layout) -> Int64Array:
    """Return distinct and entered identifiers; shape (n_entities, 2)."""
    return totals[3 + len(layout.columns) :].reshape(-1, 2)


def _cells(
    counts: Counts, layout: Layout, communicator: Communicator, totals: Int64Array, *, least: int
) -> tuple[list[Int64Array], list[Int64Array]]:
    """Return cells and frauds of each column, then the marks of each kind of identifier."""
    rows, _, frauds = totals[:3].tolist()
    distinct = dict(zip(layout.entities, _identifier_totals(totals, layout)[:, 0], strict=True))
    own: list[Int64Array] = []
    parts = _Parts()
    for column, found in zip(layout.columns, counts.columns, strict=True):
        own += [entered(found.cells, least), entered(found.frauds, least)]
        parts.add(own[-2], rows if column.entity is None else int(distinct[column.entity]))
        parts.add(own[-1], frauds)
    for entity in layout.entities:
        own.append(marks(counts.cells[entity], width=layout.width))
        parts.add(own[-1], layout.n_banks)
    return own, parts.sum(communicator, label="statistics:cells")


def _filled(layout: Layout, cells: list[Int64Array]) -> list[Int64Array]:
    """Return the positions of the cells of each column that are not empty at all banks."""
    return [np.flatnonzero(cells[2 * index]) for index in range(len(layout.columns))]


def _rest(
    counts: Counts,
    layout: Layout,
    communicator: Communicator,
    totals: Int64Array,
    own_cells: list[Int64Array],
    cells: list[Int64Array],
    *,
    least: int,
) -> tuple[list[Int64Array], list[Int64Array]]:
    """Return the parts of the filled cells of each column of numbers, then ``only_here``."""
    own: list[Int64Array] = []
    parts = _Parts()
    positions = _filled(layout, cells)
    for index, (found, filled) in enumerate(zip(counts.columns, positions, strict=True)):
        if found.fine is None:
            continue
        own.append(entered(found.fine[filled], least))
        # No part is above its cell. Rounded, parts need not add up to it: none is left out.
        parts.add(own[-1], np.repeat(cells[2 * index][filled][:, None], N_PARTS, axis=1))
    first = 2 * len(layout.columns)
    known = _identifier_totals(totals, layout)
    for index, entity in enumerate(layout.entities):
        alone = only_here(counts.cells[entity], own_cells[first + index], cells[first + index])
        own.append(entered(np.array([alone], dtype=np.int64), least))
        parts.add(own[-1], int(known[index, 1]))
    return own, parts.sum(communicator, label="statistics:parts")


def _statistics(
    layout: Layout,
    key_id: bytes,
    totals: Int64Array,
    cells: list[Int64Array],
    rest: list[Int64Array],
    filled: list[Int64Array],
) -> Statistics:
    columns = []
    left = iter(rest)
    for index, column in enumerate(layout.columns):
        is_number = column.cells is None
        columns.append(
            PooledColumn(
                missing=int(totals[3 + index]),
                cells=cells[2 * index],
                frauds=cells[2 * index + 1],
                filled=filled[index] if is_number else None,
                fine=next(left) if is_number else None,
            )
        )
    pairs = _identifier_totals(totals, layout).tolist()
    marked = cells[2 * len(layout.columns) :]
    known = {
        entity: Known(n_distinct, n_entered, int(next(left)[0]), of_entity)
        for entity, (n_distinct, n_entered), of_entity in zip(
            layout.entities, pairs, marked, strict=True
        )
    }
    rows, labelled, frauds = totals[:3].tolist()
    return Statistics(layout, key_id, rows, labelled, frauds, tuple(columns), known)
