"""``binary:logistic``: initial score, gradients in fixed point, and their public bounds.

``engine.logistic`` computes gradients in float32 as XGBoost does, and rounds them once to fixed
point. All later sums are exact.

A hessian below half a unit rounds to 0. XGBoost keeps the hessian of an unweighted row at 1e-16 at
least, which is 0 here; neither contributes anything beside ``min_child_weight`` or ``lambda``. A
difference shows only where both of these are 0, in a node with no other rows: its weight is 0 here
and unbounded there.
"""

from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.elementary import logit, sigmoid
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.communicator import Communicator, Summing, SumRequest, carry_out
from fraudfed.dtypes import FIXED_POINT_ONE, Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.held_sums import hold_masses

#: XGBoost's ``kRtEps``: a ``scale_pos_weight`` nearer to 1 counts as 1, and a smaller sum of
#: hessians counts as this much when the initial score is estimated.
_EPSILON = 1e-6
#: No sum over rows exceeds it (``GradientBounds.check_rows``), so that sums stay in int64 after
#: subtraction as well: a sibling is parent minus child.
LARGEST_SUM = 2**62


@dataclass(frozen=True)
class GradientBounds:
    """Public bounds of one row in fixed point: |gradient| and hessian never exceed them.

    Proof. Every float32 operation rounds monotonically. The effective weight is at most
    ``w``, the largest of ``fl(max_weight)`` and ``fl(fl(max_weight) * scale_pos_weight)``. A
    sigmoid p lies in [0, 1] and a label is 0 or 1, so ``|fl(p - y)| <= 1`` and the gradient is at
    most w. For the hessian, ``fl(p * fl(1 - p)) <= 1/4``: for p >= 1/2, 1 - p is exact (Sterbenz)
    and the product at most 1/4. For p < 1/4 the product is below 1/4. For 1/4 <= p = 1/2 - d,
    p is a multiple of 2**-25 and fl(1 - p) <= 1/2 + d + 2**-25, so that the exact product is
    at most ``1/4 - d**2 + 2**-25 (1/2 - d) < 1/4 + 2**-26``, less than half a unit in the last
    place above 1/4, and rounds to at most 1/4. Multiplying by w and rounding to fixed point are
    monotonic as well, hence ``rint(w * one)`` and ``rint(w / 4 * one)``.

    Attributes
    ----------
    gradient, hessian : int
        Of any row.
    negative_gradient, negative_hessian : int
        Of a row with label 0, which ``scale_pos_weight`` does not touch.
    """

    gradient: int
    hessian: int
    negative_gradient: int
    negative_hessian: int

    def check_rows(self, n_rows: int, n_positives: int) -> None:
        """Raise ``DataError`` if sums over these rows could leave 62 bits."""
        # Hessians are a quarter of gradients, up to rounding: gradients decide.
        total = (n_rows - n_positives) * self.negative_gradient + n_positives * self.gradient
        if total > LARGEST_SUM:
            raise DataError(
                f"{n_rows} rows, {n_positives} of them positive, with gradients up to "
                f"{self.gradient / FIXED_POINT_ONE:g} exceed the range of exact sums, 62 bits in "
                "fixed point; lower max_weight or scale_pos_weight"
            )


def gradient_bounds(*, max_weight: float, scale_pos_weight: float) -> GradientBounds:
    """Return the bounds of one row for the public limits of its weight.

    Parameters
    ----------
    max_weight : float
        ``Shard.max_weight``.
    scale_pos_weight : float
        Factor on the weight of positives.
    """
    weight = np.float32(max_weight)
    largest = max(weight, weight * np.float32(scale_pos_weight))
    quarter = np.float32(0.25)
    # Not by to_fixed_point: the bound of a weight that is far too large need not fit int64.
    gradient, hessian, negative_gradient, negative_hessian = (
        round(float(value) * FIXED_POINT_ONE)
        for value in (largest, largest * quarter, weight, weight * quarter)
    )
    return GradientBounds(gradient, hessian, negative_gradient, negative_hessian)


def gradients(
    margins: Float32Array,
    labels: Float32Array,
    weights: Float32Array | None,
    *,
    scale_pos_weight: float,
    engine: Engine | None = None,
    out: Int64Array | None = None,
) -> Int64Array:
    """Return gradient and hessian of the logistic loss in fixed point.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32
        Sum of base margin and leaf values so far.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1.
    weights : ndarray of shape (n_rows,), dtype=float32, or None
        None is weight 1.
    scale_pos_weight : float
        Factor on the weight of positives.
    engine : Engine or None
        None is ``load_engine()``.
    out : ndarray of shape (n_rows, 2), dtype=int64, or None
        Where to write; None is a new array.

    Returns
    -------
    ndarray of shape (n_rows, 2), dtype=int64
        Column 0: (p - y) w; column 1: p (1 - p) w; both times ``FIXED_POINT_ONE``.
    """
    pair = np.empty((margins.shape[0], 2), dtype=np.int64) if out is None else out
    engine = load_engine() if engine is None else engine
    engine.logistic_gradients(margins, labels, weights, scale_pos_weight=scale_pos_weight, out=pair)
    return pair


def estimate_base_score(
    shard: Shard,
    communicator: Communicator,
    *,
    scale_pos_weight: float,
    n_rows: int,
    n_positives: int,
) -> np.float32:
    """Return the initial probability that XGBoost estimates for the pooled rows.

    That is the (weighted) share of positives; or, if ``scale_pos_weight`` is not 1, the sigmoid of
    one Newton step from margin 0 (``RegLossObj::InitEstimation``, ``FitStump``).

    Parameters
    ----------
    shard : Shard
        This bank's rows. Whether there are weights at all is public and equal at every bank;
        without, no sum is needed beyond the given counts.
    communicator : Communicator
    scale_pos_weight : float
    n_rows, n_positives : int
        Pooled counts; both classes are there.

    Raises
    ------
    DataError
        If the weights leave the range of exact sums, or vanish in fixed point.
    SumError
        If the weights of a label are none of its rows.
    FraudFedError
        If the sum fails.
    """
    estimating = estimating_base_score(
        shard, scale_pos_weight=scale_pos_weight, n_rows=n_rows, n_positives=n_positives
    )
    return carry_out(estimating, communicator)


def estimating_base_score(
    shard: Shard, *, scale_pos_weight: float, n_rows: int, n_positives: int
) -> Summing[np.float32]:
    """Estimate as ``estimate_base_score`` does, and leave the sum to the caller."""
    newton = abs(scale_pos_weight - 1.0) > _EPSILON
    factor = scale_pos_weight if newton else 1.0
    if not shard.has_weights:
        positive = n_positives * float(np.float32(factor))
        negative = float(n_rows - n_positives)
    else:
        bounds = gradient_bounds(max_weight=shard.max_weight, scale_pos_weight=factor)
        bounds.check_rows(n_rows, n_positives)
        most = np.array(
            [n_positives * bounds.gradient, (n_rows - n_positives) * bounds.negative_gradient],
            dtype=np.int64,
        )
        sums = yield SumRequest(
            values=shard.masses(scale_pos_weight=factor),
            bound=most,
            low=0,
            label="base-score",
        )
        hold_masses(sums, most)
        # Python's int / int rounds once; the fixed point's factor is a power of two.
        positive, negative = (int(total) / FIXED_POINT_ONE for total in sums)
        if positive + negative == 0.0:
            raise DataError(
                "all weights together vanish in fixed point; scale the weights up, say to mean 1"
            )
    if not newton:
        return np.float32(positive / (positive + negative))
    gradient = 0.5 * negative - 0.5 * positive
    hessian = 0.25 * (negative + positive)
    step = np.array([-gradient / max(hessian, _EPSILON)], dtype=np.float32)
    return np.float32(sigmoid(step)[0])


def base_margin(base_score: float) -> np.float32:
    """Return the margin at which boosting starts from an initial probability."""
    return logit(base_score)
