"""An HTTP proxy on loopback between a bank and an aggregator: it keeps all, and may change answers.

It forwards requests byte for byte, signatures and all, each on a connection of its own. Its hooks
make it a malicious server, which sees what an aggregator sees and answers the banks as it likes;
without hooks it only keeps what passes. What it waits for is bounded, and ``close`` ends all of it:
when the block is over, its threads and connections are gone.
"""

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

_CONNECT_SECONDS = 5.0
#: Longer than an aggregator holds an answer back.
_ANSWER_SECONDS = 60.0
#: A client that says nothing for so long is gone.
_IDLE_SECONDS = 120.0
#: Hop by hop; all others may be signed and pass as they are.
_NOT_FORWARDED = {"connection", "keep-alive", "transfer-encoding"}
#: Close without waiting: the other end sees a reset and not an orderly end.
_RESET = struct.pack("ii", 1, 0)
#: What the other end does when it goes away.
GONE = (OSError, http.client.HTTPException)


@dataclass
class Exchange:
    """One request as a bank sent it, and the answer that it will get."""

    method: str
    path: str
    """With the query."""
    headers: dict[str, str]
    head: bytes
    """As it is forwarded."""
    body: bytes
    status: int = 0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""

    @property
    def request(self) -> bytes:
        return self.head + self.body

    @property
    def route(self) -> tuple[str, str]:
        """Method and path without the query."""
        return self.method, self.path.partition("?")[0]

    @property
    def bank(self) -> str | None:
        """Whom the signature names."""
        _, found, rest = self.headers.get("signature-input", "").partition('keyid="')
        return rest.partition('"')[0] if found else None

    def reply(
        self, body: bytes, *, status: int = 200, media_type: str = "application/json"
    ) -> None:
        """Answer this instead."""
        self.status, self.answer, self.answer_headers = status, body, {"content-type": media_type}

    def answer_bytes(self) -> tuple[bytes, bytes]:
        """Return head and body of the answer."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, '')}"]
        lines += [
            f"{name}: {value}"
            for name, value in self.answer_headers.items()
            if name not in (*_NOT_FORWARDED, "content-length")
        ]
        if self.status != http.client.NO_CONTENT:
            lines.append(f"content-length: {len(self.answer)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), self.answer


Hook = Callable[[Exchange], None]


class Proxy:
    """One way to the aggregator.

    Parameters
    ----------
    upstream : str
        Base URL; plain http.

    Attributes
    ----------
    url : str
    exchanges : list of Exchange
        In the order in which they were answered, with the answers as the banks got them.
    before : callable or None
        Called with each request; if it calls ``reply``, the aggregator never hears of it.
    after : callable or None
        Called with each answered exchange, before the bank gets the answer.
    """

    def __init__(self, upstream: str) -> None:
        target = urlsplit(upstream)
        self._target = (target.hostname or "", target.port or 80)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closing = threading.Event()
        self.exchanges: list[Exchange] = []
        self.before: Hook | None = None
        self.after: Hook | None = None
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="proxy"
        )
        self._thread.start()

    def sent(self, method: str, ending: str) -> list[Exchange]:
        """Return the requests of one method whose path ends with ``ending``."""
        with self._lock:
            return [e for e in self.exchanges if e.method == method and e.route[1].endswith(ending)]

    def serve(self, handler: "Handler", exchange: Exchange) -> None:
        """Answer a request."""
        if self.before is not None:
            self.before(exchange)
        if not exchange.status:
            self.ask(exchange)
        if self.after is not None:
            self.after(exchange)
        with self._lock:
            self.exchanges.append(exchange)
        handler.answer(exchange)

    def ask(self, exchange: Exchange) -> None:
        """Forward a request and put its answer into the exchange."""
        with self.connected() as upstream:
            upstream.sendall(exchange.request)
            self.forwarded()
            answer = http.client.HTTPResponse(upstream, method=exchange.method)
            try:
                answer.begin()
                exchange.answer = answer.read()
                exchange.status = answer.status
                exchange.answer_headers = {k.lower(): v for k, v in answer.getheaders()}
            finally:
                answer.close()

    def forwarded(self) -> None:
        """Hear that a request has been forwarded."""

    def is_reset(self) -> bool:
        """Decide whether a connection that is cut ends with a reset."""
        return False

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """Have a connection to the aggregator."""
        upstream = socket.create_connection(self._target, timeout=_CONNECT_SECONDS)
        with upstream, self.registered(upstream):
            upstream.settimeout(_ANSWER_SECONDS)
            yield upstream

    @contextmanager
    def registered(self, connection: socket.socket) -> Iterator[None]:
        """Let ``close`` end a connection."""
        with self._lock:
            self._sockets.add(connection)
            if self._closing.is_set():
                _shut_down(connection)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(connection)

    def close(self) -> None:
        """End every connection and every thread."""
        self._closing.set()
        self._server.shutdown()
        with self._lock:
            for connection in self._sockets:
                _shut_down(connection)
        self._server.server_close()  # joins the threads of all connections
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), Handler)

    def shutdown_request(self, request: "socket.socket") -> None:  # type: ignore[override]
        """Close a connection; a reset must not begin with an orderly end."""
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == _RESET:
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: one end has gone."""


class Handler(BaseHTTPRequestHandler):
    """A bank's connection."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: _Server

    def handle(self) -> None:
        with self.server.proxy.registered(self.connection):
            super().handle()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        exchange = Exchange(self.command, self.path, headers, self._head(), body)
        try:
            self.server.proxy.serve(self, exchange)
        except GONE:
            # The aggregator has gone: so does the connection, as it would without a proxy.
            self.cut()

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - http.server's names

    def _head(self) -> bytes:
        """Return the request's head as it came, but for what concerns the connection alone."""
        kept = [(k, v) for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED]
        lines = [f"{self.command} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in kept)]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")

    def answer(self, exchange: Exchange) -> None:
        """Send the answer."""
        self.wfile.write(b"".join(exchange.answer_bytes()))

    def cut(self) -> None:
        """End the connection in the middle of what it does."""
        self.close_connection = True
        if self.server.proxy.is_reset():
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def log_message(self, *args: object) -> None:
        """Say nothing: the exchanges are the log."""


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
