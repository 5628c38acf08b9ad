"""Serve payments until told to stop: one process with threads, under one that watches it.

SIGTERM and SIGINT take nothing new and finish what was begun. SIGHUP reads model, policy and
tables again.
"""

import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from bank_node.service.api.describe import TITLES
from bank_node.service.scoring import ScoringService
from fraudfed.errors import FraudFedError, ServerError
from fraudfed.http.server.process import QuietLogger, raise_descriptors, share_one_heap
from fraudfed.http.server.worker import KEEPALIVE_SECONDS, WholeRequestWorker, closing

_log = logging.getLogger(__name__)

_STOP_SECONDS = 20
_SILENT_SECONDS = 120


class _Worker(WholeRequestWorker):
    """A worker that swaps when it is told, and lets go of files at its end."""

    titles = TITLES

    def _scoring(self) -> ScoringService | None:
        application = getattr(self, "wsgi", None)
        return None if application is None else application.extensions["scoring"]

    def init_signals(self) -> None:
        """Take SIGHUP, too."""
        super().init_signals()
        signal.signal(signal.SIGHUP, self._swap)

    def _swap(self, _number: int, _frame: FrameType | None) -> None:
        scoring = self._scoring()
        if scoring is not None:
            # In a thread and not here: a signal handler must not wait for locks.
            threading.Thread(target=_swap, args=(scoring,), daemon=True).start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Accept nothing more, and finish what is in flight."""
        super().handle_exit(sig, frame)
        scoring = self._scoring()
        if scoring is not None:
            scoring.stop()

    def count_problem(self, slug: str) -> None:
        """Count it with those of the application."""
        scoring = self._scoring()
        if scoring is not None:
            scoring.measures.problems.labels(slug).inc()

    def run(self) -> None:
        """Serve; at the end, write down what is left."""
        try:
            super().run()
        finally:
            scoring = self._scoring()
            if scoring is not None:
                scoring.close()


def _swap(scoring: ScoringService) -> None:
    try:
        scoring.swap()
    except FraudFedError:
        pass  # the log has it
    except Exception:
        # Nobody waits for this thread, so nobody else would say it; the old model is still in use.
        _log.exception("the swap failed unexpectedly; the service continues as before")


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's main process, which passes SIGHUP on: gunicorn would start again."""

    def handle_hup(self) -> None:
        """Let the worker swap."""
        self.kill_workers(signal.SIGHUP)


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured by us alone: no command line, no settings file, no environment."""

    def __init__(
        self,
        listener: socket.socket,
        build: Callable[[], Flask],
        *,
        threads: int,
        tls: ssl.SSLContext | None,
        on_ready: Callable[[], None],
    ) -> None:
        self._listener, self._build, self._threads = listener, build, threads
        self._tls, self._on_ready = tls, on_ready
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": 1,
            "worker_class": _Worker,
            "threads": self._threads,
            "worker_connections": self._threads + _Worker.most_without_a_thread,
            "keepalive": KEEPALIVE_SECONDS,
            "timeout": _SILENT_SECONDS,
            "graceful_timeout": _STOP_SECONDS,
            "logger_class": QuietLogger,
            "accesslog": None,
            # Not before the model is read: who calls then would wait.
            "post_worker_init": lambda _worker: self._on_ready(),
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "control_socket_disable": True,
        }
        if self._tls is not None:
            context = self._tls
            # ``certfile`` switches TLS on; all the rest is in our context.
            settings["certfile"] = os.devnull
            settings["ssl_context"] = lambda _conf, _default: context
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the application, in the worker process: no file or thread crosses the fork."""
        os.environ.pop("SCRIPT_NAME", None)
        share_one_heap()
        raise_descriptors()
        app = self._build()
        app.wsgi_app = closing(app.wsgi_app)  # type: ignore[method-assign]
        return app

    def run(self) -> None:
        """Serve."""
        _Arbiter(self).run()


def serve(
    listener: socket.socket,
    build: Callable[[], Flask],
    *,
    threads: int,
    tls: ssl.SSLContext | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is called when payments are answered.

    Raises
    ------
    ServerError
        If the worker process cannot start.
    """
    main_process = os.getpid()
    try:
        _Gunicorn(listener, build, threads=threads, tls=tls, on_ready=on_ready).run()
    except SystemExit as stop:
        # gunicorn's way to return, in the worker process as well; that one just ends.
        if os.getpid() != main_process:
            raise
        if stop.code not in (0, None):
            raise ServerError(
                f"the scoring service's process ended with code {stop.code}; see the log above"
            ) from None
