"""Precision, recall and value saved, week by week, and what a hold-out says about blocks.

Of young payments not all frauds are reported yet. A known fraud that is known by now with
probability p stands for 1/p frauds (D. G. Horvitz, D. J. Thompson, "A generalization of sampling
without replacement from a finite universe", Journal of the American Statistical Association 47
(260), 1952): counts and money of known frauds are divided by the completeness of their age. That
takes alerts to be reported as late as other frauds; where analysts find them at once, precision is
rather too high, so it never exceeds 1.

A blocked payment never tells whether the block was right. Of a random share that got a weaker
action, it does; each of them stands for the inverse of its propensity (same source; the ratio
estimator of J. Hajek, "Comment on an essay by D. Basu", 1971). The interval is that of E. B.
Wilson, "Probable inference", Journal of the American Statistical Association 22 (158), 1927, for
the payments held out, whose propensities are alike under one policy.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bank_node.decisions.decision import Decision
from bank_node.outcomes.label import Label
from bank_node.policy import Action
from fraudfed.features.formulas import SECONDS_PER_DAY

_WEEK: Final = 7 * SECONDS_PER_DAY
#: 1970-01-05 was a Monday.
_MONDAY: Final = 4 * SECONDS_PER_DAY
#: Of the normal distribution, for 95 %.
_Z: Final = 1.959963984540054
_STOPPED: Final = (Action.HOLD, Action.BLOCK)


@dataclass(frozen=True, kw_only=True)
class Week:
    """Payments of a week, Monday to Sunday UTC.

    Attributes
    ----------
    monday : str
        ISO date.
    decisions, alerts : int
    frauds, frauds_alerted : int
        Known.
    completeness : float or None
        Share of the week's frauds that is known, by estimate; None if there is no estimate: then
        the figures below are as known.
    precision, recall : float or None
        None without alerts, or frauds.
    fraud_minor, saved_minor : int
        Money of all frauds, and of those held or blocked; minor units.
    """

    monday: str
    decisions: int
    alerts: int
    frauds: int
    frauds_alerted: int
    completeness: float | None
    precision: float | None
    recall: float | None
    fraud_minor: int
    saved_minor: int


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
    decisions: Iterable[Decision],
    label: Callable[[str], Label | None],
    *,
    as_of: int,
    reported_by: Callable[[int], float | None],
) -> list[Week]:
    """Count decisions and known frauds, week by week of the payments.

    Parameters
    ----------
    decisions : iterable of Decision
    label : callable
        What is known of a transaction at ``as_of``.
    as_of : int
        UTC epoch seconds.
    reported_by : callable
        Share of frauds that is reported by an age in seconds; None if nobody knows.
    """
    weeks: dict[int, list[Decision]] = {}
    for each in decisions:
        weeks.setdefault((each.event_time - _MONDAY) // _WEEK, []).append(each)
    return [_week(number, weeks[number], label, as_of, reported_by) for number in sorted(weeks)]


def _week(
    number: int,
    decisions: Sequence[Decision],
    label: Callable[[str], Label | None],
    as_of: int,
    reported_by: Callable[[int], float | None],
) -> Week:
    alerts = sum(each.is_alert for each in decisions)
    frauds = [each for each in decisions if _is_fraud(label(each.transaction_id))]
    shares = [reported_by(as_of - each.event_time) for each in frauds]
    known = [share for share in shares if share is not None and share > 0]
    has_estimate = bool(frauds) and len(known) == len(frauds)
    weights = [1 / share for share in known] if has_estimate else [1.0] * len(frauds)
    whole = math.fsum(weights)
    weighed = list(zip(frauds, weights, strict=True))
    alerted = math.fsum(w for each, w in weighed if each.is_alert)
    monday = datetime.fromtimestamp(number * _WEEK + _MONDAY, UTC)
    return Week(
        monday=f"{monday:%Y-%m-%d}",
        decisions=len(decisions),
        alerts=alerts,
        frauds=len(frauds),
        frauds_alerted=sum(each.is_alert for each in frauds),
        completeness=len(frauds) / whole if has_estimate else None,
        precision=min(1.0, alerted / alerts) if alerts else None,
        recall=alerted / whole if frauds else None,
        fraud_minor=round(math.fsum(each.amount_minor * w for each, w in weighed)),
        saved_minor=round(
            math.fsum(each.amount_minor * w for each, w in weighed if each.action in _STOPPED)
        ),
    )


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
