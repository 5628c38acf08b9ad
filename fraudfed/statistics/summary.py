"""What summed statistics say: shares, quantiles, histograms, identifiers of several banks."""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.statistics.layout import Column
from fraudfed.statistics.occupancy import Estimate, distinct, known_to_several
from fraudfed.statistics.pooled import PooledColumn, Statistics
from fraudfed.statistics.quantiles import density_of, edges, quantiles

LEVELS: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: A column of numbers is shown by its coarse cells, each a factor of 4 wide.
_PARTS: Final = 16


@dataclass(frozen=True)
class Cell:
    """Rows of a category, or of a range of numbers.

    Attributes
    ----------
    name : str
        The category, or ``LOW .. HIGH``.
    rows, frauds : int
    """

    name: str
    rows: int
    frauds: int


@dataclass(frozen=True)
class ColumnSummary:
    """One column.

    Attributes
    ----------
    group, name : str
    missing_share : float or None
        None for shapes of identifiers, and without rows.
    quantiles : tuple of (float, float)
        Level and value, of a column of numbers.
    cells : tuple of Cell
        Those with rows; of a shape its rows are identifiers.
    """

    group: str
    name: str
    missing_share: float | None
    quantiles: tuple[tuple[float, float], ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class EntitySummary:
    """Identifiers of one kind.

    Attributes
    ----------
    entity : str
    entered : int
        Summed over banks: those with enough customers there.
    distinct, several : Estimate
        Of all banks together; of those, known to two or more.
    """

    entity: str
    entered: int
    distinct: Estimate
    several: Estimate


def summarise_columns(found: Statistics) -> tuple[ColumnSummary, ...]:
    """Return a summary of every column."""
    columns = zip(found.layout.columns, found.columns, strict=True)
    return tuple(_column(column, counts, found.rows) for column, counts in columns)


def summarise_entities(found: Statistics) -> tuple[EntitySummary, ...]:
    """Return a summary of every kind of identifier."""
    return tuple(
        EntitySummary(
            entity=entity.value,
            entered=known.entered,
            distinct=distinct(known.marks),
            several=known_to_several(known.marks, only_one=known.only_one),
        )
        for entity, known in found.known.items()
    )


def _column(column: Column, counts: PooledColumn, rows: int) -> ColumnSummary:
    levels: tuple[tuple[float, float], ...] = ()
    if column.cells is None:
        values = quantiles(density_of(counts), np.array(LEVELS))
        if not np.isnan(values).any():
            levels = tuple(zip(LEVELS, values.tolist(), strict=True))
        ends = edges()[::_PARTS]
        names = [f"{low:.4g} .. {high:.4g}" for low, high in itertools.pairwise(ends)]
    else:
        names = list(column.cells)
    frauds = counts.frauds if counts.frauds.size else np.zeros_like(counts.cells)
    return ColumnSummary(
        group=column.group,
        name=column.name,
        missing_share=None if column.entity or not rows else counts.missing / rows,
        quantiles=levels,
        cells=tuple(
            Cell(names[cell], int(counts.cells[cell]), int(frauds[cell]))
            for cell in np.flatnonzero(counts.cells).tolist()
        ),
    )
