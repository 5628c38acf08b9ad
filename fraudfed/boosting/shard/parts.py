"""A shard of several parts is the sum of its parts.

Law: whatever the parts are, and in whatever order, counts and sums are those of one part with all
rows. Parts may be empty. They are asked one after the other: each has the threads of its engine.
"""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.engine.protocol import Engine, KeyCounter
from fraudfed.boosting.shard.protocol import (
    BinnedShard,
    BoostedRows,
    GradientCap,
    GrowingRows,
    NodeSplit,
    RowDraw,
    Shard,
    SumOrder,
    SumsOfNodes,
)
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import Float32Array, Int64Array


class PartedShard:
    """Rows in parts; see ``protocol.Shard`` for the calls.

    Parameters
    ----------
    parts : sequence of Shard
        One at least. Schema, ``max_weight`` and whether there are weights are the same for all.

    Raises
    ------
    ValueError
        If there is no part, or two of them differ in that.
    """

    def __init__(self, parts: Sequence[Shard]) -> None:
        if not parts:
            raise ValueError("a shard has one part at least")
        if len({(part.schema, part.max_weight, part.has_weights) for part in parts}) > 1:
            raise ValueError("parts differ in features, max_weight, or whether rows have weights")
        self.parts = tuple(parts)

    @property
    def schema(self) -> FeatureSchema:
        """See ``Shard``."""
        return self.parts[0].schema

    @property
    def max_weight(self) -> float:
        """See ``Shard``."""
        return self.parts[0].max_weight

    @property
    def has_weights(self) -> bool:
        """See ``Shard``."""
        return self.parts[0].has_weights

    @property
    def caps_customers(self) -> bool:
        """See ``Shard``: a customer may have rows in several parts, and each sees its own only."""
        return len(self.parts) == 1 and self.parts[0].caps_customers

    @property
    def n_rows(self) -> int:
        """See ``Shard``."""
        return sum(part.n_rows for part in self.parts)

    @property
    def n_positives(self) -> int:
        """See ``Shard``."""
        return sum(part.n_positives for part in self.parts)

    def check(self, what: str, *, first_row: int = 0) -> None:
        """See ``Shard``."""
        for part in self.parts:
            part.check(what, first_row=first_row)
            first_row += part.n_rows

    def weight_parts(self) -> Int64Array:
        """See ``Shard``."""
        return _added([part.weight_parts() for part in self.parts])

    def scaled(self, factor: float) -> Self:
        """See ``Shard``."""
        return type(self)([part.scaled(factor) for part in self.parts])

    def masses(self, *, scale_pos_weight: float) -> Int64Array:
        """See ``Shard``."""
        return _added([part.masses(scale_pos_weight=scale_pos_weight) for part in self.parts])

    def capped_masses(
        self, *, scale_pos_weight: float, row_norm: int, customer_rows: int | None
    ) -> Int64Array:
        """See ``Shard``."""
        self._see_customers(customer_rows)
        return _added(
            [
                part.capped_masses(
                    scale_pos_weight=scale_pos_weight,
                    row_norm=row_norm,
                    customer_rows=customer_rows,
                )
                for part in self.parts
            ]
        )

    def key_counter(self, columns: Int64Array, *, customer_rows: int | None = None) -> "PartedKeys":
        """See ``Shard``."""
        self._see_customers(customer_rows)
        return PartedKeys(
            [part.key_counter(columns, customer_rows=customer_rows) for part in self.parts]
        )

    def bin(self, cuts: Cuts, *, for_draws: bool = False) -> "PartedBinned":
        """See ``Shard``."""
        return PartedBinned([part.bin(cuts, for_draws=for_draws) for part in self.parts])

    def _see_customers(self, customer_rows: int | None) -> None:
        if customer_rows is not None and not self.caps_customers:
            raise ValueError("what a customer weighs cannot be bounded part by part")


class PartedKeys:
    """Counts keys in all parts.

    Parameters
    ----------
    parts : sequence of KeyCounter
        Of the same columns.
    """

    def __init__(self, parts: Sequence[KeyCounter]) -> None:
        self.columns = parts[0].columns
        self._parts = tuple(parts)

    def count(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        """See ``KeyCounter``."""
        return _added([part.count(lows, bits) for part in self._parts])


class PartedBinned:
    """Binned rows in parts; see ``protocol.BinnedShard`` for the calls.

    Parameters
    ----------
    parts : sequence of BinnedShard
        On the same cuts.
    """

    def __init__(self, parts: Sequence[BinnedShard]) -> None:
        self.parts = tuple(parts)

    @property
    def cuts(self) -> Cuts:
        """See ``BinnedShard``."""
        return self.parts[0].cuts

    @property
    def n_rows(self) -> int:
        """See ``BinnedShard``."""
        return sum(part.n_rows for part in self.parts)

    @property
    def engine(self) -> Engine:
        """See ``BinnedShard``."""
        return self.parts[0].engine

    def start(self, trees: Sequence[Tree], base_score: float) -> "PartedRows":
        """See ``BinnedShard``."""
        return PartedRows([part.start(trees, base_score) for part in self.parts])


class PartedRows:
    """Rows with margins, in parts; see ``protocol.BoostedRows`` for the calls.

    Parameters
    ----------
    parts : sequence of BoostedRows
    """

    def __init__(self, parts: Sequence[BoostedRows]) -> None:
        self.parts = tuple(parts)

    def grow(
        self,
        *,
        scale_pos_weight: float,
        draw: RowDraw | None = None,
        cap: GradientCap | None = None,
    ) -> "PartedGrowing":
        """See ``BoostedRows``."""
        if cap is not None and cap.unit_norm is not None and len(self.parts) > 1:
            raise ValueError("what a customer weighs cannot be bounded part by part")
        return PartedGrowing(
            [
                part.grow(scale_pos_weight=scale_pos_weight, draw=draw, cap=cap)
                for part in self.parts
            ]
        )

    def add(self, tree: Tree) -> None:
        """See ``BoostedRows``."""
        for part in self.parts:
            part.add(tree)

    def metric_parts(self, names: Sequence[str]) -> dict[str, Int64Array]:
        """See ``BoostedRows``."""
        found = [part.metric_parts(names) for part in self.parts]
        return {name: _added([each[name] for each in found]) for name in found[0]}

    def case_margins(self) -> tuple[Float32Array, Int64Array]:
        """See ``BoostedRows``."""
        return merged_cases([part.case_margins() for part in self.parts])

    def count_others(self, thresholds: Float32Array) -> Int64Array:
        """See ``BoostedRows``."""
        return _added([part.count_others(thresholds) for part in self.parts])

    def margins(self) -> Float32Array:
        """See ``BoostedRows``; a new array."""
        return np.concatenate([part.margins() for part in self.parts])


class PartedGrowing:
    """Rows while a tree grows, in parts; see ``protocol.GrowingRows`` for the calls.

    Splits wait until something depends on them, so that each part is visited once a level.

    Parameters
    ----------
    parts : sequence of GrowingRows
    """

    def __init__(self, parts: Sequence[GrowingRows]) -> None:
        self.parts = tuple(parts)
        self._waiting: list[list[NodeSplit]] = []

    def split(self, splits: Sequence[NodeSplit]) -> None:
        """See ``GrowingRows``."""
        self._waiting.append(list(splits))

    def sums(self, orders: Sequence[SumOrder]) -> SumsOfNodes:
        """See ``GrowingRows``."""
        parts = self._split_parts()
        total = next(parts).sums(orders)
        for part in parts:
            found = part.sums(orders)
            total.histograms[...] += found.histograms
            total.totals[...] += found.totals
        return total

    def sides(self, tried: Sequence[NodeSplit]) -> Int64Array:
        """See ``GrowingRows``."""
        return _added([part.sides(tried) for part in self._split_parts()])

    def finish(self, values: Float32Array) -> None:
        """See ``GrowingRows``."""
        for part in self._split_parts():
            part.finish(values)

    def _split_parts(self) -> Iterator[GrowingRows]:
        """Yield each part once its splits are done."""
        waiting, self._waiting = self._waiting, []
        for part in self.parts:
            for splits in waiting:
                part.split(splits)
            yield part


def merged_cases(
    found: Sequence[tuple[Float32Array, Int64Array]],
) -> tuple[Float32Array, Int64Array]:
    """Return what ``case_margins`` of all rows is, from what it is of the parts."""
    margins, place = np.unique(np.concatenate([part for part, _ in found]), return_inverse=True)
    counts = np.zeros(margins.size, dtype=np.int64)
    np.add.at(counts, place, np.concatenate([part for _, part in found]))
    return margins, counts


def _added(found: Sequence[Int64Array]) -> Int64Array:
    """Add up what the parts gave; the first is written to."""
    total = found[0]
    for each in found[1:]:
        total += each
    return total
