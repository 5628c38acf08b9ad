"""How often one sender may ask: a token bucket for each (RFC 2697 calls its parts CIR and CBS).

A sender has ``rate * BURST_SECONDS`` requests at once and ``rate`` per second after that. Within
any time T it is let through at most ``rate * (BURST_SECONDS + T)`` times; and a sender that waits
as long as it is told is let through.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

#: So much of the average may come at once: a program that starts asks many things in a row.
BURST_SECONDS = 10.0
#: Senders that are remembered. Banks and tokens are fewer; addresses have no bound.
MOST_SENDERS = 4096


class TokenBucket:
    """``burst`` tokens at once, and ``per_second`` after that. Its owner locks it.

    Parameters
    ----------
    burst : float
        At least 1, or nothing would ever be taken.
    now : float
        Seconds, never going back; the bucket is full then.
    """

    def __init__(self, *, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._refilled = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        gained = (now - self._refilled) * self._per_second
        self._left = min(self._burst, self._left + gained)
        self._refilled = now
        if self._left < 1:
            return (1 - self._left) / self._per_second
        self._left -= 1
        return 0.0


class Rates:
    """The buckets of all senders. Safe to use from many threads.

    Parameters
    ----------
    per_second : float
        Requests of one sender on average.
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, sender: str) -> float:
        """Return 0 if the sender may continue, otherwise the seconds that it has to wait."""
        with self._lock:
            now = self._clock()
            bucket = self._buckets.get(sender)
            if bucket is None:
                bucket = TokenBucket(burst=self._burst, per_second=self._per_second, now=now)
                self._buckets[sender] = bucket
            self._buckets.move_to_end(sender)
            if len(self._buckets) > MOST_SENDERS:
                # The sender that was silent for longest has the fullest bucket: it loses least.
                self._buckets.popitem(last=False)
            return bucket.take(now)
