"""What this process remembers of runs, so that a request need not read them again.

On SQLite only one process changes runs, and it notes here what it has committed: what is found
here is what the database holds. On PostgreSQL other processes change runs, too, and say so
(``listener``); until that is heard, what is found here is a state that the run had a moment
ago. No harm is done: a commit compares the version with the database's own and starts over, and
only what is in the database refuses (``store``, ``changes``).

Two kinds of things are remembered: runs with their last rounds (``Snapshots``), and the bytes that
all banks of a run fetch at once (``LatestBytes``). ``RunCache`` keeps them in step.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aggregator import run_machine as machine
from aggregator.runs.effects import Payload
from fraudfed.wire import frames

#: Runs that are known at once; a round of one has a few kilobytes.
_KNOWN_RUNS = 64
#: Runs whose bytes are kept at once: a megabyte each, whatever the number of banks.
_KEPT_RUNS = 16


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


class LatestBytes:
    """One round's bytes per run, for the runs used last: its banks share one copy in memory.

    Whatever is not here is read in the database. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, bytes]] = OrderedDict()
        self._forgotten = 0

    @property
    def mark(self) -> int:
        """Take it before a commit, for ``keep``."""
        with self._lock:
            return self._forgotten

    def keep(self, run_id: str, number: int, data: bytes, *, mark: int | None = None) -> None:
        """Keep the bytes of a round in place of those of the run's earlier one.

        Parameters
        ----------
        mark : int, optional
            If anything was forgotten since, keep nothing: another process may have committed after
            this one, and what was read of that must not be covered by what is older.
        """
        with self._lock:
            if mark is None or mark == self._forgotten:
                self._put(run_id, number, data)

    def get(
        self, run_id: str, number: int, read: Callable[[str, int], bytes | None]
    ) -> bytes | None:
        """Return the bytes of a round; ``read(run_id, number)`` gives those that are not here."""
        with self._lock:
            kept = self._kept.get(run_id)
            if kept is not None and kept[0] == number:
                return kept[1]
            # Inside the lock: banks that ask at once share one copy, and nothing that was read
            # before its deletion is kept after it.
            data = read(run_id, number)
            if data is not None and (kept is None or kept[0] < number):
                self._put(run_id, number, data)
            return data

    def forget(self, run_id: str, *, before: int | None = None) -> None:
        """Forget what is kept of a run; with ``before``, only of a round below that number."""
        with self._lock:
            if before is None:
                self._forgotten += 1
            kept = self._kept.get(run_id)
            if kept is not None and (before is None or kept[0] < before):
                del self._kept[run_id]

    def _put(self, run_id: str, number: int, data: bytes) -> None:
        self._kept[run_id] = number, data
        self._kept.move_to_end(run_id)
        if len(self._kept) > _KEPT_RUNS:
            self._kept.popitem(last=False)


class Gathered:
    """What the banks of a run have sent to its latest round, until all of it is there.

    Then it is joined and need not be read in the database. If a part was accepted by another
    process or before a restart, it is not all here. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: OrderedDict[str, tuple[int, dict[str, bytes]]] = OrderedDict()

    def add(self, run_id: str, number: int, bank: str, part: bytes) -> None:
        """Keep a bank's part of a round; those of another round are forgotten."""
        with self._lock:
            kept = self._parts.get(run_id)
            if kept is None or kept[0] != number:
                kept = self._parts[run_id] = number, {}
            kept[1][bank] = part
            self._parts.move_to_end(run_id)
            if len(self._parts) > _KEPT_RUNS:
                self._parts.popitem(last=False)

    def take(self, run_id: str, number: int, banks: Collection[str]) -> dict[str, bytes] | None:
        """Return the parts of exactly these banks, and keep them no longer; None without all."""
        with self._lock:
            kept = self._parts.pop(run_id, None)
        if kept is None or kept[0] != number or kept[1].keys() != set(banks):
            return None
        return kept[1]

    def forget(self, run_id: str) -> None:
        """Forget what is kept of a run."""
        with self._lock:
            self._parts.pop(run_id, None)


class RunCache:
    """All that is remembered. Safe to use from many threads."""

    def __init__(self) -> None:
        self.snapshots = Snapshots()
        self.products = LatestBytes()
        self.commitments = LatestBytes()
        self.openings = LatestBytes()
        self._commitments_so_far = Gathered()
        self._openings_so_far = Gathered()

    def was_read(self, found: Snapshot, number: int) -> None:
        """Note a snapshot that had to be read in the database."""
        # What has changed the run has changed its product, too. A product may be newer than the
        # state that is known, never older.
        self.products.forget(found.run.run_id)
        self.snapshots.was_read(found, number)

    def was_committed(
        self, before: Snapshot, step: machine.Transition, payload: Payload, *, mark: int
    ) -> None:
        """Note that a transition from ``before`` is in the database.

        Parameters
        ----------
        payload : Payload
            What was stored with it.
        mark : int
            ``products.mark`` before the commit.
        """
        run_id = step.run.run_id
        for effect in step.effects:
            if isinstance(effect, machine.ContributionAccepted):
                if payload.product is not None:
                    self.products.keep(run_id, effect.number, payload.product, mark=mark)
                self._commitments_so_far.add(
                    run_id, effect.number, effect.bank, payload.commitment.encode()
                )
            elif isinstance(effect, machine.ProductComplete):
                self._keep_commitments(step.run, effect.number)
            elif isinstance(effect, machine.OpeningAccepted) and payload.opening is not None:
                self._openings_so_far.add(run_id, effect.number, effect.bank, payload.opening)
            elif isinstance(effect, machine.RoundClosed):
                self._keep_openings(step.run, effect.number)
            elif isinstance(effect, machine.ProductsExpired):
                self.products.forget(run_id, before=effect.before)
            elif isinstance(effect, machine.OpeningsExpired):
                self.openings.forget(run_id, before=effect.before)
                self.commitments.forget(run_id, before=effect.before)
        # After the product: what sees that it is complete must not find the one before.
        self.snapshots.was_committed(before, step)

    def _keep_commitments(self, run: machine.Run, number: int) -> None:
        parts = self._commitments_so_far.take(run.run_id, number, run.banks)
        # None are empty in a round that has any.
        joined = None if parts is None else b" ".join(parts[bank] for bank in sorted(parts))
        if joined:
            self.commitments.keep(run.run_id, number, joined)

    def _keep_openings(self, run: machine.Run, number: int) -> None:
        parts = self._openings_so_far.take(run.run_id, number, run.banks)
        if parts is not None:
            # The banks of a generation are sorted by name, and a bank opens the shard of its place.
            joined = frames.encode_many([parts[bank] for bank in run.banks])
            self.openings.keep(run.run_id, number, joined)

    def commit_failed(self, run_id: str) -> None:
        """Read the run again: whether or not the commit has happened, the database knows."""
        self._commitments_so_far.forget(run_id)
        self._openings_so_far.forget(run_id)
        self.snapshots.forget(run_id)
        self.products.forget(run_id)

    def was_changed_elsewhere(self, run_id: str, version: int) -> None:
        """Forget what is known of a run that another process has brought to a version."""
        if self.snapshots.forget_older(run_id, version):
            self.products.forget(run_id)
            self.commitments.forget(run_id)
            self.openings.forget(run_id)
