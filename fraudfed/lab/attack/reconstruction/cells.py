"""What a model can tell apart of a value: cells between its thresholds, categories, and missing.

All cells of all features stand in one row, feature after feature. A box, what is known of one row,
is a mask over them: where it is true the row may be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import BoolArray, Float32Array, IndexArray


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a model.

    Attributes
    ----------
    schema : FeatureSchema
    edges : tuple of ndarray, dtype=float32
        Of each feature: its distinct thresholds, ascending; none of a categorical one. A value
        below the first is in cell 0, one at or above the last in the last but one.
    starts : ndarray of shape (n_features + 1,), dtype=int64
        First cell of each feature, and the number of all. The last cell of each feature is
        *missing*.
    """

    schema: FeatureSchema
    edges: tuple[Float32Array, ...]
    starts: IndexArray

    @classmethod
    def of(cls, model: Model) -> "Cells":
        """Return the cells between all thresholds of a model."""
        return cls.of_all((model,))

    @classmethod
    def of_all(cls, models: Sequence[Model]) -> "Cells":
        """Return the cells between all thresholds of models of one schema."""
        schema = models[0].schema
        found: list[list[Float32Array]] = [[] for _ in range(schema.n_features)]
        for tree in (tree for model in models for tree in model.trees):
            inner = (tree.left_children != NO_CHILD) & ~tree.is_categorical
            for feature in np.unique(tree.split_features[inner]):
                at = inner & (tree.split_features == feature)
                found[feature].append(tree.split_conditions[at])
        edges = tuple(
            np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.float32)
            for parts in found
        )
        counts = [
            (schema.n_categories[feature] or len(edges[feature]) + 1) + 1
            for feature in range(schema.n_features)
        ]
        return cls(schema, edges, np.concatenate([[0], np.cumsum(counts)]))

    @property
    def n_cells(self) -> int:
        """Of all features together."""
        return int(self.starts[-1])

    def span(self, feature: int) -> slice:
        """Return where the cells of a feature stand."""
        return slice(int(self.starts[feature]), int(self.starts[feature + 1]))

    def places(self, column: Float32Array, feature: int) -> IndexArray:
        """Return the cell of each value within its feature, shape (n_rows,), dtype=int64."""
        last = int(self.starts[feature + 1] - self.starts[feature]) - 1
        is_missing = np.isnan(column)
        if self.schema.is_categorical(feature):
            return np.where(is_missing, last, np.where(is_missing, 0, column).astype(np.int64))
        return np.where(
            is_missing, last, np.searchsorted(self.edges[feature], column, side="right")
        )


@dataclass(frozen=True, eq=False)
class LeafBoxes:
    """The leaves of a tree.

    Attributes
    ----------
    nodes : ndarray of shape (n_leaves,), dtype=int64
    masks : ndarray of shape (n_leaves, n_cells), dtype=bool
        Cells in which a row of the leaf may be.
    asked : tuple of tuple of int
        Features on the way to each leaf.
    """

    nodes: IndexArray
    masks: BoolArray
    asked: tuple[tuple[int, ...], ...]


def leaf_boxes(tree: Tree, cells: Cells) -> LeafBoxes:
    """Return what the way to each leaf says of a row."""
    found = list(_leaves(tree, cells, 0, np.ones(cells.n_cells, dtype=bool), frozenset()))
    return LeafBoxes(
        nodes=np.array([node for node, _, _ in found], dtype=np.int64),
        masks=np.stack([mask for _, mask, _ in found]),
        asked=tuple(tuple(sorted(asked)) for _, _, asked in found),
    )


def _leaves(
    tree: Tree, cells: Cells, node: int, mask: BoolArray, asked: frozenset[int]
) -> Iterator[tuple[int, BoolArray, frozenset[int]]]:
    if tree.is_leaf(node):
        yield node, mask, asked
        return
    feature = int(tree.split_features[node])
    span = cells.span(feature)
    goes_left = np.zeros(span.stop - span.start, dtype=bool)
    if tree.is_categorical[node]:
        goes_left[:-1] = True
        goes_left[list(tree.right_categories[node])] = False
    else:
        edge = np.searchsorted(cells.edges[feature], tree.split_conditions[node])
        goes_left[: int(edge) + 1] = True
    goes_left[-1] = tree.default_left[node]
    for child, side in (
        (int(tree.left_children[node]), goes_left),
        (int(tree.right_children[node]), ~goes_left),
    ):
        narrowed = mask.copy()
        narrowed[span] &= side
        yield from _leaves(tree, cells, child, narrowed, asked | {feature})
