"""What is summed with noise: gradients of 16 fractional bits, and bounds on what one unit weighs.

Law (unit row): of every row ``g^2 + (h / s)^2 <= w^2`` in units of 2^-16, with s = 5/16 and w the
cap's ``row_norm``. Law (unit customer): over the rows of a customer the square roots of the left
side add up to at most the cap's ``unit_norm``. Both hold by construction: each value is checked
after it was rounded.

The first costs nothing. With a = |p - y|, gradient and hessian of a row of weight w are w a and
w a (1 - a), and ``a^2 + (a (1 - a) / s)^2 <= 1`` on [0, 1] for s^2 of at least ``a^2 (1 - a) / (1 +
a)``, whose maximum, at a = (sqrt(5) - 1) / 2, is 0.0902 = 0.3003^2. Only beside a = 1, where h is
next to 0, can rounding exceed the bound: the hessian of such a row becomes 0.
"""

import math

import numpy as np

from fraudfed.boosting.engine.logistic import effective_weights
from fraudfed.boosting.sampling import row_keys
from fraudfed.boosting.shard.protocol import GradientCap
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import FIXED_POINT_BITS, BoolArray, Float64Array, Int64Array
from fraudfed.privacy.plan import HESSIAN_RATIO, PRIVATE_BITS

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
    cap : GradientCap
    customers : ndarray of shape (n_rows,), dtype=int64, or None
        Whose row it is, any numbers; None for the unit row.
    """

    def __init__(self, cap: GradientCap, customers: Int64Array | None) -> None:
        self._row_norm = float(cap.row_norm)
        self._unit_norm = float(cap.row_norm if cap.unit_norm is None else cap.unit_norm)
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


def capped_masses(
    table: TrainingTable, *, scale_pos_weight: float, row_norm: int, customer_rows: int | None
) -> Int64Array:
    """Return the weights of negatives and of positives, units of 2^-16.

    Of a customer no more than ``customer_rows`` rows weigh. All of a customer's rows weigh less
    then, instead of some of them nothing: there is no draw to keep secret, or to repeat after a
    crash.

    Parameters
    ----------
    table : TrainingTable
    scale_pos_weight, row_norm, customer_rows
        As ``protocol.Shard.capped_masses``.
    """
    if table.weights is None and customer_rows is None:
        n_positives = int(np.count_nonzero(table.labels == 1))
        one = 1 << PRIVATE_BITS
        positive = min(math.floor(scale_pos_weight * one), row_norm)
        return np.array(
            [(table.n_rows - n_positives) * one, n_positives * positive], dtype=np.int64
        )
    weights = effective_weights(
        table.labels, table.weights, scale_pos_weight=scale_pos_weight
    ).astype(np.float64)
    units = np.minimum(np.floor(weights * (1 << PRIVATE_BITS)), row_norm)
    if customer_rows is not None:
        most = customer_rows * row_norm
        units = np.floor(units * _factors(units, _customers_of(table), most=most))
    is_positive = table.labels == 1
    # Whole numbers that add up to less than 2^53 are exact.
    sums = [units[~is_positive].sum(), units[is_positive].sum()]
    return np.array(sums, dtype=np.float64).astype(np.int64)


def capped_rows(table: TrainingTable, customer_rows: int) -> TrainingTable:
    """Return at most so many rows of each customer.

    Which rows these are says a hash of their content. The bound holds for any choice that depends
    on that customer's rows alone, so it needs no secret, and a replay after a crash counts alike.
    """
    customers = _customers_of(table)
    order = np.lexsort((row_keys(table), customers))
    owners = customers[order]
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]]) if owners.size else owners
    position = np.arange(owners.size) - np.repeat(starts, np.diff(np.append(starts, owners.size)))
    kept: BoolArray = np.zeros(owners.size, dtype=np.bool_)
    kept[order[position < customer_rows]] = True
    return TrainingTable(table.schema, table.features[kept], table.labels[kept])


def _factors(units: Float64Array, customers: Int64Array, *, most: int) -> Float64Array:
    """Return by how much each row weighs less, so that no customer weighs more than the cap."""
    _, codes = np.unique(customers, return_inverse=True)
    totals = np.bincount(codes, weights=units)
    # Below the exact quotient, so that neither division nor product rounds above the cap.
    factors = np.where(totals > most, most / np.maximum(totals, 1.0) * (1.0 - 2.0**-50), 1.0)
    of_rows: Float64Array = factors[codes]
    return of_rows


def _customers_of(table: TrainingTable) -> Int64Array:
    if table.customers is None:
        raise ValueError("the rows do not say whose they are")
    return table.customers
