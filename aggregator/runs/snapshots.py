"""Runs as this process last read or wrote them, so that a request need not read them again.

On SQLite only one process changes runs, and it notes here what it has committed: what is found
here is what the database holds. On PostgreSQL other processes change runs, too, and say so
(``run_listener``); until that is heard, what is found here is a state that the run had a moment
ago. No harm is done: a commit compares the version with the database's own and starts over, and
only what is in the database refuses (``run_store``, ``run_service``).
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from aggregator import run_machine as machine

#: Runs that are known at once; a round of one has a few kilobytes.
_KNOWN_RUNS = 64


@dataclass(frozen=True)
class Snapshot:
    """A run and one round of it, as of one version of the run."""

    run: machine.Run
    round: machine.Round | None
    version: int


@dataclass(frozen=True)
class _Known:
    run: machine.Run
    version: int
    rounds: dict[int, machine.Round | None]
    """By number; None for one that is not opened yet."""


class Snapshots:
    """The latest snapshots. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def find(self, run_id: str, number: int | None) -> Snapshot | None:
        """Return a run with a round of it (None: the current one), or None if that is not known."""
        with self._lock:
            known = self._known.get(run_id)
            if known is None:
                return None
            self._known.move_to_end(run_id)
            wanted = known.run.round_number if number is None else number
            if wanted not in known.rounds:
                return None
            return Snapshot(known.run, known.rounds[wanted], known.version)

    def was_read(self, found: Snapshot, number: int) -> None:
        """Note what the database holds; an older version than the known one is left out."""
        with self._lock:
            known = self._known.get(found.run.run_id)
            if known is not None and known.version > found.version:
                return
            same = known is not None and known.version == found.version
            rounds = {**known.rounds} if known is not None and same else {}
            self._put(found.run, found.version, rounds | {number: found.round})

    def was_committed(self, before: Snapshot, step: machine.Transition) -> None:
        """Note that a transition from ``before`` is in the database."""
        run, version = step.run, before.version + 1
        with self._lock:
            known = self._known.get(run.run_id)
            if known is None or known.version != before.version:
                # Read again when it is asked for.
                self._known.pop(run.run_id, None)
                return
            rounds = dict(known.rounds)
            if step.round is not None:
                rounds[step.round.number] = step.round
            if run.round_number > before.run.round_number:
                rounds[run.round_number] = None
            for effect in step.effects:
                if isinstance(effect, machine.OpeningsExpired):
                    rounds = {n: one for n, one in rounds.items() if n >= effect.before}
            self._put(run, version, rounds)

    def known(self) -> tuple[str, ...]:
        """Return the runs that anything is known of."""
        with self._lock:
            return tuple(self._known)

    def forget_older(self, run_id: str, version: int) -> bool:
        """Forget what is known of a run before a version; return whether that was anything."""
        with self._lock:
            known = self._known.get(run_id)
            if known is None or known.version >= version:
                return False
            del self._known[run_id]
            return True

    def forget(self, run_id: str) -> None:
        """Read the run again when it is asked for."""
        with self._lock:
            self._known.pop(run_id, None)

    def _put(self, run: machine.Run, version: int, rounds: dict[int, machine.Round | None]) -> None:
        # Banks ask for the open round and for the one before, whose openings some still fetch.
        kept = {n: one for n, one in rounds.items() if n >= run.round_number - 1}
        self._known[run.run_id] = _Known(run, version, kept)
        self._known.move_to_end(run.run_id)
        if len(self._known) > _KNOWN_RUNS:
            self._known.popitem(last=False)
