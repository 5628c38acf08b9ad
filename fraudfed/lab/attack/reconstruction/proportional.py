"""Rows spread over leaves in proportion to what is likely, so that the leaves' sums come out.

For thousands of rows and hundreds of leaves no whole-number program ends. What is asked for here
instead is the table of shares nearest to the likely one, in relative entropy, among those that keep
the sums. It has the form ``likely exp(-(a G + b H))`` with two numbers for each leaf (I. Csiszár,
"I-divergence geometry of probability distributions", Annals of Probability 3(1), 1975, pages
146-158, theorem 3.1), which the smooth dual finds in some dozens of steps. There is no randomness
and no clock in it.
"""

import numpy as np
from scipy.optimize import minimize

from fraudfed.dtypes import Float64Array, IndexArray
from fraudfed.lab.attack.reconstruction.node_sums import LeafSums

#: Steps of the dual.
_STEPS = 60
#: The sums may be missed by so much of a row's gradient: ways are whole, shares are not.
_SLACK = 0.05


def spread(
    likely: Float64Array,
    sums: LeafSums,
    pairs: Float64Array,
    counts: Float64Array,
    *,
    drawn: float,
) -> Float64Array:
    """Return the share of each row in each leaf, shape (n_rows, n_leaves); rows add up to 1.

    Parameters
    ----------
    likely : ndarray of shape (n_rows, n_leaves), dtype=float64
        0 where a row cannot be.
    sums : LeafSums
    pairs : ndarray of shape (n_rows, 2), dtype=float64
        Gradient and hessian of each row.
    counts : ndarray of shape (n_rows,), dtype=float64
        How many rows of the training each stands for.
    drawn : float
        Share of the rows that the tree drew.
    """
    n_leaves = likely.shape[1]
    scale = np.maximum(np.abs(pairs).mean(axis=0), 1e-12)
    unit = pairs / scale
    hessians = (sums.least + sums.most) / 2.0
    wanted = np.stack([sums.offsets - sums.weights * hessians, hessians], axis=1) / (drawn * scale)
    # Where there is no equation G is unknown, and H is known to its interval.
    width = np.stack(
        [np.abs(sums.weights) * (sums.most - sums.least), sums.most - sums.least], axis=1
    )
    missing = (1.0 - drawn) / drawn
    start = likely * counts[:, None]
    start /= np.maximum(likely.sum(axis=1, keepdims=True), 1e-300)
    noise = missing * np.stack([start.T @ unit[:, 0] ** 2, start.T @ unit[:, 1] ** 2], axis=1)
    slack = noise + (width / (4.0 * drawn * scale)) ** 2 + _SLACK**2
    slack[~sums.is_exact, 0] = np.inf
    free = np.isfinite(slack)
    slack = np.where(free, slack, 0.0)
    with np.errstate(divide="ignore"):
        start_log = np.log(likely)

    def shares(tilt: Float64Array) -> tuple[Float64Array, Float64Array]:
        heights = start_log - unit @ tilt.T
        top = heights.max(axis=1, keepdims=True)
        np.exp(heights - top, out=heights)
        total = heights.sum(axis=1, keepdims=True)
        heights /= total
        return heights, (top + np.log(total))[:, 0]

    def dual(flat: Float64Array) -> tuple[float, Float64Array]:
        tilt = np.where(free, flat.reshape(n_leaves, 2), 0.0)
        found, logs = shares(tilt)
        reached = found.T @ (unit * counts[:, None])
        value = counts @ logs + np.sum(tilt * wanted) + np.sum(slack * tilt**2) / 2.0
        slope = np.where(free, wanted - reached + slack * tilt, 0.0)
        return float(value), slope.ravel()

    best = minimize(
        dual, np.zeros(2 * n_leaves), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    found: Float64Array = shares(np.where(free, best.x.reshape(n_leaves, 2), 0.0))[0]
    return found


def settled(shares: Float64Array) -> IndexArray:
    """Return one leaf of each row, such that each leaf holds about its part of the rows.

    Greedy: the surest row first, as long as its leaf has room; what is left goes where it is
    likeliest.
    """
    room = np.ceil(shares.sum(axis=0) - 0.5)
    leaves = np.full(len(shares), -1, dtype=np.int64)
    rows, columns = np.nonzero(shares > 1e-3)
    for place in np.argsort(-shares[rows, columns], kind="stable"):
        row, leaf = rows[place], columns[place]
        if leaves[row] < 0 and room[leaf] > 0:
            leaves[row] = leaf
            room[leaf] -= 1
    open_rows = leaves < 0
    leaves[open_rows] = np.argmax(shares[open_rows], axis=1)
    return leaves
