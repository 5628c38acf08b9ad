"""Bounds of the gradients and hessians summed over sets of rows."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array


@dataclass(frozen=True, eq=False)
class SumBounds:
    """Bounds for several sets of rows; all hold for every subset of a set as well.

    Attributes
    ----------
    by_label : ndarray of shape (2, n_sets), dtype=int64
        Of the summed ``|g|`` of the rows with label 0, whose g is never negative, and of those
        with label 1, whose g is never positive; fixed-point units.
    hessian : ndarray of shape (n_sets,), dtype=int64
        Of the summed h, which is never negative.
    """

    by_label: Int64Array
    hessian: Int64Array

    @classmethod
    def nothing(cls, n_sets: int) -> "SumBounds":
        """Return the bounds of sets without rows."""
        return cls(np.zeros((2, n_sets), dtype=np.int64), np.zeros(n_sets, dtype=np.int64))

    @property
    def lows(self) -> Int64Array:
        """Least sums of g and h over any subset; shape (2, n_sets)."""
        return np.stack((-self.by_label[1], np.zeros_like(self.hessian)))

    @property
    def highs(self) -> Int64Array:
        """Largest sums of g and h over any subset; shape (2, n_sets)."""
        return np.stack((self.by_label[0], self.hessian))

    def take(self, sets: Int64Array) -> "SumBounds":
        """Return the bounds of some of the sets.

        Parameters
        ----------
        sets : ndarray of shape (n_taken,), dtype=int64
            Positions of the sets.
        """
        return SumBounds(self.by_label[:, sets], self.hessian[sets])

    def least(self, other: "SumBounds") -> "SumBounds":
        """Return what follows from both; ``other`` may be of a single set that holds all these."""
        return SumBounds(
            np.minimum(self.by_label, other.by_label), np.minimum(self.hessian, other.hessian)
        )

    def where(self, chosen: BoolArray, other: "SumBounds") -> "SumBounds":
        """Return these bounds for the chosen sets and those of ``other`` for the rest.

        Parameters
        ----------
        chosen : ndarray of shape (n_sets,), dtype=bool
        other : SumBounds
            Of the same sets.
        """
        return SumBounds(
            np.where(chosen, self.by_label, other.by_label),
            np.where(chosen, self.hessian, other.hessian),
        )
