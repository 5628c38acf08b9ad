"""Whether alerts fall alike on groups of payments: rates of each group, and the gaps between them.

The measures are those of the field: false-positive rate and true-positive rate by group (M. Hardt,
E. Price, N. Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016, definitions 2.1
and 2.2), and the share of payments that is alerted on (demographic parity). Fairlearn's functions
of the same names take the largest and the smallest group, and so do we. Groups with fewer than
``plan.LEAST_CASES`` cases of all banks have no rates: they would say more about single customers
than about the model.

Counts are by cells of the score, so that every value has two ends; the value that the rows
themselves have lies within them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.score_cells import CELL_EDGES, N_CELLS, coarse_cells_of, fine_edge
from fraudfed.dtypes import Int64Array
from fraudfed.evaluation.report import GroupMetrics
from fraudfed.evaluation.score_histogram import Bounded
from fraudfed.evaluation.thresholds import Between


@dataclass(frozen=True)
class GroupGap:
    """How far apart the groups of one kind are, at the threshold of the whole alert budget.

    Attributes
    ----------
    group : str
        ``channel``, ``merchant_category``, ``fraud_kind``, or an own column of the contract.
    values : tuple of str
        The groups that have rates.
    false_positive_rate_ratio : Bounded or None
        Smallest over largest share of clean payments that is alerted on; 1 is alike. None where
        groups have no clean payments of their own, or no group has a false alert for certain.
    true_positive_rate_difference : Bounded
        Largest less smallest share of frauds that is alerted on; 0 is alike.
    alert_rate_ratio : Bounded or None
        Smallest over largest share of payments that is alerted on.
    """

    group: str
    values: tuple[str, ...]
    false_positive_rate_ratio: Bounded | None
    true_positive_rate_difference: Bounded
    alert_rate_ratio: Bounded | None


def share_alerted(counts: Int64Array, between: Between) -> Bounded | None:
    """Return the share of a group's payments that alerts of the whole budget fall on.

    Parameters
    ----------
    counts : ndarray of shape (N_COARSE_CELLS,), dtype=int64
        Payments of the group by coarse cell of their score, ascending.
    between : Between
        The fine edges that the threshold lies between.

    Returns
    -------
    Bounded or None
        None of no payment.
    """
    at_strict = int(counts[_first_above(between.strict) :].sum())
    at_loose = int(counts[_first_with(between.loose) :].sum())
    return between.of(at_strict, at_loose, whole=int(counts.sum()))


def gaps(groups: Iterable[GroupMetrics]) -> tuple[GroupGap, ...]:
    """Compare the groups of each kind that has two or more of them, in the order given."""
    by_kind: dict[str, list[GroupMetrics]] = {}
    for one in groups:
        by_kind.setdefault(one.group, []).append(one)
    found = []
    for kind, members in by_kind.items():
        true = [one.true_positive_rate for one in members if one.true_positive_rate is not None]
        if len(true) < 2:
            continue
        found.append(
            GroupGap(
                group=kind,
                values=tuple(one.value for one in members),
                false_positive_rate_ratio=_ratio([one.false_positive_rate for one in members]),
                true_positive_rate_difference=_difference(true),
                alert_rate_ratio=_ratio([one.alert_rate for one in members]),
            )
        )
    return tuple(found)


def _first_above(edge: int) -> int:
    """Return the first coarse cell that lies at or above a fine edge as a whole."""
    cell = _first_with(edge)
    return cell if fine_edge(cell) == edge else cell + 1


def _first_with(edge: int) -> int:
    """Return the coarse cell that a fine edge lies in, or the number of coarse cells above all."""
    if edge == N_CELLS:
        return int(coarse_cells_of(CELL_EDGES[-1:].astype(np.float32))[0]) + 1
    return int(coarse_cells_of(CELL_EDGES[edge : edge + 1].astype(np.float32))[0])


def _ratio(rates: list[Bounded | None]) -> Bounded | None:
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates) or len(known) < 2:
        return None
    (least, least_low, least_high), (most, most_low, most_high) = _least(known), _most(known)
    if most_low == 0:
        return None
    low, high = least_low / most_high, min(1.0, least_high / most_low)
    return Bounded(min(max(least / most, low), high), low, high)


def _difference(rates: list[Bounded]) -> Bounded:
    (least, least_low, least_high), (most, most_low, most_high) = _least(rates), _most(rates)
    low, high = max(0.0, most_low - least_high), most_high - least_low
    return Bounded(min(max(most - least, low), high), low, high)


def _least(rates: list[Bounded]) -> tuple[float, float, float]:
    """Return estimate and ends of the smallest of some values, of which only the ends are known."""
    return (
        min(rate.estimate for rate in rates),
        min(rate.low for rate in rates),
        min(rate.high for rate in rates),
    )


def _most(rates: list[Bounded]) -> tuple[float, float, float]:
    return (
        max(rate.estimate for rate in rates),
        max(rate.low for rate in rates),
        max(rate.high for rate in rates),
    )
