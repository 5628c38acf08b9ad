"""Hears what other processes change (PostgreSQL): forgets what is outdated, wakes what waits.

One thread of each process listens (``LISTEN``). A lost notification delays and does no more: once a
second, and after a broken connection, the thread holds all runs that are remembered against the
database, and lets all that wait look again.
"""

import logging
import threading
from typing import Any

import psycopg

from aggregator.runs.store import RunStore
from aggregator.runs.waiters import Waiters
from aggregator.storage.announcement import Announcement
from aggregator.storage.postgresql import PostgreSQL
from fraudfed.errors import FraudFedError

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class RunListener:
    """The thread that keeps one process in step with the others."""

    def __init__(
        self, dialect: PostgreSQL, runs: RunStore, waiters: Waiters, *, origin: str
    ) -> None:
        self._dialect = dialect
        self._origin = origin
        self._runs = runs
        self._waiters = waiters
        self._stopped = threading.Event()
        # Ends with the process: nothing is lost that it has not heard.
        self._thread = threading.Thread(target=self._run, name="run-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop within a second or so, and wait for it."""
        self._stopped.set()
        self._thread.join()

    def hear(self, text: str) -> None:
        """Take in one notification."""
        said = Announcement.parse(text)
        # What this process has changed it has noted already.
        if said is None or said.origin == self._origin:
            return
        self._runs.was_changed_elsewhere(said.run_id, said.version)
        if said.wakes:
            self._waiters.changed(said.run_id)

    def look(self) -> None:
        """Hold what is remembered against the database, and let all that wait look, too."""
        for run_id, version in self._runs.versions().items():
            self._runs.was_changed_elsewhere(run_id, version)
        for run_id in self._waiters.waited_for():
            self._waiters.changed(run_id)

    def _run(self) -> None:
        is_first = True
        while not self._stopped.is_set():
            try:
                connection = self._dialect.listen()
                try:
                    if not is_first:
                        _log.info("listening for the other workers again")
                    self._listen(connection)
                finally:
                    connection.close()
            except (psycopg.Error, FraudFedError) as error:
                cause = error.__cause__ or error
                _log.warning(
                    "cannot hear the other workers (%s); trying again", self._dialect.reason(cause)
                )
            except Exception:
                # Without this thread the process would answer from what it remembers indefinitely.
                _log.exception("listening for the other workers failed unexpectedly; trying again")
            is_first = False
            self._stopped.wait(_LOOK_SECONDS)

    def _listen(self, connection: "psycopg.Connection[Any]") -> None:
        while not self._stopped.is_set():
            self.look()
            for notify in connection.notifies(timeout=_LOOK_SECONDS):
                self.hear(notify.payload)
