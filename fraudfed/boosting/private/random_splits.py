"""Way random-splits: trees that no row has shaped, and one noised release of their leaves each.

Feature, cut, categories and the side of missing values of every node are drawn from the public
seed. The budget goes to leaf values alone (Maddock, Cormode, Wang, Maple and Jha, "Federated
boosted decision trees with differential privacy", CCS 2022, arXiv 2210.02910, section 4).
"""

from collections import deque

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.growth.tree_builder import TreeBuilder
from fraudfed.boosting.private.cyclic import split_condition
from fraudfed.boosting.sampling import drawn_below
from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams

_ZERO = np.float32(0.0)


def drawn_tree(tree_index: int, *, cuts: Cuts, params: BoosterParams) -> Tree:
    """Draw a tree of full depth, with leaves of 0; a node that nothing can split stays a leaf.

    Parameters
    ----------
    tree_index : int
    cuts : Cuts
    params : BoosterParams
        ``max_depth`` and ``seed``.
    """
    builder = TreeBuilder(eta=params.eta)
    builder.add_root(_ZERO, _ZERO)
    whole = tuple(np.arange(len(edges), dtype=np.int64) for edges in cuts.values)
    waiting: deque[tuple[int, int, tuple[Int64Array, ...]]] = deque([(0, 0, whole)])
    while waiting:
        number, depth, bins = waiting.popleft()
        if depth >= params.max_depth:
            continue
        draws = _Draws(params.seed, tree_index, number)
        split, left, right = _drawn_split(bins, cuts, draws)
        if split is None:
            continue
        children = builder.add_split(
            number,
            split,
            condition=split_condition(split, cuts),
            base_weight=_ZERO,
            child_weights=(_ZERO, _ZERO),
            child_hessians=(_ZERO, _ZERO),
        )
        for child, part in zip(children, (left, right), strict=True):
            waiting.append((child, depth + 1, _with(bins, split.feature, part)))
    return builder.build()


class _Draws:
    """Numbers that follow from public words, one after the other."""

    def __init__(self, *words: int) -> None:
        self._words = words
        self._n = 0

    def below(self, n: int) -> int:
        self._n += 1
        seed, *words = self._words
        return drawn_below(n, seed=seed, words=(*words, self._n))


def _drawn_split(
    bins: tuple[Int64Array, ...], cuts: Cuts, draws: _Draws
) -> tuple[Split | None, Int64Array, Int64Array]:
    features = [feature for feature, part in enumerate(bins) if part.size > 1]
    nothing = np.empty(0, dtype=np.int64)
    if not features:
        return None, nothing, nothing
    feature = features[draws.below(len(features))]
    part = bins[feature]
    is_categorical = cuts.schema.is_categorical(feature)
    if is_categorical:
        # One category goes each way, the others by the toss of a coin.
        order = part[np.argsort([draws.below(1 << 30) for _ in range(part.size)], kind="stable")]
        n_left = 1 + sum(draws.below(2) for _ in range(part.size - 2))
        left, right = np.sort(order[:n_left]), np.sort(order[n_left:])
    else:
        end = 1 + draws.below(part.size - 1)
        left, right = part[:end], part[end:]
    split = Split(
        loss_change=_ZERO,
        feature=feature,
        split_bin=-1 if is_categorical else int(left[-1]),
        right_categories=tuple(right.tolist()) if is_categorical else (),
        is_categorical=is_categorical,
        default_left=bool(draws.below(2)),
        left=(0, 0),
        right=(0, 0),
    )
    return split, left, right


def _with(bins: tuple[Int64Array, ...], feature: int, part: Int64Array) -> tuple[Int64Array, ...]:
    return tuple(part if number == feature else each for number, each in enumerate(bins))
