"""Payments that the bank blocks, and the payer's next attempts.

A blocked attempt is always an additional row beside the payment that succeeded, so blocking never
removes stolen money. An honest payer succeeds minutes after the blocked attempt. A fraudster's
blocked attempt may also come after the payment that succeeded.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from data_gen.events import Events, FraudKind
from data_gen.rng import Draws

# Blocked attempts per transaction: banks stop many honest payments for each fraudulent one.
CLEAN_BLOCKED: Final = 0.004
FRAUD_BLOCKED: Final = 0.10
# Share of blocked fraud that comes after the payment that succeeded.
FRAUD_BLOCKED_AFTER: Final = 0.5
# Seconds between the two attempts; largest factor of a fraudster's blocked amount.
RETRY_SECONDS: Final = (20.0, 600.0)
FRAUD_ASKED_MORE: Final = 1.8


def with_blocked_attempts(events: Events, start_time: int, draws: Draws) -> Events:
    """Return the events, then the blocked attempts at some of them.

    Parameters
    ----------
    events : Events
    start_time : int
        First second of the period; no attempt is earlier. UTC epoch seconds.
    """
    is_fraud = events.kind != FraudKind.LEGITIMATE
    chance = np.where(is_fraud, FRAUD_BLOCKED, CLEAN_BLOCKED)
    stopped = np.flatnonzero(draws.uniform(len(events)) < chance)
    n = len(stopped)
    attempts = events.take(stopped)
    gap = draws.uniform(n, low=RETRY_SECONDS[0], high=RETRY_SECONDS[1]).astype(np.int64)
    after = is_fraud[stopped] & (draws.uniform(n) < FRAUD_BLOCKED_AFTER)
    more = np.where(is_fraud[stopped], draws.uniform(n, low=1.0, high=FRAUD_ASKED_MORE), 1.0)
    attempts = replace(
        attempts,
        time=np.maximum(attempts.time + np.where(after, gap, -gap), start_time),
        amount=np.rint(attempts.amount * more).astype(np.int64),
        is_blocked=np.ones(n, dtype=np.int8),
    )
    return Events.concatenate([events, attempts])
