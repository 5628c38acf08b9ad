"""Probabilities beside a model's scores, fitted to one bank.

A score keeps its order at a bank with another share of fraud than the banks that trained the model,
but no longer is a probability. A calibration maps each score to one:

* ``isotonic``, from 1,000 cases of the bank on: rising steps, joined by straight lines;
* ``intercept_and_slope``, from 50 cases: ``logit(p) = intercept + slope * logit(score)`` (Platt,
  see ``slope``);
* ``pooled``, below: the rising steps of all banks together, shifted to the bank's own share of
  fraud.

Laws: a higher score never gets a lower probability. On the rows that a calibration of the bank is
fitted on, neither squared error (Brier) nor log loss is larger than that of the scores: where it
would be, the next simpler one is taken, and in the end the scores stay as they are.

How many cases each needs follows A. Niculescu-Mizil, R. Caruana, "Predicting good probabilities
with supervised learning", ICML 2005, section 4: below about 1,000, isotonic regression overfits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fraudfed.adaptation.isotonic import pool_adjacent_violators
from fraudfed.adaptation.logistic_fit import exact_total, fit_logistic, log_loss
from fraudfed.adaptation.method import Method
from fraudfed.boosting.engine.elementary import exp, log
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array

LEAST_CASES = 50
LEAST_CASES_FOR_ISOTONIC = 1000
#: A newcomer's own share of fraud is drawn towards the pooled one as if by so many frauds.
PRIOR_FRAUDS = 10
#: Scores are kept so far from 0 and 1 before their logit: float32 has nothing nearer to 1.
_LEAST_SCORE = 2.0**-140
_LARGEST_SCORE = 1.0 - 2.0**-25

#: Below it, rounding could make probabilities fall; and so flat a map says nothing.
_LEAST_SLOPE = 1e-3

_Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibration(BaseModel):
    """A rising map of scores to probabilities.

    Attributes
    ----------
    method : Method
    intercept, slope : float
        Of ``intercept_and_slope``; 0 and 1 leave the scores as they are.
    scores, probabilities : tuple of float
        Of the other two: points, joined by straight lines; level outside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    intercept: _Finite = 0.0
    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    scores: tuple[_Probability, ...] = ()
    probabilities: tuple[_Probability, ...] = ()

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.scores) != len(self.probabilities):
            raise ValueError("scores and probabilities differ in number")
        if (self.method is Method.INTERCEPT_AND_SLOPE) != (not self.scores):
            raise ValueError("points must be given exactly for isotonic and pooled")
        if any(a >= b for a, b in zip(self.scores, self.scores[1:], strict=False)):
            raise ValueError("scores do not rise")
        if any(a > b for a, b in zip(self.probabilities, self.probabilities[1:], strict=False)):
            raise ValueError("probabilities fall")
        return self

    def of(self, scores: Float32Array | Float64Array) -> Float64Array:
        """Return the probability of each score; shape (n_rows,)."""
        if self.method is not Method.INTERCEPT_AND_SLOPE:
            return self._between_points(np.asarray(scores, np.float64))
        if self.intercept == 0.0 and self.slope == 1.0:
            return np.asarray(scores, np.float64)
        return _sigmoid(self.intercept + self.slope * logit(scores))

    def _between_points(self, scores: Float64Array) -> Float64Array:
        at, to = np.array(self.scores), np.array(self.probabilities)
        right = np.clip(np.searchsorted(at, scores, side="right"), 1, max(at.size - 1, 1))
        if at.size == 1:
            return np.full(scores.size, to[0])
        left = right - 1
        share = np.clip((scores - at[left]) / (at[right] - at[left]), 0.0, 1.0)
        # Kept between its ends: rounding must not make a line fall where the next one begins.
        between: Float64Array = to[left] + share * (to[right] - to[left])
        return np.asarray(np.minimum(np.maximum(between, to[left]), to[right]), np.float64)


@dataclass(frozen=True)
class PooledBin:
    """Rows of all banks with similar scores.

    Attributes
    ----------
    score : float
        Their mean score.
    rows, frauds : int
    """

    score: float
    rows: int
    frauds: int


def fit_calibration(
    scores: Float32Array, labels: Float32Array, *, n_cases: int
) -> Calibration | None:
    """Fit the map of a bank's own rows; None below 50 cases.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,), dtype=float32
        Of a model that was not trained on these rows.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1.
    n_cases : int
        Cases of fraud among the rows: several frauds of one customer say little more than one.
    """
    if n_cases < LEAST_CASES or not 0 < np.count_nonzero(labels) < labels.size:
        return None
    if n_cases >= LEAST_CASES_FOR_ISOTONIC:
        found = _isotonic(scores, labels)
        if _is_no_worse(found, scores, labels):
            return found
    fit = fit_logistic((logit(scores),), labels)
    if fit.slopes[0] > _LEAST_SLOPE:
        found = Calibration(
            method=Method.INTERCEPT_AND_SLOPE, intercept=fit.intercept, slope=fit.slopes[0]
        )
        if _is_no_worse(found, scores, labels):
            return found
    return Calibration(method=Method.INTERCEPT_AND_SLOPE)


def pooled_calibration(bins: Sequence[PooledBin], *, prevalence: float | None) -> Calibration:
    """Return the map of all banks together, for a bank with a share of fraud of its own.

    Parameters
    ----------
    bins : sequence of PooledBin
        By ascending score; frauds among them.
    prevalence : float or None
        The bank's share of fraud, above 0 and below 1; None: that of all banks.

    Raises
    ------
    ValueError
        If no bin has frauds, or none has others.
    """
    held = [each for each in bins if each.rows]
    rows, frauds = (
        np.array([getattr(each, name) for each in held], dtype=np.int64)
        for name in ("rows", "frauds")
    )
    n_rows, n_frauds = int(rows.sum()), int(frauds.sum())
    if not 0 < n_frauds < n_rows:
        raise ValueError("pooled rows are of one class")
    points = _points(np.array([each.score for each in held]), frauds, rows)
    if prevalence is not None:
        shift = prior_shift(n_frauds / n_rows, prevalence)
        shifted = _sigmoid(logit(np.array(points["probabilities"])) + shift)
        # Where rounding would make them fall, they stay level.
        points["probabilities"] = np.maximum.accumulate(shifted).tolist()
    return Calibration(method=Method.POOLED, **points)


def prior_shift(before: float, after: float) -> float:
    """Return what is added to the logit of a probability where another share is fraud.

    With shares ``b`` before and ``a`` after, ``p' = p a/b / (p a/b + (1 - p)(1 - a)/(1 - b))``, if
    fraud and clean payments look as before: M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the
    outputs of a classifier to new a priori probabilities", Neural Computation 14(1), 2002,
    equation 2.4. On the logit it is one addition.
    """
    return math.log(after / (1.0 - after)) - math.log(before / (1.0 - before))


def own_prevalence(n_rows: int, n_frauds: int, *, pooled: float) -> float:
    """Return a bank's share of fraud, drawn towards the pooled one while it has seen little.

    The posterior mean under a beta prior with the pooled mean and ``PRIOR_FRAUDS`` frauds.
    """
    return (n_frauds + PRIOR_FRAUDS) / (n_rows + PRIOR_FRAUDS / pooled)


def brier(probabilities: Float64Array, labels: Float32Array) -> float:
    """Return the mean squared error; G. W. Brier, Monthly Weather Review 78(1), 1950."""
    return exact_total((probabilities - labels) ** 2) / labels.size


def logit(scores: Float32Array | Float64Array) -> Float64Array:
    """Return ``ln(s / (1 - s))``, with scores kept where it is finite; shape is kept."""
    kept = np.clip(np.asarray(scores, np.float64), _LEAST_SCORE, _LARGEST_SCORE)
    odds: Float64Array = log(kept) - log(1.0 - kept)
    return odds


def _sigmoid(margins: Float64Array) -> Float64Array:
    probabilities: Float64Array = 1.0 / (1.0 + exp(-margins))
    return probabilities


def _isotonic(scores: Float32Array, labels: Float32Array) -> Calibration:
    values, group = np.unique(scores, return_inverse=True)
    rows = np.bincount(group, minlength=values.size).astype(np.int64)
    frauds = np.bincount(group[labels == 1], minlength=values.size).astype(np.int64)
    points = _points(values.astype(np.float64), frauds, rows)
    return Calibration(method=Method.ISOTONIC, **points)


def _points(scores: Float64Array, frauds: Int64Array, rows: Int64Array) -> dict[str, list[float]]:
    """Return the ends of each block, with its share kept away from 0 and 1.

    That no fraud was seen among ``n`` rows does not make it impossible: half a fraud more is
    allowed for.
    """
    blocks = pool_adjacent_violators(frauds, rows)
    least = 0.5 / (int(rows.sum()) + 1)
    shares = np.clip(blocks.shares, least, 1.0 - least)
    at: list[float] = []
    to: list[float] = []
    for first, last, share in zip(
        blocks.first.tolist(), blocks.last.tolist(), shares.tolist(), strict=True
    ):
        ends = (first,) if first == last else (first, last)
        at += [float(scores[end]) for end in ends]
        to += [share] * len(ends)
    return {"scores": at, "probabilities": to}


def _is_no_worse(found: Calibration, scores: Float32Array, labels: Float32Array) -> bool:
    probabilities = found.of(scores)
    before = np.asarray(scores, np.float64)
    return brier(probabilities, labels) <= brier(before, labels) and log_loss(
        logit(probabilities), labels
    ) <= log_loss(logit(before), labels)
