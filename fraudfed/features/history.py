"""What is remembered of a customer, and of a terminal, merchant, payee or payer, to build features.

All times are UTC epoch seconds, all amounts minor currency units. Events may come in any order:
each is kept sorted at its own second, so that a late one changes nothing but what it should. An
answer for a time looks only at events of earlier seconds. ``forget`` drops what no window reaches;
an answer for a time from which a window still reaches further back than that is not to be asked.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from typing import TypeAlias

import numpy as np

from fraudfed.dtypes import BoolArray, Int64Array

#: Second, identifier of a payment, latitude and longitude in degrees.
Place: TypeAlias = tuple[int, str, float, float]

#: Stands for a time before all windows: nothing of the kind happened.
NEVER = -(1 << 62)
#: What a payment was to the customer: a purchase or the like, money that came, money that left.
OTHER, CREDIT, OUTFLOW = KINDS = (0, 1, 2)
#: No other side, in ``CustomerHistory.others``.
NOBODY = -1

#: Below so many events a loop is faster than NumPy.
_FEW = 128
#: Fewer forgettable events than this, or than an eighth of all, may stay at the front of a list.
_SLACK = 16


def is_worth_forgetting(n_old: int, n_all: int) -> bool:
    """Tell whether moving the others to the front costs less than it frees."""
    return n_old == n_all > 0 or (n_old >= _SLACK and 8 * n_old >= n_all)


class CustomerHistory:
    """One customer.

    Attributes
    ----------
    times, amounts : array of int
        Of the payments that a window may reach, in the order of their seconds.
    kinds : bytearray
        What each was, of ``KINDS``.
    others : array of int
        Whom each was paid to, or came from: index into ``met``, or ``NOBODY``.
    met : dict of bytes to int
        Index of every entity that the customer ever met, by its key.
    met_at : array of int
        When they first met.
    first : int
        First payment ever, or NEVER.
    before : tuple of four int
        Of the forgotten payments: the latest, the latest credit, the latest outflow, and the first
        outflow after that credit; each may be NEVER.
    places : list of Place
        One a second, that of the greatest identifier; sorted.
    reports : dict of bytes to (int, bool)
        From when each reported fraud counts, and whether the customer made the payment.
    position : int
        Number of the last change that was applied, for a store's journal.
    """

    __slots__ = (
        "amounts",
        "before",
        "first",
        "kinds",
        "met",
        "met_at",
        "others",
        "places",
        "position",
        "reports",
        "times",
    )

    def __init__(self) -> None:
        self.times = array("q")
        self.amounts = array("q")
        self.kinds = bytearray()
        self.others = array("i")
        self.met: dict[bytes, int] = {}
        self.met_at = array("q")
        self.first = NEVER
        self.before = (NEVER, NEVER, NEVER, NEVER)
        self.places: list[Place] = []
        self.reports: dict[bytes, tuple[int, bool]] = {}
        self.position = 0

    def insert(self, time: int, amount: int, *, kind: int, other: bytes | None) -> None:
        """Remember a payment at its own second; ``other`` was met."""
        where = bisect_right(self.times, time)
        self.times.insert(where, time)
        self.amounts.insert(where, amount)
        self.kinds.insert(where, kind)
        self.others.insert(where, NOBODY if other is None else self.met[other])
        self.first = time if self.first == NEVER else min(self.first, time)

    def meet(self, entity: bytes, time: int) -> None:
        """Remember that customer and entity met."""
        index = self.met.setdefault(entity, len(self.met_at))
        if index == len(self.met_at):
            self.met_at.append(time)
        elif time < self.met_at[index]:
            self.met_at[index] = time

    def since_met(self, entity: bytes, now: int) -> int:
        """Return the seconds since customer and entity first met; 0 if they meet now."""
        index = self.met.get(entity)
        return 0 if index is None else max(0, now - self.met_at[index])

    def neighbours(self, other: bytes, time: int) -> tuple[int, int]:
        """Return the last payment with ``other`` up to a time, and the first one after it."""
        index = self.met.get(other, NOBODY)
        if index == NOBODY:
            return NEVER, NEVER
        where = bisect_right(self.times, time)
        if len(self.times) >= _FEW:
            same = np.flatnonzero(np.frombuffer(self.others, dtype=np.int32) == index)
            at = int(np.searchsorted(same, where))
            return (
                self.times[int(same[at - 1])] if at > 0 else NEVER,
                self.times[int(same[at])] if at < same.size else NEVER,
            )
        before, after = NEVER, NEVER
        for i in range(where - 1, -1, -1):
            if self.others[i] == index:
                before = self.times[i]
                break
        for i in range(where, len(self.times)):
            if self.others[i] == index:
                after = self.times[i]
                break
        return before, after

    def stand(self, place: Place) -> None:
        """Remember where a payment was made; of one second the greatest identifier's is kept."""
        where = bisect_left(self.places, (place[0],))
        if where < len(self.places) and self.places[where][0] == place[0]:
            self.places[where] = max(self.places[where], place)
        else:
            self.places.insert(where, place)

    def place_before(self, now: int) -> Place | None:
        """Return the latest place of an earlier second."""
        where = bisect_left(self.places, (now,))
        return self.places[where - 1] if where > 0 else None

    def window(self, start: int, stop: int) -> tuple[int, int]:
        """Return number and total amount of the payments in ``[start, stop)``."""
        first = bisect_left(self.times, start)
        end = bisect_left(self.times, stop, first)
        if end - first < _FEW:
            return end - first, sum(self.amounts[first:end])
        return end - first, int(np.frombuffer(self.amounts, dtype=np.int64)[first:end].sum())

    def window_of(self, kind: int, start: int, stop: int) -> tuple[int, int]:
        """Return number and total amount of the payments of one kind in ``[start, stop)``."""
        first = bisect_left(self.times, start)
        end = bisect_left(self.times, stop, first)
        count = self.kinds.count(kind, first, end)
        if count == 0:
            return 0, 0
        if end - first < _FEW:
            pairs = zip(self.amounts[first:end], self.kinds[first:end], strict=True)
            return count, sum(amount for amount, one in pairs if one == kind)
        amounts = np.frombuffer(self.amounts, dtype=np.int64)[first:end]
        chosen = np.frombuffer(self.kinds, dtype=np.uint8)[first:end] == kind
        return count, int(amounts[chosen].sum())

    def others_between(self, start: int, stop: int) -> int:
        """Return the number of distinct other sides of the payments in ``[start, stop)``."""
        first = bisect_left(self.times, start)
        end = bisect_left(self.times, stop, first)
        if end - first < _FEW:
            return len(set(self.others[first:end]) - {NOBODY})
        seen = np.bincount(
            np.frombuffer(self.others, dtype=np.int32)[first:end] + 1,
            minlength=len(self.met_at) + 1,
        )
        return int(np.count_nonzero(seen[1:]))

    def latest(self, now: int) -> int:
        """Return the second of the latest earlier payment, or NEVER."""
        where = bisect_left(self.times, now)
        return self.times[where - 1] if where > 0 else self.before[0]

    def latest_of(self, kind: int, now: int) -> int:
        """Return the second of the latest earlier payment of a kind, or NEVER."""
        where = self.kinds.rfind(kind, 0, bisect_left(self.times, now))
        return self.times[where] if where >= 0 else self.before[kind]

    def seconds_to_outflow(self, now: int) -> int | None:
        """Return the time from the latest earlier credit to its first outflow, both before now."""
        end = bisect_left(self.times, now)
        credit = self.latest_of(CREDIT, now)
        if credit == NEVER:
            return None
        start = bisect_right(self.times, credit)
        if credit == self.before[1] and self.before[3] != NEVER:
            return self.before[3] - credit
        where = self.kinds.find(OUTFLOW, start, end)
        return None if where < 0 else self.times[where] - credit

    def passed_on(self, seconds: int, start: int, stop: int) -> int:
        """Return what left within some seconds of each credit in ``[start, stop)``, summed.

        Of each credit at most its own amount.
        """
        times, kinds = self._times(), self._kinds()
        amounts = np.frombuffer(self.amounts, dtype=np.int64)
        left = np.flatnonzero(kinds == OUTFLOW)
        if left.size == 0:
            return 0
        credits = np.flatnonzero((kinds == CREDIT) & (times >= start) & (times < stop))
        total = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(amounts[left])])
        left_at, came_at = times[left], times[credits]
        gone = total[np.searchsorted(left_at, came_at + seconds, side="right")]
        gone = gone - total[np.searchsorted(left_at, came_at, side="right")]
        return int(np.minimum(gone, amounts[credits]).sum())

    def reported(self, start: int, stop: int) -> int:
        """Return how many frauds among the customer's own payments began to count in a window."""
        return sum(own and start <= since < stop for since, own in self.reports.values())

    def forget(self, *, payments: int, places: int, reports: int) -> None:
        """Forget payments, places and reports before these seconds, but the last before each."""
        if self.reports and any(since < reports for since, _ in self.reports.values()):
            self.reports = {
                name: report for name, report in self.reports.items() if report[0] >= reports
            }
        past = bisect_left(self.places, (places,)) - 1
        if past > 0:
            del self.places[:past]
        n_old = bisect_left(self.times, payments)
        if not is_worth_forgetting(n_old, len(self.times)):
            return
        _, credit, outflow, left = self.before
        for time, kind in zip(self.times[:n_old], self.kinds[:n_old], strict=True):
            if kind == CREDIT and time > credit:
                credit, left = time, NEVER
            elif kind == OUTFLOW:
                outflow = time
                if left == NEVER != credit and time > credit:
                    left = time
        self.before = (self.times[n_old - 1], credit, outflow, left)
        for events in (self.times, self.amounts, self.kinds, self.others):
            del events[:n_old]

    def _times(self) -> Int64Array:
        return np.frombuffer(self.times, dtype=np.int64)

    def _kinds(self) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
        return np.frombuffer(self.kinds, dtype=np.uint8)


class EntityHistory:
    """One terminal, merchant, payee or payer.

    The distinct customers of a window are the payments in it before which the same customer had no
    other one in it: those whose ``previous`` lies before the window. So no customer need be named
    here.

    Attributes
    ----------
    times : array of int
        Of the payments that a window may reach, in the order of their seconds.
    previous : array of int
        When the same customer had the payment before that one, or NEVER. Empty where nobody asks.
    frauds : list of int
        From when each reported fraud counts, sorted.
    first : int
        First payment ever, or NEVER.
    is_linked : bool
        Whether ``previous`` is known.
    position : int
        Number of the last change that was applied, for a store's journal.
    """

    __slots__ = ("first", "frauds", "is_linked", "position", "previous", "times")

    def __init__(self) -> None:
        self.times = array("q")
        self.previous = array("q")
        self.frauds: list[int] = []
        self.first = NEVER
        self.is_linked = False
        self.position = 0

    @property
    def is_empty(self) -> bool:
        """Whether no window holds anything."""
        return not self.times and not self.frauds

    def insert(self, time: int) -> None:
        """Remember a payment of which nobody asks for the customer."""
        insort(self.times, time)
        self.first = time if self.first == NEVER else min(self.first, time)

    def insert_between(self, previous: int, time: int, following: int, *, oldest: int) -> None:
        """Remember a payment between two of the same customer.

        Parameters
        ----------
        previous, time, following : int
            Seconds of the customer's payment before, of this one, and of the one after, which was
            remembered earlier; ``previous`` and ``following`` may be NEVER.
        oldest : int
            First second that a window may still reach: all before are alike.
        """
        where = bisect_right(self.times, time)
        self.times.insert(where, time)
        self.previous.insert(where, previous)
        self.is_linked = True
        self.first = time if self.first == NEVER else min(self.first, time)
        if following == NEVER or following < oldest:
            return
        # Any payment of that second that followed the same second will do: they are alike.
        index = bisect_left(self.times, following)
        while index == where or max(self.previous[index], oldest - 1) != max(previous, oldest - 1):
            index += 1
        self.previous[index] = time

    def count(self, start: int, stop: int) -> int:
        """Return the number of payments in ``[start, stop)``."""
        first = bisect_left(self.times, start)
        return bisect_left(self.times, stop, first) - first

    def distinct(self, start: int, stop: int) -> int:
        """Return the number of distinct customers of the payments in ``[start, stop)``."""
        first = bisect_left(self.times, start)
        end = bisect_left(self.times, stop, first)
        if end - first < _FEW:
            return sum(previous < start for previous in self.previous[first:end])
        is_first: BoolArray = np.frombuffer(self.previous, dtype=np.int64)[first:end] < start
        return int(np.count_nonzero(is_first))

    def report(self, counts_from: int) -> None:
        """Remember a fraud, which counts at every time after ``counts_from``."""
        insort(self.frauds, counts_from)

    def count_frauds(self, start: int, stop: int) -> int:
        """Return the number of frauds that began to count in ``[start, stop)``."""
        return bisect_left(self.frauds, stop) - bisect_left(self.frauds, start)

    def forget(self, *, payments: int, reports: int) -> None:
        """Forget payments and reports before these seconds."""
        if self.frauds and self.frauds[0] < reports:
            del self.frauds[: bisect_left(self.frauds, reports)]
        n_old = bisect_left(self.times, payments)
        if is_worth_forgetting(n_old, len(self.times)):
            del self.times[:n_old]
            del self.previous[:n_old]
