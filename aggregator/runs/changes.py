"""How a run is changed, and what is known of it: the only way for all services.

Order of every change: read, decide (``run_machine``), multiply, commit, wake the waiters, answer.
The commit holds the change's entry in the audit log. It fails if the run has changed since it was
read; then the change starts over. One thread of a process changes a run at a time, which makes that
rare within one process; it is no part of the correctness.

Banks send at the same moment. The change that has its turn takes along those that wait for the same
round. All of that is one transaction, with one running product and one sync to disk, and
each change is decided on what the one before it leaves, as if they came one by one. What is refused
behind a change that is not durable yet is decided anew once it is.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from aggregator import run_machine as machine
from aggregator.caller import Caller
from aggregator.runs.audit_records import audit_records
from aggregator.runs.cache import Snapshot
from aggregator.runs.combine import Factors
from aggregator.runs.effects import Payload
from aggregator.runs.store import Accepted, RunStore, StaleError
from aggregator.runs.waiters import Waiters
from fraudfed.errors import FraudFedError, UnavailableError

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: Changes of one transaction: other writers of the database wait for a fraction of a second.
_MOST_TOGETHER = 32


@dataclass(eq=False)
class _Change:
    """A change that waits for its turn, or what became of it."""

    event: machine.Event
    caller: Caller
    number: int | None
    payload: Callable[[machine.Transition], Payload]
    step: machine.Transition | None = None
    error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        return self.step is not None or self.error is not None

    def result(self) -> machine.Transition:
        if self.step is None:
            raise self.error or AssertionError
        return self.step


@dataclass(eq=False)
class _Line:
    """The changes of one run that wait, in their order; ``turn`` is held by who makes some."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    waiting: "deque[_Change]" = field(default_factory=deque)

    def next_together(self) -> list[_Change]:
        """Take the first change, and those behind it that are about the same round."""
        first = self.waiting.popleft()
        taken = [first]
        while self.waiting and first.number is not None and len(taken) < _MOST_TOGETHER:
            if self.waiting[0].number != first.number:
                break
            taken.append(self.waiting.popleft())
        return taken

    def put_back(self, changes: Sequence[_Change]) -> None:
        """Let changes be the next again, in their order."""
        self.waiting.extendleft(reversed(changes))


class RunChanges:
    """Applies events to runs. Safe to use from many threads.

    Parameters
    ----------
    observe : callable
        Called with every transition that is durable, to count it.
    """

    def __init__(
        self,
        store: RunStore,
        waiters: Waiters,
        *,
        observe: Callable[[machine.Transition], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._waiters = waiters
        self._observe = observe
        self._lines_guard = threading.Lock()
        self._lines: dict[str, _Line] = {}

    def apply(
        self,
        run_id: str,
        event: machine.Event,
        caller: Caller,
        *,
        number: int | None = None,
        payload: Callable[[machine.Transition], Payload] = lambda _: Payload(),
    ) -> machine.Transition:
        """Make what an event does durable, and wake what waits for it.

        Parameters
        ----------
        number : int or None
            Round that the event is about, None if about none.
        payload : callable
            Makes the bytes that belong to the transition; called again if it starts over, and
            perhaps by another thread.
        """
        mine = _Change(event, caller, number, payload)
        line = self._line_of(run_id)
        line.waiting.append(mine)
        with line.turn:
            while not mine.is_over:
                self._make(run_id, line)
        step = mine.result()
        if step.effects:
            self._observe(step)
            _log_effects(step)
        return step

    def _make(self, run_id: str, line: _Line) -> None:
        """Make the changes that are next in a line; called by who has the turn."""
        together = line.next_together()
        try:
            line.put_back(together[self._made(run_id, together) :])
        except UnavailableError as error:
            for change in together:
                change.error = error
        except Exception as error:
            if len(together) == 1:
                together[0].error = error
                return
            # Whose fault it is shows when each is made alone.
            for change in together:
                try:
                    self._made(run_id, [change])
                except Exception as own:
                    change.error = own
        except BaseException:
            # This thread is told to end, which is no reason for the others to.
            line.put_back(together)
            raise

    def _made(self, run_id: str, together: Sequence[_Change]) -> int:
        """Make changes durable, in one transaction; return how many, at least the first.

        Raises
        ------
        FraudFedError
            If the first is refused and there is no other: nothing is changed.
        """
        factors = Factors()
        while True:
            try:
                before, steps = self._steps(run_id, together)
            except FraudFedError as error:
                together[0].error = error
                return 1
            if not steps[0].effects:
                together[0].step = steps[0]
                return 1
            accepted = self._accepted(run_id, together[: len(steps)], steps, factors)
            try:
                self._store.commit(before, accepted)
            except StaleError:
                continue
            break
        if any(step.wakes for step in steps):
            self._waiters.changed(run_id)
        for change, step in zip(together, steps, strict=False):
            change.step = step
        return len(steps)

    def _steps(
        self, run_id: str, together: Sequence[_Change]
    ) -> tuple[Snapshot, list[machine.Transition]]:
        """Decide on changes one by one, as many as belong into one transaction.

        Raises
        ------
        FraudFedError
            If the first is refused.
        """
        first = together[0]
        before, step = self.advanced(run_id, first.number, first.event)
        steps = [step]
        for change in together[1:]:
            if not step.effects or step.round is None or step.round.number != change.number:
                break
            if step.run != replace(before.run, step=step.run.step, step_round=step.run.step_round):
                break  # it is past the round, or ended, or others take part
            try:
                step = machine.advance(step.run, step.round, change.event)
            except FraudFedError:
                break
            if not step.effects:
                break
            steps.append(step)
        return before, steps

    def _accepted(
        self,
        run_id: str,
        together: Sequence[_Change],
        steps: Sequence[machine.Transition],
        factors: Factors,
    ) -> list[Accepted]:
        """Return what is written of each change; the running product comes with the last factor."""
        payloads = [change.payload(step) for change, step in zip(together, steps, strict=True)]
        vectors = [one.factor for one in payloads if one.factor is not None]
        number = together[0].number
        if vectors and number is not None:
            running = self._store.product(run_id, number)
            last = max(i for i, one in enumerate(payloads) if one.factor is not None)
            payloads[last] = replace(
                payloads[last],
                product=factors.into(running, vectors),
                is_first_product=running is None,
            )
        return [
            Accepted(step, payload, audit_records(change.event, step, change.caller))
            for change, step, payload in zip(together, steps, payloads, strict=True)
        ]

    def advanced(
        self, run_id: str, number: int | None, event: machine.Event
    ) -> tuple[Snapshot, machine.Transition]:
        """Return what an event makes of a run, and the state that it was decided on."""

        def decide(before: Snapshot) -> tuple[Snapshot, machine.Transition]:
            return before, machine.advance(before.run, before.round, event)

        return self._decided(run_id, number, decide)

    def member_snapshot(self, run_id: str, bank: str, number: int | None = None) -> Snapshot:
        """Return a run with a round of it for a bank that is a member.

        Raises
        ------
        NotFoundError
            If there is no such run.
        ForbiddenError
            If the bank never joined it.
        RunFailedError
            If the run has failed.
        """

        def decide(snapshot: Snapshot) -> Snapshot:
            machine.require_active_member(snapshot.run, bank)
            return snapshot

        return self._decided(run_id, number, decide)

    def _decided(self, run_id: str, number: int | None, decide: Callable[[Snapshot], T]) -> T:
        """Decide on what is remembered of a run; only what is in the database refuses."""
        try:
            return decide(self._store.snapshot(run_id, number))
        except FraudFedError:
            return decide(self._store.snapshot(run_id, number, fresh=True))

    def _line_of(self, run_id: str) -> _Line:
        with self._lines_guard:
            return self._lines.setdefault(run_id, _Line())


def _log_effects(step: machine.Transition) -> None:
    run_id = step.run.run_id
    for effect in step.effects:
        match effect:
            case machine.MemberJoined(bank) | machine.MemberWaits(bank):
                _log.info("run %s: %s joined", run_id, bank)
            case machine.GenerationFormed(dropped=dropped, reason=reason):
                level = logging.WARNING if dropped else logging.INFO
                banks, number = ", ".join(step.run.banks), step.run.generation
                _log.log(level, "run %s: generation %d is of %s: %s", run_id, number, banks, reason)
            case machine.GenerationBegun():
                run = step.run
                _log.info(
                    "run %s: generation %d begins at step %d with round %d",
                    *(run_id, run.generation, run.first_step, run.first_round),
                )
            case machine.RoundClosed(number):
                _log.info("run %s: round %d closed", run_id, number)
            case machine.ModelAccepted(model):
                _log.info("run %s: model %s accepted", run_id, model.stored)
            case machine.RunFailed(reason):
                _log.warning("run %s failed: %s", run_id, reason)
            case _:
                _log.debug("run %s: %s", run_id, effect)
