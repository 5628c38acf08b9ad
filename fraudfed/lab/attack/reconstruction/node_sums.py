"""What a published leaf says of its rows: sums of gradients and hessians, and counts.

A leaf value is ``w = -eta T(G) / (H + lambda)``, and is published exactly: predictions need it. So
even where ``sum_hessian`` is rounded, each leaf gives one exact equation between its sum of
gradients G and its sum of hessians H, and an interval of H.

In the first tree all rows have the same probability, the base score, which is in the model. Their
gradients have two values, one for each label, and their hessian one: counts of rows of each label
follow, as whole numbers (TimberStrike, arXiv 2506.07605, calls it probing the first tree). The
equation alone nearly fixes the counts, since whole numbers that fulfil it are rare.
"""

import math
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.engine.elementary import logit
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import gradients
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import FIXED_POINT_ONE, BoolArray, Float32Array, Float64Array, Int64Array
from fraudfed.parameters import BoosterParams

#: A leaf value went through two roundings to float32.
_VALUE_ERROR = 2.0**-23
#: Most numbers of rows that are tried for one leaf; beyond, the middle of the interval is taken.
_MOST_COUNTS = 1 << 20


@dataclass(frozen=True, eq=False)
class LeafSums:
    """The leaves of one tree; all arrays have shape (n_leaves,).

    ``G + weight H = offset`` wherever ``is_exact``.

    Attributes
    ----------
    weights : ndarray, dtype=float64
        Leaf values without eta.
    offsets : ndarray, dtype=float64
    is_exact : ndarray, dtype=bool
        False where the weight was cut off at ``max_delta_step``, or is 0 by a penalty.
    least, most : ndarray, dtype=float64
        Between which H lies.
    """

    weights: Float64Array
    offsets: Float64Array
    is_exact: BoolArray
    least: Float64Array
    most: Float64Array


def leaf_sums(tree: Tree, model: Model, params: BoosterParams) -> LeafSums:
    """Read the leaves of a tree of a published model.

    Parameters
    ----------
    tree : Tree
        Of ``model``, as read from its file.
    model : Model
    params : BoosterParams
        Public: penalties, eta, and to how many bits statistics are rounded.
    """
    at_leaf = tree.left_children == NO_CHILD
    weights = tree.split_conditions[at_leaf].astype(np.float64) / params.eta
    hessians = tree.sum_hessians[at_leaf].astype(np.float64)
    # Half a unit in the last place of a significand in [1/2, 1).
    off = 2.0**-params.statistics_bits
    offsets = -weights * params.reg_lambda - np.sign(weights) * params.reg_alpha
    is_exact = np.ones(len(weights), dtype=bool)
    if params.max_delta_step:
        is_exact &= np.abs(weights) < params.max_delta_step * (1 - _VALUE_ERROR)
    if params.reg_alpha or any(params.resolve_monotone_constraints(model.schema)):
        is_exact &= weights != 0.0
    if any(params.resolve_monotone_constraints(model.schema)):
        is_exact[:] = False
    return LeafSums(weights, offsets, is_exact, hessians * (1 - off), hessians * (1 + off))


def row_sums(margins: Float32Array, labels: Float32Array, params: BoosterParams) -> Float64Array:
    """Return gradient and hessian of rows, shape (n_rows, 2), dtype=float64, as training has."""
    found = gradients(margins, labels, None, scale_pos_weight=params.scale_pos_weight)
    return found.astype(np.float64) / FIXED_POINT_ONE


def base_margin(model: Model) -> np.float32:
    """Return the margin of all rows before the first tree."""
    return np.float32(logit(float(np.float32(model.base_score))))


def first_counts(model: Model, params: BoosterParams) -> Int64Array:
    """Return how many rows of each label the leaves of the first tree hold.

    Parameters
    ----------
    model : Model
        As read from its file.
    params : BoosterParams

    Returns
    -------
    ndarray of shape (n_leaves, 2), dtype=int64
        Rows with label 0 and with label 1; of the rows that the first tree drew.
    """
    sums = leaf_sums(model.trees[0], model, params)
    both = row_sums(np.full(2, base_margin(model)), np.array([0, 1], dtype=np.float32), params)
    counts = [
        _counts(
            weight=float(sums.weights[leaf]),
            offset=float(sums.offsets[leaf]),
            is_exact=bool(sums.is_exact[leaf]),
            ends=(float(sums.least[leaf]), float(sums.most[leaf])),
            both=both,
        )
        for leaf in range(len(sums.weights))
    ]
    return np.array(counts, dtype=np.int64)


def _counts(
    *, weight: float, offset: float, is_exact: bool, ends: tuple[float, float], both: Float64Array
) -> tuple[int, int]:
    """Return the likeliest whole numbers of rows of a leaf.

    With ``n0`` and ``n1`` rows, ``(g0 + w h0) n0 + (g1 + w h1) n1 = offset``.
    """
    (g0, h0), (g1, h1) = both.tolist()
    if h0 <= 0.0 or h1 <= 0.0:
        return 0, 0
    most_positives = math.floor(ends[1] / h1 + 0.5)
    if most_positives > _MOST_COUNTS:
        return _middle(weight, offset, ends, both)
    n1 = np.arange(most_positives + 1, dtype=np.float64)
    per_negative, per_positive = g0 + weight * h0, g1 + weight * h1
    middle = (ends[0] + ends[1]) / 2.0
    if not is_exact or per_negative == 0.0:
        # Only the number of all rows is known; as many are positive as a cut-off weight asks.
        return _middle(weight, offset, ends, both)
    n0 = np.rint((offset - per_positive * n1) / per_negative)
    hessians = n0 * h0 + n1 * h1
    slack = h0 / 2.0
    possible = (n0 >= 0) & (hessians >= ends[0] - slack) & (hessians <= ends[1] + slack)
    if not possible.any():
        return _middle(weight, offset, ends, both)
    missed = np.abs(per_negative * n0 + per_positive * n1 - offset)
    allowed = _VALUE_ERROR * (abs(weight) * hessians + np.abs(offset) + 1.0)
    # Of all that fulfil the equation within its rounding, the one nearest to the middle.
    fits = possible & (missed <= 4.0 * allowed)
    if fits.any():
        best = int(np.argmin(np.where(fits, np.abs(hessians - middle), np.inf)))
    else:
        best = int(np.argmin(np.where(possible, missed / allowed, np.inf)))
    return int(n0[best]), int(n1[best])


def _middle(
    weight: float, offset: float, ends: tuple[float, float], both: Float64Array
) -> tuple[int, int]:
    (g0, h0), (g1, h1) = both.tolist()
    hessian = (ends[0] + ends[1]) / 2.0
    gradient = offset - weight * hessian
    n1 = round(max(0.0, (g0 * hessian / h0 - gradient) / (g0 * h1 / h0 - g1)))
    n0 = round(max(0.0, (hessian - n1 * h1) / h0))
    return n0, n1
