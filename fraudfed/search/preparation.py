"""Step 0 of a search: rows are counted, base scores and cuts are found, once for all candidates."""

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS, check_classes
from fraudfed.boosting.cuts import finding_cuts
from fraudfed.boosting.objective import GradientBounds, estimating_base_score, gradient_bounds
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.communicator import Summing, SumRequest
from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError
from fraudfed.held_sums import hold_share
from fraudfed.parameters import BoosterParams
from fraudfed.search.candidates import Candidate, search_digest
from fraudfed.search.lockstep import together
from fraudfed.search.selection import SelectCounts, SelectRows
from fraudfed.search.state import CandidateState, SearchState
from fraudfed.wire.messages.kinds.search import SearchSpec


def preparing(
    candidates: tuple[Candidate, ...],
    spec: SearchSpec,
    shard: Shard,
    rows: SelectRows,
) -> Summing[SearchState]:
    """Count the rows of both windows, then find base scores and cuts side by side.

    The state that is returned does not have its own cost yet.
    """
    of_shard = np.array([shard.n_rows, shard.n_positives], dtype=np.int64)
    counts = yield SumRequest(
        values=np.concatenate((of_shard, select_counts(rows))),
        bound=MAX_POOLED_ROWS,
        low=0,
        label="rows",
    )
    n_rows, n_positives = counts[:2].tolist()
    check_classes("training rows", n_rows, n_positives)
    select = held_select(counts[2:])
    params = [candidate.params(n_positives) for candidate in candidates]
    for each in params:
        bounds_of(each, shard).check_rows(n_rows, n_positives)
    factors = sorted({each.scale_pos_weight for each in params if each.base_score is None})
    widths = sorted({each.max_bin for each in params})
    estimates = [
        estimating_base_score(
            shard, scale_pos_weight=factor, n_rows=n_rows, n_positives=n_positives
        )
        for factor in factors
    ]
    cuts = [finding_cuts(shard, max_bin=width, n_rows_total=n_rows) for width in widths]
    work: list[Summing[np.float32 | Cuts]] = [*estimates, *cuts]
    results = yield from together(work)
    scores = [float(each) for each in results if not isinstance(each, Cuts)]
    found = [each for each in results if isinstance(each, Cuts)]
    score_of = dict(zip(factors, scores, strict=True))
    return SearchState(
        of_search=search_digest(candidates, spec),
        n_rows=n_rows,
        n_positives=n_positives,
        select=select,
        cuts=dict(zip(widths, found, strict=True)),
        candidates=tuple(
            CandidateState(
                base_score=score_of[each.scale_pos_weight]
                if each.base_score is None
                else each.base_score,
                max_bin=each.max_bin,
            )
            for each in params
        ),
        rounds=0,
        values=0,
    )


def bounds_of(params: BoosterParams, shard: Shard) -> GradientBounds:
    """Return the bounds of a row's gradient for one candidate."""
    return gradient_bounds(max_weight=shard.max_weight, scale_pos_weight=params.scale_pos_weight)


def select_counts(rows: SelectRows) -> Int64Array:
    """Return this bank's rows, frauds and weight; shape (3,), dtype=int64."""
    shard = rows.shard
    return np.array([shard.n_rows, shard.n_positives, rows.weight], dtype=np.int64)


def held_select(sums: Int64Array) -> SelectCounts:
    """Return the pooled counts of the select window, held to what counts can be.

    Parameters
    ----------
    sums : ndarray of shape (3,), dtype=int64
        Of ``select_counts``.

    Raises
    ------
    DataError
        If a class is missing, or no bank can compare candidates.
    SumError
        If the counts are none of rows.
    """
    n_rows, n_positives, weight = sums.tolist()
    check_classes("rows of the select window", n_rows, n_positives)
    hold_share(weight, most=n_positives)
    if weight == 0:
        raise DataError(
            "no bank has both frauds and other payments in the select window; expected one at "
            "least, check the labels and the cut-offs"
        )
    return SelectCounts(n_rows, n_positives, weight)
