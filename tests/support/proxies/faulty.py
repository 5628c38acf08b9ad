"""A faulty network between a bank and an aggregator: a proxy that breaks what a plan says."""

import contextlib
import threading
from collections import Counter
from random import Random

from proxies.fault_plan import FaultKind, FaultPlan, PlannedFault
from proxies.proxy import GONE, Exchange, Handler, Proxy

_OWN_ANSWERS = {FaultKind.ANSWER_502: 502, FaultKind.ANSWER_503: 503}


class Traffic:
    """How many requests have been forwarded at all proxies that share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._forwarded = 0

    def forwarded(self) -> None:
        """Count one."""
        with self._changed:
            self._forwarded += 1
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those that wait see whether they still have to."""
        with self._changed:
            self._changed.notify_all()

    def wait_for_another(self, given_up: threading.Event, *, seconds: float) -> bool:
        """Wait until one more is forwarded; False if none is in that time."""
        with self._changed:
            before = self._forwarded
            self._changed.wait_for(
                lambda: self._forwarded > before or given_up.is_set(), timeout=seconds
            )
            return self._forwarded > before


class FaultProxy(Proxy):
    """One bank's faulty way to the aggregator.

    Parameters
    ----------
    upstream : str
        Base URL; plain http.
    plan : FaultPlan or None
    random : random.Random or None
        Decides where a body is cut and whether the other end sees a reset.
    traffic : Traffic or None
        Shared by the proxies of several banks, whose requests then overtake each other.
    pace : float
        Seconds that every sending request is held back until ``be_clean``: a run that is not over
        before its faults are, however fast the machine is.

    Attributes
    ----------
    plan : FaultPlan
    counts : Counter of FaultKind
        Faults that have happened.
    replays : list of int
        Statuses of the answers to requests that were sent a second time.
    """

    def __init__(
        self,
        upstream: str,
        plan: FaultPlan | None = None,
        *,
        random: Random | None = None,
        traffic: Traffic | None = None,
        pace: float = 0.0,
    ) -> None:
        self._random = Random(0) if random is None else random
        self._traffic = Traffic() if traffic is None else traffic
        self._pace = pace
        self._replay_later: list[Exchange] = []
        self.plan = FaultPlan() if plan is None else plan
        self.counts: Counter[FaultKind] = Counter()
        self.replays: list[int] = []
        super().__init__(upstream)

    def be_clean(self) -> None:
        """Only forward from now on, and at once."""
        self._pace = 0.0
        self.plan.clear()
        with self._lock:
            self._replay_later.clear()

    def close(self) -> None:
        self._closing.set()
        self._traffic.wake()
        super().close()

    def forwarded(self) -> None:
        self._traffic.forwarded()

    def is_reset(self) -> bool:
        with self._lock:
            return self._random.random() < 0.5

    def serve(self, handler: Handler, exchange: Exchange) -> None:
        """Forward a request, or let a fault happen to it."""
        if self._pace and exchange.method == "POST":
            self._closing.wait(self._pace)
        fault = self.plan.take(exchange.method, exchange.path)
        if fault is None:
            self._pass(handler, exchange)
            return
        kind = fault.kind
        try:
            if fault.meanwhile is not None and kind is not FaultKind.LOSE_ANSWER:
                fault.meanwhile()
            kind = self._break(fault, handler, exchange)
        finally:
            with self._lock:
                self.counts[kind] += 1
            fault.happened.set()

    def _break(self, fault: PlannedFault, handler: Handler, exchange: Exchange) -> FaultKind:
        """Let a fault happen; return what it turned out to be."""
        match fault.kind:
            case FaultKind.CUT_REQUEST:
                with contextlib.suppress(OSError), self.connected() as upstream:
                    upstream.sendall(self._cut_off(exchange.head, exchange.body))
                handler.cut()
            case FaultKind.CUT_ANSWER:
                self._ask(exchange)
                handler.wfile.write(self._cut_off(*exchange.answer_bytes()))
                handler.cut()
            case FaultKind.LOSE_ANSWER:
                with contextlib.suppress(*GONE):
                    self.ask(exchange)
                if fault.meanwhile is not None:
                    fault.meanwhile()
                handler.cut()
            case FaultKind.DELAY:
                self._closing.wait(fault.seconds)
                self._pass(handler, exchange)
            case FaultKind.DUPLICATE:
                self._ask(exchange)
                self._replay(exchange)
                handler.answer(exchange)
            case FaultKind.DUPLICATE_LATER:
                self._ask(exchange)
                with self._lock:
                    self._replay_later.append(exchange)
                handler.answer(exchange)
            case FaultKind.REORDER:
                overtaken = self._traffic.wait_for_another(self._closing, seconds=fault.seconds)
                self._pass(handler, exchange)
                return fault.kind if overtaken else FaultKind.DELAY
            case FaultKind.ANSWER_502 | FaultKind.ANSWER_503:
                exchange.reply(b"", status=_OWN_ANSWERS[fault.kind])
                handler.answer(exchange)
        return fault.kind

    def _pass(self, handler: Handler, exchange: Exchange) -> None:
        self._ask(exchange)
        handler.answer(exchange)

    def _ask(self, exchange: Exchange) -> None:
        """Forward a request, and then what waited for another one to be answered."""
        self.ask(exchange)
        with self._lock:
            waiting, self._replay_later = self._replay_later, []
        for earlier in waiting:
            self._replay(earlier)

    def _replay(self, exchange: Exchange) -> None:
        """Send a captured request once more; nobody but us gets the answer."""
        again = Exchange(
            exchange.method, exchange.path, exchange.headers, exchange.head, exchange.body
        )
        with contextlib.suppress(*GONE):
            self.ask(again)
            with self._lock:
                self.replays.append(again.status)

    def _cut_off(self, head: bytes, body: bytes) -> bytes:
        """Return what gets through: at least one byte of the body and not all, if possible."""
        if not body:
            return head[: len(head) // 2]
        with self._lock:
            return head + body[: self._random.randint(1, max(1, len(body) - 1))]
