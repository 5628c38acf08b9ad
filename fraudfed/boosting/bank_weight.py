"""A bound on what all rows of one bank weigh together.

Each bank scales its own rows, so that no bank's data, however many rows come in, weigh more than
was agreed. It binds a bank's data and not a bank's program: what is added to a secure sum is
nobody's to check (docs/decisions/0076-what-binds-a-bank-that-lies.md).
"""

from typing import TypeVar

from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.shard.weights import total_of

_Shard = TypeVar("_Shard", bound=Shard)


def bound_weight(shard: _Shard, most: float) -> _Shard:
    """Return a bank's rows with weights whose sum is at most ``most``.

    All weights shrink by one factor, rounded toward zero; none grows. Every bank gets weights, so
    that a training with a bound does the same sums whether or not a bank reaches it.

    Parameters
    ----------
    shard : Shard
        Rows that were checked.
    most : float
        0 is no bound: the shard itself.
    """
    if most == 0:
        return shard
    total = total_of(shard.weight_parts())
    return shard.scaled(1.0 if total <= most else most / total)
