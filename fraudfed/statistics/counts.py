"""A bank's exact counts, and what it enters of them in sums.

No count below ``least`` leaves a bank: it is entered as 0, and every other one rounded to a
multiple of ``least``. Rounding all of them is what hides the small ones: else the rows that a
column's large cells leave of the total would be the small cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from fraudfed.boosting.engine.keys import KEY_BITS, keys_from_values
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.statistics.contents import MISSING, Contents, Identifiers
from fraudfed.statistics.layout import Layout
from fraudfed.statistics.occupancy import cells_of
from fraudfed.statistics.shapes import shape_counts
from fraudfed.wire.messages import RiskEntity

#: A number is counted by the leading bits of its key: sign, exponent and significand. First by 8,
#: a factor of 4; where rows lie, by 12: an eighth of the value (``fraudfed.boosting.cuts`` searches
#: the same way).
COARSE_BITS: Final = 8
FINE_BITS: Final = 12
N_COARSE: Final = 1 << COARSE_BITS
N_PARTS: Final = 1 << (FINE_BITS - COARSE_BITS)


def entered(counts: Int64Array, least: int) -> Int64Array:
    """Return what a bank enters for counts.

    Laws: monotone, so that a part stays within its whole; 0 below ``least``; within half of
    ``least`` of the truth from there on.

    Parameters
    ----------
    counts : ndarray of any shape, dtype=int64
    least : int
        At least 1.
    """
    rounded = (counts + least // 2) // least * least
    return np.where(counts < least, 0, rounded).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ColumnCounts:
    """Counts of one column.

    Attributes
    ----------
    missing : int
        Rows without a value; 0 of shapes.
    cells : ndarray of shape (n_cells,), dtype=int64
        Of a column of numbers the 256 coarse cells.
    frauds : ndarray of shape (n_cells,), dtype=int64
        Rows known as fraud in each cell; of shape (0,) for shapes.
    fine : ndarray of shape (256, 16), dtype=int64, or None
        Parts of each coarse cell; None unless the column holds numbers.
    """

    missing: int
    cells: Int64Array
    frauds: Int64Array
    fine: Int64Array | None


@dataclass(frozen=True, eq=False)
class Counts:
    """Exact counts of one bank. They never leave it as they are.

    Attributes
    ----------
    rows, labelled, frauds : int
    columns : tuple of ColumnCounts
        In the order of the layout.
    n_identifiers : dict of RiskEntity to int
        Distinct, whatever the number of customers.
    cells : dict of RiskEntity to ndarray of shape (n,), dtype=int64
        Cell of each identifier with enough customers.
    all_cells : dict of RiskEntity to ndarray of shape (n,), dtype=int64
        Cell of each identifier; these are not entered.
    """

    rows: int
    labelled: int
    frauds: int
    columns: tuple[ColumnCounts, ...]
    n_identifiers: dict[RiskEntity, int]
    cells: dict[RiskEntity, Int64Array]
    all_cells: dict[RiskEntity, Int64Array]


def count(contents: Contents, layout: Layout, *, hash_key: bytes) -> Counts:
    """Count what a bank brings.

    Parameters
    ----------
    hash_key : bytes of length 32
        The consortium's, for identifiers.
    """
    is_fraud = contents.labels == 1.0
    shapes = _shapes(contents.identifiers)
    columns = []
    for column in layout.columns:
        if column.entity is not None:
            facet = column.name.partition(":")[2]
            nothing = np.zeros(0, dtype=np.int64)
            columns.append(ColumnCounts(0, shapes[column.entity][facet], nothing, None))
        elif column.cells is None:
            columns.append(_numeric(contents.numbers[column], is_fraud))
        else:
            columns.append(_coded(contents.codes[column], len(column.cells), is_fraud))

    return Counts(
        rows=contents.n_rows,
        labelled=int(np.count_nonzero(~np.isnan(contents.labels))),
        frauds=int(np.count_nonzero(is_fraud)),
        columns=tuple(columns),
        **_of_identifiers(contents.identifiers, layout, hash_key),
    )


def together(parts: Sequence[Counts]) -> Counts:
    """Add up the counts of rows that were counted without identifiers.

    Law: the sum is that of all rows, in whatever order and grouping; of one layout.

    Parameters
    ----------
    parts : sequence of Counts
        At least one.
    """
    first = parts[0]
    return replace(
        first,
        rows=sum(each.rows for each in parts),
        labelled=sum(each.labelled for each in parts),
        frauds=sum(each.frauds for each in parts),
        columns=tuple(
            ColumnCounts(
                missing=sum(each.missing for each in columns),
                cells=np.sum([each.cells for each in columns], axis=0, dtype=np.int64),
                frauds=np.sum([each.frauds for each in columns], axis=0, dtype=np.int64),
                fine=None
                if columns[0].fine is None
                else np.sum([each.fine for each in columns], axis=0, dtype=np.int64),
            )
            for columns in zip(*(each.columns for each in parts), strict=True)
        ),
    )


def with_identifiers(
    counts: Counts,
    identifiers: Mapping[RiskEntity, Identifiers],
    layout: Layout,
    *,
    hash_key: bytes,
) -> Counts:
    """Return counts of rows with those of their identifiers, which ``count`` has not seen.

    Parameters
    ----------
    counts : Counts
    identifiers : mapping of RiskEntity to Identifiers
    layout : Layout
    hash_key : bytes of length 32
    """
    shapes = _shapes(identifiers)
    columns = [
        found
        if column.entity is None
        else replace(found, cells=shapes[column.entity][column.name.partition(":")[2]])
        for column, found in zip(layout.columns, counts.columns, strict=True)
    ]
    of_identifiers = _of_identifiers(identifiers, layout, hash_key)
    return replace(counts, columns=tuple(columns), **of_identifiers)


def _shapes(
    identifiers: Mapping[RiskEntity, Identifiers],
) -> dict[RiskEntity, Mapping[str, Int64Array]]:
    return {entity: shape_counts(found.all) for entity, found in identifiers.items()}


def _of_identifiers(
    identifiers: Mapping[RiskEntity, Identifiers], layout: Layout, hash_key: bytes
) -> dict[str, Any]:
    def cells(entity: RiskEntity, names: list[str]) -> Int64Array:
        return cells_of(entity, names, hash_key=hash_key, width=layout.width)

    return {
        "n_identifiers": {entity: len(ids.all) for entity, ids in identifiers.items()},
        "cells": {entity: cells(entity, ids.with_customers) for entity, ids in identifiers.items()},
        "all_cells": {entity: cells(entity, ids.all) for entity, ids in identifiers.items()},
    }


def _numeric(values: Float32Array, is_fraud: BoolArray) -> ColumnCounts:
    known = ~np.isnan(values)
    keys = (keys_from_values(values[known]) >> np.uint32(KEY_BITS - FINE_BITS)).astype(np.int64)
    flat = np.bincount(keys, minlength=N_COARSE * N_PARTS).astype(np.int64)
    of_frauds = np.bincount(keys[is_fraud[known]] // N_PARTS, minlength=N_COARSE)
    fine = flat.reshape(N_COARSE, N_PARTS)
    return ColumnCounts(
        missing=int(np.count_nonzero(~known)),
        cells=fine.sum(axis=1),
        frauds=of_frauds.astype(np.int64),
        fine=fine,
    )


def _coded(codes: Int64Array, n_cells: int, is_fraud: BoolArray) -> ColumnCounts:
    known = codes != MISSING
    counted = known if n_cells else np.zeros_like(known)
    return ColumnCounts(
        missing=int(np.count_nonzero(~known)),
        cells=np.bincount(codes[counted], minlength=n_cells).astype(np.int64),
        frauds=np.bincount(codes[counted & is_fraud], minlength=n_cells).astype(np.int64),
        fine=None,
    )
