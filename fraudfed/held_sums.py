"""What must be true of an opened sum before it becomes a bound or decides anything.

The secure sum shows that numbers are what the banks put in, not that they are those of rows: a bank
may put in anything, negative counts too. Every opened sum of a training or a risk run is therefore
held to what is true of all rows, however they are split over banks.

Law: a rule looks at the opened sum and at what every bank knows, never at what one bank put in. So
the same rule breaks at every bank, in the same round, with the same words; and the words hold no
number. A bank that checked its own part instead would tell the others by failing alone that its
part lies above a bound, and one bank can choose that bound.
"""

from enum import StrEnum

import numpy as np

from fraudfed.dtypes import BoolArray, Float64Array, Int64Array
from fraudfed.errors import SumError

#: Between ``2^62`` and ``2^63``: above all sums of rows, and below the end of int64.
_MOST_ABSOLUTE = 1.5 * 2.0**62


class Untrue(StrEnum):
    """What an opened sum says and no rows can; the words stand in the error's text."""

    ROWS = "the counts of rows are none of rows: negative, or more positives than rows"
    MASSES = "the weights of the rows of a label are negative, or above what their number allows"
    BUCKETS = "the counts of a feature's buckets are negative, or add up to more than the rows"
    PARTS = "the counts of the parts of a bucket are negative, or add up to more than the bucket"
    SETS = "gradients or hessians of a set of rows are none that its rows can have"
    MISSING = "the bins of a feature hold more than their node"
    CHILDREN = "the sums of a child leave its sibling what no part of their parent is"
    METRICS = "the counts behind a metric are not those of the validation rows"
    JUDGED = "the counts of judged rows, cases, accounts or amounts are no part of their whole"
    DAYS = "the totals of days are negative, or above what a day can hold"
    SKETCHES = "the counters of a day are negative, or do not add up to its total"
    COUNTED = "counts of rows or identifiers are more than the whole that they are a part of"


def hold(is_true: bool | np.bool_, otherwise: Untrue) -> None:
    """Go on only if something is true of an opened sum.

    Raises
    ------
    SumError
        If it is not, in words that are the same at every bank.
    """
    if not is_true:
        raise SumError(
            f"opened sum: {otherwise.value}; a bank contributed what no rows add up to, nothing "
            "was kept of it: compare releases and data of all banks"
        )


def hold_rows(n_rows: int, n_positives: int, *, most: int) -> None:
    """Hold the pooled number of rows, and of those with label 1, to 0 .. ``most``."""
    hold(0 <= n_positives <= n_rows <= most, Untrue.ROWS)


def hold_masses(masses: Int64Array, most: Int64Array) -> None:
    """Hold the summed weights of the rows of each label to 0 .. ``most``; all of shape (2,)."""
    hold(_within(masses, np.zeros_like(most), most), Untrue.MASSES)


def hold_buckets(counts: Int64Array, *, n_rows: int) -> None:
    """Hold the first counts of every feature to the rows; some rows may lack the feature.

    Parameters
    ----------
    counts : ndarray of shape (n_features, n_buckets), dtype=int64
    n_rows : int
    """
    hold(_adds_up_to_at_most(counts, np.full(len(counts), n_rows)), Untrue.BUCKETS)


def hold_parts(known: Int64Array, holders: Int64Array) -> None:
    """Hold the counts of all parts but the last of each bucket to the bucket's own.

    Parameters
    ----------
    known : ndarray of shape (n_buckets, n_parts - 1), dtype=int64
    holders : ndarray of shape (n_buckets,), dtype=int64
    """
    hold(_adds_up_to_at_most(known, holders), Untrue.PARTS)


def hold_sets(sums: Int64Array, lows: Int64Array, highs: Int64Array) -> None:
    """Hold gradients and hessians of sets of rows to their public bounds; all (2, n_sets)."""
    hold(_within(sums, lows, highs), Untrue.SETS)


def hold_range(absolute: Float64Array) -> None:
    """Hold sums of absolute values over bins, of any shape, to what 62 bits can hold.

    Rows never add up to more (``GradientBounds.check_rows``), and int64 could not say that they do.
    Float64 errs by less than what lies between this and the end of int64.
    """
    hold(bool((absolute < _MOST_ABSOLUTE).all()), Untrue.SETS)


def hold_missing(rests: Int64Array, lows: Int64Array, highs: Int64Array) -> None:
    """Hold what the bins of a feature leave of their node, its rows without a value, to the node.

    Parameters
    ----------
    rests, lows, highs : ndarray of shape (2, n_features), dtype=int64
    """
    hold(_within(rests, lows, highs), Untrue.MISSING)


def hold_gradients(gradients: Int64Array, by_label: Int64Array) -> None:
    """Hold the gradients of sets of rows to what their hessians allow.

    Parameters
    ----------
    gradients : ndarray of shape (n_sets,), dtype=int64
    by_label : ndarray of shape (2, n_sets), dtype=int64
        Of the summed ``|g|`` of each label; g is positive for label 0, and negative for label 1.
    """
    hold(_within(gradients, -by_label[1], by_label[0]), Untrue.SETS)


def hold_siblings(sums: Int64Array, parents: Int64Array, is_possible: BoolArray) -> None:
    """Hold what a child leaves its sibling, bin by bin, to the parent.

    Parameters
    ----------
    sums : ndarray of shape (2, n_bins), dtype=int64
        Gradients and hessians of the sibling.
    parents : ndarray of shape (n_bins,), dtype=int64
        Hessians of the parent.
    is_possible : ndarray of shape (n_bins,), dtype=bool
        Whether the sibling can have rows in a bin: a split empties the others.
    """
    hessians = sums[1]
    hold(_within(hessians, np.zeros_like(parents), parents), Untrue.CHILDREN)
    hold(not sums[:, ~is_possible].any(), Untrue.CHILDREN)


def hold_share(count: int, *, most: int) -> None:
    """Hold a sum over validation rows to 0 .. ``most``."""
    hold(0 <= count <= most, Untrue.METRICS)


def hold_ranking(by_label: Int64Array, *, n_negatives: int, n_positives: int) -> None:
    """Hold the counts of margins, shape (2, n_buckets), to the validation rows of each label."""
    hold(
        bool((by_label >= 0).all()) and by_label.sum(axis=1).tolist() == [n_negatives, n_positives],
        Untrue.METRICS,
    )


def hold_judged(parts_are_within: bool) -> None:
    """Hold what is counted of judged rows to the counts that it is a part of."""
    hold(parts_are_within, Untrue.JUDGED)


def hold_day_totals(totals: Int64Array, *, most: int) -> None:
    """Hold what all banks enter for days to 0 .. ``most``."""
    hold(bool(((totals >= 0) & (totals <= most)).all()), Untrue.DAYS)


def hold_sketch(sketch: Int64Array, *, total: int) -> None:
    """Hold every row of a sketch, shape (depth, width), to its day: each entry is in it once."""
    hold(bool((sketch >= 0).all() and (sketch.sum(axis=1) == total).all()), Untrue.SKETCHES)


def hold_counted(parts_are_within: bool) -> None:
    """Hold the totals of a statistics run to each other; its cells have bounds of their own."""
    hold(parts_are_within, Untrue.COUNTED)


def _within(sums: Int64Array, lows: Int64Array, highs: Int64Array) -> bool:
    return bool(((sums >= lows) & (sums <= highs)).all())


def _adds_up_to_at_most(counts: Int64Array, most: Int64Array) -> bool:
    # No count is above its whole, so that their sum stays far inside int64.
    if not ((counts >= 0) & (counts <= most[:, None])).all():
        return False
    return bool((counts.sum(axis=1) <= most).all())
