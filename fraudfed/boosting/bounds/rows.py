"""What is publicly known of rows, and what follows for the sums over sets of them.

The slots of a secure sum are as wide as the bounds of what they hold. A bound follows only from
what every bank knows: pooled counts, sums that were opened before, and the range of the margins,
which follows from the published leaves.

Notation
--------
A *set* is any set of rows at all banks: a node, or one bin of a node. ``G`` and ``H`` are its
pooled fixed-point sums, ``N`` is at least its number of rows. ``a_0`` and ``a_1`` are the sums of
``|g|`` over its rows with label 0 and 1, ``M_0`` and ``M_1`` (its *masses*) those of their weights,
in fixed-point units. ``p`` is a row's predicted probability, as computed in float32 and within
``[p_min, p_max]``, and ``w`` its weight times ``2^32``. ``s_0 = 1`` and ``s_1 = -1``.

A row with label 0 has ``g = p w >= 0``, one with label 1 has ``g = -(1 - p) w <= 0``, and both have
``h = max(p (1 - p), 1e-16) w``, up to rounding: float32 errs by less than ``e = 2^-20`` of the
value (``1 - p`` is exact where p >= 1/2), and fixed point by at most 1/2; it keeps the sign. All
weights together are below ``2^62`` (``GradientBounds.check_rows``), so the floor of h adds less
than 512 to any sum.

So ``G = a_0 - a_1``; and over any *part* of the set, such as one bank's rows, or a child's, the sum
of g lies in ``-a_1 .. a_0`` and the sum of h in ``0 .. H``. All bounds below are bounds of a_0, a_1
and H for a set and hold for its parts.

Claims
------
1. ``a_y <= r_y (H + N) + N`` with ``r_0 = (1 + d) / (1 - p_max)``, ``r_1 = (1 + d) / p_min``,
   ``d = 2^-8``; used while the divisor is at least ``2^-12``.
2. ``a_y <= s_y G + a_(1-y)``.
3. ``M_y <= r_(1-y) (H + N) + s_y G``, plus ``2^-17`` of it and of its first term, plus 4 N + 1;
   and ``a_y`` is at most this as well, in this tree and in every other.
4. Let the set lie in a set T, and let ``x_y = s_y G_T + M_(1-y) - H_T`` of T, the *excess* of T.
   Then ``a_y <= H + x_y``, plus ``2^-17`` of ``|G_T| + M_(1-y) + H_T`` and of ``H + x_y``, plus
   6 N_T + 514.
5. ``a_0 <= c n_0 w_0`` and ``a_1 <= c' n_1 w_1`` with the largest weights w_y and the numbers n_y
   of rows of a label, both at most N; ``c = (1 + d) p_max``, ``c' = (1 + d) (1 - p_min)``, neither
   below ``2^-12`` or above 1; likewise for H, with the largest ``p (1 - p)`` of the range.

Claim 4 says most: claim 1 says little once some margin is large, while the excess, which is the sum
of ``p^2 w`` of a bin over *all* nodes, stays small where positives are few.

Proofs
------
1. For label 0, ``p w <= p (1 - p) w / (1 - p_max)``; for label 1 the same with ``1 - p >= ...`` and
   ``p_min``. A computed p may lie a few units in the last place outside its range: at distances
   from ``2^-12`` on, d covers that and e. Each row adds 1/2 for h and 1/2 for g.

2. ``G = a_0 - a_1``.

3. For label 1; the other way round for label 0. ``M_1`` sums ``p w + (1 - p) w``. Over all rows of
   the set the sum of p w is at most ``r_0 (H + N)`` as in 1 (label 1 has the same h). Take off the
   sum of p w over label 0, at least ``(1 - e) a_0 - N / 2``; add that of (1 - p) w over label 1, at
   most ``(1 + e) a_1 + N``: ``M_1 <= r_0 (H + N) - G + e (a_0 + a_1) + 2 N``. Here ``a_0 <= (1 + e)
   r_0 (H + N) + N`` and ``a_1 <= (1 + e) M_1 + N / 2``; solved for M_1, the errors are less than
   ``8 e = 2^-17`` of the result and of ``r_0 (H + N)``, and one more N. Rounding to fixed point
   moves the masses by N / 2 in all; and ``|g| <= w`` for every row in every tree, rounded or not.

4. For label 0; for label 1 put ``1 - p`` for p. With ``q = p^2 w``, ``p w = p (1 - p) w + q``. So a
   row with label 0 has ``g <= (1 + 4 e) (h + q) + 2``, and ``a_0 <= (1 + 4 e) (H + Q) + 2 N`` with
   Q the sum of q over all of T, which is no less than over the set. Over T, q sums up to the sum of
   p w minus that of ``p (1 - p) w``. The former is, as in 3, at most ``G_T + M_1 + 2 e a_0 + e a_1
   + 2 N`` and the latter at least ``(1 - e) H_T - N / 2 - 512``; and ``a_0 <= |G_T| + a_1``, ``a_1
   <= (1 + e) M_1 + N / 2`` in T. So Q is at most the excess plus ``4 e`` of ``|G_T| + M_1 + H_T``,
   plus 4 N + 512, and ``4 e = 2^-18``; an excess below 0 counts as 0.

5. Rounding is monotone and ``|g| <= w``, ``h <= w / 4`` (``GradientBounds``); d covers computed
   probabilities outside their range, as in 1.

Divisions are done in float64, whose error of ``2^-50`` d covers; all else is in integers.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.bounds.sums import SumBounds
from fraudfed.boosting.objective import LARGEST_SUM, GradientBounds
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Float64Array, Int64Array

#: ``d`` of the proofs.
SLACK = 2.0**-8
#: Nearer to 0 or 1 than this the rounding of a float32 probability is no longer covered.
_LEAST_DISTANCE = 2.0**-12
#: ``8 e`` of the proofs as a shift.
_ERROR_SHIFT = 17
#: What floors of h can add to a sum.
FLOORS = 512
#: A larger bound is as good as unknown; to one up to this a sum can be added within int64. Where
#: sums exceed it, from 2^28 rows of weight 1 on, the value decides how wide slots are.
_LARGEST_ADDEND = 2.0**60


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
    """What is publicly known of the rows before one tree, and what follows for sets of them.

    Holds for the logistic loss only.

    Attributes
    ----------
    n_rows, n_negatives, n_positives : int
        Pooled number of rows, of those with label 0 and of those with label 1, each at most; the
        latter two may add up to more than the first.
    row : GradientBounds
        Bounds of one row in fixed-point units.
    min_probability, max_probability : float
        Range of the predicted probabilities of all rows, as follows from ``MarginRange``. The
        defaults say nothing and always hold.
    """

    n_rows: int
    n_negatives: int
    n_positives: int
    row: GradientBounds
    min_probability: float = 0.0
    max_probability: float = 1.0

    def of_counts(self, n_rows: Int64Array) -> SumBounds:
        """Return the bounds of sets of rows from their sizes alone (claim 5).

        Parameters
        ----------
        n_rows : ndarray of shape (n_sets,), dtype=int64
            Rows of each, at most.
        """
        low, high = self.min_probability, self.max_probability
        largest = 0.25 if low <= 0.5 <= high else max(low * (1.0 - low), high * (1.0 - high))
        negative, positive = (
            np.minimum(n_rows, most) for most in (self.n_negatives, self.n_positives)
        )
        row = self.row
        by_label = np.stack(
            (
                negative * _share(row.negative_gradient, high),
                positive * _share(row.gradient, 1.0 - low),
            )
        )
        of_negative = _share(row.negative_hessian, 4.0 * largest)
        of_positive = _share(row.hessian, 4.0 * largest)
        # As many as there can be of the label with the larger limit, then of the other one.
        hessian = (
            positive * of_positive + (n_rows - positive) * of_negative
            if of_positive >= of_negative
            else negative * of_negative + (n_rows - negative) * of_positive
        )
        return SumBounds(by_label, hessian)

    def masses(self, sums: Int64Array, n_rows: Int64Array) -> Int64Array:
        """Return bounds of the masses of sets whose sums are known (claim 3).

        Parameters
        ----------
        sums : ndarray of shape (2, n_sets), dtype=int64
            Pooled fixed-point sums of g and h.
        n_rows : ndarray of shape (n_sets,), dtype=int64
            Rows of each, at most.

        Returns
        -------
        ndarray of shape (2, n_sets), dtype=int64
            ``2^62``, which no mass exceeds, where nothing can be said.
        """
        gradient, hessian = sums
        found = []
        for sign, distance in ((1, self.min_probability), (-1, 1.0 - self.max_probability)):
            by_hessian = _by_hessian(hessian + n_rows, distance)
            usable = by_hessian < _LARGEST_ADDEND
            first = np.where(usable, by_hessian, 0.0).astype(np.int64)
            mass = np.maximum(first + sign * gradient, 0)
            mass += ((mass + first) >> _ERROR_SHIFT) + 4 * n_rows + 1
            found.append(np.where(usable, mass, LARGEST_SUM))
        return np.stack(found)

    def excesses(self, sums: Int64Array, masses: Int64Array, n_rows: Int64Array) -> Int64Array:
        """Return the excesses of sets whose sums and masses are known (claim 4).

        What float32 and fixed point may add is in them, up to what depends on the part.

        Parameters
        ----------
        sums, masses : ndarray of shape (2, n_sets), dtype=int64
        n_rows : ndarray of shape (n_sets,), dtype=int64

        Returns
        -------
        ndarray of shape (2, n_sets), dtype=int64
        """
        gradient, hessian = sums
        others = masses[::-1]
        excess: Int64Array = np.maximum(np.stack((gradient, -gradient)) + others - hessian, 0)
        # Shifted before they are added up, which would leave int64; 3 for what each shift drops.
        excess += (others >> _ERROR_SHIFT) + (np.abs(gradient) >> _ERROR_SHIFT)
        excess += (hessian >> _ERROR_SHIFT) + 4 * n_rows + FLOORS + 3
        return excess

    def within(self, known: SumBounds, excesses: Int64Array, n_rows: Int64Array) -> SumBounds:
        """Return what the bound of h says of the others (claims 1 and 4).

        Parameters
        ----------
        known : SumBounds
        excesses : ndarray of shape (2, n_sets), dtype=int64
            Of a set that holds it, for each.
        n_rows : ndarray of shape (n_sets,), dtype=int64
        """
        by_label = np.minimum(known.by_label, by_excess(known.hessian, excesses, n_rows))
        for label, distance in ((0, 1.0 - self.max_probability), (1, self.min_probability)):
            limit = _by_hessian(known.hessian + n_rows, distance)
            usable = limit < _LARGEST_ADDEND
            rounded = np.where(usable, limit, 0.0).astype(np.int64) + n_rows
            by_label[label] = np.where(
                usable, np.minimum(by_label[label], rounded), by_label[label]
            )
        return SumBounds(by_label, known.hessian)

    def of_sums(
        self, sums: Int64Array, known: SumBounds, excesses: Int64Array, n_rows: Int64Array
    ) -> SumBounds:
        """Return the bounds of sets whose sums are known as well (claims 1, 2 and 4).

        Parameters
        ----------
        sums : ndarray of shape (2, n_sets), dtype=int64
        known, excesses, n_rows
            As in ``within``.
        """
        gradient, hessian = sums
        found = self.within(SumBounds(known.by_label, hessian), excesses, n_rows)
        negatives, positives = found.by_label
        # Sums that cannot be those of any rows would give less than nothing.
        by_other = np.maximum(np.stack((positives + gradient, negatives - gradient)), 0)
        return SumBounds(np.minimum(found.by_label, by_other), hessian)


def by_excess(hessian: Int64Array, excesses: Int64Array, n_rows: Int64Array) -> Int64Array:
    """Return the bounds of the labels that follow from that of h (claim 4); (2, n_sets).

    Parameters
    ----------
    hessian, n_rows : ndarray of shape (n_sets,), dtype=int64
    excesses : ndarray of shape (2, n_sets), dtype=int64
        Of a set that holds it, for each.
    """
    total = hessian + excesses
    found: Int64Array = total + (total >> _ERROR_SHIFT) + (2 * n_rows + 1)
    return found


def _share(limit: int, share: float) -> int:
    """Return the bound of a row's value where it is at most a share of ``limit`` (claim 5)."""
    share = max((1.0 + SLACK) * share, _LEAST_DISTANCE)
    return min(limit, int(share * limit) + 1)


def _by_hessian(hessian: Int64Array, distance: float) -> Float64Array:
    """Return ``r`` times the hessian for the distance ``1 - p_max`` or ``p_min``, rounded up."""
    if distance < _LEAST_DISTANCE:
        return np.full(hessian.shape, np.inf)
    limit: Float64Array = np.ceil((1.0 + SLACK) / distance * hessian)
    return limit
