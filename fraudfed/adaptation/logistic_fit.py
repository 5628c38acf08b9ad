"""Logistic regression of labels on the margins of one or two models.

Law: the same rows in any order give the same bits on every machine. Every sum is one of integers,
exponentials and logarithms are our own (``boosting.engine.elementary``), and the small linear
systems are solved step by step in float64.

The fit is Newton's method with step halving (Boyd, Vandenberghe, "Convex Optimization", Cambridge
University Press 2004, algorithm 9.5) on the negative log-likelihood plus a weak penalty,
``(intercept^2 / 10^2 + sum of (slope - s)^2) / 2``, that is a normal prior with a standard
deviation of 10 for the intercept and of 1 for each slope. The penalty is 0 at intercept 0 and
slopes ``s``, so the fit is never less likely than these are; and it keeps the fit finite where
margins separate the labels.
"""

import math
from dataclasses import dataclass

import numpy as np

from fraudfed.boosting.engine.elementary import exp, log
from fraudfed.dtypes import Float32Array, Float64Array

#: Inverse variances of the prior: of the intercept, and of each slope.
_INTERCEPT_PRECISION = 0.01
_SLOPE_PRECISION = 1.0
#: Newton converges quadratically: a handful is used. So many halvings make a step vanish.
_MOST_STEPS = 60
_MOST_HALVINGS = 40
#: Steps below it change no float32 of a model.
_SMALLEST_STEP = 1e-9


@dataclass(frozen=True)
class LogisticFit:
    """``logit(probability) = intercept + sum of slope * margin``.

    Attributes
    ----------
    intercept : float
    slopes : tuple of float
        One for each model.
    """

    intercept: float
    slopes: tuple[float, ...]


def fit_logistic(
    margins: tuple[Float64Array | Float32Array, ...],
    labels: Float32Array,
    *,
    around: tuple[float, ...] = (1.0,),
) -> LogisticFit:
    """Fit labels by margins.

    Parameters
    ----------
    margins : tuple of ndarray of shape (n_rows,), dtype=float32 or float64
        Finite; those of one model each.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1.
    around : tuple of float
        The slopes at which there is no penalty.

    Returns
    -------
    LogisticFit
        At most as large a ``log_loss`` as intercept 0 and the slopes ``around``.
    """
    columns = [np.ones(labels.size), *(np.asarray(column, np.float64) for column in margins)]
    centre = [0.0, *around]
    precision = [_INTERCEPT_PRECISION, *(_SLOPE_PRECISION for _ in around)]
    weights = list(centre)

    def objective(at: list[float]) -> float:
        penalty = (p * (w - c) ** 2 for p, w, c in zip(precision, at, centre, strict=True))
        return exact_total(_losses(_combined(columns, at), labels)) + sum(penalty) / 2

    value = objective(weights)
    for _ in range(_MOST_STEPS):
        probability = _sigmoid(_combined(columns, weights))
        error, curvature = probability - labels, probability * (1.0 - probability)
        gradient = [
            exact_total(error * column) + p * (w - c)
            for column, p, w, c in zip(columns, precision, weights, centre, strict=True)
        ]
        hessian = [[exact_total(curvature * one * other) for other in columns] for one in columns]
        for place, added in enumerate(precision):
            hessian[place][place] += added
        step = _solve(hessian, gradient)
        for _ in range(_MOST_HALVINGS):
            trial = [w - s for w, s in zip(weights, step, strict=True)]
            found = objective(trial)
            if found <= value:
                break
            step = [s / 2 for s in step]
        else:
            break
        weights, value = trial, found
        if max(abs(s) for s in step) < _SMALLEST_STEP:
            break
    return LogisticFit(weights[0], tuple(weights[1:]))


def log_loss(margins: Float64Array | Float32Array, labels: Float32Array) -> float:
    """Return the mean of ``-ln p`` of the labels that rows have.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), dtype=float32 or float64
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; at least one.
    """
    return exact_total(_losses(np.asarray(margins, np.float64), labels)) / labels.size


def _combined(columns: list[Float64Array], weights: list[float]) -> Float64Array:
    total = np.zeros(columns[0].size)
    for column, weight in zip(columns, weights, strict=True):
        total += weight * column
    return total


def _sigmoid(margins: Float64Array) -> Float64Array:
    small = exp(-np.abs(margins))
    return np.where(margins < 0, small, 1.0) / (1.0 + small)


def _losses(margins: Float64Array, labels: Float32Array) -> Float64Array:
    """Return ``ln(1 + exp(-m))`` of rows with label 1 and ``ln(1 + exp(m))`` of the others."""
    away = np.where(labels == 1, -margins, margins)
    losses: Float64Array = np.maximum(away, 0.0) + log(1.0 + exp(-np.abs(away)))
    return losses


def exact_total(values: Float64Array) -> float:
    """Return the sum, the same in any order of the values; shape (n_rows,), finite.

    Values are rounded to multiples of one power of two, such that their sum fits 62 bits.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    bits = 62 - math.frexp(largest)[1] - values.size.bit_length()
    return math.ldexp(int(np.rint(np.ldexp(values, bits)).astype(np.int64).sum()), -bits)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a positive definite system by Cholesky's decomposition (Golub, Van Loan, 4.2)."""
    size = len(right)
    lower = [[0.0] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            rest = matrix[row][column]
            for k in range(column):
                rest -= lower[row][k] * lower[column][k]
            # Rounding may leave no more than nothing of a pivot, where two margins are one.
            lower[row][column] = (
                math.sqrt(max(rest, 1e-12)) if row == column else rest / lower[column][column]
            )
    solution = list(right)
    for row in range(size):
        for k in range(row):
            solution[row] -= lower[row][k] * solution[k]
        solution[row] /= lower[row][row]
    for row in reversed(range(size)):
        for k in range(row + 1, size):
            solution[row] -= lower[k][row] * solution[k]
        solution[row] /= lower[row][row]
    return solution
