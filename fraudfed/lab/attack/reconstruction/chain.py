"""Rebuilt rows, tree after tree: to which leaf each goes, so that the leaves' sums come out.

The first tree gives counts of rows of each label in each leaf, with the box of the leaf. Each
further tree tells leaves' sums of gradients and hessians apart, and the gradient of a rebuilt row
is known: it has gone a known way. So rows are assigned to leaves such that the sums are kept, and
among all such ways one takes the likeliest by the public marginals. TimberStrike
(arXiv 2506.07605) solves this with whole numbers, which is done here for some hundred rows
(``whole``); more are spread in proportion (``proportional``).
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray, Float32Array, Float64Array, IndexArray, Int64Array
from fraudfed.lab.attack.reconstruction.cells import Cells, LeafBoxes, leaf_boxes
from fraudfed.lab.attack.reconstruction.marginals import Marginals
from fraudfed.lab.attack.reconstruction.node_sums import (
    base_margin,
    first_counts,
    leaf_sums,
    row_sums,
)
from fraudfed.lab.attack.reconstruction.proportional import settled, spread
from fraudfed.lab.attack.reconstruction.whole import solved
from fraudfed.parameters import BoosterParams

#: Likelihoods below it cost no more.
_LEAST_LIKELY = 1e-9
#: Up to so many rows, and unknowns, are assigned by a program in whole numbers.
_MOST_WHOLE_ROWS, _MOST_WHOLE = 200, 4_000


@dataclass(eq=False)
class RebuiltRows:
    """Rows as far as they are rebuilt.

    Attributes
    ----------
    labels : ndarray of shape (n_rows,), dtype=float32
    counts : ndarray of shape (n_rows,), dtype=float64
        How many rows of the training each stands for: 1, or more of a label with too many.
    margins : ndarray of shape (n_rows,), dtype=float32
        After the trees so far.
    boxes : ndarray of shape (n_rows, n_cells), dtype=bool
    """

    labels: Float32Array
    counts: Float64Array
    margins: Float32Array
    boxes: BoolArray


def rebuild(
    model: Model,
    params: BoosterParams,
    cells: Cells,
    marginals: tuple[Marginals, Marginals],
    known: tuple[int, int],
    *,
    trees: int,
    most_rows: tuple[int, int],
) -> RebuiltRows:
    """Rebuild the rows that a model was trained on.

    Parameters
    ----------
    model : Model
        As read from its file.
    params : BoosterParams
    cells : Cells
    marginals : pair of Marginals
        Of label 0 and label 1.
    known : pair of int
        Rows with label 0 and label 1, which the members of a run learn.
    trees : int
        How many of the model's trees are used.
    most_rows : pair of int
        Of each label, about: where there are more, each rebuilt row stands for several. Every leaf
        of the first tree that holds rows of a label has at least one.
    """
    rows = _from_first_tree(model, params, cells, known, most_rows=most_rows)
    for tree in model.trees[1:trees]:
        _assign(rows, tree, model, params, cells, marginals)
    return rows


def _from_first_tree(
    model: Model,
    params: BoosterParams,
    cells: Cells,
    known: tuple[int, int],
    *,
    most_rows: tuple[int, int],
) -> RebuiltRows:
    boxes = leaf_boxes(model.trees[0], cells)
    values = model.trees[0].split_conditions[boxes.nodes]
    # In the order of nodes, as counts are; boxes come in the order of ways.
    order = np.argsort(np.argsort(boxes.nodes))
    counted = first_counts(model, params)[order]
    leaves: list[IndexArray] = []
    labels: list[Float32Array] = []
    counts: list[Float64Array] = []
    for label in (0, 1):
        # A tree that drew some of the rows only says how all are spread.
        whole = _spread(counted[:, label], known[label])
        few = min(1.0, most_rows[label] / max(1, known[label]))
        shown = np.ceil(whole * few).astype(np.int64)
        leaves.append(np.repeat(np.arange(len(shown)), shown))
        labels.append(np.full(int(shown.sum()), label, dtype=np.float32))
        counts.append(np.repeat(whole / np.maximum(1, shown), shown))
    leaf = np.concatenate(leaves)
    margins = base_margin(model) + values[leaf]
    return RebuiltRows(
        np.concatenate(labels),
        np.concatenate(counts),
        margins.astype(np.float32),
        boxes.masks[leaf].copy(),
    )


def _spread(counts: Int64Array, total: int) -> Int64Array:
    """Scale counts so that they add up to a total, by the largest remainders."""
    if counts.sum() in (0, total):
        return counts
    shares = counts * (total / counts.sum())
    whole: Int64Array = np.floor(shares).astype(np.int64)
    missing = total - int(whole.sum())
    whole[np.argsort(whole - shares, kind="stable")[:missing]] += 1
    return whole


def _assign(
    rows: RebuiltRows,
    tree: Tree,
    model: Model,
    params: BoosterParams,
    cells: Cells,
    marginals: tuple[Marginals, Marginals],
) -> None:
    """Send every row to a leaf of the next tree, and keep what that says of it."""
    boxes = leaf_boxes(tree, cells)
    order = np.argsort(boxes.nodes)
    boxes = LeafBoxes(boxes.nodes[order], boxes.masks[order], tuple(boxes.asked[i] for i in order))
    likely = _likelihoods(rows, boxes, cells, marginals)
    sums = leaf_sums(tree, model, params)
    pairs = row_sums(rows.margins, rows.labels, params)
    if len(likely) <= _MOST_WHOLE_ROWS and np.count_nonzero(likely) <= _MOST_WHOLE:
        leaf = solved(likely, sums, pairs * rows.counts[:, None], drawn=params.subsample)
    else:
        shares = spread(likely, sums, pairs, rows.counts, drawn=params.subsample)
        leaf = np.empty(len(shares), dtype=np.int64)
        for label in (0, 1):
            at = rows.labels == label
            leaf[at] = settled(shares[at])
    rows.boxes &= boxes.masks[leaf]
    rows.margins += tree.split_conditions[boxes.nodes[leaf]]


def _likelihoods(
    rows: RebuiltRows, boxes: LeafBoxes, cells: Cells, marginals: tuple[Marginals, Marginals]
) -> Float64Array:
    """Return how likely each row is in each leaf by the marginals, (n_rows, n_leaves); 0: never."""
    likely = np.ones((len(rows.labels), len(boxes.nodes)))
    features = sorted({feature for asked in boxes.asked for feature in asked})
    for label in (0, 1):
        at = np.flatnonzero(rows.labels == label)
        # What no row of the marginals has, the model's own rows may have all the same.
        mass = np.maximum(marginals[label].mass, _LEAST_LIKELY)
        for feature in features:
            span = cells.span(feature)
            # Many leaves ask the same of a feature.
            asked, which = np.unique(boxes.masks[:, span], axis=0, return_inverse=True)
            weights = rows.boxes[at, span] * mass[span]
            inside = (weights @ asked.T) / weights.sum(axis=1, keepdims=True)
            likely[at] *= inside[:, which.ravel()]
    return likely
