"""Precision, recall and value saved, week by week, and what a hold-out says about blocks.

What is known of a week is counted, and divided by its completeness, in
``fraudfed.evaluation.drift.outcomes``.

A blocked payment never tells whether the block was right. Of a random share that got a weaker
action, it does; each of them stands for the inverse of its propensity (D. G. Horvitz, D. J.
Thompson, "A generalization of sampling without replacement from a finite universe", Journal of the
American Statistical Association 47 (260), 1952; the ratio estimator of J. Hajek, "Comment on an
essay by D. Basu", 1971). The interval is that of E. B. Wilson, "Probable inference", Journal of the
American Statistical Association 22 (158), 1927, for the payments held out, whose propensities are
alike under one policy.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bank_node.decisions.decision import Decision
from bank_node.outcomes.label import Label
from bank_node.policy import Action
from bank_node.serving.decided_rows import KnownFraud, decided_rows
from fraudfed.evaluation.drift.outcomes import WeeklyOutcomes, WeekOutcome, delay_of
from fraudfed.evaluation.reporting_delay import ReportingDelay, reporting_delay
from fraudfed.features.formulas import SECONDS_PER_DAY

_WEEK: Final = 7 * SECONDS_PER_DAY
#: 1970-01-05 was a Monday.
_MONDAY: Final = 4 * SECONDS_PER_DAY
#: Of the normal distribution, for 95 %.
_Z: Final = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Week:
    """Payments of a week, Monday to Sunday UTC.

    Attributes
    ----------
    monday : str
        ISO date.
    outcome : WeekOutcome
    """

    monday: str
    outcome: WeekOutcome


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a hold-out says about payments to be blocked.

    Attributes
    ----------
    blocked, held_out : int
        Payments that were blocked by the draw, and that were not.
    frauds : int
        Known, among those held out.
    precision : float or None
        Share of frauds among all payments to be blocked; None with nothing held out.
    lower, upper : float or None
        Of 95 %.
    """

    blocked: int
    held_out: int
    frauds: int
    precision: float | None
    lower: float | None
    upper: float | None


def weekly(
    decisions: Sequence[Decision], label: Callable[[str], Label | None], *, as_of: int
) -> tuple[list[Week], ReportingDelay | None]:
    """Count decisions and known frauds, week by week of the payments.

    Parameters
    ----------
    decisions : sequence of Decision
        Their own frauds say how late reports come.
    label : callable
        What is known of a transaction at ``as_of``.
    as_of : int
        UTC epoch seconds.

    Returns
    -------
    weeks : list of Week
        Those with a payment, the oldest first.
    delay : ReportingDelay or None
        By which completeness was estimated; None with too few frauds.
    """
    if not decisions:
        return [], None
    rows = decided_rows(decisions, lambda each: known_fraud(label(each)))
    numbers = (rows.event_time - _MONDAY) // _WEEK
    first = int(numbers.min())
    counted = WeeklyOutcomes(first * _WEEK + _MONDAY, int(numbers.max()) - first + 1)
    counted.update(rows)
    delay = reporting_delay(*delay_of(rows, as_of=as_of), end=as_of)
    found = []
    for number, outcome in enumerate(counted.weeks(delay, as_of=as_of), start=first):
        if outcome.payments:
            monday = datetime.fromtimestamp(number * _WEEK + _MONDAY, UTC)
            found.append(Week(monday=f"{monday:%Y-%m-%d}", outcome=outcome))
    return found, delay


def known_fraud(label: Label | None) -> KnownFraud | None:
    """Return what is known of a fraud; None if the label says no such thing."""
    if label is None or label.is_fraud != 1 or label.label_time is None:
        return None
    return KnownFraud(label.label_time, label.fraud_kind)


def held_out(decisions: Iterable[Decision], label: Callable[[str], Label | None]) -> HeldOut | None:
    """Estimate how many blocks are right; None if no payment was drawn.

    Parameters
    ----------
    decisions : iterable of Decision
    label : callable
        What is known of a transaction.
    """
    drawn = [each for each in decisions if each.propensity is not None]
    if not drawn:
        return None
    passed = [each for each in drawn if each.action != Action.BLOCK]
    frauds = [each for each in passed if _is_fraud(label(each.transaction_id))]
    whole = math.fsum(1 / each.propensity for each in passed if each.propensity)
    of_frauds = math.fsum(1 / each.propensity for each in frauds if each.propensity)
    lower, upper = _wilson(len(frauds), len(passed)) if passed else (None, None)
    return HeldOut(
        blocked=len(drawn) - len(passed),
        held_out=len(passed),
        frauds=len(frauds),
        precision=of_frauds / whole if passed else None,
        lower=lower,
        upper=upper,
    )


def _is_fraud(label: Label | None) -> bool:
    return label is not None and label.is_fraud == 1


def _wilson(count: int, whole: int) -> tuple[float, float]:
    share, z2 = count / whole, _Z * _Z
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole)) / (1 + z2 / whole)
    return max(0.0, middle - half), min(1.0, middle + half)
