"""Public bounds of what a node's histogram can hold; they fix the slot widths of a secure sum.

A bound follows only from what every bank knows: the pooled number of rows, the sums of the node,
which were opened before, and the range of the margins, which follows from the published leaves.

Claim
-----
Let the sums run over any set of rows at all banks - a node, or one bin of a node - of which ``G``
and ``H`` are the pooled fixed-point sums. Let ``N`` be the pooled number of rows, ``N1`` of them
positive, ``p`` in ``[p_min, p_max]`` the predicted probabilities, and

* ``r0 = (1 + d) / (1 - p_max)``, ``A = min(r0 * (H + N) + N, (N - N1) * g0)``
* ``r1 = (1 + d) / p_min``,       ``B = min(r1 * (H + N) + N, N1 * g1)``

with ``g0`` and ``g1`` the bounds of one row's ``|g|`` for label 0 and 1; where the set lies in a
bin whose masses of the labels are known (``bin_bounds``), these take part in both minima. Then the
sum of ``|g|`` is at most each of ``(N - N1) * g0 + N1 * g1``, ``A + B``, ``2 * A - G``,
``2 * B + G`` and ``max(r0, r1) * (H + N) + N``; and the sum of ``h`` is ``H``, because no hessian
is negative. Each subset of the set, and each bank's part of it, stays below the same bound in
absolute values. A child's bin is a subset of the child and of the parent's same bin: both bounds
hold, and the parent's bin usually gives the lower one by far, for it holds one ``max_bin``-th of
the parent.

Proof
-----
The logistic loss gives a row of weight ``w`` the gradient ``(p - y) * w`` and the hessian
``max(p * (1 - p), 1e-16) * w``. So ``g >= 0`` and ``g <= h / (1 - p)`` if ``y = 0``, and
``g <= 0`` and ``-g <= h / p`` if ``y = 1``: the weight cancels. In fixed point each ``g`` and ``h``
moves by at most 1/2 unit and keeps its sign, float32 adds a relative error below ``2^-20``, and
``d = 2^-8`` covers that and the few units in the last place by which a computed ``p`` may lie
outside its range, since a ratio is used only while ``1 - p_max`` (or ``p_min``) is at least
``2^-12``. Let ``a`` and ``b`` be the sums of ``|g|`` over the rows with ``y = 0`` and ``y = 1``.
Summed up, ``a <= r0 * (H0 + N0) + N0`` and ``b <= r1 * (H1 + N1) + N1`` with the hessians and the
counts of either label, which gives ``a <= A``, ``b <= B``, ``a + b <= A + B`` and the last bound.
As ``G = a - b``, also ``a + b = 2 a - G <= 2 A - G`` and ``a + b = 2 b + G <= 2 B + G``. Rows
outside the sample have ``g = h = 0``; they change nothing.

The bounds are computed in float64, whose rounding is covered by adding ``2^-48`` of everything that
was added or subtracted on the way: eight operations err by less than ``2^-49`` of that.
"""

import math
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Float64Array, Int64Array

__all__ = ["MarginRange", "NodeBounds"]

#: ``d`` of the proof.
_SLACK = 2.0**-8
#: Nearer to 0 or 1 than this the rounding of a float32 probability is no longer covered.
_LEAST_DISTANCE = 2.0**-12
#: Covers the rounding of float64, see the end of the proof.
_ROUNDING = 2.0**-48


@dataclass(frozen=True)
class MarginRange:
    """Range of the margins of all rows at all banks, known from the published leaves alone.

    Attributes
    ----------
    low, high : float
        float32 values.
    """

    low: float
    high: float

    @classmethod
    def at(cls, margin: float) -> "MarginRange":
        """Return the range before the first tree, when every margin is the base score's."""
        return cls(low=float(np.float32(margin)), high=float(np.float32(margin)))

    def after(self, tree: Tree) -> "MarginRange":
        """Return the range after ``tree`` was added to margins within this one.

        Margins are added up in float32. Rounding keeps order, so adding the least leaf to the
        least margin in float32 bounds every row's rounded sum.
        """
        leaves = tree.split_conditions[tree.left_children == NO_CHILD]
        return MarginRange(
            low=float(np.float32(self.low) + leaves.min()),
            high=float(np.float32(self.high) + leaves.max()),
        )


@dataclass(frozen=True)
class NodeBounds:
    """What is publicly known about fixed-point gradients and hessians of one boosting round.

    Attributes
    ----------
    n_rows : int
        Pooled number of rows.
    max_gradient, max_hessian : int
        Bounds of one row's ``|g|`` and ``h`` in fixed-point units.
    max_negative_gradient, max_negative_hessian : int or None
        The same for a row with label 0, where ``scale_pos_weight`` has no part in it; None if that
        makes no difference.
    n_positives : int or None
        Pooled number of rows with label 1; None if it is not public.
    min_probability, max_probability : float
        Range of the predicted probabilities of all rows, as follows from ``MarginRange``. The
        defaults say nothing and always hold. Only for the logistic loss may they be narrower.
    """

    n_rows: int
    max_gradient: int
    max_hessian: int
    max_negative_gradient: int | None = None
    max_negative_hessian: int | None = None
    n_positives: int | None = None
    min_probability: float = 0.0
    max_probability: float = 1.0

    def root(self) -> tuple[int, int]:
        """Return the bounds of the summed ``|g|`` and of ``h`` before any sum is known."""
        gradients = self._limits_by_class(self.max_negative_gradient, self.max_gradient)
        hessians = self._limits_by_class(self.max_negative_hessian, self.max_hessian)
        return sum(gradients), sum(hessians)

    def _limits_by_class(self, of_negative: int | None, of_positive: int) -> tuple[int, int]:
        """Return the bounds of a sum over all rows with label 0, and over those with label 1.

        If the number of positives is not public, the second counts every row.
        """
        n_positives = self.n_rows if self.n_positives is None else self.n_positives
        limit = of_positive if of_negative is None else of_negative
        return (self.n_rows - n_positives) * limit, n_positives * of_positive

    def of_sets(
        self,
        gradients: Int64Array,
        hessians: Int64Array,
        *,
        negative_mass: Float64Array | float = math.inf,
        positive_mass: Float64Array | float = math.inf,
    ) -> tuple[Int64Array, Int64Array]:
        """Return the bounds of the summed ``|g|`` and of ``h`` within sets of rows.

        Parameters
        ----------
        gradients, hessians : ndarray of one shape, dtype=int64
            Pooled fixed-point sums of each set: of a node, or of a bin of a node.
        negative_mass, positive_mass : ndarray of that shape, dtype=float64, or float
            Bounds of the summed weights of the rows with label 0 and 1 in each set
            (``BinBounds``), in fixed-point units; they bound the summed ``|g|`` of either label.

        Returns
        -------
        pair of ndarray of that shape, dtype=int64
        """
        negatives, positives = self._limits_by_class(self.max_negative_gradient, self.max_gradient)
        total = negatives + positives
        if self.n_positives is None:
            negatives = positives
        g, h = gradients.astype(np.float64), hessians.astype(np.float64)
        by_hessian_0 = self._limit_by_hessian(h, 1.0 - self.max_probability)
        by_hessian_1 = self._limit_by_hessian(h, self.min_probability)
        most_0 = np.minimum(float(negatives), negative_mass)
        most_1 = np.minimum(float(positives), positive_mass)
        of_negatives, of_positives = (
            np.minimum(by_hessian_0, most_0),
            np.minimum(by_hessian_1, most_1),
        )
        limit = np.minimum(of_negatives + of_positives, np.maximum(by_hessian_0, by_hessian_1))
        limit = np.minimum(limit, 2.0 * of_negatives - g)
        limit = np.minimum(limit, 2.0 * of_positives + g)
        # A set whose sums cannot be those of any rows gives less than nothing.
        limit = np.maximum(limit, 0.0)
        limit += _ROUNDING * (of_negatives + of_positives + np.abs(g))
        # Above the total, which is exact, nothing is known; float64 could not hold it either.
        is_known = limit < total * (1.0 - _ROUNDING)
        rounded = np.ceil(np.where(is_known, limit, 0.0)).astype(np.int64)
        return np.where(is_known, rounded, np.int64(total)), hessians

    def _limit_by_hessian(self, hessian: Float64Array, distance: float) -> Float64Array:
        """Return ``r * (H + N) + N`` for the distance ``1 - p_max`` or ``p_min``."""
        if distance < _LEAST_DISTANCE:
            return np.full(hessian.shape, np.inf)
        return (1.0 + _SLACK) / distance * (hessian + self.n_rows) + self.n_rows
