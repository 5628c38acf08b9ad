"""How good the live candidates are on the select window of all banks, in one secure sum.

``mean_of_banks``: each bank's own average precision, in steps of ``2**-METRIC_BITS``, times the
weight of the bank; over the summed weights. A bank weighs its cases, at most 200 of them: from
there on its metric is certain enough beside the differences between banks, and the largest bank
does not choose alone. A bank without any fraud, or with nothing else, weighs nothing.

``pooled``: average precision over the rows of all banks, from counts by label and coarse cell of
the score (``boosting.score_cells``); scores of one cell are ties.

Every payment counts once; sample weights do not enter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.metrics import average_precision
from fraudfed.boosting.score_cells import N_COARSE_CELLS
from fraudfed.boosting.shard.local import shard_of
from fraudfed.boosting.shard.protocol import BoostedRows, Shard
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import Summing, SumRequest
from fraudfed.evaluation.bank_metric import METRIC_ONE, metric_units
from fraudfed.evaluation.cases import Cases
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.held_sums import hold_ranking, hold_share
from fraudfed.search.halving import Point

#: Most cases that a bank is weighted by.
MOST_CASES = 200


@dataclass(frozen=True, eq=False)
class SelectRows:
    """A bank's rows of the select window whose labels are known.

    Attributes
    ----------
    shard : Shard
    weight : int
        Of this bank: its cases, and ``MOST_CASES`` at most; 0 without rows of both classes.
    """

    shard: Shard
    weight: int

    @classmethod
    def of(cls, rows: JudgedRows, *, threads: int | None = None) -> "SelectRows":
        """Leave out what is censored, and count the cases; ``threads`` change no result."""
        known = ~rows.outcomes.is_censored
        table = TrainingTable(
            schema=rows.schema, features=rows.features[known], labels=rows.outcomes.labels[known]
        )
        shard = shard_of(table, threads=threads)
        if not 0 < shard.n_positives < shard.n_rows:
            return cls(shard, weight=0)
        return cls(shard, weight=min(Cases.of(rows.outcomes).n_cases, MOST_CASES))


@dataclass(frozen=True)
class SelectCounts:
    """Pooled numbers of the select window.

    Attributes
    ----------
    n_rows, n_positives : int
    weight : int
        Of all banks together.
    """

    n_rows: int
    n_positives: int
    weight: int


def evaluating(
    candidates: Sequence[BoostedRows],
    weight: int,
    counts: SelectCounts,
    *,
    trees: int,
    with_pooled: bool,
) -> Summing[list[Point]]:
    """Measure candidates by one sum.

    Parameters
    ----------
    candidates : sequence of BoostedRows
        This bank's select rows after the trees of each candidate.
    weight : int
        Of this bank.
    counts : SelectCounts
    trees : int
        That each candidate has.
    with_pooled : bool

    Returns
    -------
    list of Point
        One for each candidate.

    Raises
    ------
    SumError
        If the sums are none of the rows.
    """
    own = [own_units(each) * weight if weight else 0 for each in candidates]
    values = [np.array(own, dtype=np.int64)]
    bounds = [np.full(len(own), counts.weight * METRIC_ONE, dtype=np.int64)]
    if with_pooled:
        of_labels = np.array([counts.n_rows - counts.n_positives, counts.n_positives])
        for each in candidates:
            values.append(each.metric_parts(["aucpr"])["ranking"])
            bounds.append(np.repeat(of_labels, N_COARSE_CELLS))
    sums = yield SumRequest(
        values=np.concatenate(values),
        bound=np.concatenate(bounds),
        low=0,
        label=f"select:tree {trees - 1}",
    )
    points: list[Point] = []
    rankings = sums[len(own) :].reshape(-1, 2, N_COARSE_CELLS)
    for number, total in enumerate(sums[: len(own)].tolist()):
        hold_share(total, most=counts.weight * METRIC_ONE)
        pooled = None
        if with_pooled:
            negatives, positives = rankings[number]
            hold_ranking(
                rankings[number],
                n_negatives=counts.n_rows - counts.n_positives,
                n_positives=counts.n_positives,
            )
            pooled = average_precision(negatives, positives)
        points.append(Point(trees, total / (counts.weight * METRIC_ONE), pooled))
    return points


def own_units(rows: BoostedRows) -> int:
    """Return one bank's exact average precision in units of ``2**-METRIC_BITS``.

    The same number as ``evaluation.bank_metric.bank_auprc``, without sorting all rows: it is asked
    for after every tree of every candidate.

    Parameters
    ----------
    rows : BoostedRows
        At least one row has label 1.
    """
    thresholds, n_found = rows.case_margins()
    n_false = rows.count_others(thresholds)
    found = np.cumsum(n_found[::-1]).tolist()
    false = np.cumsum(n_false[::-1]).tolist()
    area = math.fsum(
        step * at / (at + wrong)
        for step, at, wrong in zip(n_found[::-1].tolist(), found, false, strict=True)
    )
    return metric_units(area / found[-1])
