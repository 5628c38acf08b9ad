"""Successive halving: the weaker candidates are dropped, the others grow on.

K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization",
AISTATS 2016, algorithm 1; the rungs are the caller's.

A candidate is as good as the best of its points so far. So the best point of all candidates is
never dropped, unless only the first rung's keeping of shares would have kept it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages.kinds.search import SelectBy


@dataclass(frozen=True)
class Point:
    """How good a candidate's first trees are.

    Attributes
    ----------
    trees : int
    mean_of_banks : float
        Mean of each bank's AUPRC, weighted by its cases.
    pooled : float or None
        AUPRC over the rows of all banks; None where it was not asked for.
    """

    trees: int
    mean_of_banks: float
    pooled: float | None

    def value(self, select_by: SelectBy) -> float | None:
        """Return the value that candidates are compared by."""
        return self.mean_of_banks if select_by is SelectBy.MEAN_OF_BANKS else self.pooled


@dataclass(frozen=True)
class Standing:
    """What a candidate is ranked by.

    Attributes
    ----------
    params : BoosterParams
    min_child_share : float or None
    curve : tuple of Point
        Ascending trees; at least one with a value.
    """

    params: BoosterParams
    min_child_share: float | None
    curve: tuple[Point, ...]


def best_point(curve: Sequence[Point], select_by: SelectBy) -> Point | None:
    """Return the first point of the largest value; None if no point has a value.

    Parameters
    ----------
    curve : sequence of Point
        Ascending trees.
    select_by : SelectBy
    """
    best: tuple[float, Point] | None = None
    for point in curve:
        value = point.value(select_by)
        if value is not None and (best is None or value > best[0]):
            best = value, point
    return None if best is None else best[1]


def measured_best(curve: Sequence[Point], select_by: SelectBy) -> tuple[Point, float]:
    """Return the best point of a curve that has one, and its value."""
    best = best_point(curve, select_by)
    value = None if best is None else best.value(select_by)
    if best is None or value is None:
        raise ValueError("a candidate has no value to be ranked by")
    return best, value


def ranked(standings: Sequence[Standing], select_by: SelectBy) -> list[int]:
    """Return the positions of candidates, the best first.

    Ties go to the simpler model: fewer trees at its best, then smaller depth, then larger
    ``min_child_weight``, then the plan's order.
    """

    def key(position: int) -> tuple[float, int, float, float, int]:
        standing = standings[position]
        best, value = measured_best(standing.curve, select_by)
        depth = float("inf") if standing.params.max_depth == 0 else standing.params.max_depth
        return -value, best.trees, depth, -standing.params.min_child_weight, position

    return sorted(range(len(standings)), key=key)


def survivors(
    standings: Sequence[Standing], select_by: SelectBy, *, alive: int, keep_each_share: bool
) -> list[int]:
    """Return the positions of the candidates that grow on, ascending.

    Parameters
    ----------
    standings : sequence of Standing
    select_by : SelectBy
    alive : int
        How many grow on.
    keep_each_share : bool
        The best candidate of each ``min_child_share`` does, as far as there is room: ranked.
    """
    order = ranked(standings, select_by)
    first: list[int] = []
    if keep_each_share:
        shares: set[float] = set()
        for position in order:
            share = standings[position].min_child_share
            if share is not None and share not in shares:
                shares.add(share)
                first.append(position)
    chosen = [*first, *(position for position in order if position not in first)]
    return sorted(chosen[:alive])
