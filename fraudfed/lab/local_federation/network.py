"""A slower network between a bank and the aggregator, emulated in user space.

A TCP proxy on loopback that delivers every byte later: after it has been sent at the rate of the
link, and half a round trip on top. Bytes on their way do not stop the ones behind them, so the
round trip costs no bandwidth. All connections of a bank share its link, each direction apart.

One thread and ``select``, whose timeouts are microseconds: an event loop rounds them up to whole
milliseconds, four times in a round, and takes more of the processor, of which the federation that
is measured has the rest.

What it does not emulate: loss, and TCP's slow start, with which a real connection spends some more
round trips on its first bytes, and on those after a pause. A new connection costs one round trip,
as it does in reality.
"""

import contextlib
import math
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

#: Bytes that are scheduled together, at most. At 100 Mbit/s they take 5 ms; the last byte of a
#: message arrives when it would if each were scheduled alone.
_CHUNK_BYTES = 64 * 1024


class Link:
    """One direction of a link; knows no clock and no socket.

    Parameters
    ----------
    delay_seconds : float
        From the moment a byte has been sent to its delivery.
    bytes_per_second : float or None
        None sends without limit.

    Attributes
    ----------
    n_bytes : int
        Sent so far.
    """

    def __init__(self, *, delay_seconds: float, bytes_per_second: float | None) -> None:
        self._delay_seconds = delay_seconds
        self._seconds_per_byte = 0.0 if bytes_per_second is None else 1.0 / bytes_per_second
        self._free_at = 0.0
        self.n_bytes = 0

    def deliver_at(self, now: float, n_bytes: int) -> float:
        """Send bytes behind those that are still being sent; return when they are delivered."""
        self.n_bytes += n_bytes
        self._free_at = max(now, self._free_at) + n_bytes * self._seconds_per_byte
        return self._free_at + self._delay_seconds


class Flow:
    """One direction of a connection over a link; knows no clock and no socket.

    Parameters
    ----------
    link : Link
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._on_the_way: deque[tuple[float, bytes]] = deque()

    def leave(self, now: float, data: bytes) -> None:
        """Send bytes; none are the end of the connection."""
        self._on_the_way.append((self._link.deliver_at(now, len(data)), data))

    @property
    def next_at(self) -> float:
        """When the next bytes arrive; infinity if none are on their way."""
        return self._on_the_way[0][0] if self._on_the_way else math.inf

    def arrive(self, now: float) -> Iterator[bytes]:
        """Yield what has arrived, in order."""
        while self._on_the_way and self._on_the_way[0][0] <= now:
            yield self._on_the_way.popleft()[1]


class _End:
    """A socket of a connection: what was read leaves over ``flow`` to the other end."""

    def __init__(self, sock: socket.socket, flow: Flow) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.flow = flow
        self.has_read_all = False
        self.is_told_all = False
        self._to_write = bytearray()

    @property
    def wants(self) -> int:
        """What to wait for, of ``selectors``."""
        reads = 0 if self.has_read_all else selectors.EVENT_READ
        return reads | (selectors.EVENT_WRITE if self._to_write else 0)

    def read(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            data = self.sock.recv(_CHUNK_BYTES)
            self.has_read_all = not data
            self.flow.leave(now, data)

    def write(self, data: bytes) -> None:
        """Pass bytes on, none for the end, as far as the socket takes them."""
        self._to_write += data
        self.is_told_all |= not data
        self.resume()

    def resume(self) -> None:
        """Write what is left; the end behind all of it."""
        with contextlib.suppress(BlockingIOError):
            while self._to_write:
                del self._to_write[: self.sock.send(self._to_write)]
            if self.is_told_all:
                self.sock.shutdown(socket.SHUT_WR)


class _Connection:
    """Two ends and what is on its way between them; the far end is there after the handshake."""

    def __init__(self, near: socket.socket, network: "EmulatedNetwork", opens_at: float) -> None:
        self.ends = [_End(near, Flow(network.up))]
        self.opens_at = opens_at
        self._down = Flow(network.down)

    def open(self, host: str | None, port: int | None) -> None:
        """Connect to the far end."""
        self.opens_at = math.inf
        self.ends.append(_End(socket.create_connection((host or "", port or 0)), self._down))

    @property
    def next_at(self) -> float:
        """When there is something to do next without anything coming in."""
        return min(self.opens_at, *(end.flow.next_at for end in self.ends))

    @property
    def is_over(self) -> bool:
        """Whether both ends were told that the other is done."""
        return len(self.ends) == 2 and all(end.is_told_all and not end.wants for end in self.ends)

    def deliver(self, now: float) -> None:
        """Pass on what has arrived."""
        if len(self.ends) == 2:
            for end, other in (self.ends, self.ends[::-1]):
                for data in end.flow.arrive(now):
                    other.write(data)

    def close(self) -> None:
        """Close both ends: their programs are told all there is to tell."""
        for end in self.ends:
            end.sock.close()


class EmulatedNetwork:
    """One bank's way to the aggregator.

    Parameters
    ----------
    rtt_seconds : float
        Round trip: half of it each way.
    mbit_per_second : float or None
        10^6 bits a second, each way; None sets no limit.

    Attributes
    ----------
    up, down : Link
        From and to the bank.
    connections : int
        Accepted so far.
    """

    def __init__(self, *, rtt_seconds: float, mbit_per_second: float | None) -> None:
        rate = None if mbit_per_second is None else mbit_per_second * 1e6 / 8
        self.up = Link(delay_seconds=rtt_seconds / 2, bytes_per_second=rate)
        self.down = Link(delay_seconds=rtt_seconds / 2, bytes_per_second=rate)
        self.connections = 0
        self._rtt_seconds = rtt_seconds

    @contextmanager
    def to(self, url: str) -> Iterator[str]:
        """Serve until the block ends; gives the URL under which ``url`` is reached through it."""
        target = urlsplit(url)
        server = socket.create_server(("127.0.0.1", 0))
        asleep, awake = socket.socketpair()
        thread = threading.Thread(
            target=lambda: self._serve(server, asleep, target.hostname, target.port),
            name="emulated network",
            daemon=True,
        )
        thread.start()
        try:
            yield f"{target.scheme}://127.0.0.1:{server.getsockname()[1]}"
        finally:
            awake.close()
            thread.join()
            server.close()
            asleep.close()

    def _serve(
        self, server: socket.socket, stop: socket.socket, host: str | None, port: int | None
    ) -> None:
        clock, found = time.monotonic, list[_Connection]()
        try:
            # The one kind whose timeouts are not rounded to milliseconds.
            with selectors.SelectSelector() as selector:
                selector.register(server, selectors.EVENT_READ)
                selector.register(stop, selectors.EVENT_READ)
                while True:
                    next_at = min((one.next_at for one in found), default=math.inf)
                    timeout = None if next_at == math.inf else max(0.0, next_at - clock())
                    ready = {key.fd: events for key, events in selector.select(timeout)}
                    if stop.fileno() in ready:
                        break
                    if server.fileno() in ready:
                        near, _ = server.accept()
                        self.connections += 1
                        # The handshake: the first byte leaves after the answer to it.
                        found.append(_Connection(near, self, clock() + self._rtt_seconds))
                    for one in found[:]:
                        try:
                            is_over = self._turn(one, ready, clock(), host, port)
                        except OSError:
                            is_over = True  # one end has gone: so does the other
                        if is_over:
                            found.remove(one)
                        _watch(selector, one, is_over=is_over)
                        if is_over:
                            one.close()
        finally:
            for one in found:
                one.close()

    def _turn(
        self,
        one: _Connection,
        ready: dict[int, int],
        now: float,
        host: str | None,
        port: int | None,
    ) -> bool:
        """Do what is due at a connection; tell whether it is over."""
        if now >= one.opens_at:
            one.open(host, port)
        for end in one.ends:
            if ready.get(end.sock.fileno(), 0) & selectors.EVENT_READ and len(one.ends) == 2:
                end.read(now)
            if ready.get(end.sock.fileno(), 0) & selectors.EVENT_WRITE:
                end.resume()
        one.deliver(now)
        return one.is_over


def _watch(selector: selectors.BaseSelector, one: _Connection, *, is_over: bool) -> None:
    """Wait for what the ends of a connection want next: nothing before both are there."""
    for end in one.ends:
        wanted = 0 if is_over or len(one.ends) < 2 else end.wants
        registered = selector.get_map().get(end.sock)
        if registered is not None and registered.events != wanted:
            selector.unregister(end.sock)
            registered = None
        if wanted and registered is None:
            selector.register(end.sock, wanted)
