"""Numeric splits: every bin edge of every feature."""

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.engine.compiled import Engine, FoundSplit, load_engine
from fraudfed.boosting.splits.candidate import NodeSums, Split, first_best
from fraudfed.boosting.splits.gain import GainFormula, WeightBounds, to_double
from fraudfed.dtypes import Int64Array


class NumericScan:
    """Candidates of a set of numeric features, in the order of comparison.

    Per feature with ``n`` bins first the forward scan: split after bin 0, 1, .. n - 1, missing
    values right. Then, if there are missing values, the backward scan: split before bin n - 1,
    .. 1, 0, missing values left. The ends of the scans separate all present values from the
    missing ones. The scanned side is a range of bins; the other side is the rest of the node,
    missing values included.

    Parameters
    ----------
    features : ndarray of shape (n_active,), dtype=int64
        Numeric features, ascending.
    cuts : Cuts
    formula : GainFormula
    """

    def __init__(self, features: Int64Array, cuts: Cuts, formula: GainFormula) -> None:
        engine = load_engine()
        self._scan: _CompiledScan | _NumpyScan = (
            _NumpyScan(features, cuts, formula)
            if engine is None
            else _CompiledScan(engine, features, cuts, formula)
        )

    def best_split(
        self, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
    ) -> Split | None:
        """Return the first best of all candidates; None if none has a positive gain.

        Parameters
        ----------
        histogram : ndarray of shape (2, total_bins), dtype=int64
        node : NodeSums
        bounds : WeightBounds
        """
        found = self._scan.best(histogram, node, bounds)
        if found is None:
            return None
        loss_change, feature, split_bin, is_backward, scanned, other = found
        # The scanned side is the left child going forward and the right one going backward.
        left, right = (other, scanned) if is_backward else (scanned, other)
        return Split(
            loss_change=np.float32(loss_change),
            feature=feature,
            split_bin=split_bin,
            right_categories=(),
            is_categorical=False,
            default_left=is_backward,
            left=left,
            right=right,
        )


class _CompiledScan:
    """Tries one candidate after the other."""

    def __init__(
        self, engine: Engine, features: Int64Array, cuts: Cuts, formula: GainFormula
    ) -> None:
        self._engine = engine
        self._features = features
        self._offsets = cuts.offsets
        self._formula = formula

    def best(
        self, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
    ) -> FoundSplit | None:
        return self._engine.best_numeric_split(
            np.ascontiguousarray(histogram),
            self._offsets,
            self._features,
            self._formula.directions,
            (node.gradient, node.hessian),
            float(node.gain),
            (float(bounds.lower), float(bounds.upper)),
            self._formula.penalties,
            self._formula.switches,
        )


class _NumpyScan:
    """Computes all candidates of all features at once, backward ones in any case."""

    def __init__(self, features: Int64Array, cuts: Cuts, formula: GainFormula) -> None:
        self._formula = formula
        offsets = cuts.offsets
        first = [np.empty(0, dtype=np.int64)]
        stop, owner, split_bin = first.copy(), first.copy(), first.copy()
        is_backward = [np.empty(0, dtype=np.bool_)]
        for position, feature in enumerate(features.tolist()):
            start, end = int(offsets[feature]), int(offsets[feature + 1])
            n_bins = end - start
            ascending = np.arange(n_bins, dtype=np.int64)
            descending = ascending[::-1]
            first.append(np.concatenate((np.full(n_bins, start), start + descending)))
            stop.append(np.concatenate((start + ascending + 1, np.full(n_bins, end))))
            owner.append(np.full(2 * n_bins, position))
            split_bin.append(np.concatenate((ascending, descending - 1)))
            is_backward.append(np.arange(2 * n_bins) >= n_bins)
        self._features = features
        self._feature_start, self._feature_stop = offsets[features], offsets[features + 1]
        self._first, self._stop = np.concatenate(first), np.concatenate(stop)
        self._owner, self._split_bin = np.concatenate(owner), np.concatenate(split_bin)
        self._is_backward = np.concatenate(is_backward)
        self._directions = formula.directions[features][self._owner]

    def best(
        self, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
    ) -> FoundSplit | None:
        formula = self._formula
        totals = np.array([[node.gradient], [node.hessian]], dtype=np.int64)
        running = np.zeros((2, histogram.shape[1] + 1), dtype=np.int64)
        np.cumsum(histogram, axis=1, out=running[:, 1:])
        scanned = running[:, self._stop] - running[:, self._first]
        others = totals - scanned

        present = running[:, self._feature_stop] - running[:, self._feature_start]
        has_missing = (present != totals).any(axis=0)
        scanned_sums, other_sums = to_double(scanned), to_double(others)
        is_valid = formula.is_valid_child(scanned_sums[1]) & formula.is_valid_child(other_sums[1])
        is_valid &= ~self._is_backward | has_missing[self._owner]

        # The scanned side is the left child going forward and the right one going backward. A
        # sum of two floats does not depend on their order; a monotone direction turns round.
        gains = formula.split_gain(
            (scanned_sums[0], scanned_sums[1]),
            (other_sums[0], other_sums[1]),
            bounds,
            np.where(self._is_backward, -self._directions, self._directions),
        )
        loss_changes = gains - node.gain
        best = first_best(loss_changes, is_valid)
        if best is None:
            return None
        return (
            float(loss_changes[best]),
            int(self._features[self._owner[best]]),
            int(self._split_bin[best]),
            bool(self._is_backward[best]),
            (int(scanned[0, best]), int(scanned[1, best])),
            (int(others[0, best]), int(others[1, best])),
        )
