"""Where boosting starts: from noised weights of both labels, or as declared.

Nothing tells how many rows there are, nor how many of them are positive, but for the noise.
"""

import math

import numpy as np

from fraudfed.boosting.bounds.pooled_counts import PooledCounts
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.engine.logistic import effective_weights
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.table import TrainingTable
from fraudfed.communicator import NoisingCommunicator
from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PRIVATE_BITS, PrivacyPlan, variance_of

#: Of a training whose base score was declared, so that its state has counts of both classes.
_ANY = 1


def start_of(
    params: BoosterParams,
    table: TrainingTable,
    plan: PrivacyPlan,
    bounds: PrivateBounds,
    communicator: NoisingCommunicator,
    *,
    declared_rows: int,
) -> tuple[float, PooledCounts]:
    """Return the base score and stand-ins for counts, in one noised sum or none.

    Parameters
    ----------
    params : BoosterParams
        With a base score there is nothing to sum.
    table : TrainingTable
        This bank's rows.
    plan : PrivacyPlan
    bounds : PrivateBounds
    communicator : NoisingCommunicator
    declared_rows : int

    Returns
    -------
    base_score : float
        A float32 within (0, 1).
    counts : PooledCounts
        The declared rows, and as many positives as noise and base score say; never a true count.

    Raises
    ------
    FraudFedError
        If the sum fails.
    """
    if plan.counts is None:
        if params.base_score is None:
            raise ValueError("a plan without counts needs a base score")
        return params.base_score, PooledCounts(declared_rows, _ANY)
    release = plan.counts.release
    opened = communicator.noised_sum(
        _masses(table, params, plan),
        bound=bounds.gradient,
        low=0,
        label="noised-counts",
        release=release,
    )
    # What is less than its noise is taken to be as large as its noise.
    sigma = math.sqrt(variance_of(release))
    negative, positive = (max(float(mass), sigma) for mass in opened.tolist())
    if params.scale_pos_weight == 1.0:
        score = np.float32(positive / (positive + negative))
    else:
        # One Newton step from margin 0, as XGBoost: g = (n - p) / 2, h = (n + p) / 4.
        step = 2.0 * (positive - negative) / (positive + negative)
        score = sigmoid(np.array([step], dtype=np.float32))[0]
    least = np.float32(1.0 / (1 << 20))
    score = min(max(score, least), np.float32(1.0) - least)
    share = positive / (positive + negative)
    n_positives = min(max(round(share * declared_rows), 1), declared_rows - 1)
    return float(score), PooledCounts(declared_rows, n_positives)


def _masses(table: TrainingTable, params: BoosterParams, plan: PrivacyPlan) -> Int64Array:
    """Return the weights of negatives and of positives, units of 2^-16.

    Of a customer no more than ``count_cap`` rows weigh. All of a customer's rows weigh less then,
    instead of some of them nothing: there is no draw to keep secret, or to repeat after a crash.
    """
    if table.weights is None and table.customers is None:
        n_positives = int(np.count_nonzero(table.labels == 1))
        one = 1 << PRIVATE_BITS
        positive = min(math.floor(params.scale_pos_weight * one), plan.row_norm)
        return np.array(
            [(table.n_rows - n_positives) * one, n_positives * positive], dtype=np.int64
        )
    weights = effective_weights(
        table.labels, table.weights, scale_pos_weight=params.scale_pos_weight
    ).astype(np.float64)
    units = np.minimum(np.floor(weights * (1 << PRIVATE_BITS)), plan.row_norm)
    if table.customers is not None:
        units = np.floor(units * _factors(units, table.customers, plan))
    is_positive = table.labels == 1
    # Whole numbers that add up to less than 2^53 are exact.
    sums = [units[~is_positive].sum(), units[is_positive].sum()]
    return np.array(sums, dtype=np.float64).astype(np.int64)


def _factors(units: Float64Array, customers: Int64Array, plan: PrivacyPlan) -> Float64Array:
    """Return by how much each row weighs less, so that no customer weighs more than the cap."""
    _, codes = np.unique(customers, return_inverse=True)
    totals = np.bincount(codes, weights=units)
    most = plan.count_cap * plan.row_norm
    # Below the exact quotient, so that neither division nor product rounds above the cap.
    factors = np.where(totals > most, most / np.maximum(totals, 1.0) * (1.0 - 2.0**-50), 1.0)
    of_rows: Float64Array = factors[codes]
    return of_rows
