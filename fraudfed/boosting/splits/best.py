"""The best split of a node, from its pooled histogram.

Candidates are compared in XGBoost's order (``src/tree/hist/evaluate_splits.h``): features
ascending; within a numeric feature the forward scan, then, if the node has rows in which the
feature is missing, the backward scan; a later candidate must have a strictly larger gain. Gains
that are infinite or not a number never win.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.engine.protocol import Engine, NumericScan
from fraudfed.boosting.gain import GainFormula, NodeSums, WeightBounds
from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.splits.categorical import best_categorical_split
from fraudfed.boosting.splits.numeric import best_numeric_split
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True, eq=False)
class _Scans:
    """The features of one column sample, sorted by how their splits are enumerated."""

    numeric: NumericScan
    categorical: tuple[int, ...]


class SplitFinder:
    """Finds best splits for one tree.

    Parameters
    ----------
    params : BoosterParams
    cuts : Cuts
    formula : GainFormula
    engine : Engine
    """

    def __init__(
        self, params: BoosterParams, cuts: Cuts, formula: GainFormula, engine: Engine
    ) -> None:
        self._params = params
        self._cuts = cuts
        self._formula = formula
        self._engine = engine
        self._scans: dict[bytes, _Scans] = {}

    def find(
        self, histogram: Int64Array, node: NodeSums, features: Int64Array, bounds: WeightBounds
    ) -> Split | None:
        """Return the best split of a node, or None if no valid one has a positive gain.

        Parameters
        ----------
        histogram : ndarray of shape (2, total_bins), dtype=int64
            Pooled fixed-point sums; what the features' bins lack of the node's sums belongs to
            rows in which the feature is missing.
        node : NodeSums
        features : ndarray of shape (n_active,), dtype=int64
            Ascending.
        bounds : WeightBounds
            Monotone bounds of the node.
        """
        if features.size == 0:
            return None
        scans = self._scans_of(features)
        best = best_numeric_split(scans.numeric, histogram, node, bounds)
        offsets = self._cuts.offsets
        for feature in scans.categorical:
            start, stop = int(offsets[feature]), int(offsets[feature + 1])
            found = best_categorical_split(
                histogram[:, start:stop],
                node,
                feature=feature,
                bounds=bounds,
                formula=self._formula,
                params=self._params,
            )
            if found is not None and (best is None or found.precedes(best)):
                best = found
        return best

    def _scans_of(self, features: Int64Array) -> _Scans:
        key = features.tobytes()
        if key not in self._scans:
            schema = self._cuts.schema
            categorical = [f for f in features.tolist() if schema.is_categorical(f)]
            numeric = np.setdiff1d(features, np.array(categorical, dtype=np.int64))
            self._scans[key] = _Scans(
                numeric=self._engine.numeric_scan(numeric, self._cuts.offsets, self._formula),
                categorical=tuple(categorical),
            )
        return self._scans[key]
