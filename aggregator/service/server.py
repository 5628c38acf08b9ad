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
import errno
import ipaddress
import logging
import os
import resource
import select
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from aggregator.api.services import Services
from aggregator.config import ServiceConfig
from aggregator.monitoring.logs import name_worker
from aggregator.monitoring.metrics import forget_worker
from aggregator.runs.listener import RunListener
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.arrivals import (
    HEAD_BYTES,
    HEAD_SECONDS,
    LAST_SECONDS,
    Connection,
    Head,
    Held,
)
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
#: Connections of one worker whose request is not whole, or whose answer is being read; and of one
#: address.
_MOST_HEADS = 512
_MOST_HEADS_OF_ONE = 128
#: Connections between two requests; as many behind one proxy as in a large consortium.
_MOST_IDLE = 1000
_MOST_IDLE_OF_ONE = 500
#: Descriptors that a worker asks for, as far as the machine allows: connections, files, database.
_DESCRIPTORS = 8192
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

    A connection gets a thread when the head of its request is whole (``arrivals``): gunicorn's own
    would wait in a thread for the rest of one. After an answer the thread stays with its connection
    for a moment. A bank in a round comes back at once, and handing the connection to the main
    thread and back costs as much as the request.
    """

    waiters: Waiters

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._staying = threading.BoundedSemaphore(max(1, self.cfg.threads // 2))
        self._heads: Held[Connection] = Held(
            seconds=HEAD_SECONDS, most=_MOST_HEADS, most_of_one=_MOST_HEADS_OF_ONE
        )
        self._idle: Held[Connection] = Held(
            seconds=_KEEPALIVE_SECONDS, most=_MOST_IDLE, most_of_one=_MOST_IDLE_OF_ONE
        )
        self._ending: Held[Connection] = Held(
            seconds=LAST_SECONDS, most=_MOST_HEADS, most_of_one=_MOST_HEADS_OF_ONE
        )

    def accept(self, listener: socket.socket) -> None:
        """Take a connection; it has no thread yet."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        context = self.cfg.ssl_context(self.cfg, None) if self.cfg.is_ssl else None
        try:
            conn = Connection(self.cfg, sock, address, listener.getsockname(), context)
        except OSError as error:
            _log.info("connection refused or lost: %s", _reason(error))
            sock.close()
            return
        self.nr_conns += 1
        self._hold(self._heads, conn)

    def _hold(self, held: Held[Connection], conn: Connection) -> None:
        """Leave a connection to the main loop until something comes."""
        gone = held.add(conn, conn.address)
        if gone is not None:
            self._drop(gone)
        read = self._read_last if held is self._ending else self._read_head
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(read, conn))

    def _release(self, conn: Connection) -> None:
        """Take a connection from the main loop."""
        for held in (self._heads, self._idle, self._ending):
            held.remove(conn)
        with contextlib.suppress(KeyError, ValueError, OSError):
            self.poller.unregister(conn.sock)

    def _drop(self, conn: Connection) -> None:
        self._release(conn)
        self.nr_conns -= 1
        conn.close()

    def _make_room(self) -> None:
        """End the oldest connection that holds no thread: there are no more descriptors."""
        for held in (self._heads, self._ending, self._idle):
            oldest = held.oldest()
            if oldest is not None:
                self._drop(oldest)
                return

    def _read_head(self, conn: Connection, _sock: object) -> None:
        """Read what came; give the connection a thread as soon as a head is whole."""
        if conn not in self._heads and conn not in self._idle:
            return  # another event of the same moment has ended it
        try:
            head = conn.receive()
        except OSError as error:
            self.handle_error(None, conn.sock, conn.client, error)
            self._drop(conn)
            return
        if head is Head.PART:
            if conn in self._idle and conn.has_more():
                # From its first byte on it has the time of a head.
                self._release(conn)
                self._hold(self._heads, conn)
        elif head is Head.WHOLE:
            self._release(conn)
            conn.begin()
            self.enqueue_req(conn)
        elif head is Head.TOO_LARGE:
            self._release(conn)
            self.handle_error(None, conn.sock, conn.client, LimitRequestHeaders("head"))
            self._end(conn)
        else:
            self._drop(conn)

    def _read_last(self, conn: Connection, _sock: object) -> None:
        if conn not in self._ending:
            return
        try:
            if conn.discard():
                return
        except OSError:
            pass
        self._drop(conn)

    def _end(self, conn: Connection) -> None:
        """Let the client read its answer before the connection is gone (RFC 9112, section 9.6)."""
        try:
            conn.finish()
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        self._hold(self._ending, conn)

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """Wait for the connection's next request, or end it; called in the main loop."""
        kept = not fs.cancelled() and fs.exception() is None and fs.result() is True
        if not kept:
            self._end(conn)
            return
        try:
            head = conn.receive() if conn.has_more() else Head.PART
        except OSError:
            head = Head.ENDED
        if head is Head.WHOLE:
            conn.begin()
            self.enqueue_req(conn)
        elif head is Head.PART:
            self._hold(self._heads if conn.has_more() else self._idle, conn)
            if not self.alive:
                self._cap_keepalive(0.0)
        else:
            self._end(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        """End the connections whose time is over."""
        for held in (self._heads, self._idle, self._ending):
            if force:
                held.end_by(0.0)
            for conn in held.expired():
                self._drop(conn)

    def _cap_keepalive(self, _deadline: float) -> None:
        """End the connections that hold no thread soon: the service stops."""
        for held in (self._heads, self._idle, self._ending):
            held.end_by(STOP_KEEPALIVE_LINGER)

    def handle(self, conn: Any) -> Any:
        """Handle a request, and those that follow at once on the same connection."""
        kept = super().handle(conn)
        while kept is True and self._comes_back(conn):
            kept = super().handle(conn)
        return kept

    def _comes_back(self, conn: Any) -> bool:
        """Wait a moment for the next request; half of the threads at most do so at a time."""
        if not self.alive or not self._staying.acquire(blocking=False):
            return False
        try:
            poll = select.poll()
            poll.register(conn.sock, select.POLLIN)
            if not poll.poll(_STAY_MILLISECONDS):
                return False
            # Half a head goes to the main loop: it may never become whole.
            if conn.receive() is not Head.WHOLE:
                return False
        except OSError:
            return False
        finally:
            self._staying.release()
        conn.begin()
        return True

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
        status = None
        if isinstance(exc, LimitRequestHeaders | LimitRequestLine):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            error = ProtocolError(f"request line and headers are above {HEAD_BYTES} bytes")
        elif isinstance(exc, ParseException):
            # What it says of the request is not repeated: its sender is unknown.
            error = ProtocolError(f"not a valid HTTP request ({type(exc).__name__})")
        else:
            _log.error("connection failed unexpectedly", exc_info=exc)
            error = ServerError("the connection failed unexpectedly")
        document = problem_of(error, status=status)
        self._services().metrics.problem(error.slug)
        body = document.model_dump_json().encode()
        head = (
            f"HTTP/1.1 {document.status} {document.title}\r\nConnection: close\r\n"
            f"Content-Type: {PROBLEM}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode("latin-1") + body)


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


def _closing(application: Callable[..., Any]) -> Callable[..., Any]:
    """Let an answer with ``Connection: close`` end its connection, for which gunicorn has no way.

    It leaves the header out, and would wait in a thread for a body that nobody reads.
    """

    def answer(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if ("Connection", "close") in headers:
                start_response.__self__.force_close()
            return start_response(status, headers, exc_info)

        return application(environ, start)

    return answer


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
            # Never reached: of all kinds that hold no thread, the oldest ends for the newest.
            "worker_connections": threads + 2 * _MOST_HEADS + _MOST_IDLE + 64,
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
        )
        app.wsgi_app = _closing(app.wsgi_app)  # type: ignore[method-assign]
        return app

    def _open_store(self) -> Store:
        """Open the store, however long its database is away: the main process has seen it there."""
        while True:
            try:
                return self._state.open_store()
            except TransportError as error:
                _log.warning("%s; trying again", error)
                time.sleep(_AWAY_SECONDS)
