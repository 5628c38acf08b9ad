"""The public cells in which monitoring counts scores and features.

Law: a value's cell depends on that value alone, so that counts of cells add over banks and weeks.
No edge is fitted to data: edges that one bank's quantiles give would tell of that bank, and would
move with what they are to measure.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.boosting.score_cells import coarse_cells_of
from fraudfed.dtypes import BoolArray, Float32Array, Float64Array, Int64Array
from fraudfed.wire.messages import DataContract, FeatureType

#: Scores: steps of a quarter of the logit over [-16, 16), out of the coarse cells' 1/64.
SCORE_STEP: Final = 0.25
N_SCORE_CELLS: Final = 128
_COARSE_PER_CELL: Final = 16
_LOWEST_SCORE: Final = -16.0

#: Numbers: half octaves, ``2^k`` and ``1.5 * 2^k``, of either sign; amounts in minor units, counts,
#: ratios and seconds all lie within. Beyond an end is in the end's cell.
_LEAST_OCTAVE: Final = -6
_MOST_OCTAVE: Final = 34
_POSITIVE: Final[Float64Array] = np.array(
    [part * 2.0**k for k in range(_LEAST_OCTAVE, _MOST_OCTAVE) for part in (1.0, 1.5)]
)
_N_POSITIVE: Final = _POSITIVE.size
#: Negative ones, those next to zero, and positive ones.
N_NUMBER_CELLS: Final = 2 * _N_POSITIVE + 1


def score_cells_of(margins: Float32Array) -> Int64Array:
    """Return the cell of each margin, 0 .. N_SCORE_CELLS - 1; shape (n_rows,)."""
    return coarse_cells_of(margins) // _COARSE_PER_CELL


def score_edge(cell: int) -> float:
    """Return the lower edge of a cell on the logit."""
    return _LOWEST_SCORE + cell * SCORE_STEP


def number_cells_of(values: Float32Array) -> Int64Array:
    """Return the cell of each number, 0 .. N_NUMBER_CELLS - 1, ascending; NaN is not allowed.

    Zero, and what is nearer to it than ``2^-6``, is in the cell in the middle.
    """
    size = np.searchsorted(_POSITIVE, np.abs(values.astype(np.float64)), side="right")
    return (_N_POSITIVE + np.where(values < 0, -size, size)).astype(np.int64)


@dataclass(frozen=True)
class WatchedFeature:
    """A column of a model's features.

    Attributes
    ----------
    name : str
    categories : tuple of str or None
        None: it holds numbers.
    """

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def n_cells(self) -> int:
        """Cells of its values, then one for missing and one for unknown categories."""
        return (N_NUMBER_CELLS if self.categories is None else len(self.categories)) + 2

    def cells_of(self, values: Float32Array, is_unknown: BoolArray) -> Int64Array:
        """Return the cell of each value; shape (n_rows,)."""
        is_missing = np.isnan(values)
        known = np.where(is_missing, np.float32(0), values)
        cells = number_cells_of(known) if self.categories is None else known.astype(np.int64)
        cells = np.where(is_missing, self.n_cells - 2, cells)
        return np.where(is_unknown, self.n_cells - 1, cells).astype(np.int64)


def watched_features(contract: DataContract) -> tuple[WatchedFeature, ...]:
    """Return the features of a contract, in its order."""
    return tuple(
        WatchedFeature(
            spec.name,
            tuple(spec.categories or ()) if spec.type is FeatureType.CATEGORICAL else None,
        )
        for spec in contract.features
    )
