"""Serve the application with gunicorn, inside this program.

Worker processes with many threads: a waiting bank holds a thread, not a core. One process on
SQLite, which has one writer; on PostgreSQL as many as the settings say, kept in step by
``runs.listener``.

When it stops, the order is: take nothing new (503), wake what waits, finish what was taken, write
down what was only counted. A bank that is cut off all the same sends the same again: what was
acknowledged is on disk.
"""

import logging
import os
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Callable

from flask import Flask
from gunicorn.app.base import BaseApplication

from aggregator.config import ServiceConfig
from aggregator.monitoring.logs import name_worker
from aggregator.monitoring.metrics import forget_worker
from aggregator.runs.listener import RunListener
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.service.worker import Worker
from aggregator.storage.postgresql import PostgreSQL
from fraudfed.errors import ServerError, TransportError
from fraudfed.http.server.listening import url_of
from fraudfed.http.server.process import QuietLogger, raise_descriptors, share_one_heap
from fraudfed.http.server.worker import KEEPALIVE_SECONDS, closing

_log = logging.getLogger(__name__)

#: Threads beyond those that work or wait: they answer that there is no room, and the probes.
_SPARE_THREADS = 16
#: A worker whose main loop is silent for this long is replaced. Requests run in other threads.
_SILENT_SECONDS = 120
#: Between two attempts to reach a database that is away.
_AWAY_SECONDS = 1.0


def serve(
    state: StateDirectory,
    config: ServiceConfig,
    listener: socket.socket,
    *,
    tls: ssl.SSLContext | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is called when requests are accepted.

    The caller holds the state directory's lock and has checked its database. The address stands
    in ``state.url_file`` while the service runs.

    Raises
    ------
    ServerError
        If the worker process cannot start.
    """
    state.empty_metrics()
    main_process = os.getpid()
    try:
        _Gunicorn(state, config, listener, tls, on_ready).run()
    except SystemExit as stop:
        # gunicorn's way to return, in the worker process as well; that one just ends.
        if os.getpid() != main_process:
            raise
        if stop.code not in (0, None):
            raise ServerError(
                f"the service's worker process ended with code {stop.code}; see the log above"
            ) from None


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured by us alone: no command line, no settings file, no environment."""

    def __init__(
        self,
        state: StateDirectory,
        config: ServiceConfig,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        on_ready: Callable[[], None],
    ) -> None:
        self._state = state
        self._config = config
        self._listener = listener
        self._on_ready = on_ready
        self._tls = tls
        self._url = url_of(listener, tls=tls is not None) + config.path_prefix
        self._waiters = Waiters()
        # Made before the workers are: a session that one has opened is known to all.
        self._session_key = secrets.token_bytes(32)
        super().__init__()

    def _ready(self) -> None:
        self._state.write_url(self._url)
        self._on_ready()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        threads = self._config.threads + self._config.max_waiting + _SPARE_THREADS
        worker = type("Worker", (Worker,), {"waiters": self._waiters})
        settings = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": self._config.workers,
            "worker_class": worker,
            "threads": threads,
            # Never reached: of all kinds that hold no thread, the oldest ends for the newest.
            "worker_connections": threads + Worker.most_without_a_thread,
            "keepalive": KEEPALIVE_SECONDS,
            "timeout": _SILENT_SECONDS,
            "graceful_timeout": self._config.stop_seconds,
            "logger_class": QuietLogger,
            "accesslog": None,
            "when_ready": lambda _server: self._ready(),
            # Called in the main process only, unlike a ``finally`` around it.
            "on_exit": lambda _server: self._state.remove_url(),
            "child_exit": lambda _server, worker: forget_worker(
                self._state.metrics_directory, worker.pid
            ),
            # No proxy says by a header where the service stands, or that a request is another.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            # Added in gunicorn 25: a socket for its own tool, which is not needed here.
            "control_socket_disable": True,
        }
        if self._tls is not None:
            context = self._tls
            # ``certfile`` switches TLS on; all the rest is in our context.
            settings["certfile"] = str(self._config.tls_certificate)
            settings["ssl_context"] = lambda _conf, _default: context
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the application, in the worker process: no connection crosses the fork."""
        sys.stdout.flush()
        # gunicorn would take it for the path under which the service stands.
        os.environ.pop("SCRIPT_NAME", None)
        share_one_heap()
        raise_descriptors()
        name_worker(os.getpid())
        store = self._open_store()
        if isinstance(store.database.dialect, PostgreSQL):
            RunListener(
                store.database.dialect, store.runs, self._waiters, origin=store.database.origin
            ).start()
        app = create_app(
            self._config,
            store,
            self._waiters,
            metrics_directory=self._state.metrics_directory,
            session_key=self._session_key,
        )
        app.wsgi_app = closing(app.wsgi_app)  # type: ignore[method-assign]
        return app

    def _open_store(self) -> Store:
        """Open the store, however long its database is away: the main process has seen it there."""
        while True:
            try:
                return self._state.open_store()
            except TransportError as error:
                _log.warning("%s; trying again", error)
                time.sleep(_AWAY_SECONDS)
