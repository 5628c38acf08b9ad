"""Reports of fraud that a window may still hold: which keys each counts for, and until when.

A report counts however old its payment is, so what it counts for comes with it: the payment. Once
no window holds it any more it is forgotten.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from fraudfed.errors import DataError
from fraudfed.features.formulas import SECONDS_PER_DAY, fraud_counts_from
from fraudfed.features.history import ReportedFrauds
from fraudfed.features.payment import Payment

K = TypeVar("K")


class Reports(Generic[K]):
    """The reports of one bank.

    Parameters
    ----------
    delay_days : int
        The risk delay.
    longest_seconds : int
        Width of the longest window.
    history_of : callable
        Gives the frauds of a key, new ones for a key that has none.
    forget : callable
        Called with a key whose last fraud was forgotten.
    """

    def __init__(
        self,
        *,
        delay_days: int,
        longest_seconds: int,
        history_of: Callable[[K], ReportedFrauds],
        forget: Callable[[K], None],
    ) -> None:
        self._delay = delay_days * SECONDS_PER_DAY
        self._longest = longest_seconds
        self._history_of = history_of
        self._forget = forget
        # By the time from which each counts; the payment's identifier makes the order total.
        self._held: list[tuple[int, str, Sequence[K]]] = []
        self._reported: set[str] = set()

    def add(self, payment: Payment, keys: Sequence[K], *, report_time: int, now: int) -> bool:
        """Remember the report of a payment.

        Returns
        -------
        bool
            False if it is remembered already, or no window can hold it any more.

        Raises
        ------
        DataError
            If ``report_time`` is before the payment.
        """
        if report_time < payment.event_time:
            raise DataError(
                f"transaction {payment.transaction_id!r}: report_time is {report_time}, expected "
                f"at or after the event_time {payment.event_time}; mend the times"
            )
        (counts_from,) = fraud_counts_from(
            np.array([payment.event_time], dtype=np.int64),
            np.array([report_time], dtype=np.int64),
            delay_seconds=self._delay,
        ).tolist()
        if payment.transaction_id in self._reported or counts_from < now - self._longest:
            return False
        self._reported.add(payment.transaction_id)
        heapq.heappush(self._held, (counts_from, payment.transaction_id, keys))
        for key in keys:
            self._history_of(key).add(counts_from)
        return True

    def forget_before(self, now: int) -> None:
        """Forget what no window of a payment at ``now`` or later can hold."""
        oldest = now - self._longest
        while self._held and self._held[0][0] < oldest:
            _, identifier, keys = heapq.heappop(self._held)
            self._reported.discard(identifier)
            for key in keys:
                history = self._history_of(key)
                history.forget_before(oldest)
                if len(history) == 0:
                    self._forget(key)
