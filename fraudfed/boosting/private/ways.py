"""The three ways of training: each grows the next tree from this bank's gradients."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fraudfed.boosting.bins import BinnedTable
from fraudfed.boosting.histograms.local import HistogramBuilder, HistogramOrder
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.private.cyclic import feature_of_tree, tree_over_bins
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PlannedRelease, PrivacyPlan, paired_variance, variance_of
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms, TrainingWay


class TreeGrower(Protocol):
    """Grows trees over one bank's binned rows."""

    def grow(
        self, pairs: Int64Array, trees: Sequence[Tree], communicator: NoisingCommunicator
    ) -> Tree:
        """Return the next tree.

        Parameters
        ----------
        pairs : ndarray of shape (n_rows, 2), dtype=int64
            Bounded gradients and hessians, units of 2^-16.
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
    binned: BinnedTable,
) -> TreeGrower:
    """Return what grows trees by the terms' way."""
    if terms.way is TrainingWay.CYCLIC and plan.bins is not None:
        return CyclicGrower(params, plan.bins, bounds, binned)
    raise ParameterError(f"way {terms.way} is not there yet")


class CyclicGrower:
    """Grows trees over one feature each.

    Parameters
    ----------
    params : BoosterParams
    planned : PlannedRelease
        Of the bins of a feature.
    bounds : PrivateBounds
    binned : BinnedTable
    """

    def __init__(
        self,
        params: BoosterParams,
        planned: PlannedRelease,
        bounds: PrivateBounds,
        binned: BinnedTable,
    ) -> None:
        self._params = params
        self._variance = variance_of(planned.release)
        self._release = NoisedRelease(
            variance=paired_variance(self._variance), moved=planned.release.moved
        )
        self._bounds = bounds
        self._binned = binned
        self._rows = np.arange(binned.n_rows, dtype=np.uint32)

    def grow(
        self, pairs: Int64Array, trees: Sequence[Tree], communicator: NoisingCommunicator
    ) -> Tree:
        """See ``TreeGrower``."""
        cuts = self._binned.cuts
        feature = feature_of_tree(
            len(trees), n_features=cuts.schema.n_features, seed=self._params.seed
        )
        order = HistogramOrder(self._rows, np.array([feature], dtype=np.int64))
        (here,) = HistogramBuilder(self._binned, pairs).build([order])
        present = here.histogram[:, cuts.offsets[feature] : cuts.offsets[feature + 1]]
        missing = here.total[:, None] - present.sum(axis=1, keepdims=True)
        local = np.concatenate((present, missing), axis=1)
        highs, lows = self._bounds.pairs(local.shape[1])
        opened = communicator.noised_sum(
            local,
            bound=highs,
            low=lows,
            label=f"noised-bins:tree {len(trees)}",
            release=self._release,
        )
        return tree_over_bins(
            opened, feature=feature, cuts=cuts, params=self._params, variance=self._variance
        )
