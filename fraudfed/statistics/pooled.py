"""The sums of a statistics run: its result, and what one bank entered in them.

Canonical bytes: equal counts give equal bytes on every machine, and nothing else is read back. They
are one line of JSON in ASCII with sorted names; counters of cells are base64.
"""

import base64
import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError
from fraudfed.foreign_json import parse_foreign
from fraudfed.statistics.counts import N_COARSE, N_PARTS
from fraudfed.statistics.layout import Column, Layout
from fraudfed.wire.messages import RiskEntity

_VERSION: Final = 1
_MOST_BYTES: Final = 256 << 20
#: More rows than any consortium has: no counter holds more.
MAX_TOTAL: Final = 1 << 40


@dataclass(frozen=True, eq=False)
class PooledColumn:
    """Summed counts of a column.

    Attributes
    ----------
    missing : int
    cells, frauds : ndarray of shape (n_cells,), dtype=int64
        As ``ColumnCounts``.
    filled : ndarray of shape (n_filled,), dtype=int64, or None
        Positions of the cells that are not 0 in the sum over all banks, ascending; None unless the
        column holds numbers.
    fine : ndarray of shape (n_filled, 16), dtype=int64, or None
        Their parts.
    """

    missing: int
    cells: Int64Array
    frauds: Int64Array
    filled: Int64Array | None
    fine: Int64Array | None


@dataclass(frozen=True, eq=False)
class Known:
    """Identifiers of one kind that have enough customers at a bank, summed over banks.

    Attributes
    ----------
    distinct : int
        Distinct at each bank, whatever their customers: what shapes are counted of.
    entered : int
        Those with enough customers.
    only_one : int
        Of these, those that no other bank knows (``occupancy.only_here``).
    marks : ndarray of shape (width,), dtype=int64
        Banks that have marked each cell.
    """

    distinct: int
    entered: int
    only_one: int
    marks: Int64Array


@dataclass(frozen=True, eq=False)
class Statistics:
    """Summed counts of all banks, or what one of them entered.

    Attributes
    ----------
    layout : Layout
    key_id : bytes of length 16
        Names the key that identifiers are hashed with (``hash_key_id``).
    rows, labelled, frauds : int
    columns : tuple of PooledColumn
        In the order of the layout.
    known : dict of RiskEntity to Known
    """

    layout: Layout
    key_id: bytes
    rows: int
    labelled: int
    frauds: int
    columns: tuple[PooledColumn, ...]
    known: dict[RiskEntity, Known]

    @property
    def n_steps(self) -> int:
        """Finished steps of the run, which has one."""
        return 1

    def without(self, own: "Statistics") -> "Statistics":
        """Return what is left of the sums when one bank's part is taken out.

        Parameters
        ----------
        own : Statistics
            What that bank entered in these very sums.
        """

        def column(whole: PooledColumn, part: PooledColumn) -> PooledColumn:
            fine = None
            if whole.fine is not None and part.fine is not None:
                fine = whole.fine - part.fine
            return PooledColumn(
                whole.missing - part.missing,
                whole.cells - part.cells,
                whole.frauds - part.frauds,
                whole.filled,
                fine,
            )

        return replace(
            self,
            rows=self.rows - own.rows,
            labelled=self.labelled - own.labelled,
            frauds=self.frauds - own.frauds,
            columns=tuple(map(column, self.columns, own.columns)),
            known={
                entity: Known(
                    found.distinct - own.known[entity].distinct,
                    found.entered - own.known[entity].entered,
                    found.only_one - own.known[entity].only_one,
                    found.marks - own.known[entity].marks,
                )
                for entity, found in self.known.items()
            },
        )

    def to_bytes(self) -> bytes:
        """Return canonical bytes."""
        document = {
            "version": _VERSION,
            "key_id": self.key_id.hex(),
            "totals": [self.rows, self.labelled, self.frauds],
            "columns": [
                {
                    "group": column.group,
                    "name": column.name,
                    "missing": found.missing,
                    "cells": found.cells.tolist(),
                    "frauds": found.frauds.tolist(),
                    "filled": None if found.filled is None else found.filled.tolist(),
                    "fine": None if found.fine is None else found.fine.tolist(),
                }
                for column, found in zip(self.layout.columns, self.columns, strict=True)
            ],
            "known": {
                entity.value: {
                    "distinct": found.distinct,
                    "entered": found.entered,
                    "only_one": found.only_one,
                    "marks": base64.b64encode(found.marks.astype("<u2").tobytes()).decode(),
                }
                for entity, found in self.known.items()
            },
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return text.encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, *, layout: Layout) -> "Statistics":
        """Read what ``to_bytes`` has written under a layout.

        Raises
        ------
        StateError
            If the bytes are no statistics, not canonical, or of another layout.
        """
        try:
            document = parse_foreign(data, most_bytes=_MOST_BYTES)
            found = _statistics(document, layout)
            is_canonical = found.to_bytes() == data
            _check(found)
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
            raise _damaged(f"they cannot be read ({type(error).__name__})") from None
        if not is_canonical:
            raise _damaged("they are not in canonical form, or of another data contract")
        return found


def _statistics(document: dict[str, Any], layout: Layout) -> Statistics:
    rows, labelled, frauds = document["totals"]
    if len(document["columns"]) != len(layout.columns):
        raise ValueError("another number of columns")
    if set(document["known"]) != {entity.value for entity in layout.entities}:
        raise ValueError("other entities")
    columns = map(_column, layout.columns, document["columns"])
    known = {
        entity: _known(document["known"][entity.value], layout.width) for entity in layout.entities
    }
    return Statistics(
        layout,
        bytes.fromhex(document["key_id"]),
        rows=_whole(rows),
        labelled=_whole(labelled),
        frauds=_whole(frauds),
        columns=tuple(columns),
        known=known,
    )


def _check(found: Statistics) -> None:
    """Refuse counts that no rows have: a part above its whole."""
    within = found.frauds <= found.labelled <= found.rows
    for column, counts in zip(found.layout.columns, found.columns, strict=True):
        whole = found.rows if column.entity is None else found.known[column.entity].distinct
        within &= counts.missing <= found.rows
        within &= bool((counts.cells <= whole).all() and (counts.frauds <= found.frauds).all())
        if counts.fine is not None and counts.filled is not None:
            within &= bool((counts.fine <= counts.cells[counts.filled, None]).all())
    for known in found.known.values():
        within &= known.only_one <= known.entered <= known.distinct
        within &= bool((known.marks <= found.layout.n_banks).all())
    if not within:
        raise ValueError("a part above its whole")


def _column(column: Column, fields: dict[str, Any]) -> PooledColumn:
    n_cells = N_COARSE if column.cells is None else len(column.cells)
    n_frauds = n_cells if column.entity is None else 0
    filled = fine = None
    if column.cells is None:
        n_filled = len(fields["filled"])
        filled = _counters(fields["filled"], (n_filled,))
        if (np.diff(filled, append=N_COARSE) <= 0).any():
            raise ValueError("cells out of order")
        fine = _counters(fields["fine"], (n_filled, N_PARTS))
    return PooledColumn(
        missing=_whole(fields["missing"]),
        cells=_counters(fields["cells"], (n_cells,)),
        frauds=_counters(fields["frauds"], (n_frauds,)),
        filled=filled,
        fine=fine,
    )


def _known(fields: dict[str, Any], width: int) -> Known:
    raw = base64.b64decode(fields["marks"], validate=True)
    if len(raw) != 2 * width:
        raise ValueError("another number of cells")
    marks = np.frombuffer(raw, dtype="<u2").astype(np.int64)
    return Known(
        distinct=_whole(fields["distinct"]),
        entered=_whole(fields["entered"]),
        only_one=_whole(fields["only_one"]),
        marks=marks,
    )


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TOTAL:
        raise ValueError("no count")
    return value


def _counters(value: object, shape: tuple[int, ...]) -> Int64Array:
    counters = np.array(value, dtype=object)
    if counters.size == 0:
        counters = counters.reshape(shape)
    if counters.shape != shape:
        raise ValueError("another number of cells")
    for each in counters.ravel():
        _whole(each)
    return counters.astype(np.int64)


def _damaged(what: str) -> StateError:
    return StateError(
        f"statistics: {what}; take them from their run again, or restore them from a backup"
    )
