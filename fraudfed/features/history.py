"""What the one-at-a-time builder remembers of a customer, and of a terminal, merchant or payee.

All times are UTC epoch seconds, all amounts minor currency units. Everything here takes events in
the order of their time and answers for a time that is not before the latest event. "Earlier" means
at an earlier second, so the latest second is kept apart from what lies before it where that makes a
difference.
"""

from array import array
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

#: Identifier of a payment, latitude and longitude in degrees.
Place: TypeAlias = tuple[str, float, float]

V = TypeVar("V", bound=tuple[object, ...])

#: Forgotten events at the front of a list before its memory is given back.
_SLACK = 64


class Payments:
    """Times and amounts of one key's payments, oldest first; counted and summed by windows."""

    __slots__ = ("_first", "_times", "_totals")

    def __init__(self) -> None:
        # totals[i] is the sum of the amounts before payment i, of those still in the list.
        self._first = 0
        self._times = array("q")
        self._totals = array("q", [0])

    def __len__(self) -> int:
        return len(self._times) - self._first

    def add(self, time: int, amount: int) -> None:
        """Remember a payment that is not before those remembered."""
        self._times.append(time)
        self._totals.append(self._totals[-1] + amount)

    def forget_oldest(self) -> None:
        """Forget the oldest payment."""
        self._first += 1
        if self._first >= _SLACK and 2 * self._first >= len(self._times):
            base = self._totals[self._first]
            self._times = self._times[self._first :]
            self._totals = array("q", (total - base for total in self._totals[self._first :]))
            self._first = 0

    def window(self, start: int, stop: int) -> tuple[int, int]:
        """Return number and total amount of the payments in ``[start, stop)``."""
        first = bisect_left(self._times, start, self._first)
        end = bisect_left(self._times, stop, first)
        return end - first, self._totals[end] - self._totals[first]


class LatestSeconds(Generic[V]):
    """What was seen in the latest second that had anything, and in the one before it."""

    __slots__ = ("_before", "_latest")

    def __init__(self) -> None:
        self._latest: tuple[int, V] | None = None
        self._before: tuple[int, V] | None = None

    def add(self, time: int, value: V) -> None:
        """Remember ``value``; of one second the greatest is kept."""
        if self._latest is None or self._latest[0] < time:
            self._before = self._latest
            self._latest = (time, value)
        else:
            self._latest = max(self._latest, (time, value))

    def earlier_than(self, time: int) -> tuple[int, V] | None:
        """Return second and value of the latest second before ``time``, or None."""
        if self._latest is None or self._latest[0] < time:
            return self._latest
        return self._before


@dataclass(slots=True)
class CustomerHistory:
    """One customer.

    Attributes
    ----------
    payments : Payments
        Of the longest window.
    seconds : LatestSeconds of ()
        When the customer paid.
    places : LatestSeconds of Place
        Where, of payments that have a place; of one second the greatest identifier's.
    met : dict of (str, str) to int
        When the customer first paid an entity, by its kind and identifier.
    """

    payments: Payments = field(default_factory=Payments)
    seconds: LatestSeconds[tuple[()]] = field(default_factory=LatestSeconds)
    places: LatestSeconds[Place] = field(default_factory=LatestSeconds)
    met: dict[tuple[str, str], int] = field(default_factory=dict)


class ReportedFrauds:
    """When the frauds of one key begin to count."""

    __slots__ = ("_counts_from",)

    def __init__(self) -> None:
        self._counts_from: list[int] = []

    def __len__(self) -> int:
        return len(self._counts_from)

    def add(self, counts_from: int) -> None:
        """Remember a fraud, which counts at every time after ``counts_from``."""
        insort(self._counts_from, counts_from)

    def count(self, width: int, *, now: int) -> int:
        """Return the number of frauds that began to count in the ``width`` seconds before now."""
        stop = bisect_left(self._counts_from, now)
        return stop - bisect_left(self._counts_from, now - width)

    def forget_before(self, time: int) -> None:
        """Forget frauds that began to count before ``time``."""
        del self._counts_from[: bisect_left(self._counts_from, time)]


class FanIn:
    """Distinct customers of one payee.

    A payment is *superseded* when its customer pays the payee again. The payments of a window that
    are not superseded before ``t`` are one per customer, the latest: so the distinct customers are
    the payments of the window less the superseded ones among them.
    """

    __slots__ = ("_last", "_now", "_superseded", "_superseded_now")

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._superseded: list[int] = []
        self._superseded_now: list[int] = []
        self._now = -1

    def add(self, time: int, customer: str) -> None:
        """Remember a payment."""
        self._begin(time)
        before = self._last.get(customer)
        if before is not None:
            self._superseded_now.append(before)
        self._last[customer] = time

    def forget(self, time: int, customer: str) -> None:
        """Forget a payment that lies before every window."""
        if self._last.get(customer) == time:
            del self._last[customer]
        del self._superseded[: bisect_left(self._superseded, time + 1)]

    def superseded(self, start: int, *, now: int) -> int:
        """Return the number of payments at or after ``start`` superseded before ``now``."""
        self._begin(now)
        return len(self._superseded) - bisect_left(self._superseded, start)

    def _begin(self, time: int) -> None:
        """Let what happened in an earlier second take effect."""
        if time > self._now:
            for superseded in self._superseded_now:
                insort(self._superseded, superseded)
            self._superseded_now.clear()
            self._now = time


@dataclass(slots=True)
class EntityHistory:
    """One terminal, merchant or payee: the payments and frauds that a window may still hold."""

    payments: Payments = field(default_factory=Payments)
    frauds: ReportedFrauds = field(default_factory=ReportedFrauds)
