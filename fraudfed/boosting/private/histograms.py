"""Way histograms: trees grown level by level from noised histograms of a few features.

Of each node of a level all bins of the tree's features are released, missing values as bins of
their own; nothing is derived by subtraction, which would add up noise. Nodes as a whole have a
release of their own in the same sum, with less noise than their bins together, and so have the
leaves at the end.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.growth.tree_builder import TreeBuilder
from fraudfed.boosting.private.bin_splits import BinSet, BinSplit, best_bin_split, ordered_bins
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.private.cyclic import split_condition
from fraudfed.boosting.private.leaves import leaf_sums, release_leaves
from fraudfed.boosting.private.noised_gain import NoisedGain, NoisedSums, noised_sums
from fraudfed.boosting.sampling import ranked_features
from fraudfed.boosting.shard.protocol import GrowingRows, NodeSplit, SumOrder
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PlannedRelease, paired_variance, variance_of
from fraudfed.privacy.releases import NoisedRelease

_ZERO = np.float32(0.0)


@dataclass(frozen=True, eq=False)
class _Node:
    """A node that may be split: its number, and what is left of each feature."""

    number: int
    bins: dict[int, BinSet]


@dataclass(frozen=True, eq=False)
class HistogramReleases:
    """The three releases of this way.

    Attributes
    ----------
    bins, nodes, leaves : PlannedRelease
    """

    bins: PlannedRelease
    nodes: PlannedRelease
    leaves: PlannedRelease


class NoisedHistogramGrower:
    """Grows one tree.

    Parameters
    ----------
    tree_index : int
    params : BoosterParams
    n_features : int
        That the tree may split on.
    releases : HistogramReleases
    bounds : PrivateBounds
    rows : GrowingRows
        Finished once the tree has grown.
    cuts : Cuts
    """

    def __init__(
        self,
        tree_index: int,
        *,
        params: BoosterParams,
        n_features: int,
        releases: HistogramReleases,
        bounds: PrivateBounds,
        rows: GrowingRows,
        cuts: Cuts,
    ) -> None:
        self._tree_index = tree_index
        self._params = params
        self._releases = releases
        self._bounds = bounds
        self._rows = rows
        self._cuts = cuts
        drawn = ranked_features(self._cuts.schema.n_features, seed=params.seed, draw=tree_index)
        self._features = np.sort(drawn[:n_features])
        self._variances = variance_of(releases.bins.release), variance_of(releases.nodes.release)
        self._gain = NoisedGain(params, self._variances[0])
        self._builder = TreeBuilder(eta=params.eta)

    def grow(self, communicator: NoisingCommunicator) -> Tree:
        """Grow the tree.

        Raises
        ------
        FraudFedError
            If a sum fails.
        """
        self._builder.add_root(_ZERO, _ZERO)
        sizes = {int(f): len(self._cuts.values[f]) for f in self._features}
        whole = {
            feature: BinSet(np.arange(n, dtype=np.int64), has_missing=True)
            for feature, n in sizes.items()
        }
        level = [_Node(0, whole)]
        for depth in range(self._params.max_depth):
            if not level:
                break
            opened = self._release(level, depth, communicator)
            found = [self._best(node, sums) for node, sums in zip(level, opened, strict=True)]
            level = self._split(
                [
                    (node, split, sums[0])
                    for node, split, sums in zip(level, found, opened, strict=True)
                    if split is not None
                ]
            )
        grown = self._builder.build()
        tree = release_leaves(
            grown,
            leaf_sums(grown, self._rows),
            tree_index=self._tree_index,
            params=self._params,
            planned=self._releases.leaves,
            bounds=self._bounds,
            communicator=communicator,
        )
        self._rows.finish(tree.split_conditions)
        return tree

    def _release(
        self, level: list[_Node], depth: int, communicator: NoisingCommunicator
    ) -> list[tuple[NoisedSums, dict[int, NoisedSums]]]:
        """Return the noised sums of each node as a whole, and of its bins by feature."""
        own = self._rows.sums([SumOrder(node.number, self._features) for node in level])
        parts: list[Int64Array] = []
        for histogram, total in zip(own.histograms, own.totals, strict=True):
            parts.append(total[:, None])
            for feature in self._features.tolist():
                bins = slice(self._cuts.offsets[feature], self._cuts.offsets[feature + 1])
                present = histogram[:, bins]
                missing = total - present.sum(axis=1)
                parts.append(np.concatenate((present, missing[:, None]), axis=1))
        local = np.concatenate(parts, axis=1)
        of_bins, of_nodes = self._variances
        width = local.shape[1] // len(level)
        variance = np.repeat(paired_variance(of_bins), width, axis=1)
        variance[:, :1] = paired_variance(of_nodes)
        highs, lows = self._bounds.pairs(local.shape[1])
        opened = communicator.noised_sum(
            local,
            bound=highs,
            low=lows,
            label=f"noised-bins:tree {self._tree_index} level {depth}",
            release=NoisedRelease(
                variance=np.tile(variance, (1, len(level))),
                moved=self._releases.bins.release.moved + self._releases.nodes.release.moved,
            ),
        )
        return [self._parted(sums) for sums in np.split(opened, len(level), axis=1)]

    def _parted(self, opened: Int64Array) -> tuple[NoisedSums, dict[int, NoisedSums]]:
        of_bins, of_nodes = self._variances
        node = noised_sums(opened[:, :1], np.array([of_nodes / of_bins]))
        by_feature: dict[int, NoisedSums] = {}
        at = 1
        for feature in self._features.tolist():
            stop = at + len(self._cuts.values[feature]) + 1
            by_feature[feature] = noised_sums(opened[:, at:stop], np.ones(stop - at))
            at = stop
        return node, by_feature

    def _best(self, node: _Node, sums: tuple[NoisedSums, dict[int, NoisedSums]]) -> BinSplit | None:
        best: BinSplit | None = None
        for feature, bins in node.bins.items():
            is_categorical = self._cuts.schema.is_categorical(feature)
            own = sums[1][feature]
            if is_categorical:
                present = NoisedSums(own.gradients[:-1], own.hessians[:-1], own.cells[:-1])
                order = ordered_bins(present, self._gain, is_categorical=True)
                bins = BinSet(order[np.isin(order, bins.order)], bins.has_missing)
            found = best_bin_split(
                own,
                bins,
                self._gain,
                feature=feature,
                is_categorical=is_categorical,
                node=sums[0],
            )
            if found is not None and (best is None or found.split.precedes(best.split)):
                best = found
        return best

    def _split(self, chosen: list[tuple[_Node, BinSplit, NoisedSums]]) -> list[_Node]:
        """Split nodes, and send this bank's rows on."""
        if not chosen:
            return []
        splits: list[NodeSplit] = []
        level: list[_Node] = []
        for node, found, total in sorted(chosen, key=lambda each: each[0].number):
            split = found.split
            numbers = self._builder.add_split(
                node.number,
                split,
                condition=split_condition(split, self._cuts),
                base_weight=np.float32(self._gain.weights(total)[0]),
                child_weights=(_ZERO, _ZERO),
                child_hessians=(_ZERO, _ZERO),
            )
            self._builder.set_hessian(node.number, np.float32(max(total.hessians[0], 0.0)))
            splits.append(NodeSplit(node.number, split.feature, split.table(self._cuts), *numbers))
            for number, side in zip(numbers, (found.left, found.right), strict=True):
                level.append(_Node(number, {**node.bins, split.feature: side}))
        self._rows.split(splits)
        return level
