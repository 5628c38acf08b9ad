"""Serve the application with gunicorn, inside this program.

Worker processes with many threads: a waiting bank holds a thread, not a core. One process on
SQLite, which has one writer; on PostgreSQL as many as the settings say, kept in step by
``runs.listener``.

When it stops, the order is: take nothing new (503), wake what waits, finish what was taken, write
down what was only counted. A bank that is cut off all the same sends the same again: what was
acknowledged is on disk.
"""

import ctypes
import ipaddress
import logging
import os
import resource
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from aggregator.config import ServiceConfig
from aggregator.monitoring.logs import name_worker
from aggregator.monitoring.metrics import forget_worker
from aggregator.runs.listener import RunListener
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.service.worker import KEEPALIVE_SECONDS, Worker, closing, reason_of
from aggregator.storage.postgresql import PostgreSQL
from fraudfed.errors import (
    ConfigurationError,
    ServerError,
    TransportError,
)

_log = logging.getLogger(__name__)

_BACKLOG = 512
#: Descriptors that a worker asks for, as far as the machine allows: connections, files, database.
_DESCRIPTORS = 8192
#: Parameter of mallopt(3), from malloc.h.
_M_ARENA_MAX = -8
#: Threads beyond those that work or wait: they answer that there is no room, and the probes.
_SPARE_THREADS = 16
#: A worker whose main loop is silent for this long is replaced. Requests run in other threads.
_SILENT_SECONDS = 120
#: Between two attempts to reach a database that is away.
_AWAY_SECONDS = 1.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one.

    Raises
    ------
    ConfigurationError
        If the port is in use, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"--host {host} is no usable address: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port (0 "
            "picks a free one) or stop the program that uses it"
        ) from None
    return listener


def tls_context(config: ServiceConfig) -> ssl.SSLContext | None:
    """Return how connections are secured, None for plain http.

    Raises
    ------
    ConfigurationError
        If a certificate or key file cannot be used.
    """
    if config.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase would be asked for at a terminal: refuse it instead.
        context.load_cert_chain(config.tls_certificate, config.tls_key, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"TLS certificate {config.tls_certificate} with key "
            f"{config.tls_key or config.tls_certificate} cannot be used: {reason_of(error)}; give "
            "PEM files that belong together, the key without a passphrase"
        ) from None
    if config.client_ca is not None:
        try:
            context.load_verify_locations(cafile=config.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"client CA {config.client_ca} cannot be used: {reason_of(error)}; give a PEM file "
                "of root certificates"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_passphrase() -> str:
    return ""


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the URL under which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether a listening socket can be reached from this machine only."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


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


class _Logger(Logger):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's messages go where all others go; requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers alone."""
        self.cfg = cfg
        self.error_log.propagate = True
        # Starting and stopping is said by our own lines.
        self.error_log.setLevel(logging.WARNING)

    def access(self, *_arguments: Any) -> None:
        """Log nothing: the application does."""


def _raise_descriptors() -> None:
    """Ask for as many descriptors as connections may need, within what the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _share_one_heap() -> None:
    """Let all threads take memory from one heap, where the C library can be told so (glibc).

    By default it gives threads heaps of their own, each of which keeps what a contribution needed
    once: the memory of a service would grow with the banks that it has served.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


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
            "logger_class": _Logger,
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
        _share_one_heap()
        _raise_descriptors()
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
