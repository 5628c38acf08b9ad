"""Cases of fraud of one bank: a customer's frauds within 30 days are one."""

import numpy as np

from fraudfed.evaluation.outcomes import Outcomes

_CASE_SECONDS = 30 * 86_400


def count_cases(outcomes: Outcomes) -> int:
    """Return the number of cases among the payments reported as fraud.

    A fraud without a customer is a case of its own; without times, all of a customer's are one.
    """
    frauds = np.flatnonzero(outcomes.labels == 1)
    if outcomes.customers is None:
        return int(frauds.size)
    customers = outcomes.customers[frauds]
    times = np.zeros_like(customers) if outcomes.event_time is None else outcomes.event_time[frauds]
    order = np.lexsort((times, customers))
    n_cases, current, first = 0, -1, 0
    for customer, time in zip(customers[order].tolist(), times[order].tolist(), strict=True):
        if customer < 0 or customer != current or time > first + _CASE_SECONDS:
            n_cases, current, first = n_cases + 1, customer, time
    return n_cases
