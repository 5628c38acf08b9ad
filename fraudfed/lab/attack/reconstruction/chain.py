"""Rebuilt rows, tree after tree: to which leaf each goes, so that the leaves' sums come out.

The first tree gives counts of rows of each label in each leaf, with the box of the leaf. Each
further tree tells leaves' sums of gradients and hessians apart, and the gradient of a rebuilt row
is known: it has gone a known way. So rows are assigned to leaves by a linear program that keeps the
sums, and among all that do takes the likeliest by the public marginals. TimberStrike
(arXiv 2506.07605) solves the same with whole numbers; the program here has so few equations that
its solutions are whole but for a few rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from fraudfed.boosting.model import Model
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import BoolArray, Float32Array, Float64Array, IndexArray, Int64Array
from fraudfed.lab.attack.reconstruction.cells import Cells, LeafBoxes, leaf_boxes
from fraudfed.lab.attack.reconstruction.marginals import Marginals
from fraudfed.lab.attack.reconstruction.node_sums import (
    LeafSums,
    base_margin,
    first_counts,
    leaf_sums,
    row_sums,
)
from fraudfed.parameters import BoosterParams

#: What a missed unit of gradient costs against the negative logarithm of a likelihood.
_MISSED = 1000.0
#: Likelihoods below it cost no more.
_LEAST_LIKELY = 1e-9
#: Up to so many unknowns are whole numbers, and so many nodes of the search for them are looked at:
#: a limit in nodes gives the same answer on every machine, one in seconds would not.
_MOST_WHOLE, _NODES, _GAP = 4_000, 200, 0.01
#: Beyond, each row may go to so many leaves, the likeliest.
_KEPT_LEAVES = 6


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
        Of each label: where there are more, each rebuilt row stands for several.
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
        stands_for = max(1.0, known[label] / most_rows[label])
        shown = _spread(whole, round(known[label] / stands_for))
        leaves.append(np.repeat(np.arange(len(shown)), shown))
        labels.append(np.full(int(shown.sum()), label, dtype=np.float32))
        counts.append(np.full(int(shown.sum()), stands_for))
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
    whole = np.floor(shares).astype(np.int64)
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
    pairs = row_sums(rows.margins, rows.labels, params) * rows.counts[:, None]
    leaf = _solve(likely, sums, pairs, drawn=params.subsample)
    rows.boxes &= boxes.masks[leaf]
    rows.margins += tree.split_conditions[boxes.nodes[leaf]]


def _likelihoods(
    rows: RebuiltRows, boxes: LeafBoxes, cells: Cells, marginals: tuple[Marginals, Marginals]
) -> Float64Array:
    """Return how likely each row is in each leaf by the marginals, (n_rows, n_leaves); 0: never."""
    likely = np.ones((len(rows.labels), len(boxes.nodes)))
    for label in (0, 1):
        at = rows.labels == label
        # What no row of the marginals has, the model's own rows may have all the same.
        mass = np.maximum(marginals[label].mass, _LEAST_LIKELY)
        for leaf, asked in enumerate(boxes.asked):
            for feature in asked:
                span = cells.span(feature)
                here = rows.boxes[at, span]
                weights = here * mass[span]
                both = (here & boxes.masks[leaf, span]) * mass[span]
                likely[at, leaf] *= both.sum(axis=1) / weights.sum(axis=1)
    return likely


def _likeliest(likely: Float64Array) -> Float64Array:
    """Leave each row its likeliest leaves, where there are too many unknowns for whole numbers."""
    if np.count_nonzero(likely) <= _MOST_WHOLE:
        return likely
    least = np.sort(likely, axis=1)[:, -_KEPT_LEAVES:][:, :1]
    kept: Float64Array = np.where(likely >= least, likely, 0.0)
    return kept


def _solve(
    likely: Float64Array, sums: LeafSums, pairs: Float64Array, *, drawn: float
) -> IndexArray:
    """Return the leaf of each row, shape (n_rows,).

    The unknowns are, for each row and each leaf that it can be in, how much of it is there; twice
    if trees draw rows, once for a row that was drawn and once for one that was not and counts in no
    sum. Further unknowns are by how much each equation and each interval is missed.
    """
    row, leaf = np.nonzero(_likeliest(likely))
    n_rows, n_leaves = likely.shape
    cost = -np.log(np.maximum(likely[row, leaf], _LEAST_LIKELY))
    costs = [cost - np.log(drawn)]
    if drawn < 1.0:
        costs.append(cost - np.log1p(-drawn))
    n_ways, copies = len(row), len(costs)
    g, h = pairs[row, 0], pairs[row, 1]
    exact = sums.is_exact[leaf]
    # Rows of the matrix: one for each rebuilt row, one for each leaf's equation, one for its H.
    at_equation, at_interval = n_rows + leaf, n_rows + n_leaves + leaf
    ways = np.arange(n_ways)
    parts = [(row + 0, ways + copy * n_ways, np.ones(n_ways)) for copy in range(copies)]
    parts.append((at_equation[exact], ways[exact], (g + sums.weights[leaf] * h)[exact]))
    parts.append((at_interval, ways, h))
    first = copies * n_ways
    every = np.arange(n_leaves)
    for number, sign in enumerate((1.0, -1.0)):
        parts.append((n_rows + every, first + number * n_leaves + every, np.full(n_leaves, sign)))
        parts.append(
            (
                n_rows + n_leaves + every,
                first + (2 + number) * n_leaves + every,
                np.full(n_leaves, sign),
            )
        )
    # H is a number of its own between its ends.
    parts.append((n_rows + n_leaves + every, first + 4 * n_leaves + every, np.full(n_leaves, -1.0)))
    n_unknown = first + 5 * n_leaves
    matrix = coo_matrix(
        (
            np.concatenate([part[2] for part in parts]),
            (
                np.concatenate([part[0] for part in parts]),
                np.concatenate([part[1] for part in parts]),
            ),
        ),
        shape=(n_rows + 2 * n_leaves, n_unknown),
    ).tocsr()
    right = np.concatenate(
        [np.ones(n_rows), np.where(sums.is_exact, sums.offsets, 0.0), np.zeros(n_leaves)]
    )
    upper = np.full(n_unknown, np.inf)
    lower = np.zeros(n_unknown)
    lower[-n_leaves:], upper[-n_leaves:] = sums.least, sums.most
    objective = np.concatenate([*costs, np.full(4 * n_leaves, _MISSED), np.zeros(n_leaves)])
    is_whole = np.zeros(n_unknown)
    if np.count_nonzero(likely) <= _MOST_WHOLE:
        is_whole[:first] = 1
    found = milp(
        objective,
        constraints=LinearConstraint(matrix, right, right),
        bounds=Bounds(lower, upper),
        integrality=is_whole,
        options={"node_limit": _NODES, "mip_rel_gap": _GAP},
    )
    share = likely.copy() if found.x is None else np.zeros_like(likely)
    if found.x is not None:
        for copy in range(copies):
            np.add.at(share, (row, leaf), found.x[copy * n_ways : (copy + 1) * n_ways])
    return np.argmax(share, axis=1)
