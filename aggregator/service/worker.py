"""A worker process of the aggregator: it also ends long polls when it stops."""

import logging
import threading
from types import FrameType

from aggregator.api.services import Services
from aggregator.runs.waiters import Waiters
from fraudfed.errors import UnavailableError
from fraudfed.http.server.worker import WholeRequestWorker

_log = logging.getLogger(__name__)


class Worker(WholeRequestWorker):
    """A worker that wakes the waiting, and writes down what was only counted, when it stops."""

    waiters: Waiters

    def run(self) -> None:
        """Serve; at the end, record what the audit log has only counted so far."""
        services: Services = self.wsgi.extensions["fraudfed"]
        services.deadlines.start()
        if services.audit_push is not None:
            services.audit_push.start()
        try:
            super().run()
        finally:
            services.deadlines.stop()
            self._flush_refusals()
            if services.audit_push is not None:
                services.audit_push.stop()

    def _services(self) -> Services:
        found: Services = self.wsgi.extensions["fraudfed"]
        return found

    def _let_go(self) -> None:
        """Take nothing new, wake the waiting; write down now what may be too late at the end."""
        if getattr(self, "wsgi", None) is None:
            return  # it has not begun
        self._services().admission.stop()
        self.waiters.stop()
        self._flush_refusals()

    def _flush_refusals(self) -> None:
        try:
            self._services().refusals.flush()
        except UnavailableError as error:
            _log.warning("refusals that were only counted are lost: %s", error.__cause__)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on SIGTERM: accept nothing more, wake the waiting, finish what is in flight."""
        super().handle_exit(sig, frame)
        # In a thread and not here: a signal handler must not wait for locks.
        threading.Thread(target=self._let_go, daemon=True).start()

    def is_parent_alive(self) -> bool:
        """Tell whether the main process lives; if it was killed, end the long polls as well."""
        alive = bool(super().is_parent_alive())
        if not alive:
            # Or threads stay with busy connections, and the next service waits for our lock.
            self.alive = False
            self._let_go()
        return alive

    def count_problem(self, slug: str) -> None:
        """Count it with those of the application."""
        self._services().metrics.problem(slug)
