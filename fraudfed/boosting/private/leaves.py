"""Leaves of a tree whose splits are known: their sums are released once, and become its values."""

from dataclasses import replace
from typing import Final

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.growth.partition import LeafRows
from fraudfed.boosting.histograms.local import HistogramBuilder, HistogramOrder
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.private.noised_gain import NoisedGain, noised_sums
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PlannedRelease, paired_variance, variance_of
from fraudfed.privacy.releases import NoisedRelease

#: Deviations of noise that a leaf's sum of gradients must stand out by, or the leaf stays 0: unlike
#: a split it need not be certain, and errs as often to either side.
LEAF_SIGMAS: Final = 2.0


def leaf_sums(binned: BinnedTable, pairs: Int64Array, leaves: LeafRows) -> Int64Array:
    """Sum the gradients of this bank's rows in each leaf.

    Returns
    -------
    ndarray of shape (2, n_leaves), dtype=int64
        In the order of the leaves' numbers.
    """
    nothing = np.empty(0, dtype=np.int64)
    orders = [
        HistogramOrder(leaves.order[begin:stop], nothing) for begin, stop in leaves.ranges.tolist()
    ]
    sums = HistogramBuilder(binned, pairs).build(orders)
    totals = np.array([each.total for each in sums], dtype=np.int64)
    return np.ascontiguousarray(totals[np.argsort(leaves.numbers)].T)


def release_leaves(
    tree: Tree,
    local: Int64Array,
    *,
    tree_index: int,
    params: BoosterParams,
    planned: PlannedRelease,
    bounds: PrivateBounds,
    communicator: NoisingCommunicator,
) -> Tree:
    """Return the tree with the leaf values that noised sums over all banks give.

    Parameters
    ----------
    tree : Tree
    local : ndarray of shape (2, n_leaves), dtype=int64
        From ``leaf_sums``.
    tree_index : int
        Part of the sum's label.
    params : BoosterParams
    planned : PlannedRelease
    bounds : PrivateBounds
    communicator : NoisingCommunicator

    Raises
    ------
    FraudFedError
        If the sum fails.
    """
    variance = variance_of(planned.release)
    highs, lows = bounds.pairs(local.shape[1])
    opened = communicator.noised_sum(
        local,
        bound=highs,
        low=lows,
        label=f"noised-leaves:tree {tree_index}",
        release=NoisedRelease(variance=paired_variance(variance), moved=planned.release.moved),
    )
    gain = NoisedGain(params, variance)
    sums = noised_sums(opened, np.ones(local.shape[1]))
    weights = gain.weights(sums)
    weights[np.abs(sums.gradients) < LEAF_SIGMAS * gain.sigma] = 0.0
    at = np.flatnonzero(tree.left_children < 0)
    values, base = tree.split_conditions.copy(), tree.base_weights.copy()
    hessians = tree.sum_hessians.copy()
    values[at] = np.float32(params.eta) * weights.astype(np.float32)
    base[at] = values[at]
    hessians[at] = np.maximum(sums.hessians, 0.0)
    return replace(tree, split_conditions=values, base_weights=base, sum_hessians=hessians)
