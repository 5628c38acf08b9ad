"""A bound on what all rows of one bank weigh together.

Each bank scales its own rows, so that no bank's data, however many rows come in, weigh more than
was agreed. It binds a bank's data and not a bank's program: what is added to a secure sum is
nobody's to check (docs/decisions/0076-what-binds-a-bank-that-lies.md).
"""

from dataclasses import replace

import numpy as np

from fraudfed.boosting.table import TrainingTable


def bound_weight(table: TrainingTable, most: float) -> TrainingTable:
    """Return a bank's rows with weights whose sum is at most ``most``.

    All weights shrink by one factor, rounded toward zero; none grows. Every bank gets weights, so
    that a training with a bound does the same sums whether or not a bank reaches it.

    Parameters
    ----------
    table : TrainingTable
        Rows that ``check_rows`` accepts.
    most : float
        0 is no bound: the table itself.
    """
    if most == 0:
        return table
    weights = np.ones_like(table.labels) if table.weights is None else table.weights
    exact = weights.astype(np.float64)
    total = float(exact.sum())
    if total <= most:
        return replace(table, weights=weights)
    wanted = exact * (most / total)
    scaled = wanted.astype(np.float32)
    scaled = np.where(scaled > wanted, np.nextafter(scaled, np.float32(0.0)), scaled)
    # A weight of 0 would break the contract of a table.
    least = np.finfo(np.float32).smallest_subnormal
    return replace(table, weights=np.maximum(scaled, least).astype(np.float32))
