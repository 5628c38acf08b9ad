"""Compare a bank's rows with what the others have counted."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from fraudfed.catalogue.recipes import RECIPES
from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.statistics.compare.amounts import compare_scale
from fraudfed.statistics.compare.clock import compare_hours, compare_weekdays
from fraudfed.statistics.compare.filling import (
    compare_categories,
    compare_labels,
    compare_missing,
)
from fraudfed.statistics.compare.finding import Difference
from fraudfed.statistics.compare.identifiers import KnownShare, compare_identifiers
from fraudfed.statistics.counts import ColumnCounts, Counts
from fraudfed.statistics.layout import AMOUNT, HOURS, WEEKDAYS, Column
from fraudfed.statistics.occupancy import share_known_by, share_known_to
from fraudfed.statistics.pooled import PooledColumn, Statistics
from fraudfed.statistics.quantiles import density, density_of
from fraudfed.statistics.shapes import SHAPES
from fraudfed.wire.messages import RiskEntity

#: What the recipe computes differs wherever its raw columns do.
_COMPUTED: Final = frozenset(
    feature.name for recipe in RECIPES.values() for feature in recipe.definitions(shared=True)
)
_SCALE_ADVICE: Final = (
    "check the unit of the column in the mapping (pounds or pence, thousands, decimal comma)"
)


def differences(
    own: Counts, others: Statistics, *, is_table: bool, least: int
) -> tuple[Difference, ...]:
    """Return how a bank differs, what looks like a mistake first.

    Parameters
    ----------
    own : Counts
        Of the rows that are checked, in the layout of ``others``.
    others : Statistics
        Without this bank's part.
    is_table : bool
        Of a plain table every column is the bank's own, else only the raw ones are.
    least : int
        Smallest count that the others enter.
    """
    # A count below the least lies anywhere from 0 on, and small ones are more frequent.
    hidden = least * (others.layout.n_banks - 1) / 4 if least > 1 else 0.0
    found = [*_columns(own, others, is_table=is_table, hidden=hidden), *_identifiers(own, others)]
    labels = compare_labels((own.frauds, own.labelled), (others.frauds, others.labelled))
    if labels is not None:
        found.append(labels)
    return tuple(sorted(found, key=lambda each: not each.is_mistake))


def _columns(
    own: Counts, others: Statistics, *, is_table: bool, hidden: float
) -> Iterator[Difference]:
    columns = zip(others.layout.columns, own.columns, others.columns, strict=True)
    for column, mine, theirs in columns:
        if column.entity is not None:
            continue
        is_source = is_table or column.group == "raw" or column.name not in _COMPUTED
        if not is_source:
            continue
        if column.name == HOURS and column.group == "raw":
            yield from _given(compare_hours(mine.cells, theirs.cells, hidden=hidden))
        elif column.name == WEEKDAYS and column.group == "raw":
            yield from _given(compare_weekdays(mine.cells, theirs.cells, hidden=hidden))
        else:
            yield from _column(own, others, column, mine, theirs)


def _column(
    own: Counts, others: Statistics, column: Column, mine: ColumnCounts, theirs: PooledColumn
) -> Iterator[Difference]:
    missing = compare_missing(
        column.name,
        (mine.missing, own.rows),
        (min(theirs.missing, others.rows), others.rows),
        is_source=True,
    )
    yield from _given(missing)
    if column.cells:
        yield from _given(compare_categories(column.name, column.cells, mine.cells, theirs.cells))
    # Degrees have no other unit; amounts have.
    if column.cells is None and (column.group == "feature" or column.name == AMOUNT):
        scale = compare_scale(
            column.name, _exact_density(mine), density_of(theirs), advice=_SCALE_ADVICE
        )
        yield from _given(scale)


def _exact_density(column: ColumnCounts) -> Float64Array:
    if column.fine is None:
        raise ValueError("the column holds no numbers")
    filled = np.flatnonzero(column.cells)
    return density(column.cells, column.fine[filled], filled)


def _identifiers(own: Counts, others: Statistics) -> Iterator[Difference]:
    columns = others.layout.columns
    for entity in others.layout.entities:
        yield from compare_identifiers(
            f"{entity.value}_id",
            _shapes(entity, columns, own.columns),
            _shapes(entity, columns, others.columns),
            _known(entity, own, others),
        )


def _shapes(
    entity: RiskEntity,
    columns: tuple[Column, ...],
    counted: Sequence[ColumnCounts | PooledColumn],
) -> dict[str, Int64Array]:
    """Return the cells of every facet of one kind of identifier."""
    names = {f"{entity.value}_id:{facet}": facet for facet in SHAPES}
    return {
        names[column.name]: counts.cells
        for column, counts in zip(columns, counted, strict=True)
        if column.entity is entity
    }


def _known(entity: RiskEntity, own: Counts, others: Statistics) -> KnownShare:
    known, cells = others.known[entity], own.cells[entity]
    share = math.nan if not known.entered else 1.0 - known.only_one / known.entered
    return KnownShare(
        theirs=share_known_to(cells, known.marks),
        here=share_known_by(own.all_cells[entity], known.marks),
        others=share,
        n_own=int(cells.size),
        n_others=known.entered,
    )


def _given(found: Difference | None) -> Iterator[Difference]:
    if found is not None:
        yield found
