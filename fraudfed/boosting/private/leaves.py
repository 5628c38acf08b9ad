"""Leaves of a tree whose splits are known: their sums are released once, and become its values."""

from dataclasses import replace
from typing import Final

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.private.noised_gain import NoisedGain, noised_sums
from fraudfed.boosting.shard.protocol import GrowingRows, NodeSplit, SumOrder
from fraudfed.boosting.shard.tables import table_of
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PlannedRelease, paired_variance, variance_of
from fraudfed.privacy.releases import NoisedRelease

#: Deviations of noise that a leaf's sum of gradients must stand out by, or the leaf stays 0: unlike
#: a split it need not be certain, and errs as often to either side.
LEAF_SIGMAS: Final = 2.0


def send_down(tree: Tree, rows: GrowingRows, cuts: Cuts) -> None:
    """Split rows that are all in the root as a tree does, level by level."""
    level = [0]
    while inner := [node for node in level if not tree.is_leaf(node)]:
        splits = [
            NodeSplit(
                node,
                int(tree.split_features[node]),
                table_of(tree, node, cuts),
                int(tree.left_children[node]),
                int(tree.right_children[node]),
            )
            for node in inner
        ]
        rows.split(splits)
        level = [child for split in splits for child in (split.left, split.right)]


def leaf_sums(tree: Tree, rows: GrowingRows) -> Int64Array:
    """Sum the gradients of this bank's rows in each leaf of the tree that they were split by.

    Returns
    -------
    ndarray of shape (2, n_leaves), dtype=int64
        In the order of the leaves' numbers.
    """
    nothing = np.empty(0, dtype=np.int64)
    leaves = np.flatnonzero(tree.left_children == NO_CHILD).tolist()
    sums = rows.sums([SumOrder(leaf, nothing) for leaf in leaves])
    return np.ascontiguousarray(sums.totals.T)


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
