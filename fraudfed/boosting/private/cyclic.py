"""Way cyclic: each tree looks at one feature, whose bins are released once.

The features take turns, in an order that is drawn anew for each round from the public seed. Their
noised bins say all that is ever opened of the tree: splits, pruning and leaf values follow from
them, so depth costs no privacy (Nori et al., "Accuracy, interpretability, and differential privacy
via explainable boosting", ICML 2021, arXiv 2106.09680, use single cuts drawn at random instead).
"""

from collections import deque

import numpy as np

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.growth.tree_builder import TreeBuilder
from fraudfed.boosting.private.bin_splits import BinSet, best_bin_split, ordered_bins
from fraudfed.boosting.private.noised_gain import NoisedGain, NoisedSums, noised_sums
from fraudfed.boosting.sampling import ranked_features
from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams


def feature_of_tree(tree_index: int, *, n_features: int, seed: int) -> int:
    """Return which feature a tree looks at."""
    round_index, position = divmod(tree_index, n_features)
    return int(ranked_features(n_features, seed=seed, draw=round_index)[position])


def tree_over_bins(
    opened: Int64Array,
    *,
    feature: int,
    cuts: Cuts,
    params: BoosterParams,
    variance: int,
) -> Tree:
    """Grow a tree over the noised bins of one feature.

    Parameters
    ----------
    opened : ndarray of shape (2, n_bins + 1), dtype=int64
        Gradients and hessians in units of 2^-16; the last bin is that of missing values.
    feature : int
    cuts : Cuts
    params : BoosterParams
    variance : int
        Of each gradient.
    """
    gain = NoisedGain(params, variance)
    sums = noised_sums(opened, np.ones(opened.shape[1]))
    is_categorical = cuts.schema.is_categorical(feature)
    present = NoisedSums(sums.gradients[:-1], sums.hessians[:-1], sums.cells[:-1])
    order = ordered_bins(present, gain, is_categorical=is_categorical)
    root = BinSet(order, has_missing=True)
    builder = TreeBuilder(eta=params.eta)
    builder.add_root(*_leaf(sums, root, gain))
    waiting = deque([(0, 0, root)])
    n_leaves = 1
    while waiting:
        number, depth, bins = waiting.popleft()
        if depth >= params.max_depth or n_leaves >= (params.max_leaves or np.inf):
            continue
        found = best_bin_split(sums, bins, gain, feature=feature, is_categorical=is_categorical)
        if found is None:
            continue
        (left, left_hessian), (right, right_hessian) = (
            _leaf(sums, side, gain) for side in (found.left, found.right)
        )
        numbers = builder.add_split(
            number,
            found.split,
            condition=split_condition(found.split, cuts),
            base_weight=_leaf(sums, bins, gain)[0],
            child_weights=(left, right),
            child_hessians=(left_hessian, right_hessian),
        )
        n_leaves += 1
        waiting.extend(
            (child, depth + 1, side)
            for child, side in zip(numbers, (found.left, found.right), strict=True)
        )
    return builder.build()


def split_condition(split: Split, cuts: Cuts) -> np.float32:
    """Return the threshold of a split, as the exact trainer writes it."""
    if split.is_categorical:
        return np.float32(np.finfo(np.float32).smallest_subnormal)
    if split.split_bin < 0:
        return np.float32(-FLOAT32_MAX)
    return np.float32(cuts.values[split.feature][split.split_bin])


def _leaf(sums: NoisedSums, bins: BinSet, gain: NoisedGain) -> tuple[np.float32, np.float32]:
    """Return weight and hessian of a node."""
    parts = np.append(bins.order, sums.gradients.size - 1) if bins.has_missing else bins.order
    whole = NoisedSums(
        sums.gradients[parts].sum(keepdims=True),
        sums.hessians[parts].sum(keepdims=True),
        sums.cells[parts].sum(keepdims=True),
    )
    return np.float32(gain.weights(whole)[0]), np.float32(max(whole.hessians[0], 0.0))
