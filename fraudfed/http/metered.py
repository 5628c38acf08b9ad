"""Answers of a server that may be hostile: so many bytes, so many seconds, and no more.

One meter stands between the socket and the parser of HTTP and counts all that comes in, however it
is framed: informational answers, header lines, chunks and body. Its deadline is one for the whole
answer; only bytes move it, by the time that they take at ``SLOWEST_BYTES_PER_SECOND``. So a byte
now and then does not prolong it, and an answer of n bytes ends after n / rate more seconds at most.
"""

import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any

from fraudfed.errors import ProtocolError
from fraudfed.http.failures import UnreachableError
from fraudfed.http.route import Proxy
from fraudfed.http.tls_in_tls import TlsInTls
from fraudfed.http.trust import Trust
from fraudfed.http.tunnel import open_tunnel, reach_proxy

#: Status line and headers of an answer, informational answers before it included.
HEAD_BYTES = 32 * 1024
#: What frames a body beside its bytes (chunks), and what the buffer reads ahead.
_FRAMING_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
#: A body that comes or goes more slowly on average is not waited for.
SLOWEST_BYTES_PER_SECOND = 64 * 1024


class Meter:
    """What may still come in for one answer.

    Parameters
    ----------
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = 0
        self._what = ""
        self._ends = 0.0

    def start(self, seconds: float) -> None:
        """Give the next request and its whole answer so long, and its head ``HEAD_BYTES``."""
        self._ends = self._clock() + seconds
        self._left = HEAD_BYTES
        self._what = f"the head of the answer is above {HEAD_BYTES} bytes"

    def allow_body(self, limit: int) -> None:
        """Let a body of up to ``limit`` bytes come in after the head."""
        self._left = limit + _FRAMING_BYTES
        self._what = f"the answer is above the {limit} bytes that this request allows"

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline.

        Raises
        ------
        TimeoutError
            If it is over.
        """
        left = self._ends - self._clock()
        if left <= 0:
            raise TimeoutError("the whole answer did not come in time")
        return left

    def went(self, size: int) -> None:
        """Give bytes of a body that went out their time."""
        self._ends += size / SLOWEST_BYTES_PER_SECOND

    def count(self, size: int) -> None:
        """Count bytes that came in, and give those that follow as much time.

        Raises
        ------
        ProtocolError
            If they are more than may come.
        """
        self._ends += size / SLOWEST_BYTES_PER_SECOND
        self._left -= size
        if self._left < 0:
            raise too_large(self._what)


def too_large(what: str) -> ProtocolError:
    """Return the error of an answer above its limit."""
    return ProtocolError(f"{what}; the server is at fault, or is no aggregator")


class _Metered(io.RawIOBase):
    """What a socket receives, as far as the meter lets it."""

    def __init__(self, sock: socket.socket, meter: Meter) -> None:
        self._socket = sock
        self._meter = meter
        # Counts as a user of the socket, which is closed after the last one.
        self._raw: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._socket.settimeout(self._meter.seconds_left)
        size: int | None = self._raw.readinto(buffer)
        self._meter.count(size or 0)
        return size

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """An answer that is read through a meter."""

    def __init__(self, meter: Meter, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        # Behind a proxy's answer to CONNECT the connection is the aggregator's: nothing of it is
        # read ahead.
        ahead = 1 if options.get("method") == "CONNECT" else io.DEFAULT_BUFFER_SIZE
        self.fp = io.BufferedReader(_Metered(sock, meter), ahead)


class _Timed:
    """A connection whose requests and answers, a proxy's among them, are metered."""

    sock: socket.socket | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.meter = Meter()
        # The library calls it for every answer, also a proxy's to CONNECT.
        vars(self)["response_class"] = self._response

    def _response(self, sock: socket.socket, *arguments: Any, **options: Any) -> _Response:
        return _Response(self.meter, sock, *arguments, **options)

    def send(self, data: Any) -> None:
        """Send in pieces: a server that takes a byte now and then does not prolong it either."""
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            if self.sock is not None:
                self.sock.settimeout(self.meter.seconds_left)
            piece = view[start : start + _PIECE_BYTES]
            super().send(piece)  # type: ignore[misc]
            self.meter.went(len(piece))


class PlainConnection(_Timed, HTTPConnection):
    """A metered connection over http, which stays on this machine."""

    def connect(self) -> None:
        """Connect.

        Raises
        ------
        UnreachableError
            If the name leads to another machine, as ``localhost`` can.
        """
        super().connect()
        sock: Any = self.sock
        address = sock.getpeername()[0]
        if not ipaddress.ip_address(address).is_loopback:
            raise UnreachableError(
                f"{self.host} is {address} here, which is another machine, and plain http stays "
                "on this one",
                advice="use https",
                is_final=True,
            )


class SecuredConnection(_Timed, HTTPSConnection):
    """A metered connection over https, by a proxy or straight.

    Parameters
    ----------
    host : str
    port : int or None
    trust : Trust
    proxy : Proxy or None
    timeout : float
        Seconds to connect.
    """

    sock: Any

    def __init__(
        self, host: str, port: int | None, *, trust: Trust, proxy: Proxy | None, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=trust.context)
        self._trust = trust
        self._proxy = proxy

    def connect(self) -> None:
        """Connect. A proxy passes on what it cannot read: TLS is with the aggregator.

        Raises
        ------
        OSError
            ``UnreachableError`` where it is known what failed.
        ProtocolError
            If the proxy's answer is above the limit.
        """
        if self._proxy is None:
            self.sock = socket.create_connection((self.host, self.port), self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            left = self.meter.seconds_left
            self.sock = reach_proxy(self._proxy, self._trust, seconds=left)
            open_tunnel(self.sock, self._proxy, self.host, self.port, responses=self._response)
        left = self.meter.seconds_left
        self.sock.settimeout(left)
        # A name is the same with a dot at its end, and no certificate has one.
        name = self.host.removesuffix(".")
        context = self._trust.context
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock = TlsInTls(self.sock, context, server_hostname=name, seconds=left)
        else:
            self.sock = context.wrap_socket(self.sock, server_hostname=name)


def read_body(response: HTTPResponse, meter: Meter, *, limit: int) -> bytes:
    """Return the body of an answer, read in pieces.

    Parameters
    ----------
    limit : int
        Most bytes.

    Raises
    ------
    ProtocolError
        If it is longer, compressed, or framed in another way than by its length, by chunks or by
        the end of the connection.
    TimeoutError, http.client.HTTPException
        If it does not come in time, or breaks off.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise ProtocolError(
            "the answer is compressed, which was not asked for; the server or a proxy is at fault"
        )
    framing = response.headers.get("transfer-encoding", "chunked").strip().lower()
    if framing != "chunked":
        raise ProtocolError("the answer has an unknown Transfer-Encoding; the server is at fault")
    announced = response.length
    if announced is not None and announced > limit:
        raise too_large(f"the answer announces more than the {limit} bytes that it may have")
    meter.allow_body(limit)
    if announced is not None and announced <= _PIECE_BYTES:
        return response.read()
    pieces: list[bytes] = []
    left = limit + 1 if announced is None else announced
    while left:
        piece = response.read(min(left, _PIECE_BYTES))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    if announced is not None and left:
        raise IncompleteRead(b"", left)
    if announced is None and not left:
        raise too_large(f"the answer is above the {limit} bytes that this request allows")
    return b"".join(pieces)
