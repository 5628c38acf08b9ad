"""TLS with an aggregator inside the TLS with a proxy, which the library's sockets cannot stack."""

import contextlib
import io
import math
import ssl
import time
from collections.abc import Callable
from typing import Any

_PIECE_BYTES = 64 * 1024


class TlsInTls:
    """A connection, as far as ``http.client`` and ``metered`` use a socket.

    Parameters
    ----------
    outer : ssl.SSLSocket
        To the proxy, behind its answer to CONNECT.
    context : ssl.SSLContext
    server_hostname : str
        Of the aggregator.
    seconds : float
        For the handshake.

    Raises
    ------
    OSError
        If the handshake fails (``ssl.SSLError`` is one).
    """

    def __init__(
        self,
        outer: ssl.SSLSocket,
        context: ssl.SSLContext,
        *,
        server_hostname: str,
        seconds: float,
    ) -> None:
        self._outer = outer
        self.settimeout(seconds)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        try:
            self._run(self._tls.do_handshake)
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # tells the other end why
                self._flush()
            raise

    def sendall(self, data: Any) -> None:
        """Send all of it."""
        view = memoryview(data).cast("B")
        sent = 0
        while sent < len(view):
            sent += self._run(self._tls.write, view[sent : sent + _PIECE_BYTES])

    def recv_into(self, buffer: Any) -> int:
        """Receive into a buffer; 0 at the end."""
        try:
            size: int = self._run(self._tls.read, len(buffer), buffer)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return 0  # a cut body shows by its framing, as on a socket
        return size

    def makefile(self, *_mode: str, **_buffering: int) -> io.RawIOBase:
        """Return what reads bytes, unbuffered; like a socket's, it keeps the connection open."""
        return _Reader(self, self._outer.makefile("rb", buffering=0))

    def settimeout(self, seconds: float | None) -> None:
        """Let what follows take so long, however many pieces of the outer connection it needs."""
        self._ends = math.inf if seconds is None else time.monotonic() + seconds
        self._outer.settimeout(seconds)

    def setsockopt(self, *arguments: int) -> None:
        """As a socket's."""
        self._outer.setsockopt(*arguments)

    def fileno(self) -> int:
        """Return the descriptor, to poll."""
        return self._outer.fileno()

    def getpeername(self) -> Any:
        """Return the proxy's address."""
        return self._outer.getpeername()

    def close(self) -> None:
        """Close, when the last reader has."""
        self._outer.close()

    def _run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            try:
                done = call(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                left = self._ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the read operation timed out") from None
                self._outer.settimeout(None if math.isinf(left) else left)
                piece = self._outer.recv(_PIECE_BYTES)
                if piece:
                    self._incoming.write(piece)
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return done

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._outer.sendall(self._outgoing.read())


class _Reader(io.RawIOBase):
    """Reads what is inside; holds a reader of the outer connection, which counts its users."""

    def __init__(self, connection: TlsInTls, outer: Any) -> None:
        self._connection = connection
        self._outer = outer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        return self._connection.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._outer.close()
        super().close()
