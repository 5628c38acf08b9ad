"""Which requests are taken: not too many at once, not too many of one sender, none while stopping.

A request is *worked on* or *waits* for other banks. The two are counted apart: banks that wait for
each other cannot keep a contribution out that would end their waiting. What exceeds a limit is
answered at once, so that nothing queues without bound. Each known sender is held to a share; all
unauthenticated requests count as one sender.

All limits are those of one worker process.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fraudfed.errors import OverloadedError, RateLimitedError, UnavailableError
from fraudfed.http.server.addresses import network_of
from fraudfed.http.server.rates import Rates

#: One sender holds at most one part in so many of the places, and two where they are few.
SHARE = 4
#: About as long as a restart takes.
_STOPPING_SECONDS = 2
_FULL_SECONDS = 1


class Admission:
    """The requests of one process. Safe to use from many threads.

    Parameters
    ----------
    working, waiting : int
        Most requests of each kind at once.
    per_second : float
        Requests of one bank or token.
    anonymous_per_second : float
        Unauthenticated requests from one address.
    on_change : callable
        Told how many are worked on and how many wait, whenever that changes.
    """

    def __init__(
        self,
        *,
        working: int,
        waiting: int,
        per_second: float,
        anonymous_per_second: float,
        on_change: Callable[[int, int], None] = lambda _working, _waiting: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_working = working
        self._most_waiting = waiting
        self._known = Rates(per_second, clock=clock)
        self._anonymous = Rates(anonymous_per_second, clock=clock)
        self._on_change = on_change
        self._lock = threading.Lock()
        self._working = 0
        self._waiting = 0
        self._working_of: Counter[str] = Counter()
        self._waiting_of: Counter[str] = Counter()
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether nothing new is taken any more."""
        return self._stopping

    def stop(self) -> None:
        """Take nothing new from now on; what was taken continues."""
        self._stopping = True

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Have a place to be worked on.

        Raises
        ------
        UnavailableError
            If the service is stopping.
        OverloadedError
            If all places are taken.
        """
        if self._stopping:
            raise UnavailableError(
                "the aggregator is stopping and takes no new requests; ask again when it is back",
                retry_after_seconds=_STOPPING_SECONDS,
            )
        with self._lock:
            if self._working >= self._most_working:
                raise OverloadedError(
                    f"the aggregator works on {self._working} requests, which is its limit "
                    "(threads); ask again later",
                    retry_after_seconds=_FULL_SECONDS,
                )
            self._working += 1
            self._changed()
        place = Place(self)
        try:
            yield place
        finally:
            self._leave(place)

    def charge(self, actor: str) -> None:
        """Count a request of a bank or a token.

        Raises
        ------
        RateLimitedError
            If it has sent too many.
        """
        _require(self._known.take(actor), actor)

    def charge_anonymous(self, address: str) -> None:
        """Count an unauthenticated request, by the address that it came from.

        Raises
        ------
        RateLimitedError
            If that address has sent too many.
        """
        _require(self._anonymous.take(network_of(address)), "this address")

    def _assign(self, place: "Place", sender: str) -> None:
        with self._lock:
            held = self._working_of[sender]
            if held >= _share(self._most_working):
                raise OverloadedError(
                    f"{sender} has {held} requests that are being worked on, which is the share "
                    "of one sender; wait for their answers",
                    retry_after_seconds=_FULL_SECONDS,
                )
            self._working_of[sender] += 1
            place.sender = sender

    def _wait(self, place: "Place") -> bool:
        sender = place.sender or ""
        with self._lock:
            if self._waiting >= self._most_waiting or self._waiting_of[sender] >= _share(
                self._most_waiting
            ):
                return False
            self._waiting += 1
            self._waiting_of[sender] += 1
            place.waits = True
            self._working -= 1
            _decrement(self._working_of, sender)
            self._changed()
            return True

    def _leave(self, place: "Place") -> None:
        with self._lock:
            if place.waits:
                self._waiting -= 1
                _decrement(self._waiting_of, place.sender or "")
            else:
                self._working -= 1
                if place.sender is not None:
                    _decrement(self._working_of, place.sender)
            self._changed()

    def _changed(self) -> None:
        self._on_change(self._working, self._waiting)


class Place:
    """The place of one request.

    Attributes
    ----------
    sender : str or None
        Whose it is, once that is known.
    waits : bool
        Whether it is among those that wait.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.sender: str | None = None
        self.waits = False

    def assign(self, sender: str) -> None:
        """Say whose request it is.

        Raises
        ------
        OverloadedError
            If that sender has its share of the places already.
        """
        self._admission._assign(self, sender)

    def wait(self) -> bool:
        """Go over to those that wait; False if there is no room among them."""
        return self._admission._wait(self)

    def require_wait(self) -> None:
        """Go over to those that wait.

        Raises
        ------
        OverloadedError
            If there is no room among them.
        """
        if not self.wait():
            raise OverloadedError(
                "as many requests wait at this aggregator as it takes (max_waiting), or as it "
                "takes of one sender; ask again later",
                retry_after_seconds=_FULL_SECONDS,
            )


def _require(seconds: float, whose: str) -> None:
    if seconds > 0:
        raise RateLimitedError(
            f"{whose} sends more requests than this aggregator takes of one sender; go on in "
            f"{math.ceil(seconds)} s",
            retry_after_seconds=math.ceil(seconds),
        )


def _share(places: int) -> int:
    return max(2, places // SHARE)


def _decrement(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        # Or the senders of a year would stay in memory.
        del counts[name]
