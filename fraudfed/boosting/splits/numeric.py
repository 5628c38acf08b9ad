"""Numeric splits: every bin edge of every feature, scanned by the engine."""

import numpy as np

from fraudfed.boosting.engine.protocol import NumericScan
from fraudfed.boosting.gain import NodeSums, WeightBounds
from fraudfed.boosting.splits.candidate import Split
from fraudfed.dtypes import Int64Array


def best_numeric_split(
    scan: NumericScan, histogram: Int64Array, node: NodeSums, bounds: WeightBounds
) -> Split | None:
    """Return the first best of all candidates of a scan; None if none has a positive gain.

    Parameters
    ----------
    scan : NumericScan
    histogram : ndarray of shape (2, total_bins), dtype=int64
        Pooled fixed-point sums.
    node : NodeSums
    bounds : WeightBounds
    """
    found = scan.best(histogram, node, bounds)
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
