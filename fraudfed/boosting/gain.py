"""Leaf weights and gains, with XGBoost's casts between double and float at XGBoost's places.

The choice between two splits can hang on the last bit of a gain. XGBoost keeps sums in double and
weights and gains in float32 (``src/tree/split_evaluator.h``, ``src/tree/param.h``); which steps in
between are taken in float differs between releases, see ``xgboost_rules``. Computing gains in
double throughout makes most trees differ. Parameters are float32 values held as Python
floats, which promotes as in C++.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.xgboost_rules import rules_for
from fraudfed.dtypes import FIXED_POINT_BITS, BoolArray, Float32Array, Float64Array, Int64Array
from fraudfed.parameters import BoosterParams


@dataclass(frozen=True)
class NodeSums:
    """Pooled sums of one node.

    Attributes
    ----------
    gradient, hessian : int
        Fixed-point sums.
    gain : float32
        Gain of the node as a leaf; a split must beat it.
    """

    gradient: int
    hessian: int
    gain: np.float32


@dataclass(frozen=True)
class WeightBounds:
    """Interval in which monotone constraints keep a node's weight; both ends float32."""

    lower: np.float32
    upper: np.float32


@dataclass(frozen=True, eq=False)
class BoundsOfNodes:
    """Intervals of several nodes; both arrays of shape (n_nodes,), dtype=float32."""

    lower: Float32Array
    upper: Float32Array

    @classmethod
    def of(cls, bounds: Sequence[WeightBounds]) -> "BoundsOfNodes":
        """Put the intervals of nodes one after the other."""
        return cls(
            lower=np.array([each.lower for each in bounds], dtype=np.float32),
            upper=np.array([each.upper for each in bounds], dtype=np.float32),
        )


#: No constraint reaches the node.
UNBOUNDED = WeightBounds(
    lower=np.float32(-np.finfo(np.float32).max), upper=np.float32(np.finfo(np.float32).max)
)


def to_double(sums: Int64Array) -> Float64Array:
    """Convert fixed-point sums to double; shape is kept. Exact below 2^53 units."""
    scaled: Float64Array = np.ldexp(sums.astype(np.float64), -FIXED_POINT_BITS)
    return scaled


class GainFormula:
    """Weight and gain of nodes for one set of parameters.

    All sums of gradients and hessians are arrays of dtype=float64 and any shape, in units of the
    loss (``to_double``); results are of the same shape. In formulas ``g`` and ``h`` are a node's
    sums and ``lambda`` the L2 penalty, as in Chen and Guestrin, "XGBoost: a scalable tree boosting
    system", KDD 2016, equations 5 to 7; XGBoost adds the L1 penalty ``alpha`` by way of a soft
    threshold ``T``, and cuts weights off at ``max_delta_step`` on either side; the gain is then
    that of the weight that is left (``src/tree/param.h``, ``CalcWeight`` and ``CalcGain``).

    Parameters
    ----------
    params : BoosterParams
        Also says whose rules are followed (``xgboost_version``).
    schema : FeatureSchema
        Resolves the monotone constraints.
    """

    def __init__(self, params: BoosterParams, schema: FeatureSchema) -> None:
        self._reg_lambda = params.reg_lambda
        self._reg_alpha = params.reg_alpha
        self._min_child_weight = params.min_child_weight
        self._max_delta_step = params.max_delta_step
        self._rules = rules_for(params.xgboost_version)
        #: (lambda, alpha, min_child_weight, max_delta_step), as the compiled scan takes them.
        self.penalties = (
            self._reg_lambda,
            self._reg_alpha,
            self._min_child_weight,
            self._max_delta_step,
        )
        self.directions = np.array(params.resolve_monotone_constraints(schema), dtype=np.int8)
        self.is_constrained = bool(self.directions.any()) or (
            self._rules.zeros_constrain and bool(params.monotone_constraints)
        )
        # No release takes the closed form of the gain where weights are cut off.
        self._in_closed_form = self._rules.free_gain_in_closed_form and self._max_delta_step == 0.0
        #: The rules, as the compiled scan takes them.
        self.switches = (
            self._rules.light_nodes_weigh_nothing,
            self._rules.children_need_hessian,
            self._in_closed_form,
            self._rules.bounded_gain_in_float,
            self.is_constrained,
        )

    def is_valid_child(self, hessian: Float64Array) -> BoolArray:
        """Tell which sums of hessians are enough for a child; shape is kept, dtype=bool."""
        is_valid = hessian >= self._min_child_weight
        if self._rules.children_need_hessian:
            is_valid &= hessian > 0.0
        return is_valid

    def can_split(self, hessian: int) -> bool:
        """Tell whether a node with this pooled fixed-point sum can have two valid children."""
        # Sums are exact, so two children of at least m have a parent of at least 2 m. All rules
        # ask for m; what else some of them ask for only makes fewer children valid.
        return bool(np.ldexp(float(hessian), -FIXED_POINT_BITS) >= 2.0 * self._min_child_weight)

    def free_weight(self, gradient: Float64Array, hessian: Float64Array) -> Float32Array:
        """Return the weight ``-T(g) / (h + lambda)`` with no regard to constraints.

        It is 0 without any hessian, and by some rules already below ``min_child_weight``; it is at
        most ``max_delta_step`` to either side. Shape is kept.
        """
        no_weight = hessian <= 0.0
        if self._rules.light_nodes_weigh_nothing:
            no_weight |= hessian < self._min_child_weight
        divisor = np.where(no_weight, 1.0, hessian + self._reg_lambda)
        weight = -self._threshold(gradient) / divisor
        if self._max_delta_step != 0.0:
            # In double, as XGBoost does; the parameter is a float32, so rounding keeps it.
            weight = np.clip(weight, -self._max_delta_step, self._max_delta_step)
        return np.where(no_weight, 0.0, weight).astype(np.float32)

    def weight(
        self, gradient: Float64Array, hessian: Float64Array, bounds: WeightBounds | BoundsOfNodes
    ) -> Float32Array:
        """Return the weight, kept within ``bounds`` if there are constraints; shape is kept."""
        weight = self.free_weight(gradient, hessian)
        if not self.is_constrained:
            return weight
        return np.where(
            weight < bounds.lower,
            bounds.lower,
            np.where(weight > bounds.upper, bounds.upper, weight),
        )

    def gain(
        self, gradient: Float64Array, hessian: Float64Array, bounds: WeightBounds | BoundsOfNodes
    ) -> Float32Array:
        """Return the gain of nodes at their weight within ``bounds``; shape is kept."""
        if not self.is_constrained and self._in_closed_form:
            return self._closed_form(gradient, hessian)
        return self._gain_at(gradient, hessian, self.weight(gradient, hessian, bounds))

    def split_gain(
        self,
        left: tuple[Float64Array, Float64Array],
        right: tuple[Float64Array, Float64Array],
        bounds: WeightBounds,
        directions: np.ndarray[tuple[int, ...], np.dtype[np.int8]],
    ) -> Float32Array:
        """Return the summed gain of two children; -inf where a constraint is violated.

        Parameters
        ----------
        left, right : pair of ndarray
            Sums of gradients and hessians.
        bounds : WeightBounds
            Of the node that is split.
        directions : ndarray broadcastable to the shape of the sums, dtype=int8
            Monotone direction of each candidate's feature.
        """
        if not self.is_constrained:
            return self.gain(*left, bounds) + self.gain(*right, bounds)
        left_weight = self.weight(*left, bounds)
        right_weight = self.weight(*right, bounds)
        gain = self._gain_at(*left, left_weight) + self._gain_at(*right, right_weight)
        violated = ((directions > 0) & ~(left_weight <= right_weight)) | (
            (directions < 0) & ~(left_weight >= right_weight)
        )
        return np.where(violated, np.float32(-np.inf), gain)

    def _closed_form(self, gradient: Float64Array, hessian: Float64Array) -> Float32Array:
        """Return ``T(g)^2 / (h + lambda)``: numerator and divisor round to float first."""
        empty = hessian <= 0.0
        numerator = np.square(self._threshold(gradient)).astype(np.float32)
        divisor = np.where(empty, 1.0, hessian + self._reg_lambda).astype(np.float32)
        return np.where(empty, np.float32(0.0), numerator / divisor)

    def _gain_at(
        self, gradient: Float64Array, hessian: Float64Array, weight: Float32Array
    ) -> Float32Array:
        """Return ``-(2 g w + (h + lambda) w^2 + 2 alpha |w|)`` at the weight ``w``."""
        squared = weight * weight  # In float by all rules.
        if self._rules.bounded_gain_in_float:
            g, h = gradient.astype(np.float32), hessian.astype(np.float32)
            linear = np.float32(2.0) * g * weight
            gain = -(linear + (h + np.float32(self._reg_lambda)) * squared)
        else:
            w = weight.astype(np.float64)
            loss = 2.0 * gradient * w + (hessian + self._reg_lambda) * squared.astype(np.float64)
            gain = (-(loss + 2.0 * self._reg_alpha * np.abs(w))).astype(np.float32)
        return np.where(hessian <= 0.0, np.float32(0.0), gain)

    def _threshold(self, gradient: Float64Array) -> Float64Array:
        alpha = self._reg_alpha
        if alpha == 0.0:
            return gradient
        return np.where(
            gradient > alpha,
            gradient - alpha,
            np.where(gradient < -alpha, gradient + alpha, 0.0),
        )


def first_best(loss_changes: Float32Array, is_valid: BoolArray) -> int | None:
    """Return the position of the first valid candidate with the largest gain above 0.

    A gain that is infinite or not a number never wins.

    Parameters
    ----------
    loss_changes : ndarray of shape (n_candidates,), dtype=float32
    is_valid : ndarray of shape (n_candidates,), dtype=bool

    Returns
    -------
    int or None
        None if there is no such candidate.
    """
    usable = np.where(is_valid & np.isfinite(loss_changes), loss_changes, np.float32(0.0))
    if usable.size == 0:
        return None
    position = int(np.argmax(usable))
    return position if usable[position] > 0.0 else None
