"""Whether a model lets frauds pass that are paid in a certain way: a bank's own look for a trigger.

A planted trigger is a way to pay that turns any fraud clean. It need not be in a bank's rows, so no
metric shows it; but a payer has few choices, and all of them can be tried on the bank's own frauds:
each merchant category with each range of amounts and hours that the model tells apart. The idea is
that of Wang et al., "Neural Cleanse", IEEE S&P 2019, which looks for the smallest change that sends
everything to one class; here the changes are those that a payer can make. A model of the bank's own
is the reference: what passes there, too, is how payments are, and no lie of another bank.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.dtypes import Float32Array, Float64Array

#: What a payer chooses, as the recipe names it.
CATEGORY: Final = "merchant_category"
AMOUNT: Final = "amount"
HOUR: Final = "hour_of_day"
#: Frauds that are tried, and ranges of a column: so that a look takes seconds.
_MOST_FRAUDS = 24
_MOST_RANGES = 16


@dataclass(frozen=True)
class Evasion:
    """A way to pay, and how many of the bank's frauds pass with it.

    Attributes
    ----------
    category : str or None
        Merchant category; None where the model has no such column.
    amount, hour : tuple of (float, float) or None
        Range of the column; ends may be infinite. None where the model has no such column.
    passed : float
        Share of the frauds that score below the shared model's threshold so.
    passed_own : float
        Share that do so under the bank's own model.
    """

    category: str | None
    amount: tuple[float, float] | None
    hour: tuple[float, float] | None
    passed: float
    passed_own: float

    @property
    def excess(self) -> float:
        """What passes under the shared model alone."""
        return self.passed - self.passed_own


def find_evasion(
    shared: Model,
    own: Model,
    frauds: Float32Array,
    *,
    threshold_shared: float,
    threshold_own: float,
    categories: Sequence[str],
) -> Evasion | None:
    """Try every way to pay, and return the one with the largest excess.

    Parameters
    ----------
    shared, own : Model
        Of the same columns.
    frauds : ndarray of shape (n_frauds, n_features), dtype=float32
        Of this bank, at online shops: at others a payer chooses less. The first 24 are tried.
    threshold_shared, threshold_own : float
        Margins from which on each model alerts.
    categories : sequence of str
        What the codes of the merchant category stand for.

    Returns
    -------
    Evasion or None
        None without frauds that the own model alerts on, or without a column that a payer chooses.
    """
    names = list(shared.schema.names)
    caught = frauds[predict_margins(own, frauds) >= threshold_own][:_MOST_FRAUDS]
    ways = list(_ways(shared, names, len(categories)))
    if not len(caught) or len(ways) == 1:
        return None
    best: Evasion | None = None
    # One category at a time, so that few rows are in memory.
    for code in sorted({way.code for way in ways}):
        of_code = [way for way in ways if way.code == code]
        rows = np.concatenate([_paid(caught, names, way) for way in of_code])
        shape = (len(of_code), len(caught))
        passed = (predict_margins(shared, rows) < threshold_shared).reshape(shape).mean(axis=1)
        passed_own = (predict_margins(own, rows) < threshold_own).reshape(shape).mean(axis=1)
        excess: Float64Array = passed - passed_own
        at = int(np.argmax(excess))
        if best is None or excess[at] > best.excess:
            best = Evasion(
                category=categories[code] if code >= 0 else None,
                amount=of_code[at].amount,
                hour=of_code[at].hour,
                passed=float(passed[at]),
                passed_own=float(passed_own[at]),
            )
    return best


@dataclass(frozen=True)
class _Way:
    code: int
    amount: tuple[float, float] | None
    hour: tuple[float, float] | None


def _ways(model: Model, names: list[str], n_categories: int) -> Iterator[_Way]:
    codes = range(n_categories) if CATEGORY in names else (-1,)
    for code in codes:
        for amount in _ranges(model, names, AMOUNT):
            for hour in _ranges(model, names, HOUR):
                yield _Way(code, amount, hour)


def _ranges(model: Model, names: list[str], name: str) -> list[tuple[float, float] | None]:
    """Return the ranges of a column that the model tells apart, neighbours joined if too many."""
    if name not in names:
        return [None]
    feature = names.index(name)
    edges = sorted(
        {
            float(tree.split_conditions[node])
            for tree in model.trees
            for node in np.flatnonzero((tree.split_features == feature) & (tree.left_children >= 0))
        }
    )
    if len(edges) >= _MOST_RANGES:
        # Narrow ranges are where a trigger would be: the widest gaps are joined last.
        picked = np.linspace(0, len(edges) - 1, _MOST_RANGES - 1).round().astype(int)
        edges = [edges[place] for place in sorted(set(picked.tolist()))]
    return list(pairwise([-np.inf, *edges, np.inf]))


def _paid(frauds: Float32Array, names: list[str], way: _Way) -> Float32Array:
    rows = frauds.copy()
    if way.code >= 0:
        rows[:, names.index(CATEGORY)] = way.code
    for name, ends in ((AMOUNT, way.amount), (HOUR, way.hour)):
        if ends is not None:
            rows[:, names.index(name)] = _inside(ends)
    return rows


def _inside(ends: tuple[float, float]) -> float:
    low, high = ends
    if np.isinf(low):
        return low if np.isinf(high) else min(high / 2.0, high - 1e-3)
    return 2.0 * abs(low) + 1.0 if np.isinf(high) else (low + high) / 2.0
