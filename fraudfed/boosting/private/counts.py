"""Where boosting starts: from noised weights of both labels, or as declared.

Nothing tells how many rows there are, nor how many of them are positive, but for the noise.
"""

import math

import numpy as np

from fraudfed.boosting.bounds.pooled_counts import PooledCounts
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.private.bounds import PrivateBounds
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.communicator import NoisingCommunicator
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PrivacyPlan, variance_of

#: Of a training whose base score was declared, so that its state has counts of both classes.
_ANY = 1


def start_of(
    params: BoosterParams,
    shard: Shard,
    plan: PrivacyPlan,
    bounds: PrivateBounds,
    communicator: NoisingCommunicator,
    *,
    declared_rows: int,
    customer_rows: int | None,
) -> tuple[float, PooledCounts]:
    """Return the base score and stand-ins for counts, in one noised sum or none.

    Parameters
    ----------
    params : BoosterParams
        With a base score there is nothing to sum.
    shard : Shard
        This bank's rows.
    plan : PrivacyPlan
    bounds : PrivateBounds
    communicator : NoisingCommunicator
    declared_rows : int
    customer_rows : int or None
        Rows that a customer weighs at most; None if the unit is the row.

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
        shard.capped_masses(
            scale_pos_weight=params.scale_pos_weight,
            row_norm=plan.row_norm,
            customer_rows=customer_rows,
        ),
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
