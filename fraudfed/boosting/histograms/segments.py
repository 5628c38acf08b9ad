"""Bins of a feature in a node, and the one of them that follows from the node's total."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Float64Array, Int64Array
from fraudfed.held_sums import hold_range


@dataclass(frozen=True, eq=False)
class Segments:
    """Bins of several features of several nodes, in a row: one segment for each pair.

    Attributes
    ----------
    sizes : ndarray of shape (n_segments,), dtype=int64
        Bins of each, at least 1.
    nodes : ndarray of shape (n_segments,), dtype=int64
        Node of each, ascending from 0.
    is_complete : ndarray of shape (n_segments,), dtype=bool
        Whether the bins hold all rows of the node.
    """

    sizes: Int64Array
    nodes: Int64Array
    is_complete: BoolArray

    def derived(self, weights: Int64Array) -> BoolArray:
        """Choose from each complete segment the first bin of the largest weight."""
        chosen = np.zeros(weights.size, dtype=np.bool_)
        if self.sizes.size == 0:
            return chosen
        largest = np.maximum.reduceat(weights, self._starts)
        numbers = np.repeat(np.arange(self.sizes.size), self.sizes)
        candidates = np.flatnonzero((weights == largest[numbers]) & self.is_complete[numbers])
        firsts = np.flatnonzero(np.diff(numbers[candidates], prepend=-1))
        chosen[candidates[firsts]] = True
        return chosen

    def derive(self, sums: Int64Array, is_derived: BoolArray, *, totals: Int64Array) -> Int64Array:
        """Put what the other bins leave of the node's total into each chosen bin, which holds 0.

        Parameters
        ----------
        sums : ndarray of shape (2, n_bins), dtype=int64
        is_derived : ndarray of shape (n_bins,), dtype=bool
            From ``derived``.
        totals : ndarray of shape (2, n_nodes), dtype=int64

        Returns
        -------
        ndarray of shape (2, n_segments), dtype=int64
            What the bins leave of their node: rows in which the feature is missing.

        Raises
        ------
        SumError
            If the bins of a segment are none of rows.
        """
        if self.sizes.size == 0:
            return np.zeros((2, 0), dtype=np.int64)
        absolute: Float64Array = np.abs(sums).astype(np.float64)
        hold_range(np.add.reduceat(absolute, self._starts, axis=1))
        rest = totals[:, self.nodes] - np.add.reduceat(sums, self._starts, axis=1)
        if is_derived.any():
            sums[:, is_derived] = rest[:, self.is_complete]
            rest[:, self.is_complete] = 0
        return rest

    @property
    def _starts(self) -> Int64Array:
        starts: Int64Array = np.cumsum(self.sizes) - self.sizes
        return starts
