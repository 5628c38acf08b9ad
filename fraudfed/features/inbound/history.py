"""What the one-at-a-time builder of the inbound recipe remembers of a customer.

As in ``fraudfed.features.history``: events come in the order of their time, and "earlier" means at
an earlier second.
"""

from collections import deque
from dataclasses import dataclass, field

from fraudfed.catalogue.inbound import PASS_HOURS
from fraudfed.features.formulas import SECONDS_PER_HOUR
from fraudfed.features.history import FanIn, LatestSeconds, Payments, ReportedFrauds


class PassedOn:
    """How much of each inbound payment had left when its hours were over.

    Parameters
    ----------
    seconds : int
        Length of those hours.
    """

    __slots__ = ("_payments", "_seconds", "_waiting")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        # Payments whose hours are not over, and what left of those whose hours are.
        self._waiting: deque[tuple[int, int]] = deque()
        self._payments = Payments()

    def add(self, time: int, amount: int) -> None:
        """Remember an inbound payment."""
        self._waiting.append((time, amount))

    def settle(self, outflows: Payments, *, now: int) -> None:
        """Look at the outflows of every payment whose hours are over, once."""
        while self._waiting and self._waiting[0][0] + self._seconds < now:
            time, amount = self._waiting.popleft()
            _, left = outflows.window(time + 1, time + self._seconds + 1)
            self._payments.add(time, min(left, amount))

    def forget_oldest(self) -> None:
        """Forget the oldest payment, whose hours are over and which was settled."""
        self._payments.forget_oldest()

    def passed(self, width: int, *, now: int) -> int:
        """Return what left of the payments of a window that ended these hours before ``now``."""
        stop = now - self._seconds
        return self._payments.window(stop - width, stop)[1]


class FirstOutflows:
    """The latest two seconds in which money came, and the first outflow after each."""

    __slots__ = ("_before", "_latest")

    def __init__(self) -> None:
        self._latest: tuple[int, int | None] | None = None
        self._before: tuple[int, int | None] | None = None

    def credit(self, time: int) -> None:
        """Remember that money came."""
        if self._latest is None or self._latest[0] < time:
            self._before, self._latest = self._latest, (time, None)

    def outflow(self, time: int) -> None:
        """Remember that money left."""
        self._before = _left(self._before, time)
        self._latest = _left(self._latest, time)

    def seconds(self, *, now: int) -> int | None:
        """Return the time from the latest earlier credit to its first outflow, both before now."""
        found = self._latest
        if found is not None and found[0] >= now:
            found = self._before
        if found is None or found[1] is None or found[1] >= now:
            return None
        return found[1] - found[0]


def _left(credit: tuple[int, int | None] | None, time: int) -> tuple[int, int | None] | None:
    if credit is None or credit[1] is not None or time <= credit[0]:
        return credit
    return credit[0], time


def _by_hours() -> dict[int, PassedOn]:
    return {hours: PassedOn(hours * SECONDS_PER_HOUR) for hours in PASS_HOURS}


@dataclass(slots=True)
class CustomerFlows:
    """One customer.

    Attributes
    ----------
    first : int or None
        First payment in either direction.
    activity, credit, outflow : LatestSeconds of ()
        Latest payment in either direction, inbound payment, and outflow.
    credits, outflows : Payments
        Of the longest window.
    payer_payments : Payments
        Inbound payments that have a payer.
    payers : FanIn
        Who paid.
    met : dict of str to int
        When each payer first paid.
    first_outflows : FirstOutflows
    passed_on : dict of int to PassedOn
        By hours.
    reported : ReportedFrauds
        Of the customer's own payments.
    """

    first: int | None = None
    activity: LatestSeconds[tuple[()]] = field(default_factory=LatestSeconds)
    credit: LatestSeconds[tuple[()]] = field(default_factory=LatestSeconds)
    outflow: LatestSeconds[tuple[()]] = field(default_factory=LatestSeconds)
    credits: Payments = field(default_factory=Payments)
    outflows: Payments = field(default_factory=Payments)
    payer_payments: Payments = field(default_factory=Payments)
    payers: FanIn = field(default_factory=FanIn)
    met: dict[str, int] = field(default_factory=dict)
    first_outflows: FirstOutflows = field(default_factory=FirstOutflows)
    passed_on: dict[int, PassedOn] = field(default_factory=_by_hours)
    reported: ReportedFrauds = field(default_factory=ReportedFrauds)

    def settle(self, *, now: int) -> None:
        """Work out what left of every inbound payment whose hours are over."""
        for passed_on in self.passed_on.values():
            passed_on.settle(self.outflows, now=now)


@dataclass(slots=True)
class PayerHistory:
    """One payer: the customers that were paid."""

    payments: Payments = field(default_factory=Payments)
    customers: FanIn = field(default_factory=FanIn)
