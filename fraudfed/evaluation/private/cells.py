"""The ranges in which scores are counted with noise: few, as each carries noise of its own.

Law: every edge is an edge of ``fraudfed.boosting.score_cells`` too, and a margin's range depends on
that margin alone.

Steps of 1/2 on the logit within 8 of zero. Twice as many ranges resolve more and carry more noise:
AUPRC came out no nearer (docs/metrics.md).
"""

from typing import Final

import numpy as np

from fraudfed.boosting.score_cells import N_COARSE_CELLS, coarse_cells_of
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array

_LIMIT: Final = 8
_STEPS_PER_UNIT: Final = 2
#: Of ``score_cells``: coarse cells of one unit of the logit, and where zero lies.
_COARSE_PER_UNIT: Final = 64
_COARSE_ZERO: Final = N_COARSE_CELLS // 2

N_RANGES: Final = 2 * _LIMIT * _STEPS_PER_UNIT
#: Lower edges, ascending; the first range reaches to -infinity, the last to +infinity.
RANGE_EDGES: Final[Float64Array] = np.arange(N_RANGES) / _STEPS_PER_UNIT - _LIMIT
#: Where the outer ranges are taken to end, for means of probabilities.
RANGE_ENDS: Final[Float64Array] = np.append(RANGE_EDGES, float(_LIMIT))


def ranges_of(margins: Float32Array) -> Int64Array:
    """Return the range of each margin, 0 .. N_RANGES - 1; ``edge <= margin < next edge``.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
        No NaN; infinities are counted at the ends.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=int64
    """
    first = _COARSE_ZERO - _LIMIT * _COARSE_PER_UNIT
    found = (coarse_cells_of(margins) - first) // (_COARSE_PER_UNIT // _STEPS_PER_UNIT)
    ranges: Int64Array = np.clip(found, 0, N_RANGES - 1).astype(np.int64)
    return ranges
