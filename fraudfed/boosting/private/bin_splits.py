"""The best split of some bins of one feature, from their noised sums.

Bins of a numeric feature stand in the order of their values; a missing value is a bin of its own
that goes to either side. Categories are put in the order of their weights (Fisher, "On grouping for
maximum homogeneity", JASA 53, 1958). An order that noise has made would find a split in noise, so
they are ordered by the part of their sums that stands out; where there is none, by their codes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.boosting.private.noised_gain import NoisedGain, NoisedSums
from fraudfed.boosting.splits.candidate import Split
from fraudfed.dtypes import BoolArray, Float64Array, Int64Array

#: Deviations that a category's sum must stand out by to be ordered by its weight. With many
#: categories an order that follows noise finds large gains in it, whatever test comes after.
ORDER_SIGMAS: Final = 3.0


@dataclass(frozen=True, eq=False)
class BinSet:
    """Bins of a feature that make up a node.

    Attributes
    ----------
    order : ndarray of shape (n,), dtype=int64
        Bins, in the order in which they may be parted.
    has_missing : bool
        Whether the bin of missing values is in the node as well.
    """

    order: Int64Array
    has_missing: bool


@dataclass(frozen=True, eq=False)
class BinSplit:
    """A split and its two sides.

    Attributes
    ----------
    split : Split
    left, right : BinSet
    """

    split: Split
    left: BinSet
    right: BinSet


def ordered_bins(sums: NoisedSums, gain: NoisedGain, *, is_categorical: bool) -> Int64Array:
    """Return the bins of a feature in the order in which they may be parted.

    Parameters
    ----------
    sums : NoisedSums
        Of each bin, without that of missing values.
    gain : NoisedGain
    is_categorical : bool
    """
    codes = np.arange(sums.gradients.size, dtype=np.int64)
    if not is_categorical:
        return codes
    noise = ORDER_SIGMAS * gain.sigma * np.sqrt(sums.cells)
    surely = np.sign(sums.gradients) * np.maximum(np.abs(sums.gradients) - noise, 0.0)
    weights = gain.weights(NoisedSums(surely, sums.hessians, sums.cells))
    # Stable: categories that do not stand out stay in the order of their codes.
    order: Int64Array = np.argsort(weights, kind="stable").astype(np.int64)
    return order


def best_bin_split(
    sums: NoisedSums,
    bins: BinSet,
    gain: NoisedGain,
    *,
    feature: int,
    is_categorical: bool,
    node: NoisedSums | None = None,
) -> BinSplit | None:
    """Return the best split that stands out of the noise, or None.

    Parameters
    ----------
    sums : NoisedSums
        Of each bin of the feature, the last of missing values.
    bins : BinSet
        The node.
    gain : NoisedGain
    feature : int
    is_categorical : bool
    node : NoisedSums or None
        The node's own sums of shape (1,), if they were released apart from its bins.
    """
    parts = np.append(bins.order, sums.gradients.size - 1) if bins.has_missing else bins.order
    whole = NoisedSums(*(_total(each[parts]) for each in _arrays(sums)))
    ends, takes_missing = _candidates(bins)
    if ends.size == 0:
        return None
    lefts = []
    for each in _arrays(sums):
        through = np.concatenate(([0.0], np.cumsum(each[bins.order])))
        lefts.append(through[ends] + np.where(takes_missing, each[-1], 0.0))
    left = NoisedSums(*lefts)
    right = whole.less(left)
    judged = gain.judge(whole if node is None else node, left, right)
    best = judged.best()
    if best is None:
        return None
    end, default_left = int(ends[best]), bool(takes_missing[best])
    first, second = bins.order[:end], bins.order[end:]
    split = Split(
        loss_change=np.float32(judged.gains[best]),
        feature=feature,
        split_bin=-1 if is_categorical else _last_left(first, second),
        right_categories=tuple(sorted(second.tolist())) if is_categorical else (),
        is_categorical=is_categorical,
        default_left=default_left,
        left=(0, 0),
        right=(0, 0),
    )
    return BinSplit(
        split,
        BinSet(first, bins.has_missing and default_left),
        BinSet(second, bins.has_missing and not default_left),
    )


def _candidates(bins: BinSet) -> tuple[Int64Array, BoolArray]:
    """Return after how many bins the left side ends, and whether it takes missing values."""
    n = bins.order.size
    if not bins.has_missing:
        ends = np.arange(1, n, dtype=np.int64)
        return ends, np.zeros(ends.size, dtype=np.bool_)
    # Missing values right, then left; at the ends they are alone.
    ends = np.concatenate((np.arange(1, n + 1), np.arange(0, n))).astype(np.int64)
    return ends, np.arange(2 * n) >= n


def _last_left(first: Int64Array, second: Int64Array) -> int:
    """Return the last bin that goes left, if the bins of a node are parted so."""
    if first.size:
        return int(first[-1])
    return int(second[0]) - 1


def _arrays(sums: NoisedSums) -> tuple[Float64Array, Float64Array, Float64Array]:
    return sums.gradients, sums.hessians, sums.cells


def _total(values: Float64Array) -> Float64Array:
    total: Float64Array = values.sum(keepdims=True)
    return total
