"""What a policy would have done with past payments.

Pounds saved count the whole amount of each fraud that is held or blocked: of what is warned of,
nobody knows whether the customer would have listened. With costs, every alert counts as stopped, as
``fraudfed.evaluation.net_benefit`` has it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bank_node.outcomes.past import PastPayment
from bank_node.policy import Action, Policy
from fraudfed.errors import DataError
from fraudfed.evaluation.net_benefit import Costs, benefit_of
from fraudfed.evaluation.outcomes import Outcomes
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.payments.columns import CHANNELS


@dataclass(kw_only=True)
class Trial:
    """What was counted; of all payments, or of one channel.

    Attributes
    ----------
    payments, frauds : int
    days : int
        From the first payment's day to the last one's.
    actions : mapping of str to int
        Payments by what would be done.
    alerts_a_day : float
    busiest_day : int
        Alerts on the day with most.
    days_over_budget : int
        Days with more alerts than the policy's budget.
    frauds_alerted : int
    fraud_minor, stopped_minor, warned_minor : int
        Amounts of known frauds: all; held or blocked; warned of.
    customers_bothered : int
        Customers with an alert on a payment that is no known fraud.
    fallbacks : int
        Payments that nothing had scored.
    budget_threshold : float or None
        Smallest probability (score without a calibration) from which on the alerts of the busiest
        day would keep within the budget, one threshold for all; None if all may be alerted on.
    net_benefit : float or None
        With costs: of the alerts, in whole units of currency.
    """

    payments: int = 0
    frauds: int = 0
    days: int = 0
    actions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, Action), 0))
    alerts_a_day: float = 0.0
    busiest_day: int = 0
    days_over_budget: int = 0
    frauds_alerted: int = 0
    fraud_minor: int = 0
    stopped_minor: int = 0
    warned_minor: int = 0
    customers_bothered: int = 0
    fallbacks: int = 0
    budget_threshold: float | None = None
    net_benefit: float | None = None


def actions_of(policy: Policy, payments: Sequence[PastPayment]) -> list[Action]:
    """Return what a policy does with each payment, without a draw for a hold-out."""
    return [
        policy.decide(
            probability=each.probability,
            score=each.score,
            amount_minor=each.amount_minor,
            channel=each.channel,
            direction=each.direction,
            draw=_never_held_out,
        ).action
        for each in payments
    ]


def tried(
    policy: Policy, payments: Sequence[PastPayment], *, costs: Costs | None = None
) -> dict[str | None, Trial]:
    """Try a policy.

    Parameters
    ----------
    policy : Policy
    payments : sequence of PastPayment
    costs : Costs or None
        For a net benefit.

    Returns
    -------
    dict of str or None to Trial
        Under None that of all payments, then that of each channel.

    Raises
    ------
    DataError
        If there are no payments.
    """
    if not payments:
        raise DataError("no payments to try a policy on; name a period or file that has some")
    actions = actions_of(policy, payments)
    pairs = list(zip(payments, actions, strict=True))
    days = [each.event_time // SECONDS_PER_DAY for each in payments]
    n_days = max(days) - min(days) + 1
    found: dict[str | None, Trial] = {None: _counted(policy, pairs, n_days)}
    channels = sorted({each.channel for each in payments if each.channel is not None})
    for channel in channels:
        of = [pair for pair in pairs if pair[0].channel == channel]
        found[channel] = _counted(policy, of, n_days)
    found[None].budget_threshold = _budget_threshold(policy, payments)
    if costs is not None:
        is_alerted = np.array([action.is_alert for action in actions], dtype=np.bool_)
        benefit = benefit_of(is_alerted, _outcomes(payments), costs)
        found[None].net_benefit = benefit.net
        for part in benefit.channels:
            if part.channel in found:
                found[part.channel].net_benefit = part.net
    return found


def _outcomes(payments: Sequence[PastPayment]) -> Outcomes:
    """Return what became of payments: what was stopped and not reported, nobody knows."""
    place = {name: number for number, name in enumerate(CHANNELS)}
    labels = [1.0 if each.is_fraud else math.nan if each.is_blocked else 0.0 for each in payments]
    channels = [-1 if each.channel is None else place.get(each.channel, -1) for each in payments]
    return Outcomes(
        labels=np.array(labels, dtype=np.float32),
        is_blocked=np.array([each.is_blocked for each in payments], dtype=np.bool_),
        amounts=np.array([each.amount_minor for each in payments], dtype=np.int64),
        cells={"channel": np.array(channels, dtype=np.int64)},
    )


def _counted(policy: Policy, pairs: Sequence[tuple[PastPayment, Action]], n_days: int) -> Trial:
    trial = Trial(payments=len(pairs), days=n_days)
    by_day: Counter[int] = Counter()
    bothered = set()
    for payment, action in pairs:
        trial.actions[action.value] += 1
        trial.fallbacks += payment.probability is None and payment.score is None
        trial.frauds += payment.is_fraud
        trial.fraud_minor += payment.amount_minor * payment.is_fraud
        if not action.is_alert:
            continue
        by_day[payment.event_time // SECONDS_PER_DAY] += 1
        if not payment.is_fraud:
            bothered.add(payment.customer_id)
            continue
        trial.frauds_alerted += 1
        if action is Action.WARN:
            trial.warned_minor += payment.amount_minor
        else:
            trial.stopped_minor += payment.amount_minor
    trial.alerts_a_day = by_day.total() / n_days
    trial.busiest_day = max(by_day.values(), default=0)
    trial.days_over_budget = sum(n > policy.alert_budget_a_day for n in by_day.values())
    trial.customers_bothered = len(bothered)
    return trial


def _budget_threshold(policy: Policy, payments: Sequence[PastPayment]) -> float | None:
    """Return the smallest value that alerts on no more than the budget on any day."""
    by_day: dict[int, list[float]] = {}
    for each in payments:
        value = each.score if each.probability is None else each.probability
        if value is not None:
            by_day.setdefault(each.event_time // SECONDS_PER_DAY, []).append(value)
    # The first value of each day that is one too many: a threshold lies above all of them.
    over = [
        sorted(values, reverse=True)[policy.alert_budget_a_day]
        for values in by_day.values()
        if len(values) > policy.alert_budget_a_day
    ]
    if not over:
        return None
    bound = max(over)
    above = [value for values in by_day.values() for value in values if value > bound]
    return min(above, default=1.0)


def _never_held_out() -> float:
    return 1.0
