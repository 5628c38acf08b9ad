"""Look-ups for callers of the service: tables in memory, read again when a risk run has ended."""

import threading
from pathlib import Path

from bank_node.lookup.look_up import look_up, open_log, open_tables
from bank_node.lookup.tables import Found, LookupTables
from bank_node.state.directory import StateDirectory
from fraudfed.wire.messages import RiskEntity


class LookupDesk:
    """Answers look-ups from the tables of a state directory. Safe to use from many threads.

    Parameters
    ----------
    state : StateDirectory
        Unlocked.
    """

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._log = open_log(state)
        self._reading = threading.Lock()
        self._stamp: tuple[tuple[Path, int], ...] | None = None
        self._tables: LookupTables | None = None

    def find(
        self,
        entity: RiskEntity,
        identifiers: tuple[str, ...],
        *,
        who: str,
        purpose: str,
        durable: bool = False,
    ) -> list[Found]:
        """Look identifiers up as ``look_up`` does; raises as that and ``open_tables``."""
        with self._reading:
            return look_up(
                self._current(),
                self._log,
                entity,
                identifiers,
                who=who,
                purpose=purpose,
                durable=durable,
            )

    def _current(self) -> LookupTables:
        stamp = tuple((path, path.stat().st_mtime_ns) for path in self._state.tables_paths())
        if self._tables is None or stamp != self._stamp:
            self._tables, self._stamp = open_tables(self._state), stamp
        return self._tables
