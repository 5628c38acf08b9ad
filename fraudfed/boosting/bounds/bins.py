"""What every bank knows of single bins, from counts and earlier sums, as bounds of coming sums.

A bin of a feature holds the same rows in every tree; a bin of a node holds some of them. So what
was opened of a bin once bounds it for good: its rows from the search for cuts on, and the masses of
the labels in it as well as they were ever known, which is best before the first tree, when all
margins are equal. ``bounds`` has notation and claims 1 to 5.

Masses, and what one root says of the next, hold without row sampling only: with it, the sums of
each tree run over other rows.

Claim 6 (from one root to the next)
-----------------------------------
Let every leaf of a tree lie in ``-v .. u`` with u, v >= 0, and no margin before or after it be
further than ``2^13`` from 0. Then, from one tree's root to the next, in every bin

* ``a_0' <= (1 + d) e^u (a_0 + 2^-20 M_0 + N) + N`` and ``a_1' <= (1 + d) e^v (a_1 + 2^-20 M_1 + N)
  + N``,
* ``H' <= (1 + d) e^max(u, v) (H + 2^-20 (M_0 + M_1) + N) + N + 512``.

Proof. Of the sigmoid p of a margin m, ``d ln p / dm = 1 - p``, ``d ln(1 - p) / dm = -p`` and ``d
ln(p (1 - p)) / dm = 1 - 2 p``, none further than 1 from 0. So p grows by a factor of at most
``e^u``, ``1 - p`` by ``e^v`` and the product by the larger one; the cap on very low margins only
brings p nearer to what it was. Float32 rounds the sum of margin and leaf by at most ``2^-11``, and
computes p with a relative error of a few ``2^-24``: d covers both. But ``1 - p`` is computed with
that error relative to 1, not to itself, which is a few ``2^-24`` of the row's weight before and
after: ``2^-20`` of the masses covers it. Fixed point moves each row by 1/2 before and after, and
512 is for the floor of h.
"""

from dataclasses import dataclass, replace

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.rows import FLOORS, SLACK, MarginRange, NodeBounds, by_excess
from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.engine.elementary import exp
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import BoolArray, Float64Array, Int64Array

#: As far from 0 as the margins of claim 6 may be.
_FARTHEST_MARGIN = 2.0**13
_MASS_SHIFT = 20
#: A larger bound is as good as unknown. Nothing is added to one up to this, so it may be above the
#: largest addend of ``rows``; the value decides how wide slots are, as that one does.
_LARGEST_ROUNDED = 2.0**61


def rows_of_sets(cuts: Cuts, n_rows: int) -> Int64Array:
    """Return how many of the ``n_rows`` pooled rows each set of ``BinBounds`` holds, at most.

    Returns
    -------
    ndarray of shape (total_bins + 1,), dtype=int64
    """
    return np.append(cuts.rows_of_bins(n_rows), n_rows)


@dataclass(frozen=True, eq=False)
class BinBounds:
    """What is known between two trees; the same at every bank. Begin with ``before_training``.

    Sets are the bins of all features, in the order of a histogram, and at the end all rows of the
    root (with a missing value in a feature or not).

    Attributes
    ----------
    n_rows : ndarray of shape (total_bins + 1,), dtype=int64
        Rows of each set, at most.
    masses : ndarray of shape (2, total_bins + 1), dtype=int64
        Bounds of the masses of the labels.
    root : SumBounds or None
        Of the coming root, from the one before; None if there is none.
    """

    n_rows: Int64Array
    masses: Int64Array
    root: SumBounds | None = None

    @classmethod
    def before_training(cls, cuts: Cuts, bounds: NodeBounds) -> "BinBounds":
        """Return what counts alone say; ``bounds`` may be those of any tree."""
        n_rows = rows_of_sets(cuts, bounds.n_rows)
        anything = replace(bounds, min_probability=0.0, max_probability=1.0)
        return cls(n_rows, anything.of_counts(n_rows).by_label)

    def of_root(self, bounds: NodeBounds) -> SumBounds:
        """Return the bounds of the coming root's sets."""
        found = bounds.of_counts(self.n_rows)
        return found if self.root is None else found.least(self.root)

    def open_root(self, bounds: NodeBounds, sums: Int64Array, is_known: BoolArray) -> "TreeBounds":
        """Return what is known of a tree once its root was summed.

        Parameters
        ----------
        bounds : NodeBounds
        sums : ndarray of shape (2, total_bins + 1), dtype=int64
            Pooled sums of the root's sets.
        is_known : ndarray of shape (total_bins + 1,), dtype=bool
            Which of them were summed.
        """
        n_rows = self.n_rows
        masses = np.where(
            is_known, np.minimum(self.masses, bounds.masses(sums, n_rows)), self.masses
        )
        # Where there are no sums, the excess is at most the mass: both bound a_y.
        excesses = np.where(is_known, bounds.excesses(sums, masses, n_rows), masses)
        before = self.of_root(bounds)
        before = SumBounds(np.minimum(before.by_label, masses), before.hessian)
        root = bounds.of_sums(sums, before, excesses, n_rows).where(is_known, before)
        return TreeBounds(bounds, n_rows, masses, root, excesses)


@dataclass(frozen=True, eq=False)
class TreeBounds:
    """What is known of a tree whose root was summed. Made by ``BinBounds.open_root``.

    Attributes
    ----------
    bounds : NodeBounds
        Of the tree.
    n_rows, masses
        As in ``BinBounds``.
    root : SumBounds
        Of the root's sets.
    excesses : ndarray of shape (2, total_bins + 1), dtype=int64
        Of the root's sets.
    """

    bounds: NodeBounds
    n_rows: Int64Array
    masses: Int64Array
    root: SumBounds
    excesses: Int64Array

    def of_parts(self, sums: Int64Array, bins: Int64Array) -> SumBounds:
        """Return the bounds of every part of sets that lie in bins of the root.

        Parameters
        ----------
        sums : ndarray of shape (2, n_sets), dtype=int64
            Pooled sums of the sets.
        bins : ndarray of shape (n_sets,), dtype=int64
            The root's set in which each of them lies.
        """
        return self.bounds.of_sums(
            sums, self.root.take(bins), self.excesses[:, bins], self.n_rows[bins]
        )

    def of_hessians(self, hessians: Int64Array, bins: Int64Array) -> SumBounds:
        """Return what the hessians of sets in bins of the root allow: gradients (claim 4).

        Little to compute: every bin of every node is held to it.

        Parameters
        ----------
        hessians : ndarray of shape (n_sets,), dtype=int64
            Pooled sums of the sets.
        bins : ndarray of shape (n_sets,), dtype=int64
            As in ``of_parts``.
        """
        return SumBounds(by_excess(hessians, self.excesses[:, bins], self.n_rows[bins]), hessians)

    def of_children(
        self,
        bins: Int64Array,
        *,
        totals: Int64Array,
        sizes: Int64Array,
        parents: Int64Array,
        is_known: BoolArray,
    ) -> SumBounds:
        """Return the bounds of the bins of some nodes, from their sums and their parents'.

        Parameters
        ----------
        bins : ndarray of shape (n_bins,), dtype=int64
            Position of each bin in a histogram: all bins of the first node, then of the next.
        totals : ndarray of shape (2, n_nodes), dtype=int64
            Pooled sums of each node.
        sizes : ndarray of shape (n_nodes,), dtype=int64
            Number of bins of each node.
        parents : ndarray of shape (2, n_bins), dtype=int64
            Pooled sums of the same bin of the node's parent.
        is_known : ndarray of shape (n_bins,), dtype=bool
            Whether these were summed.
        """
        of_nodes = self.of_parts(totals, self.whole(sizes.size))
        found = self.of_parts(parents, bins).where(is_known, self.root.take(bins))
        found = found.least(of_nodes.take(np.repeat(np.arange(sizes.size), sizes)))
        # The bins of the child have their own bound of h now, which says something of g.
        return self.bounds.within(found, self.excesses[:, bins], self.n_rows[bins])

    def whole(self, n_sets: int) -> Int64Array:
        """Return the set of all rows as that in which each of some sets lies."""
        return np.full(n_sets, self.n_rows.size - 1, dtype=np.int64)

    def after(self, tree: Tree, margins: MarginRange) -> BinBounds:
        """Return what is known of the root that follows ``tree`` (claim 6).

        Parameters
        ----------
        tree : Tree
        margins : MarginRange
            Before the tree.
        """
        reached = [margins, margins.after(tree)]
        if max(max(abs(each.low), abs(each.high)) for each in reached) > _FARTHEST_MARGIN:
            return BinBounds(self.n_rows, self.masses)
        leaves = tree.split_conditions[tree.left_children == NO_CHILD]
        moves = np.array([max(float(leaves.max()), 0.0), max(-float(leaves.min()), 0.0)])
        # Not by math.exp, whose last bit depends on the machine.
        growth = (1.0 + SLACK) * exp(np.minimum(moves, 60.0))
        n_rows, masses, root = self.n_rows, self.masses, self.root
        by_label = growth[:, None] * (root.by_label + (masses >> _MASS_SHIFT) + n_rows)
        hessian = growth.max() * (root.hessian + (masses.sum(axis=0) >> _MASS_SHIFT) + n_rows)
        return BinBounds(
            n_rows,
            masses,
            SumBounds(
                _rounded(by_label + n_rows, masses),
                _rounded(hessian + n_rows + FLOORS, masses.sum(axis=0)),
            ),
        )


def _rounded(limit: Float64Array, most: Int64Array) -> Int64Array:
    """Return the limit rounded up, or ``most`` where that is less."""
    usable = limit < _LARGEST_ROUNDED
    return np.where(
        usable, np.minimum(np.ceil(np.where(usable, limit, 0.0)).astype(np.int64), most), most
    )
