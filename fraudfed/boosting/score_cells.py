"""The cells in which scores are counted: one public grid on the logit, in two finenesses.

Law: the fine cells split the coarse ones, and a margin's cells depend on that margin alone. So
counts by cell add over banks, and coarse counts are sums of fine ones.

Coarse cells, equal steps of 1/64 over [-16, 16), rank the validation rows after every tree. Fine
cells serve the one evaluation at the end of a run: steps of 1/512 within 10 of zero, where the
prevalence of fraud and all useful thresholds lie, and coarse ones outside. docs/metrics.md has the
resolution measured. Margins outside the grid are counted in the first and last cell: a probability
there is within 1.2e-7 of 0 or 1.
"""

import numpy as np

from fraudfed.dtypes import Float32Array, Float64Array, Int64Array

_LIMIT = 16
_FINE_WITHIN = 10
_STEPS_PER_UNIT = 512
_STEPS_PER_COARSE = 8
_N_STEPS = 2 * _LIMIT * _STEPS_PER_UNIT

#: Coarse cells, of a training's metrics.
N_COARSE_CELLS = _N_STEPS // _STEPS_PER_COARSE


def _edges() -> Float64Array:
    """Return the lower edges of the fine cells, all of them multiples of 1/512 and so exact."""
    step = np.arange(_N_STEPS)
    margin = step / _STEPS_PER_UNIT - _LIMIT
    is_edge = (np.abs(margin) < _FINE_WITHIN) | (step % _STEPS_PER_COARSE == 0)
    edges: Float64Array = margin[is_edge]
    return edges


#: Lower edges of the fine cells, shape (N_CELLS,), ascending; the first cell reaches to -infinity.
CELL_EDGES = _edges()
#: Fine cells.
N_CELLS = CELL_EDGES.size
_CELL_OF_STEP = np.searchsorted(
    CELL_EDGES, np.arange(_N_STEPS) / _STEPS_PER_UNIT - _LIMIT, side="right"
).astype(np.int64) - np.int64(1)


def cells_of(margins: Float32Array) -> Int64Array:
    """Return the fine cell of each margin, 0 .. N_CELLS - 1; ``edge <= margin < next edge``.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
        No NaN; infinities are counted at the ends.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=int64
    """
    cells: Int64Array = _CELL_OF_STEP[_steps(margins)]
    return cells


def coarse_cells_of(margins: Float32Array) -> Int64Array:
    """Return the coarse cell of each margin, 0 .. N_COARSE_CELLS - 1; as ``cells_of``."""
    return _steps(margins) // _STEPS_PER_COARSE


def fine_edge(coarse: int) -> int:
    """Return the first fine cell at or above a coarse one; N_CELLS for N_COARSE_CELLS."""
    return int(np.searchsorted(CELL_EDGES, coarse * _STEPS_PER_COARSE / _STEPS_PER_UNIT - _LIMIT))


def coarsened(counts: Int64Array) -> Int64Array:
    """Return the counts of coarse cells, shape (N_COARSE_CELLS,), from those of fine ones."""
    starts = np.flatnonzero(np.diff(coarse_cells_of(CELL_EDGES.astype(np.float32)), prepend=-1))
    counted: Int64Array = np.add.reduceat(counts, starts)
    return counted


def count_cells(
    cells: Int64Array, classes: Int64Array, *, n_cells: int, n_classes: int
) -> Int64Array:
    """Count rows by class and cell.

    Parameters
    ----------
    cells, classes : ndarray of shape (n_rows,), dtype=int64
        From 0, below ``n_cells`` and ``n_classes``.

    Returns
    -------
    ndarray of shape (n_classes, n_cells), dtype=int64
    """
    counts = np.bincount(classes * n_cells + cells, minlength=n_classes * n_cells)
    by_class: Int64Array = counts.astype(np.int64).reshape(n_classes, n_cells)
    return by_class


def _steps(margins: Float32Array) -> Int64Array:
    # A product with a power of two is exact in float64, and so is the floor: no margin crosses an
    # edge, however near to it.
    position = np.floor(margins.astype(np.float64) * _STEPS_PER_UNIT) + _LIMIT * _STEPS_PER_UNIT
    steps: Int64Array = np.clip(position, 0, _N_STEPS - 1).astype(np.int64)
    return steps
