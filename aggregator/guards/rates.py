"""How often one sender may ask: a token bucket for each (RFC 2697 calls its parts CIR and CBS).

A sender has ``rate * BURST_SECONDS`` requests at once and ``rate`` per second after that. Within
any time T it is let through at most ``rate * (BURST_SECONDS + T)`` times; and whoever waits as long
as he is told is let through.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: So much of the average may come at once: a program that starts asks many things in a row.
BURST_SECONDS = 10.0
#: Senders that are remembered. Banks and tokens are fewer; addresses could be as many as you like.
MOST_SENDERS = 4096


@dataclass
class _Bucket:
    left: float
    refilled: float


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
        # Below one, nobody would ever be let through.
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, sender: str) -> float:
        """Return 0 if the sender may go on, otherwise the seconds that it has to wait."""
        with self._lock:
            now = self._clock()
            bucket = self._buckets.setdefault(sender, _Bucket(self._burst, now))
            self._buckets.move_to_end(sender)
            if len(self._buckets) > MOST_SENDERS:
                # Who has been silent for longest has the fullest bucket: it loses least.
                self._buckets.popitem(last=False)
            bucket.left = min(self._burst, bucket.left + (now - bucket.refilled) * self._per_second)
            bucket.refilled = now
            if bucket.left < 1:
                return (1 - bucket.left) / self._per_second
            bucket.left -= 1
            return 0.0
