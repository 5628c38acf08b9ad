"""The population stability index of two sets of counts in the same cells.

    PSI = sum over cells of (q - p) ln(q / p)

with p and q the shares of the reference and of the current week: the symmetric divergence of
S. Kullback, R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics
22(1), 1951, section 2, as credit scoring has it (N. Siddiqi, "Credit Risk Scorecards", Wiley 2006,
chapter 9: below 0.1 no change, above 0.25 a shift). With B cells and no change it is distributed as
``(1/n + 1/m)`` times chi-squared with B - 1 degrees of freedom, n and m the two numbers of rows
(B. Yurdakul, J. Naranjo, "Statistical properties of the population stability index", Journal of
Risk Model Validation 14(4), 2020, theorem 1). So small weeks look shifted by themselves, and what
chance gives is taken off: ``(B - 1)(1/n + 1/m)``.

Two corrections of small counts: cells with fewer than five rows expected in the smaller set are
put together with their neighbours (W. G. Cochran, "Some methods for strengthening the common
chi-squared tests", Biometrics 10(4), 1954, section 2), and half a row is added to each cell that is
left, so that no logarithm is infinite.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import Float64Array, Int64Array

_LEAST_EXPECTED: Final = 5.0
_ADDED: Final = 0.5


@dataclass(frozen=True)
class Stability:
    """How far a week is from the reference.

    Attributes
    ----------
    psi : float
        As it is computed.
    chance : float
        What chance alone gives on average.
    n_cells : int
        That it was computed over.
    """

    psi: float
    chance: float
    n_cells: int

    @property
    def excess(self) -> float:
        """What chance does not give, at least 0."""
        return max(self.psi - self.chance, 0.0)


def stability(reference: Int64Array, current: Int64Array, *, n_apart: int = 0) -> Stability | None:
    """Return the index.

    Parameters
    ----------
    reference, current : ndarray of shape (n_cells,), dtype=int64
    n_apart : int
        So many cells at the end have no neighbours: missing, unknown. A small one of them goes to
        the other small ones.

    Returns
    -------
    Stability or None
        None without rows in one of the two.
    """
    n, m = int(reference.sum()), int(current.sum())
    if n == 0 or m == 0:
        return None
    groups = _groups(reference, current, min(n, m) / (n + m), n_apart=n_apart)
    both = np.stack([np.bincount(groups, weights=each) for each in (reference, current)])
    p, q = map(_shares, both[:, both.any(axis=0)])
    terms = (q - p) * np.array([math.log(each) for each in (q / p).tolist()])
    psi = math.fsum(terms.tolist())
    return Stability(psi=max(psi, 0.0), chance=(p.size - 1) * (1 / n + 1 / m), n_cells=p.size)


def _shares(counts: Float64Array) -> Float64Array:
    shares: Float64Array = (counts + _ADDED) / (counts.sum() + _ADDED * counts.size)
    return shares


def _groups(
    reference: Int64Array, current: Int64Array, smaller: float, *, n_apart: int
) -> Int64Array:
    """Return the group of each cell, from 0: those expected too rarely alone are together."""
    expected = ((reference + current) * smaller).tolist()
    ordered = len(expected) - n_apart
    groups, at, within = [], 0, 0.0
    for each in expected[:ordered]:
        groups.append(at)
        within += each
        if within >= _LEAST_EXPECTED:
            at, within = at + 1, 0.0
    # What is left over at the upper end joins the last whole group.
    last = max(at - 1, 0)
    groups = [min(group, last) for group in groups]
    rare = math.fsum(each for each in expected[ordered:] if each < _LEAST_EXPECTED)
    at = last + 1 if ordered else 0
    rest = at if rare >= _LEAST_EXPECTED else last
    at += rest == at
    for each in expected[ordered:]:
        groups.append(rest if each < _LEAST_EXPECTED else at)
        at += each >= _LEAST_EXPECTED
    return np.array(groups, dtype=np.int64)
