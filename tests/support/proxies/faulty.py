"""A faulty network between a bank and an aggregator: an HTTP proxy on loopback that breaks things.

It forwards requests byte for byte, signatures and all, each on a connection of its own, and does to
some what a ``FaultPlan`` says. What it waits for is bounded, and ``close`` ends all of it: when the
block is over, its threads and connections are gone.
"""

import contextlib
import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

from proxies.fault_plan import FaultKind, FaultPlan, Passing, PlannedFault

_CONNECT_SECONDS = 5.0
#: Longer than an aggregator holds an answer back.
_ANSWER_SECONDS = 60.0
#: A client that says nothing for so long is gone.
_IDLE_SECONDS = 120.0
#: Hop by hop; all others may be signed and pass as they are.
_NOT_FORWARDED = {"connection", "keep-alive", "transfer-encoding"}
#: Close without waiting: the other end sees a reset and not an orderly end.
_RESET = struct.pack("ii", 1, 0)
_Then = Callable[[], None] | None
_OWN_ANSWERS = {FaultKind.ANSWER_502: "502 Bad Gateway", FaultKind.ANSWER_503: "503 Unavailable"}


class Traffic:
    """How many requests have been forwarded at all proxies that share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._forwarded = 0

    def forwarded(self) -> None:
        """Count one."""
        with self._changed:
            self._forwarded += 1
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those that wait see whether they still have to."""
        with self._changed:
            self._changed.notify_all()

    def wait_for_another(self, given_up: threading.Event, *, seconds: float) -> bool:
        """Wait until one more is forwarded; False if none is in that time."""
        with self._changed:
            before = self._forwarded
            self._changed.wait_for(
                lambda: self._forwarded > before or given_up.is_set(), timeout=seconds
            )
            return self._forwarded > before


class FaultProxy:
    """One bank's way to the aggregator.

    Parameters
    ----------
    upstream : str
        Base URL; plain http.
    plan : FaultPlan
    random : random.Random
        Decides where a body is cut and whether the other end sees a reset.
    traffic : Traffic
        Shared by the proxies of several banks, whose requests then overtake each other.

    Attributes
    ----------
    url : str
    plan : FaultPlan
    counts : Counter of FaultKind
        Faults that have happened.
    replays : list of int
        Statuses of the answers to requests that were sent a second time.
    """

    def __init__(self, upstream: str, *, plan: FaultPlan, random: Random, traffic: Traffic) -> None:
        target = urlsplit(upstream)
        self._target = (target.hostname or "", target.port or 80)
        self._random = random
        self._traffic = traffic
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closing = threading.Event()
        self._replay_later: list[bytes] = []
        self.plan = plan
        self.counts: Counter[FaultKind] = Counter()
        self.replays: list[int] = []
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="fault proxy"
        )
        self._thread.start()

    def be_clean(self) -> None:
        """Only forward from now on."""
        self.plan.clear()
        with self._lock:
            self._replay_later.clear()

    def close(self) -> None:
        """End every connection and every thread."""
        self._closing.set()
        self._traffic.wake()
        self._server.shutdown()
        with self._lock:
            for connection in self._sockets:
                _shut_down(connection)
        self._server.server_close()  # joins the threads of all connections
        self._thread.join()

    # What the handler does with a request

    def cut_point(self, size: int) -> int:
        """Return how many of ``size`` bytes get through: at least one and not all, if possible."""
        with self._lock:
            return self._random.randint(1, max(1, size - 1))

    def is_reset(self) -> bool:
        """Decide whether a connection that is cut ends with a reset."""
        with self._lock:
            return self._random.random() < 0.5

    def happened(self, fault: PlannedFault, kind: FaultKind) -> None:
        """Count a fault as what it was."""
        with self._lock:
            self.counts[kind] += 1
        fault.happened.set()

    def hold(self, seconds: float) -> None:
        """Wait, but not longer than the proxy lives."""
        self._closing.wait(seconds)

    def wait_for_another(self, seconds: float) -> bool:
        """Wait until another request has been forwarded, at whatever proxy."""
        return self._traffic.wait_for_another(self._closing, seconds=seconds)

    def send_later(self, request: bytes) -> None:
        """Send a request once more when the next one has been answered."""
        with self._lock:
            self._replay_later.append(request)

    def answered(self) -> None:
        """Send what waited for another request to be answered."""
        with self._lock:
            waiting, self._replay_later = self._replay_later, []
        for request in waiting:
            self.replay(request)

    def replay(self, request: bytes) -> None:
        """Send a captured request once more; nobody but us gets the answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _, _ = self.ask(request, method="POST")
            with self._lock:
                self.replays.append(status)

    def ask(self, request: bytes, *, method: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """Forward a request and return its answer: status, headers, body."""
        with self.connected() as upstream:
            upstream.sendall(request)
            self._traffic.forwarded()
            answer = http.client.HTTPResponse(upstream, method=method)
            try:
                answer.begin()
                body = answer.read()
                return answer.status, answer.getheaders(), body
            finally:
                answer.close()

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


@contextmanager
def fault_proxy(
    upstream: str,
    plan: FaultPlan | None = None,
    *,
    random: Random | None = None,
    traffic: Traffic | None = None,
) -> Iterator[FaultProxy]:
    """Stand in front of ``upstream`` until the block ends."""
    proxy = FaultProxy(
        upstream,
        plan=FaultPlan() if plan is None else plan,
        random=Random(0) if random is None else random,
        traffic=Traffic() if traffic is None else traffic,
    )
    try:
        yield proxy
    finally:
        proxy.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def shutdown_request(self, request: "socket.socket") -> None:  # type: ignore[override]
        """Close a connection; a reset must not begin with an orderly end."""
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == _RESET:
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: one end has gone, which is what the proxy is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: _Server

    def handle(self) -> None:
        with self.server.proxy.registered(self.connection):
            super().handle()

    def _pass(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        head = self._head()
        passing = Passing(self.command, self.path)
        fault = proxy.plan.take(passing)
        if fault is None:
            self._forward(head + body)
            return
        kind = fault.kind
        try:
            if fault.meanwhile is not None and kind is not FaultKind.LOSE_ANSWER:
                fault.meanwhile()
            kind = self._break(fault, head, body)
        finally:
            proxy.happened(fault, kind)

    def _break(self, fault: PlannedFault, head: bytes, body: bytes) -> FaultKind:
        """Let a fault happen; return what it turned out to be."""
        proxy, request = self.server.proxy, head + body
        match fault.kind:
            case FaultKind.CUT_REQUEST:
                through = len(head) + proxy.cut_point(len(body)) if body else len(head) // 2
                with contextlib.suppress(OSError), proxy.connected() as upstream:
                    upstream.sendall(request[:through])
                self._cut()
            case FaultKind.CUT_ANSWER:
                self._forward(request, cut=True)
            case FaultKind.LOSE_ANSWER:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    proxy.ask(request, method=self.command)
                if fault.meanwhile is not None:
                    fault.meanwhile()
                self._cut()
            case FaultKind.DELAY:
                proxy.hold(fault.seconds)
                self._forward(request)
            case FaultKind.DUPLICATE:
                self._forward(request, then=lambda: proxy.replay(request))
            case FaultKind.DUPLICATE_LATER:
                self._forward(request, then=lambda: proxy.send_later(request))
            case FaultKind.REORDER:
                overtaken = proxy.wait_for_another(fault.seconds)
                self._forward(request)
                return fault.kind if overtaken else FaultKind.DELAY
            case FaultKind.ANSWER_502 | FaultKind.ANSWER_503:
                text = f"HTTP/1.1 {_OWN_ANSWERS[fault.kind]}\r\nContent-Length: 0\r\n\r\n"
                self.wfile.write(text.encode())
        return fault.kind

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - http.server's names

    def _head(self) -> bytes:
        """Return the request's head as it came, but for what concerns the connection alone."""
        kept = [(k, v) for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED]
        lines = [f"{self.command} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in kept)]
        return ("\r\n".join([*lines, "Connection: close", "", ""])).encode("latin-1")

    def _forward(self, request: bytes, *, cut: bool = False, then: _Then = None) -> None:
        proxy = self.server.proxy
        try:
            status, headers, body = proxy.ask(request, method=self.command)
        except (OSError, http.client.HTTPException):
            # The aggregator has gone: so does the connection, as it would without a proxy.
            self._cut()
            return
        proxy.answered()
        if then is not None:
            then()
        kept = [(k, v) for k, v in headers if k.lower() not in (*_NOT_FORWARDED, "content-length")]
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        lines += [f"{name}: {value}" for name, value in kept]
        if status != http.client.NO_CONTENT:
            lines.append(f"Content-Length: {len(body)}")
        head = ("\r\n".join([*lines, "", ""])).encode("latin-1")
        if cut:
            through = len(head) + proxy.cut_point(len(body)) if body else len(head) // 2
            self.wfile.write((head + body)[:through])
            self._cut()
        else:
            self.wfile.write(head + body)

    def _cut(self) -> None:
        self.close_connection = True
        if self.server.proxy.is_reset():
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def log_message(self, *args: object) -> None:
        """Say nothing: the counts are the log."""


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
