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
from fraudfed.boosting.score_cells import N_COARSE_CELLS, coarse_cells_of, count_cells
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import Summing, SumRequest
from fraudfed.dtypes import Float32Array, Int64Array
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
    table : TrainingTable
    weight : int
        Of this bank.
    """

    table: TrainingTable
    weight: int

    @classmethod
    def of(cls, rows: JudgedRows) -> "SelectRows":
        """Leave out what is censored, and count the cases."""
        known = ~rows.outcomes.is_censored
        table = TrainingTable(
            schema=rows.schema, features=rows.features[known], labels=rows.outcomes.labels[known]
        )
        n_positives = int(np.count_nonzero(table.labels == 1))
        if not 0 < n_positives < table.n_rows:
            return cls(table, weight=0)
        return cls(table, weight=min(Cases.of(rows.outcomes).n_cases, MOST_CASES))


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
    margins: Sequence[Float32Array],
    rows: SelectRows,
    counts: SelectCounts,
    *,
    trees: int,
    with_pooled: bool,
) -> Summing[list[Point]]:
    """Measure candidates by one sum.

    Parameters
    ----------
    margins : sequence of ndarray of shape (n_rows,), dtype=float32
        Of this bank's select rows, for each candidate.
    rows : SelectRows
    counts : SelectCounts
    trees : int
        That the margins have.
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
    own = [
        own_units(each, rows.table.labels) * rows.weight if rows.weight else 0 for each in margins
    ]
    values = [np.array(own, dtype=np.int64)]
    bounds = [np.full(len(own), counts.weight * METRIC_ONE, dtype=np.int64)]
    if with_pooled:
        of_labels = np.array([counts.n_rows - counts.n_positives, counts.n_positives])
        for each in margins:
            values.append(_ranking(each, rows.table.labels).reshape(-1))
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


def own_units(margins: Float32Array, labels: Float32Array) -> int:
    """Return one bank's exact average precision in units of ``2**-METRIC_BITS``.

    The same number as ``evaluation.bank_metric.bank_auprc``, without sorting all rows: it is asked
    for after every tree of every candidate.

    Parameters
    ----------
    margins, labels : ndarray of shape (n_rows,), dtype=float32
        At least one row has label 1.
    """
    is_positive = labels == 1
    thresholds, n_found = np.unique(margins[is_positive], return_counts=True)
    others = margins[~is_positive]
    others = others[others >= thresholds[0]]
    # Position i: negatives at or above threshold i, and below the next one.
    position = np.searchsorted(thresholds, others, side="right") - 1
    n_false = np.bincount(position, minlength=thresholds.size)
    found = np.cumsum(n_found[::-1]).tolist()
    false = np.cumsum(n_false[::-1]).tolist()
    area = math.fsum(
        step * at / (at + wrong)
        for step, at, wrong in zip(n_found[::-1].tolist(), found, false, strict=True)
    )
    return metric_units(area / found[-1])


def _ranking(margins: Float32Array, labels: Float32Array) -> Int64Array:
    return count_cells(
        coarse_cells_of(margins),
        (labels == 1).astype(np.int64),
        n_cells=N_COARSE_CELLS,
        n_classes=2,
    )
