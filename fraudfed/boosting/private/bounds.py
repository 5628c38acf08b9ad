"""Public bounds of sums that carry noise: from what was declared, never from rows."""

from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import ParameterError
from fraudfed.privacy.plan import PRIVATE_BITS, PrivacyPlan
from fraudfed.privacy.terms import PrivacyTerms

#: As of ``objective.LARGEST_SUM``: sums and their noise stay in int64.
_LARGEST_SUM = 2**62
#: One of each class.
_LEAST_ROWS = 2


@dataclass(frozen=True)
class PrivateBounds:
    """Bounds of the sums of one training, units of 2^-16.

    Attributes
    ----------
    gradient, hessian : int
        Of any set of rows, either sign, and from 0.
    count : int
        Of rows.
    """

    gradient: int
    hessian: int
    count: int

    def pairs(self, n_cells: int) -> tuple[Int64Array, Int64Array]:
        """Return highest and lowest sums of gradients and hessians; shape (2, n_cells) each."""
        highs = np.array([[self.gradient], [self.hessian]], dtype=np.int64)
        lows = np.array([[-self.gradient], [0]], dtype=np.int64)
        shape = (2, n_cells)
        return np.broadcast_to(highs, shape).copy(), np.broadcast_to(lows, shape).copy()


def private_bounds(terms: PrivacyTerms, plan: PrivacyPlan) -> PrivateBounds:
    """Return the bounds for as many rows as were declared.

    A hessian is at most a quarter of its row's weight; rounding may add half a unit.

    Raises
    ------
    ParameterError
        If sums of so many rows could leave 62 bits, or the rows cannot be of both classes.
    """
    rows = terms.declared_rows
    if rows < _LEAST_ROWS:
        raise ParameterError(f"declared_rows is {rows}, expected at least {_LEAST_ROWS}")
    gradient = rows * plan.row_norm
    if gradient > _LARGEST_SUM:
        raise ParameterError(
            f"declared_rows is {rows}: sums over so many rows of weight "
            f"{plan.row_norm / (1 << PRIVATE_BITS):g} exceed 62 bits; declare fewer rows, or lower "
            "max_weight or scale_pos_weight"
        )
    return PrivateBounds(
        gradient=gradient,
        hessian=rows * (plan.row_norm // 4 + 1),
        count=rows << PRIVATE_BITS,
    )
