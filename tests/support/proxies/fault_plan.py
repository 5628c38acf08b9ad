"""What a faulty network does to which request: data, and the order in which it happens."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class FaultKind(StrEnum):
    """What may happen to a request on its way."""

    CUT_REQUEST = "request cut off in the middle of its body"
    CUT_ANSWER = "answer cut off in the middle of its body"
    LOSE_ANSWER = "accepted, but the answer is lost"
    DELAY = "held back for a while"
    DUPLICATE = "sent a second time at once"
    DUPLICATE_LATER = "sent a second time behind a later request"
    REORDER = "held back until another one has passed"
    ANSWER_502 = "answered with 502 on the way"
    ANSWER_503 = "answered with 503 on the way"


@dataclass
class PlannedFault:
    """One fault, and when it happens.

    Attributes
    ----------
    kind : FaultKind
    after : int
        So many requests that it might happen to pass before; 0 is the next.
    method, ending : str
        Only to requests of this method, whose path without its query ends so; empty for all.
    seconds : float
        Of a delay, or the longest that a request is held back for another.
    meanwhile : callable or None
        Called while the request or its answer is in the proxy's hands: after the answer has come
        and before it is lost, with ``LOSE_ANSWER``; before the request is forwarded, with others.
    happened : threading.Event
        Set when it is over.
    """

    kind: FaultKind
    after: int = 0
    method: str = ""
    ending: str = ""
    seconds: float = 0.5
    meanwhile: Callable[[], None] | None = None
    happened: threading.Event = field(default_factory=threading.Event, compare=False)

    def may_happen_to(self, method: str, path: str) -> bool:
        """Whether the request is one of those that the fault is for."""
        return self.method in ("", method) and path.partition("?")[0].endswith(self.ending)


class FaultPlan:
    """Faults in the order in which they happen, one at a time. Safe to use from many threads."""

    def __init__(self, faults: Iterable[PlannedFault] = ()) -> None:
        self._lock = threading.Lock()
        self._faults = deque(faults)
        self._passed = 0

    @classmethod
    def drawn(
        cls, random: Random, *, faults: int, kinds: Iterable[FaultKind], gap: int, seconds: float
    ) -> "FaultPlan":
        """Draw faults of ``kinds``, each up to ``gap`` requests after the one before."""
        choices = list(kinds)
        return cls(
            PlannedFault(random.choice(choices), after=random.randint(0, gap), seconds=seconds)
            for _ in range(faults)
        )

    def add(self, fault: PlannedFault) -> PlannedFault:
        """Let a fault happen behind all others."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let no more faults happen."""
        with self._lock:
            self._faults.clear()
            self._passed = 0

    @property
    def faults(self) -> tuple[PlannedFault, ...]:
        """What has not happened yet, in order."""
        with self._lock:
            return tuple(self._faults)

    def __len__(self) -> int:
        with self._lock:
            return len(self._faults)

    def take(self, method: str, path: str) -> PlannedFault | None:
        """Return the fault that happens to a request, if one does."""
        with self._lock:
            if not self._faults or not self._faults[0].may_happen_to(method, path):
                return None
            if self._passed < self._faults[0].after:
                self._passed += 1
                return None
            self._passed = 0
            return self._faults.popleft()
