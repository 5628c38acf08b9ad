"""What a policy would have done with past payments.

Pounds saved count the whole amount of each fraud that is held or blocked: of what is warned of,
nobody knows whether the customer would have listened. With costs, every alert counts as stopped, as
``fraudfed.evaluation.net_benefit`` has it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bank_node.outcomes.past import PastPayment
from bank_node.policy import Action, Policy
from fraudfed.errors import DataError
from fraudfed.features.formulas import SECONDS_PER_DAY


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
    policy: Policy, payments: Sequence[PastPayment], actions: Sequence[Action] | None = None
) -> dict[str | None, Trial]:
    """Try a policy.

    Parameters
    ----------
    policy : Policy
    payments : sequence of PastPayment
    actions : sequence of Action, or None
        As ``actions_of`` returns them.

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
    if actions is None:
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
    return found


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
