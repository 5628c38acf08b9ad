"""Honest banks, and a member that sees their sum before it chooses its own part.

Sums are linear, as those of ``fraudfed.secure_sum``: a part is taken as it is, in range or not, and
only the sum is checked, at all banks alike. The member may put in what no rows are.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cohorts.exact import BARRIER_TIMEOUT_SECONDS, SumCall
from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Asked:
    """One sum as the member sees it: its label, its public range, the sum of the honest banks."""

    label: str
    low: Int64Array
    bound: Int64Array
    honest: Int64Array


#: Returns what the member adds.
Member = Callable[[Asked], Int64Array]
#: What an honest bank does to its own part before it sends it: nothing, but for a control.
OwnCheck = Callable[[Int64Array, Int64Array, Int64Array, str], Int64Array]


@dataclass(frozen=True)
class Seen:
    """All that anybody sees of a training.

    Attributes
    ----------
    calls : tuple of SumCall
        Sizes and bounds of every sum that was asked for, the failed one included.
    totals : tuple of bytes
        Opened sums.
    ends : tuple of str
        Class and text of the error at each honest bank, or its result.
    """

    calls: tuple[SumCall, ...]
    totals: tuple[bytes, ...]
    ends: tuple[str, ...]


@dataclass
class _Meeting:
    n_banks: int
    member: Member
    own_check: OwnCheck | None
    barrier: threading.Barrier = field(init=False)
    parts: list[Int64Array | None] = field(init=False)
    calls: list[SumCall] = field(default_factory=list)
    totals: list[bytes] = field(default_factory=list)
    asked: tuple[SumCall, Int64Array, Int64Array] | None = None
    ended: set[int] = field(default_factory=set)
    #: What the last meeting came to, until all meet again.
    total: Int64Array | None = None
    somebody_ended: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.n_banks, action=self._sum)
        self.parts = [None] * self.n_banks

    def _sum(self) -> None:
        """Done once, while all honest banks wait."""
        self.somebody_ended, self.is_over = bool(self.ended), len(self.ended) == self.n_banks
        if self.ended:
            return
        assert self.asked is not None
        call, low, bound = self.asked
        honest = np.stack([part for part in self.parts if part is not None]).sum(axis=0)
        total = honest + self.member(Asked(call.label, low, bound, honest))
        self.calls.append(call)
        in_range = bool(((total >= low) & (total <= bound)).all())
        self.total = total if in_range else None
        if in_range:
            self.totals.append(total.tobytes())


class _Bank:
    def __init__(self, meeting: _Meeting, number: int) -> None:
        self._meeting = meeting
        self._number = number

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        meeting = self._meeting
        most = np.broadcast_to(np.asarray(bound, dtype=np.int64), values.shape)
        least = -most if low is None else np.broadcast_to(np.asarray(low, np.int64), values.shape)
        if meeting.own_check is not None:
            values = meeting.own_check(values, least, most, label)
        meeting.asked = (
            SumCall(label, values.shape, least.tobytes(), most.tobytes()),
            least,
            most,
        )
        meeting.parts[self._number] = values.copy()
        meeting.barrier.wait(BARRIER_TIMEOUT_SECONDS)
        if meeting.somebody_ended:
            raise SumError("another bank has ended alone")
        total = meeting.total
        if total is None:
            raise SumError(f"sum {label!r}: the authentication tag is wrong")
        return total.copy()


def see(
    n_banks: int,
    program: Callable[[int, Any], str],
    *,
    member: Member,
    own_check: OwnCheck | None = None,
) -> Seen:
    """Run ``program(bank, communicator)`` at every honest bank; return what can be seen."""
    meeting = _Meeting(n_banks, member, own_check)
    ends: list[str] = [""] * n_banks

    def run(bank: int) -> None:
        try:
            ends[bank] = program(bank, _Bank(meeting, bank))
        except Exception as error:
            ends[bank] = f"{type(error).__name__}: {error}"
        # A bank that has ended keeps meeting the others, until all have.
        meeting.ended.add(bank)
        while not meeting.is_over:
            meeting.barrier.wait(BARRIER_TIMEOUT_SECONDS)

    threads = [threading.Thread(target=run, args=(bank,), daemon=True) for bank in range(n_banks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Seen(tuple(meeting.calls), tuple(meeting.totals), tuple(ends))


def adds(rules: Sequence[tuple[str, Callable[[Asked], Int64Array]]]) -> Member:
    """Return a member that follows the first rule whose text begins the label, and else adds 0."""

    def member(asked: Asked) -> Int64Array:
        for start, rule in rules:
            if asked.label.startswith(start):
                return rule(asked)
        return np.zeros_like(asked.honest)

    return member
