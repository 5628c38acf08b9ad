"""Connections that hold no thread: their next request is not whole yet, or they are at their end.

A thread is given to a request whose head is there. Until then a connection belongs to the worker's
main loop, which reads what has come, never waits, and parses nothing: it looks for the empty line
that ends a head. So half a request costs a descriptor and ``HEAD_BYTES`` of memory at most, and no
more than ``HEAD_SECONDS``. Of each kind there are only so many; one too many is not refused itself,
but ends the one that is oldest: a caller that sends its request at once gets through.
"""

import contextlib
import socket
import ssl
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from fraudfed.http.server.addresses import network_of

#: Request line and headers. A bank's, with every signature and two proxies' marks, is below 2 KiB;
#: so is a browser's at a page, with its session's cookie.
HEAD_BYTES = 4096
#: From the first byte (or the connection) to the end of the head, a TLS handshake included.
HEAD_SECONDS = 10.0
#: A body has this time, and a second for every so many bytes that came.
BODY_SECONDS = 20.0
BODY_BYTES_PER_SECOND = 16 * 1024
#: A client may read its answer for so long before the connection ends.
LAST_SECONDS = 2.0
#: No piece of an answer is waited for longer by a thread; a service may give a long answer more.
ANSWER_SECONDS = 30.0
_LAST_BYTES = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"

K = TypeVar("K")


class Held(Generic[K]):
    """Keys that are held for a time, so many of all and so many of one address.

    Parameters
    ----------
    seconds : float
        How long one is held.
    most, most_of_one : int
        Of all, and of one address; IPv6 addresses count by their /64.
    clock : callable
        Seconds, never going back.
    """

    def __init__(
        self,
        *,
        seconds: float,
        most: int,
        most_of_one: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._most_of_one = most_of_one
        self._clock = clock
        # In the order in which they came, which is that of their deadlines.
        self._held: OrderedDict[K, tuple[str, float]] = OrderedDict()
        self._of: Counter[str] = Counter()
        self._all_end = float("inf")

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: K) -> bool:
        return key in self._held

    def add(self, key: K, address: str) -> K | None:
        """Hold a key; return the one that has to go for it, the oldest of its address or of all."""
        network = network_of(address)
        gone = None
        if self._of[network] >= self._most_of_one:
            gone = next(held for held, (whose, _) in self._held.items() if whose == network)
        elif len(self._held) >= self._most:
            gone = next(iter(self._held))
        if gone is not None:
            self.remove(gone)
        self._held[key] = (network, self._clock() + self._seconds)
        self._of[network] += 1
        return gone

    def remove(self, key: K) -> None:
        """Hold a key no longer; nothing happens if it is not held."""
        found = self._held.pop(key, None)
        if found is not None:
            self._of[found[0]] -= 1
            if not self._of[found[0]]:
                del self._of[found[0]]

    def oldest(self) -> K | None:
        """Return the key that is held for longest."""
        return next(iter(self._held), None)

    def end_by(self, seconds: float) -> None:
        """Hold nothing for longer than ``seconds`` from now."""
        self._all_end = self._clock() + seconds

    def expired(self) -> list[K]:
        """Return, and hold no longer, those whose time is over."""
        now = self._clock()
        over = [
            key for key, (_, deadline) in self._held.items() if min(deadline, self._all_end) <= now
        ]
        for key in over:
            self.remove(key)
        return over


class Head(Enum):
    """What has come of a request."""

    PART = auto()
    WHOLE = auto()
    TOO_LARGE = auto()
    ENDED = auto()
    """The client has closed its side."""


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no type hints
    """A connection that reads the heads of its requests without waiting.

    Parameters
    ----------
    context : ssl.SSLContext or None
        None for plain http.

    Raises
    ------
    OSError
        If the client has gone already.
    """

    def __init__(
        self,
        cfg: Any,
        sock: socket.socket,
        client: Any,
        server: Any,
        context: ssl.SSLContext | None,
    ) -> None:
        super().__init__(cfg, sock, client, server)
        self.head = b""
        self._in_handshake = context is not None
        if context is not None:
            self.sock = context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
            self.sock.setblocking(False)
        self.address = client[0] if isinstance(client, tuple) else ""
        self.initialized = True
        self.parser = RequestParser(cfg, self.sock, client)
        self.unreader = Unreader(self.sock)
        self.parser.unreader = self.unreader
        self.last_bytes = 0

    def init(self) -> None:
        """Bound what a thread waits for; gunicorn calls it when a thread begins with a request."""
        self.sock.settimeout(ANSWER_SECONDS)

    def receive(self) -> Head:
        """Take in what has come of the next head.

        Raises
        ------
        OSError
            If the connection or its handshake has failed (``ssl.SSLError`` is an OSError).
        """
        # What was read behind the last request.
        self.head += self.unreader.take()
        self.sock.setblocking(False)
        try:
            if self._in_handshake:
                self.sock.do_handshake()
                self._in_handshake = False
            while True:
                if _END_OF_HEAD in self.head:
                    return Head.WHOLE
                room = HEAD_BYTES - len(self.head)
                if room <= 0:
                    return Head.TOO_LARGE
                piece = self.sock.recv(room)
                if not piece:
                    return Head.ENDED
                self.head += piece
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return Head.PART

    def begin(self) -> None:
        """Give what has come to the parser, and the request's body its time."""
        self.unreader.unread(self.head)
        self.head = b""
        self.unreader.start()

    def has_more(self) -> bool:
        """Tell whether a part of the next request has been read already."""
        return bool(self.head or self.unreader.buf.getbuffer().nbytes)

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self.sock.setblocking(False)
        self.sock.shutdown(socket.SHUT_WR)

    def discard(self) -> bool:
        """Read and forget what still comes; False at the end of it, or if it is too much."""
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while self.last_bytes < _LAST_BYTES:
                size = len(self.sock.recv(_LAST_BYTES))
                if not size:
                    return False
                self.last_bytes += size
            return False
        return True


class Unreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no type hints
    """Reads bodies, each against a deadline that only bytes move."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._deadline = 0.0

    def start(self) -> None:
        """Begin with a request."""
        self._deadline = time.monotonic() + BODY_SECONDS

    def take(self) -> bytes:
        """Return what was read and not used, and have it no longer."""
        data: bytes = self.take_buffered()
        return data

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next piece.

        Raises
        ------
        TimeoutError
            If the time of the body is over.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the body did not come in time")
        before = self.sock.gettimeout()
        self.sock.settimeout(left if before is None else min(left, before))
        try:
            data: bytes = super().chunk(size_hint)
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(before)
        self._deadline += len(data) / BODY_BYTES_PER_SECOND
        return data
