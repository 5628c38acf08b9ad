"""Trees as canonical bytes: one array for each attribute, over the nodes of all trees.

What follows from the rest is not written, so that it cannot contradict it: a right child is its
left sibling's number plus 1, and a leaf splits nothing.
"""

from collections.abc import Sequence

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.resume.canonical_bytes import StateReader, StateWriter, damaged
from fraudfed.boosting.tree import NO_CHILD, NO_PARENT, Tree
from fraudfed.dtypes import Int32Array, Int64Array, UInt8Array

_DEFAULT_LEFT, _CATEGORICAL = 1, 2


def write_trees(writer: StateWriter, trees: Sequence[Tree]) -> None:
    """Write trees that grew on the same cuts."""
    writer.integer(len(trees), "<u4")
    if not trees:
        return
    writer.array([tree.n_nodes for tree in trees], "<u4")
    left = np.concatenate([tree.left_children for tree in trees])
    inner = np.flatnonzero(left != NO_CHILD)
    is_categorical = np.concatenate([tree.is_categorical for tree in trees])
    default_left = np.concatenate([tree.default_left for tree in trees])
    writer.array(left != NO_CHILD, "u1")
    for name in ("split_conditions", "sum_hessians", "base_weights"):
        writer.array(np.concatenate([getattr(tree, name) for tree in trees]), "<f4")
    writer.array(left[inner], "<u4")
    for name, dtype in (("split_features", "<u4"), ("split_bins", "<i4"), ("loss_changes", "<f4")):
        writer.array(np.concatenate([getattr(tree, name) for tree in trees])[inner], dtype)
    writer.array((_DEFAULT_LEFT * default_left + _CATEGORICAL * is_categorical)[inner], "u1")
    categories = [codes for tree in trees for codes in tree.right_categories]
    of_splits = [categories[node] for node in np.flatnonzero(is_categorical).tolist()]
    writer.array([len(codes) for codes in of_splits], "<u4")
    writer.array([code for codes in of_splits for code in codes], "<u4")


def read_trees(reader: StateReader, cuts: Cuts) -> tuple[Tree, ...]:
    """Read trees that grew on ``cuts``.

    Raises
    ------
    StateError
        If they are not trees, or split what the cuts do not have.
    """
    n_trees = reader.integer("<u4")
    if n_trees == 0:
        return ()
    sizes = reader.array(n_trees, "<u4").astype(np.int64)
    if not (sizes % 2 == 1).all():
        raise damaged("a tree has an even number of nodes")
    n_nodes = int(sizes.sum())
    starts = np.cumsum(sizes) - sizes
    marks = reader.array(n_nodes, "u1")
    if marks.max() > 1:
        raise damaged("a node is neither split nor leaf")
    conditions, hessians, weights = (
        reader.finite(n_nodes, "<f4").astype(np.float32, copy=False) for _ in range(3)
    )
    inner = np.flatnonzero(marks)
    lefts = reader.array(inner.size, "<u4").astype(np.int64)
    left, right, parents = _links(lefts, inner, starts, sizes)
    features = np.zeros(n_nodes, dtype=np.int32)
    bins = np.full(n_nodes, -1, dtype=np.int32)
    gains = np.zeros(n_nodes, dtype=np.float32)
    flags = np.zeros(n_nodes, dtype=np.uint8)
    split = reader.array(inner.size, "<u4").astype(np.int64)
    if (split >= cuts.schema.n_features).any():
        raise damaged("a tree splits a feature that does not exist")
    features[inner] = split
    bins[inner] = reader.array(inner.size, "<i4")
    gains[inner] = reader.finite(inner.size, "<f4")
    flags[inner] = reader.array(inner.size, "u1")
    is_categorical = (flags & _CATEGORICAL) != 0
    _check_splits(split, bins[inner], flags[inner], cuts)
    categories = _read_categories(reader, features, np.flatnonzero(is_categorical), cuts)
    return tuple(
        Tree(
            left_children=left[nodes],
            right_children=right[nodes],
            parents=parents[nodes],
            split_features=features[nodes],
            split_conditions=conditions[nodes],
            split_bins=bins[nodes],
            default_left=(flags[nodes] & _DEFAULT_LEFT) != 0,
            right_categories=tuple(
                categories.get(node, ()) for node in range(nodes.start, nodes.stop)
            ),
            is_categorical=is_categorical[nodes],
            loss_changes=gains[nodes],
            sum_hessians=hessians[nodes],
            base_weights=weights[nodes],
        )
        for nodes in map(slice, starts.tolist(), (starts + sizes).tolist())
    )


def _links(
    lefts: Int64Array, inner: Int64Array, starts: Int64Array, sizes: Int64Array
) -> tuple[Int32Array, Int32Array, Int32Array]:
    """Return the children and the parent of every node, once they are sure to make trees.

    Nodes come in pairs after the root, a left one and its sibling, and each after its parent. So
    every odd number is the left child of exactly one split before it.
    """
    n_nodes = int(sizes.sum())
    tree_of_node = np.repeat(np.arange(sizes.size), sizes)
    own = np.arange(n_nodes) - starts[tree_of_node]
    trees = tree_of_node[inner]
    children = starts[trees] + lefts
    if (lefts <= own[inner]).any() or (lefts >= sizes[trees]).any():
        raise damaged("a split has no children behind it")
    if not np.array_equal(np.sort(children), np.flatnonzero(own % 2 == 1)):
        raise damaged("a node is not the child of one split")
    left = np.full(n_nodes, NO_CHILD, dtype=np.int32)
    right = np.full(n_nodes, NO_CHILD, dtype=np.int32)
    parents = np.full(n_nodes, NO_PARENT, dtype=np.int32)
    left[inner], right[inner] = lefts, lefts + 1
    parents[children] = parents[children + 1] = own[inner]
    return left, right, parents


def _check_splits(features: Int64Array, bins: Int32Array, flags: UInt8Array, cuts: Cuts) -> None:
    if flags.size and flags.max() > (_DEFAULT_LEFT | _CATEGORICAL):
        raise damaged("a split is of an unknown kind")
    n_categories = np.array(cuts.schema.n_categories, dtype=np.int64)
    is_categorical = n_categories[features] > 0
    if not np.array_equal((flags & _CATEGORICAL) != 0, is_categorical):
        raise damaged("a split is not of its feature's kind")
    most = np.where(is_categorical, -1, np.diff(cuts.offsets)[features] - 1)
    if ((bins < -1) | (bins > most)).any():
        raise damaged("a split is at a bin that does not exist")


def _read_categories(
    reader: StateReader, features: Int32Array, nodes: Int64Array, cuts: Cuts
) -> dict[int, tuple[int, ...]]:
    """Return, by node, the categories that go right."""
    sizes = reader.array(nodes.size, "<u4").astype(np.int64)
    codes = reader.array(int(sizes.sum()), "<u4").astype(np.int64)
    n_categories = np.array(cuts.schema.n_categories, dtype=np.int64)
    if (codes >= np.repeat(n_categories[features[nodes]], sizes)).any():
        raise damaged("a split names a category that does not exist")
    of_split = np.repeat(np.arange(nodes.size), sizes)
    if ((np.diff(codes) <= 0) & (np.diff(of_split) == 0)).any():
        raise damaged("the categories of a split do not ascend")
    parts = np.split(codes, np.cumsum(sizes)[:-1]) if nodes.size else []
    return {node: tuple(part.tolist()) for node, part in zip(nodes.tolist(), parts, strict=True)}
