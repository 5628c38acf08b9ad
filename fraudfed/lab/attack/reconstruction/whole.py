"""The likeliest way of rows to leaves in whole numbers: of some hundred rows."""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from fraudfed.dtypes import Float64Array, IndexArray
from fraudfed.lab.attack.reconstruction.node_sums import LeafSums

#: What a missed unit of gradient costs against the negative logarithm of a likelihood.
_MISSED = 1000.0
#: Likelihoods below it cost no more.
_LEAST_LIKELY = 1e-9
#: So many nodes of the search are looked at: a limit in nodes gives the same answer on every
#: machine, one in seconds would not.
_NODES, _GAP = 200, 0.01


def solved(
    likely: Float64Array, sums: LeafSums, pairs: Float64Array, *, drawn: float
) -> IndexArray:
    """Return the leaf of each row, shape (n_rows,).

    The unknowns are, for each row and each leaf that it can be in, how much of it is there; twice
    if trees draw rows, once for a row that was drawn and once for one that was not and counts in no
    sum. Further unknowns are by how much each equation and each interval is missed.

    Parameters
    ----------
    likely : ndarray of shape (n_rows, n_leaves), dtype=float64
        0 where a row cannot be.
    sums : LeafSums
    pairs : ndarray of shape (n_rows, 2), dtype=float64
        Gradient and hessian of all that a row stands for.
    drawn : float
        Share of the rows that the tree drew.
    """
    row, leaf = np.nonzero(likely)
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
    leaves: IndexArray = np.argmax(share, axis=1)
    return leaves
