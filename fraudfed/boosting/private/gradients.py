"""Gradients that are summed with noise: 16 fractional bits, and a bound on what one unit weighs.

Law (unit row): of every row ``g^2 + (h / s)^2 <= w^2`` in units of 2^-16, with s = 5/16 and w the
plan's ``row_norm``. Law (unit customer): over the rows of a customer the square roots of the left
side add up to at most the plan's ``unit_norm``. Both hold by construction: each value is checked
after it was rounded.

The first costs nothing. With a = |p - y|, gradient and hessian of a row of weight w are w a and
w a (1 - a), and ``a^2 + (a (1 - a) / s)^2 <= 1`` on [0, 1] for s^2 of at least ``a^2 (1 - a) / (1 +
a)``, whose maximum, at a = (sqrt(5) - 1) / 2, is 0.0902 = 0.3003^2. Only beside a = 1, where h is
next to 0, can rounding exceed the bound: the hessian of such a row becomes 0.
"""

import numpy as np

from fraudfed.dtypes import FIXED_POINT_BITS, Float64Array, Int64Array
from fraudfed.privacy.plan import HESSIAN_RATIO, PRIVATE_BITS, PrivacyPlan

#: Bits that are rounded away, and put back once a sum is open.
SHIFT = FIXED_POINT_BITS - PRIVATE_BITS
#: Rows at a time, so that what lies in between stays in the caches.
_ROWS_AT_A_TIME = 1 << 15
#: Above the relative errors of a few operations in double, and of the longest sum of them.
_SLACK = 2.0**-24
_HESSIAN_FACTOR = float(1 / HESSIAN_RATIO)


class PrivateGradients:
    """Rounds gradients and bounds what a unit weighs, in place, tree after tree.

    Parameters
    ----------
    plan : PrivacyPlan
    customers : ndarray of shape (n_rows,), dtype=int64, or None
        Whose row it is, any numbers; None for the unit row.
    """

    def __init__(self, plan: PrivacyPlan, customers: Int64Array | None) -> None:
        self._row_norm = float(plan.row_norm)
        self._unit_norm = float(plan.unit_norm)
        self._codes: Int64Array | None = None
        self._n_customers = 0
        if customers is not None:
            found, codes = np.unique(customers, return_inverse=True)
            self._codes = codes.astype(np.int64)
            self._n_customers = int(found.size)

    def bound(self, pairs: Int64Array) -> None:
        """Round and bound the gradients of all rows.

        Parameters
        ----------
        pairs : ndarray of shape (n_rows, 2), dtype=int64
            From ``objective.gradients``; in units of 2^-16 afterwards.
        """
        for start in range(0, len(pairs), _ROWS_AT_A_TIME):
            part = pairs[start : start + _ROWS_AT_A_TIME]
            part += 1 << (SHIFT - 1)
            part >>= SHIFT
            norms = _norms(part)
            part[norms > self._row_norm * (1.0 - _SLACK), 1] = 0
        if self._codes is not None:
            self._bound_customers(pairs, self._codes)

    def _bound_customers(self, pairs: Int64Array, codes: Int64Array) -> None:
        totals = np.zeros(self._n_customers)
        for start in range(0, len(pairs), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            np.add.at(totals, codes[rows], _norms(pairs[rows]))
        factors = np.ones(self._n_customers)
        above = totals * (1.0 + _SLACK) > self._unit_norm
        factors[above] = self._unit_norm * (1.0 - 2.0 * _SLACK) / totals[above]
        for start in range(0, len(pairs), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            # Toward zero, so that no norm grows; a conversion to integers cuts off.
            pairs[rows] = (pairs[rows] * factors[codes[rows], None]).astype(np.int64)


def _norms(pairs: Int64Array) -> Float64Array:
    """Return ``sqrt(g^2 + (h / s)^2)`` of each row, within a few roundings."""
    gradients = pairs[:, 0].astype(np.float64)
    hessians = pairs[:, 1] * _HESSIAN_FACTOR
    norms: Float64Array = np.sqrt(gradients * gradients + hessians * hessians)
    return norms
