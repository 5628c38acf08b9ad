"""Serve the application with gunicorn, inside this program.

Worker processes with many threads: a waiting bank holds a thread, not a core. One process on
SQLite, which has one writer; on PostgreSQL as many as the settings say, kept in step by
``runs.listener``.

When it stops, the order is: take nothing new (503), wake what waits, finish what was taken, write
down what was only counted. A bank that is cut off all the same sends the same again: what was
acknowledged is on disk.
"""

import contextlib
import ctypes
import ipaddress
import logging
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from aggregator.api.services import Services
from aggregator.config import ServiceConfig
from aggregator.monitoring.logs import name_worker
from aggregator.monitoring.metrics import forget_worker
from aggregator.runs.listener import RunListener
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.problems import problem_of
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.postgresql import PostgreSQL
from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    ServerError,
    TransportError,
    UnavailableError,
)
from fraudfed.wire.media_types import PROBLEM

_log = logging.getLogger(__name__)

_BACKLOG = 512
#: Longer than HTTP clients keep an idle connection, so that they close it and not we.
_KEEPALIVE_SECONDS = 75
#: As long as a bank works on its part of a round, on one of two cores.
_STAY_MILLISECONDS = 500
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
            f"{config.tls_key or config.tls_certificate} cannot be used: {_reason(error)}; give "
            "PEM files that belong together, the key without a passphrase"
        ) from None
    if config.client_ca is not None:
        try:
            context.load_verify_locations(cafile=config.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"client CA {config.client_ca} cannot be used: {_reason(error)}; give a PEM file "
                "of root certificates"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_passphrase() -> str:
    return ""


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


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


class _Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, which also ends long polls when it stops.

    After an answer the thread stays with its connection for a moment. A bank in a round comes back
    at once, and handing the connection to the main thread and back costs as much as the request.
    """

    waiters: Waiters

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._staying = threading.BoundedSemaphore(max(1, self.cfg.threads // 2))

    def handle(self, conn: Any) -> Any:
        """Handle a request, and those that follow at once on the same connection."""
        kept = super().handle(conn)
        while kept is True and self._comes_back(conn):
            kept = super().handle(conn)
        if kept is False:
            # Here, because the main thread would accept no connection while a client lingers.
            conn.close(graceful=True)
        return kept

    def _comes_back(self, conn: Any) -> bool:
        """Wait a moment for the next request; half of the threads at most do so at a time."""
        if not self.alive or not self._staying.acquire(blocking=False):
            return False
        try:
            poll = select.poll()
            poll.register(conn.sock, select.POLLIN)
            return bool(poll.poll(_STAY_MILLISECONDS))
        finally:
            self._staying.release()

    def run(self) -> None:
        """Serve; at the end, record what the audit log has only counted so far."""
        services: Services = self.wsgi.extensions["fraudfed"]
        services.deadlines.start()
        try:
            super().run()
        finally:
            services.deadlines.stop()
            self._flush_refusals()

    def _services(self) -> Services:
        found: Services = self.wsgi.extensions["fraudfed"]
        return found

    def _let_go(self) -> None:
        """Take nothing new, wake the waiting; write down now what may be too late at the end."""
        if self.wsgi is None:
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

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on SIGINT or SIGQUIT as on SIGTERM: no contribution is cut off half stored."""
        self.handle_exit(sig, frame)

    def is_parent_alive(self) -> bool:
        """Tell whether the main process lives; if it was killed, end the long polls as well."""
        alive = bool(super().is_parent_alive())
        if not alive:
            # Or threads stay with busy connections, and the next service waits for our lock.
            self.alive = False
            self._let_go()
        return alive

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP request with a problem document instead of gunicorn's page."""
        if isinstance(exc, OSError):
            # The client is gone, speaks no TLS, or has not the certificate that we asked for (an
            # ssl.SSLError is an OSError): there is no one to answer.
            _log.info("connection refused or lost: %s", _reason(exc))
            return
        error: FraudFedError
        if isinstance(exc, ParseException):
            error = ProtocolError(f"not a valid HTTP request: {exc}")
        else:
            _log.error("connection failed unexpectedly", exc_info=exc)
            error = ServerError("the connection failed unexpectedly")
        document = problem_of(error)
        self._services().metrics.problem(error.slug)
        body = document.model_dump_json().encode()
        head = (
            f"HTTP/1.1 {document.status} {document.title}\r\nConnection: close\r\n"
            f"Content-Type: {PROBLEM}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode("latin-1") + body)


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
        self._url = url_of(listener, tls=tls is not None)
        self._waiters = Waiters()
        super().__init__()

    def _ready(self) -> None:
        self._state.write_url(self._url)
        self._on_ready()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        threads = self._config.threads + self._config.max_waiting + _SPARE_THREADS
        worker = type("Worker", (_Worker,), {"waiters": self._waiters})
        settings = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": self._config.workers,
            "worker_class": worker,
            "threads": threads,
            "worker_connections": threads + 1000,
            "keepalive": _KEEPALIVE_SECONDS,
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
        _share_one_heap()
        name_worker(os.getpid())
        store = self._open_store()
        if isinstance(store.database.dialect, PostgreSQL):
            RunListener(
                store.database.dialect, store.runs, self._waiters, origin=store.database.origin
            ).start()
        return create_app(
            self._config,
            store,
            self._waiters,
            metrics_directory=self._state.metrics_directory,
        )

    def _open_store(self) -> Store:
        """Open the store, however long its database is away: the main process has seen it there."""
        while True:
            try:
                return self._state.open_store()
            except TransportError as error:
                _log.warning("%s; trying again", error)
                time.sleep(_AWAY_SECONDS)
