"""The three ways of training: each grows the next tree from this bank's gradients.

Each adds it to the margins as well: the rows lie in the leaves of a tree that was grown over nodes;
of a tree over one feature, a look at a row's bin says its leaf.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.private.cyclic import feature_of_tree, tree_over_bins
from fraudfed.boosting.private.histograms import HistogramReleases, NoisedHistogramGrower
from fraudfed.boosting.private.leaves import leaf_sums, release_leaves, send_down
from fraudfed.boosting.private.random_splits import drawn_tree
from fraudfed.boosting.shard.protocol import BoostedRows, GrowingRows, SumOrder
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import NoisingCommunicator
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PlannedRelease, PrivacyPlan, paired_variance, variance_of
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, TrainingWay


class TreeGrower(Protocol):
    """Grows trees over one bank's binned rows."""

    def grow(
        self,
        rows: BoostedRows,
        growing: GrowingRows,
        trees: Sequence[Tree],
        communicator: NoisingCommunicator,
    ) -> Tree:
        """Return the next tree, which was added to the margins.

        Parameters
        ----------
        rows : BoostedRows
        growing : GrowingRows
            Of these rows, with bounded gradients in units of 2^-16.
        trees : sequence of Tree
            All before it.
        communicator : NoisingCommunicator
        """
        ...


def grower_of(
    params: BoosterParams,
    terms: PrivacyTerms,
    plan: PrivacyPlan,
    bounds: PrivateBounds,
    cuts: Cuts,
) -> TreeGrower:
    """Return what grows trees by the terms' way."""
    bins, nodes, leaves = plan.bins, plan.nodes, plan.leaves
    if terms.way is TrainingWay.CYCLIC and bins is not None:
        return CyclicGrower(params, bins, bounds, cuts)
    if terms.way is TrainingWay.RANDOM_SPLITS and leaves is not None:
        return RandomSplitsGrower(params, leaves, bounds, cuts)
    if bins is None or nodes is None or leaves is None:
        raise ValueError(f"the plan lacks a release of the way {terms.way}")
    return HistogramsGrower(
        params,
        HistogramReleases(bins, nodes, leaves),
        bounds,
        cuts,
        n_features=terms.features_per_tree,
    )


class CyclicGrower:
    """Grows trees over one feature each.

    Parameters
    ----------
    params : BoosterParams
    planned : PlannedRelease
        Of the bins of a feature.
    bounds : PrivateBounds
    cuts : Cuts
        That the rows are binned by.
    """

    def __init__(
        self,
        params: BoosterParams,
        planned: PlannedRelease,
        bounds: PrivateBounds,
        cuts: Cuts,
    ) -> None:
        self._params = params
        self._variance = variance_of(planned.release)
        self._release = NoisedRelease(
            variance=paired_variance(self._variance), moved=planned.release.moved
        )
        self._bounds = bounds
        self._cuts = cuts

    def grow(
        self,
        rows: BoostedRows,
        growing: GrowingRows,
        trees: Sequence[Tree],
        communicator: NoisingCommunicator,
    ) -> Tree:
        """See ``TreeGrower``."""
        cuts = self._cuts
        feature = feature_of_tree(
            len(trees), n_features=cuts.schema.n_features, seed=self._params.seed
        )
        own = growing.sums([SumOrder(0, np.array([feature], dtype=np.int64))])
        present = own.histograms[0][:, cuts.offsets[feature] : cuts.offsets[feature + 1]]
        missing = own.totals[0][:, None] - present.sum(axis=1, keepdims=True)
        local = np.concatenate((present, missing), axis=1)
        highs, lows = self._bounds.pairs(local.shape[1])
        opened = communicator.noised_sum(
            local,
            bound=highs,
            low=lows,
            label=f"noised-bins:tree {len(trees)}",
            release=self._release,
        )
        tree = tree_over_bins(
            opened, feature=feature, cuts=cuts, params=self._params, variance=self._variance
        )
        rows.add(tree)
        return tree


class RandomSplitsGrower:
    """Draws trees, and has their leaves released.

    Parameters
    ----------
    params : BoosterParams
    planned : PlannedRelease
        Of the leaves of a tree.
    bounds : PrivateBounds
    cuts : Cuts
        That the rows are binned by.
    """

    def __init__(
        self,
        params: BoosterParams,
        planned: PlannedRelease,
        bounds: PrivateBounds,
        cuts: Cuts,
    ) -> None:
        self._params = params
        self._planned = planned
        self._bounds = bounds
        self._cuts = cuts

    def grow(
        self,
        rows: BoostedRows,  # noqa: ARG002 - they are finished as they grew
        growing: GrowingRows,
        trees: Sequence[Tree],
        communicator: NoisingCommunicator,
    ) -> Tree:
        """See ``TreeGrower``."""
        drawn = drawn_tree(len(trees), cuts=self._cuts, params=self._params)
        send_down(drawn, growing, self._cuts)
        tree = release_leaves(
            drawn,
            leaf_sums(drawn, growing),
            tree_index=len(trees),
            params=self._params,
            planned=self._planned,
            bounds=self._bounds,
            communicator=communicator,
        )
        growing.finish(tree.split_conditions)
        return tree


class HistogramsGrower:
    """Grows trees from noised histograms.

    Parameters
    ----------
    params : BoosterParams
    releases : HistogramReleases
    bounds : PrivateBounds
    cuts : Cuts
        That the rows are binned by.
    n_features : int
        Of each tree.
    """

    def __init__(
        self,
        params: BoosterParams,
        releases: HistogramReleases,
        bounds: PrivateBounds,
        cuts: Cuts,
        *,
        n_features: int,
    ) -> None:
        self._params = params
        self._releases = releases
        self._bounds = bounds
        self._cuts = cuts
        self._n_features = n_features

    def grow(
        self,
        rows: BoostedRows,  # noqa: ARG002 - they are finished as they grew
        growing: GrowingRows,
        trees: Sequence[Tree],
        communicator: NoisingCommunicator,
    ) -> Tree:
        """See ``TreeGrower``."""
        grower = NoisedHistogramGrower(
            len(trees),
            params=self._params,
            n_features=self._n_features,
            releases=self._releases,
            bounds=self._bounds,
            rows=growing,
            cuts=self._cuts,
        )
        return grower.grow(communicator)
