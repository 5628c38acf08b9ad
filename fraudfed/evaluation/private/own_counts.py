"""What one bank counts for the noised release: rows with a known label by range of their score.

One row is in one count. Where the unit is a customer, at most so many of each customer's rows are
counted, drawn anew by the bank each time: which ones depends on no other customer. Rows without a
customer count as one customer's.
"""

import numpy as np

from fraudfed.boosting.score_cells import count_cells
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.evaluation.private.cells import N_RANGES, ranges_of
from fraudfed.privacy.bounding import at_most


def own_counts(
    margins: Float32Array,
    outcomes: Outcomes,
    *,
    row_cap: int | None = None,
    draw: np.random.Generator,
) -> Int64Array:
    """Count this bank's rows.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
    outcomes : Outcomes
    row_cap : int or None
        Most rows of one customer; None counts all.
    draw : Generator
        The bank's own, from secret entropy.

    Returns
    -------
    ndarray of shape (2, N_RANGES), dtype=int64
        Clean rows, and frauds. Censored rows are left out.

    Raises
    ------
    DataError
        As ``check_customers``, or if there is not one score for each row.
    """
    if margins.shape != outcomes.labels.shape:
        raise DataError(
            f"margins have shape {margins.shape}, expected one for each of {outcomes.n_rows} rows"
        )
    rows = np.flatnonzero(~outcomes.is_censored).astype(np.int64)
    if row_cap is not None:
        check_customers(outcomes)
        if outcomes.customers is not None:
            rows = rows[at_most(outcomes.customers[rows], row_cap, draw=draw)]
    return count_cells(
        ranges_of(margins[rows]),
        (outcomes.labels[rows] == 1).astype(np.int64),
        n_cells=N_RANGES,
        n_classes=2,
    )


def check_customers(outcomes: Outcomes) -> None:
    """Refuse rows that name no customers; raises DataError."""
    if outcomes.customers is None:
        raise DataError(
            "rows to judge by: name no customers, and the run's privacy terms are for customers; "
            "use unit row"
        )
