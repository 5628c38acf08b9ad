"""What alerts cost and save: for growing budgets, what each model's alerts find.

A bank's own model has scores of its own, so a budget is a share of each bank's payments: every bank
alerts on its most suspicious ones. Payments with one score are alerted on together or not at all,
as the gate has it. Law: with a larger budget no model finds less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.evaluation.cases import Cases
from fraudfed.evaluation.outcomes import Outcomes

#: Shares of each bank's payments that are alerted on.
BUDGETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
_SECONDS_A_DAY: Final = 86_400
_SAVED: Final = 4


@dataclass(frozen=True)
class AlertPoint:
    """What a budget finds at all banks.

    Attributes
    ----------
    share : float
        Of each bank's payments that may be alerted on.
    alerts : int
        Payments that are, of the whole window.
    alerts_per_day : float or None
        None for rows without times.
    precision : float or None
        Share of frauds among them; None without an alert.
    case_recall : float
        Share of cases of which a payment was alerted on.
    saved : int or None
        Amount of fraud from each case's first alert on, minor currency units; None without amounts.
    """

    share: float
    alerts: int
    alerts_per_day: float | None
    precision: float | None
    case_recall: float
    saved: int | None


def alert_curves(
    scores: Mapping[str, Sequence[Float32Array | None]], outcomes: Sequence[Outcomes]
) -> dict[str, tuple[AlertPoint, ...]]:
    """Return the points of every model that has scores at all banks, ascending.

    Parameters
    ----------
    scores : mapping of model to sequence of ndarray of shape (n_rows,), dtype=float32, or None
        One for each bank.
    outcomes : sequence of Outcomes
        Of the same rows; all labels are known.

    Returns
    -------
    dict of str to tuple of AlertPoint
        Empty if no bank has a fraud.
    """
    cases = [Cases.of(one) for one in outcomes]
    if not any(one.n_cases for one in cases):
        return {}
    days = _days(outcomes)
    found: dict[str, tuple[AlertPoint, ...]] = {}
    for model, of_banks in scores.items():
        known = [one for one in of_banks if one is not None]
        if len(known) == len(of_banks):
            found[model] = tuple(
                _point(share, known, outcomes, cases, days=days) for share in BUDGETS
            )
    return found


def _point(
    share: float,
    scores: Sequence[Float32Array],
    outcomes: Sequence[Outcomes],
    cases: Sequence[Cases],
    *,
    days: int | None,
) -> AlertPoint:
    alerted = [_alerted(one, int(share * one.size)) for one in scores]
    alerts = sum(int(np.count_nonzero(one)) for one in alerted)
    frauds = sum(
        int(np.count_nonzero(one & (of.labels == 1)))
        for one, of in zip(alerted, outcomes, strict=True)
    )
    at = np.sum([of.at(one) for one, of in zip(alerted, cases, strict=True)], axis=0)
    has_amounts = all(of.amounts is not None for of in outcomes)
    return AlertPoint(
        share=share,
        alerts=alerts,
        alerts_per_day=None if days is None else alerts / days,
        precision=frauds / alerts if alerts else None,
        case_recall=int(at[0]) / sum(one.n_cases for one in cases),
        saved=int(at[_SAVED]) if has_amounts else None,
    )


def _alerted(scores: Float32Array, n_alerts: int) -> BoolArray:
    """Tell which rows lie at or above the lowest score that keeps to the budget."""
    if n_alerts == 0:
        return np.zeros(scores.size, dtype=np.bool_)
    if n_alerts >= scores.size:
        return np.ones(scores.size, dtype=np.bool_)
    # One more than the budget would be reached at the next score below: above that one.
    too_low = np.partition(scores, scores.size - n_alerts - 1)[scores.size - n_alerts - 1]
    alerted: BoolArray = scores > too_low
    return alerted


def _days(outcomes: Sequence[Outcomes]) -> int | None:
    times = [of.event_time for of in outcomes if of.event_time is not None]
    if len(times) < len(outcomes):
        return None
    return int(np.unique(np.concatenate(times) // _SECONDS_A_DAY).size)
