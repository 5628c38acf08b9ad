"""Weights and gains of sums that carry noise, and which splits stand out of it.

A split is one of two sets of released cells. Sums of n cells carry n times the variance of one.
With G and H the opened sums of a child, H cut off at 0, its weight is ::

    w = - T(G) / (H + lambda + k sigma_h sqrt(n))        within +- max_delta_step

as in XGBoost, with a penalty that grows with the noise of H: where H is not known to be large, a
weight is drawn towards 0 (``RIDGE_SIGMAS`` is k). A split must pass two tests, or the node stays a
leaf:

* the weights of the children differ by at least ``SPLIT_SIGMAS`` deviations of that difference;
* its gain less what noise alone is expected to gain is above ``gamma``.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.boosting.growth.expansion_queue import LEAST_LOSS_CHANGE
from fraudfed.dtypes import BoolArray, Float64Array, Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.parameters import longest_step
from fraudfed.privacy.plan import HESSIAN_RATIO, PRIVATE_BITS

#: Deviations by which children must differ. Of a synthetic world's 2 million rows a threshold of 5
#: found fewer frauds at each epsilon from 0.3 to 3: a split that is noise does little harm beside
#: the ridge, and one that is not found does.
SPLIT_SIGMAS: Final = 2.0
#: Deviations of a sum of hessians by which its node's weight is shrunk; the same search found 4.
RIDGE_SIGMAS: Final = 4.0


@dataclass(frozen=True, eq=False)
class NoisedSums:
    """Opened sums of nodes, in units of the loss.

    Attributes
    ----------
    gradients, hessians : ndarray of shape (n_nodes,), dtype=float64
        Hessians may be negative.
    cells : ndarray of shape (n_nodes,), dtype=float64
        Variance of each, in variances of one released cell.
    """

    gradients: Float64Array
    hessians: Float64Array
    cells: Float64Array

    def less(self, other: "NoisedSums") -> "NoisedSums":
        """Return what other nodes, parts of these, leave of them."""
        return NoisedSums(
            self.gradients - other.gradients,
            self.hessians - other.hessians,
            self.cells - other.cells,
        )


@dataclass(frozen=True, eq=False)
class JudgedSplits:
    """Candidates for one node; all of shape (n_candidates,).

    Attributes
    ----------
    gains : ndarray, dtype=float64
        Less what noise is expected to gain.
    stands_out : ndarray, dtype=bool
    """

    gains: Float64Array
    stands_out: BoolArray

    def best(self) -> int | None:
        """Return the first candidate with the largest gain of those that stand out."""
        if not self.stands_out.any():
            return None
        return int(np.argmax(np.where(self.stands_out, self.gains, -np.inf)))


class NoisedGain:
    """Weights, gains and tests for one set of parameters and one noise.

    Parameters
    ----------
    params : BoosterParams
        Its penalties, ``min_child_weight``, ``gamma`` and ``longest_step``.
    variance : int
        Of the gradient of a released cell, in units of 2^-16.
    """

    def __init__(self, params: BoosterParams, variance: int) -> None:
        self._lambda = params.reg_lambda
        self._alpha = params.reg_alpha
        self._least_hessian = params.min_child_weight
        self._longest_step = longest_step(params)
        self._least_gain = max(float(LEAST_LOSS_CHANGE), params.gamma)
        self.sigma = math.sqrt(variance) / (1 << PRIVATE_BITS)
        self._sigma_hessian = self.sigma * float(HESSIAN_RATIO)

    def weights(self, sums: NoisedSums) -> Float64Array:
        """Return the weights of nodes; shape (n_nodes,)."""
        g = sums.gradients
        shrunk = np.sign(g) * np.maximum(np.abs(g) - self._alpha, 0.0)
        return np.clip(-shrunk / self._divisors(sums), -self._longest_step, self._longest_step)

    def judge(self, node: NoisedSums, left: NoisedSums, right: NoisedSums) -> JudgedSplits:
        """Judge splits of one node; ``node`` has shape (1,), the others (n_candidates,)."""
        weights = self.weights(left), self.weights(right)
        spread = np.sqrt(self._variances(left, weights[0]) + self._variances(right, weights[1]))
        stands_out = np.abs(weights[0] - weights[1]) > SPLIT_SIGMAS * spread
        gains = (
            self._gains(left, weights[0])
            + self._gains(right, weights[1])
            - self._gains(node, self.weights(node))
        )
        for side in (left, right):
            stands_out &= side.hessians >= self._least_hessian
        stands_out &= gains > self._least_gain
        return JudgedSplits(gains, stands_out)

    def _divisors(self, sums: NoisedSums) -> Float64Array:
        ridge = RIDGE_SIGMAS * self._sigma_hessian * np.sqrt(sums.cells)
        # With no noise and no penalty an empty node weighs nothing: 0 / tiny.
        divisors: Float64Array = np.maximum(
            np.maximum(sums.hessians, 0.0) + self._lambda + ridge, np.finfo(np.float64).tiny
        )
        return divisors

    def _variances(self, sums: NoisedSums, weights: Float64Array) -> Float64Array:
        """Return the variance of each weight by the noise of its gradient and hessian."""
        per_cell = self.sigma**2 + (weights * self._sigma_hessian) ** 2
        variances: Float64Array = sums.cells * per_cell / self._divisors(sums) ** 2
        return variances

    def _gains(self, sums: NoisedSums, weights: Float64Array) -> Float64Array:
        """Return the gains of nodes at their weights, less ``sigma_G^2 / (H + penalties)``."""
        divisors = self._divisors(sums)
        loss = 2.0 * sums.gradients * weights + divisors * weights**2
        loss += 2.0 * self._alpha * np.abs(weights)
        gains: Float64Array = -loss - sums.cells * self.sigma**2 / divisors
        return gains


def noised_sums(sums: Int64Array, cells: Float64Array) -> NoisedSums:
    """Take opened sums of shape (2, n_nodes), units of 2^-16, as those of nodes."""
    scaled = np.ldexp(sums.astype(np.float64), -PRIVATE_BITS)
    return NoisedSums(scaled[0], scaled[1], cells)
