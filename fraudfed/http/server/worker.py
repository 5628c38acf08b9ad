"""A worker process of a service: gunicorn's threaded one, whose threads are for whole requests."""

import contextlib
import errno
import logging
import select
import selectors
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any, ClassVar

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from fraudfed.errors import FraudFedError, ProtocolError, ServerError
from fraudfed.http.server.arrivals import (
    HEAD_BYTES,
    HEAD_SECONDS,
    LAST_SECONDS,
    Connection,
    Head,
    Held,
)
from fraudfed.http.server.listening import reason_of
from fraudfed.http.server.problems import Titles, problem_of
from fraudfed.wire.media_types import PROBLEM

_log = logging.getLogger(__name__)

#: Longer than HTTP clients keep an idle connection, so that they close it and not we.
KEEPALIVE_SECONDS = 75
#: Connections of one worker whose request is not whole, or whose answer is being read; and of one
#: address.
_MOST_HEADS = 512
_MOST_HEADS_OF_ONE = 128
#: Connections between two requests; as many behind one proxy as in a large consortium.
_MOST_IDLE = 1000
_MOST_IDLE_OF_ONE = 500
#: As long as a bank works on its part of a round, on one of two cores.
_STAY_MILLISECONDS = 500


class WholeRequestWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's threaded worker, in which what is no whole request holds no thread.

    A connection gets a thread when the head of its request is whole (``arrivals``): gunicorn's own
    would wait in a thread for the rest of one. After an answer the thread stays with its connection
    for a moment. A bank in a round, or a payment engine, comes back at once, and handing the
    connection to the main thread and back costs as much as the request.
    """

    #: Of errors whose own title is another service's.
    titles: ClassVar[Titles] = {}
    #: Connections that hold none, with some that are on their way from one kind to another.
    most_without_a_thread = 2 * _MOST_HEADS + _MOST_IDLE + 64

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._staying = threading.BoundedSemaphore(max(1, self.cfg.threads // 2))
        self._heads: Held[Connection] = Held(
            seconds=HEAD_SECONDS, most=_MOST_HEADS, most_of_one=_MOST_HEADS_OF_ONE
        )
        self._idle: Held[Connection] = Held(
            seconds=KEEPALIVE_SECONDS, most=_MOST_IDLE, most_of_one=_MOST_IDLE_OF_ONE
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
            _log.info("connection refused or lost: %s", reason_of(error))
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

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on SIGINT or SIGQUIT as on SIGTERM: no answer is cut off."""
        self.handle_exit(sig, frame)

    def count_problem(self, slug: str) -> None:
        """Count a problem document that no application has answered."""

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP request with a problem document instead of gunicorn's page."""
        if isinstance(exc, OSError):
            # The client is gone, speaks no TLS, or has not the certificate that we asked for (an
            # ssl.SSLError is an OSError): there is no one to answer.
            _log.info("connection refused or lost: %s", reason_of(exc))
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
        document = problem_of(error, status=status, titles=self.titles)
        self.count_problem(error.slug)
        body = document.model_dump_json().encode()
        head = (
            f"HTTP/1.1 {document.status} {document.title}\r\nConnection: close\r\n"
            f"Content-Type: {PROBLEM}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode("latin-1") + body)


def closing(application: Callable[..., Any]) -> Callable[..., Any]:
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
