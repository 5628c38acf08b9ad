"""What every bank knows of single bins from earlier sums, as bounds of the coming ones.

A bin of a feature holds the same rows in every tree; a bin of a node holds some of them. So what
was opened for a bin once bounds it for good. This holds without row sampling only: with it, each
tree's sums run over other rows.

Claim 1 (mass of a class)
-------------------------
Let all margins be equal, as before the first tree, with ``p0`` the probability. In one bin of the
root let ``G`` and ``H`` be the pooled fixed-point sums, and ``M1`` and ``M0`` the summed weights of
its rows with label 1 (times ``scale_pos_weight``) and 0, in fixed-point units. Then, with ``N`` the
pooled number of rows and ``d = 2^-8``,

* ``M1 <= (1 + d) * ((1 + d) * H / (1 - p0) - G + 2 * N / (1 - p0))``
* ``M0 <= (1 + d) * ((1 + d) * H / p0 + G + 2 * N / p0)``

Proof. A row with label 1 and mass m has ``g = -(1 - p0) m`` and ``h = p0 (1 - p0) m``, a row with
label 0 has ``g = p0 m`` and ``h = p0 (1 - p0) m``. So ``h / (1 - p0) - g`` is m for the former and
0 for the latter, and ``h / p0 + g`` the other way round: summed, M1 and M0. Fixed point moves each
g and h by at most 1/2 unit, which is at most ``N / (1 - p0)`` (or ``N / p0``) in all. float32 adds
a relative error below ``2^-20`` to each g and h: summed, below ``2^-20`` of ``2 H / (1 - p0) + M1``
(or of ``2 H / p0 + M0``), which both factors ``1 + d`` cover.

As ``|g| <= m`` for every row in every later tree, the summed ``|g|`` of the rows with label 1 in
any part of that bin is at most the bound of M1, and with label 0 that of M0; fixed point's 1/2 unit
a row and float32 are covered by the half of ``2 * N`` and by the factors that the above left over.

Claim 2 (from one root to the next)
-----------------------------------
Let no margin have moved by more than ``D`` since the tree before, whose root had the sums ``G`` and
``H`` in this bin. Then the bin's sum of h is at most ``e^D (1 + d) (H + N) + N``, and its sum of
``|g|`` at most ``e^D (1 + d) (G + M1 + N) + N + M1``.

Proof. ``d ln(p (1 - p)) / dm = 1 - 2 p`` and, for rows with label 0, whose g is p times their
weight, ``d ln p / dm = 1 - p``: neither exceeds 1, so h, and g for label 0, grow by a factor of at
most ``e^D`` (the floor of h only helps). Before, the sum of g over rows with label 0 was ``G`` plus
the sum of ``|g|`` over rows with label 1, which is at most M1. N covers fixed point, the factor
``1 + d`` float32 and what a rounded margin moves beyond D.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import BoolArray, Float64Array, Int64Array

__all__ = ["BinBounds"]

#: ``d`` of the proofs.
_SLACK = 2.0**-8
#: Nearer to 0 or 1 than this the rounding of a float32 probability is no longer covered.
_LEAST_DISTANCE = 2.0**-12
#: Sums at least this large are as good as unknown, and stay within int64 with what is added.
_HUGE = 2.0**61


@dataclass(frozen=True, eq=False)
class BinBounds:
    """Bounds of every bin of every feature; the same at every bank. Begin with ``unknown``.

    Attributes
    ----------
    negative_mass, positive_mass : ndarray of shape (total_bins,), dtype=float64
        M0 and M1 of the claims, in fixed-point units; infinite where nothing is known.
    root : ndarray of shape (2, total_bins), dtype=float64, or None
        Bounds of the next root's summed ``|g|`` and h; infinite where nothing is known.
    """

    negative_mass: Float64Array
    positive_mass: Float64Array
    root: Float64Array

    @classmethod
    def unknown(cls, total_bins: int) -> "BinBounds":
        """Return what is known before anything was summed: nothing."""
        nothing = np.full(total_bins, np.inf)
        return cls(nothing, nothing, np.stack((nothing, nothing)))

    def after_first_root(
        self, sums: Int64Array, is_known: BoolArray, *, probability: float, n_rows: int
    ) -> "BinBounds":
        """Learn the masses from the root of the first tree (claim 1).

        Parameters
        ----------
        sums : ndarray of shape (2, total_bins), dtype=int64
            Pooled sums of the root.
        is_known : ndarray of shape (total_bins,), dtype=bool
            Bins that were summed.
        probability : float
            ``p0``, equal for all rows.
        n_rows : int
            Pooled number of rows.
        """
        gradients, hessians = sums.astype(np.float64)

        def mass(signed: Float64Array, distance: float) -> Float64Array:
            if distance < _LEAST_DISTANCE:
                return np.full(signed.shape, np.inf)
            found = (1.0 + _SLACK) * hessians / distance + signed + 2.0 * n_rows / distance
            return np.where(is_known, (1.0 + _SLACK) * np.maximum(found, 0.0), np.inf)

        return replace(
            self,
            negative_mass=np.minimum(self.negative_mass, mass(gradients, probability)),
            positive_mass=np.minimum(self.positive_mass, mass(-gradients, 1.0 - probability)),
        )

    def after_tree(
        self, sums: Int64Array, is_known: BoolArray, tree: Tree, *, n_rows: int
    ) -> "BinBounds":
        """Bound the next root by this tree's root and its leaves (claim 2)."""
        leaves = tree.split_conditions[tree.left_children == NO_CHILD].astype(np.float64)
        growth = math.exp(min(float(np.abs(leaves).max()), 60.0)) * (1.0 + _SLACK)
        gradients, hessians = sums.astype(np.float64)
        negatives = np.maximum(gradients + self.positive_mass, 0.0)
        root = np.stack(
            (
                growth * (negatives + n_rows) + n_rows + self.positive_mass,
                growth * (hessians + n_rows) + n_rows,
            )
        )
        return replace(self, root=np.where(is_known, root, np.inf))

    def limit_root(self, limits: tuple[int, int]) -> Int64Array:
        """Return the bounds of the root's bins, none above ``limits``; shape (2, total_bins)."""
        most = np.array(limits, dtype=np.int64).reshape(2, 1)
        usable = np.where(self.root < _HUGE, self.root, 0.0)
        rounded = np.ceil(usable).astype(np.int64)
        return np.where(self.root < _HUGE, np.minimum(rounded, most), most)
