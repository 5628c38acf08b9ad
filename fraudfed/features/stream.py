"""Payments in the order of their time, those that a window may still reach, and their labels.

What the one-at-a-time builders of all recipes have in common. Time only moves forward: payments
come in the order of their seconds, in any order within one.
"""

from collections import deque
from collections.abc import Iterator

from fraudfed.errors import DataError
from fraudfed.features.payment import Payment


class PaymentStream:
    """What was observed of the last seconds.

    Parameters
    ----------
    lookback_seconds : int
        Payments further back than this are forgotten.
    """

    def __init__(self, *, lookback_seconds: int) -> None:
        self._lookback = lookback_seconds
        self._now = 0
        # Every payment that a window may still reach, oldest first.
        self._reached: deque[Payment] = deque()
        self._by_id: dict[str, Payment] = {}

    def __len__(self) -> int:
        return len(self._reached)

    @property
    def now(self) -> int:
        """The second that was moved to last, UTC epoch seconds."""
        return self._now

    def go_to(self, payment: Payment) -> Iterator[Payment]:
        """Move to a payment's second; yield what is forgotten, oldest first.

        Raises
        ------
        DataError
            If that second is before one already seen.
        """
        now = payment.event_time
        if now < self._now:
            raise DataError(
                f"transaction {payment.transaction_id!r}: event_time is {now}, expected "
                f"{self._now} or later, as of the payment before; give payments in order of time"
            )
        self._now = now
        return self._forget(now - self._lookback)

    def check_new(self, payment: Payment) -> None:
        """Raise DataError if the payment's ``transaction_id`` was observed before."""
        if payment.transaction_id in self._by_id:
            raise DataError(
                f"transaction {payment.transaction_id!r}: observed before, expected each payment "
                "once; leave the repeated one out"
            )

    def add(self, payment: Payment) -> None:
        """Remember a payment of the current second."""
        self._reached.append(payment)
        self._by_id[payment.transaction_id] = payment

    def _forget(self, oldest: int) -> Iterator[Payment]:
        while self._reached and self._reached[0].event_time < oldest:
            payment = self._reached.popleft()
            del self._by_id[payment.transaction_id]
            yield payment
