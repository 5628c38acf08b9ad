"""Likelihood-ratio attack with shadow models.

N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis, F. Tramer, "Membership inference attacks from
first principles", IEEE Symposium on Security and Privacy 2022 (arXiv 2112.03570), algorithm 1: what
models say of a row's true label, in log odds, is taken as normal, once among those that were
trained on the row and once among those that were not. Section V.B there: with few shadow models all
rows share one variance, which is what is done here.
"""

import math

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array, Float64Array
from fraudfed.lab.attack.binomial import Share, share_of
from fraudfed.lab.attack.membership.result import RateAt

#: Below so much evidence of a spread, models say the same of all rows.
_LEAST_SPREAD = 1e-6


def confidences(margins: Float32Array, labels: Float32Array) -> Float64Array:
    """Return the log odds of the true label, shape as ``margins``."""
    return np.where(labels == 1, margins, -margins).astype(np.float64)


def likelihood_ratios(
    attacked: Float64Array, shadows: Float64Array, were_members: BoolArray
) -> Float64Array:
    """Return the logarithm of in against out for each row.

    Parameters
    ----------
    attacked : ndarray of shape (n_rows,), dtype=float64
        What the attacked model says.
    shadows : ndarray of shape (n_shadows, n_rows), dtype=float64
    were_members : ndarray of shape (n_shadows, n_rows), dtype=bool
        Which rows each shadow model was trained on.
    """
    n_in = were_members.sum(axis=0)
    n_out = len(shadows) - n_in
    inside = np.where(were_members, shadows, 0.0).sum(axis=0) / np.maximum(n_in, 1)
    outside = np.where(were_members, 0.0, shadows).sum(axis=0) / np.maximum(n_out, 1)
    off = np.where(were_members, shadows - inside, shadows - outside)
    degrees = max(1, shadows.size - 2 * len(attacked))
    variance = max(float((off**2).sum() / degrees), _LEAST_SPREAD**2)
    ratio = (inside - outside) * (attacked - (inside + outside) / 2.0) / variance
    # Of a row that all shadow models held, or none, or that changes none, nothing is known.
    unknown = (n_in == 0) | (n_out == 0) | (np.abs(inside - outside) <= _LEAST_SPREAD)
    return np.where(unknown, 0.0, ratio)


def rate_at(members: Float64Array, others: Float64Array, false_positive_rate: float) -> RateAt:
    """Return which share of members is found while so few others are called members.

    The threshold is the lowest that at most that share of the others exceeds. There is none
    between equal scores.

    Parameters
    ----------
    members, others : ndarray of shape (n,), dtype=float64
        Scores; higher is more likely a member.
    false_positive_rate : float
    """
    allowed = math.floor(false_positive_rate * len(others))
    threshold = np.sort(others)[::-1][allowed] if allowed < len(others) else -np.inf
    found: Share = share_of(int(np.count_nonzero(members > threshold)), len(members))
    return RateAt(false_positive_rate, found)


def area(members: Float64Array, others: Float64Array) -> tuple[float, float, float]:
    """Return P(member scores above another) + P(tie) / 2, with its 95 % interval.

    Standard error: J. A. Hanley and B. J. McNeil, Radiology 143(1), 1982, equation 1 on page 32;
    at 0 and 1, where it is 0, the ends are those of a share of as many tries as there are members.
    """
    ranks = np.searchsorted(np.sort(others), members, side="left")
    ties = np.searchsorted(np.sort(others), members, side="right") - ranks
    value = float((ranks + ties / 2.0).sum() / (len(members) * len(others)))
    if value in (0.0, 1.0):
        end = share_of(round(value * len(members)), len(members))
        return value, end.low, end.high
    q1, q2 = value / (2.0 - value), 2.0 * value**2 / (1.0 + value)
    spread = value * (1.0 - value)
    spread += (len(members) - 1) * (q1 - value**2) + (len(others) - 1) * (q2 - value**2)
    half = 1.96 * math.sqrt(spread / (len(members) * len(others)))
    return value, max(0.0, value - half), min(1.0, value + half)
