"""How a run is changed, and what is known of it: the only way for all services.

Order of every change: read, decide (``run_machine``), multiply, commit, wake the waiters, answer.
The commit holds the change's entry in the audit log. It fails if the run has changed since it was
read; then the change starts over. A lock per run makes that rare within one process; it is no part
of the correctness.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from aggregator import run_machine as machine
from aggregator.caller import Caller
from aggregator.runs.audit_records import audit_records
from aggregator.runs.cache import Snapshot
from aggregator.runs.effects import Payload
from aggregator.runs.store import RunStore, StaleError
from aggregator.runs.waiters import Waiters
from fraudfed.errors import FraudFedError

T = TypeVar("T")

_log = logging.getLogger(__name__)


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
        self._locks_guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

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
            Makes the bytes that belong to the transition; called again if it starts over.
        """
        with self._lock_of(run_id):
            while True:
                before, step = self.advanced(run_id, number, event)
                if not step.effects:
                    return step
                try:
                    self._store.commit(
                        before, step, payload(step), audit_records(event, step, caller)
                    )
                except StaleError:
                    continue
                break
        if step.wakes:
            self._waiters.changed(run_id)
        self._observe(step)
        _log_effects(step)
        return step

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

    def _lock_of(self, run_id: str) -> threading.Lock:
        with self._locks_guard:
            return self._locks.setdefault(run_id, threading.Lock())


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
