"""A slower network between a bank and the aggregator, emulated in user space.

A TCP proxy on loopback that delivers every byte later: after it has been sent at the rate of the
link, and half a round trip on top. Bytes on their way do not stop the ones behind them, so the
round trip costs no bandwidth. All connections of a bank share its link, each direction apart.

What it does not emulate: loss, and TCP's slow start, with which a real connection spends some more
round trips on its first bytes. A new connection costs one round trip, as it does in reality.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from urllib.parse import urlsplit

#: Bytes that are scheduled together. At 100 Mbit/s they take 1.3 ms.
_CHUNK_BYTES = 16 * 1024
#: Chunks on their way in one direction of a connection: 64 MiB, more than a second at 400 Mbit/s.
_CHUNKS_IN_FLIGHT = 4096


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


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
    """Deliver everything that ``reader`` gives, and its end, to ``writer`` over ``link``."""
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_IN_FLIGHT)
    clock = asyncio.get_running_loop().time

    async def send() -> None:
        data = b"..."
        while data:
            data = await reader.read(_CHUNK_BYTES)
            await on_the_way.put((link.deliver_at(clock(), len(data)), data))

    async def deliver() -> None:
        while True:
            at, data = await on_the_way.get()
            await asyncio.sleep(max(0.0, at - clock()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async with asyncio.TaskGroup() as both:
        both.create_task(send())
        both.create_task(deliver())


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
        port: Future[int] = Future()
        stop = threading.Event()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(target.hostname, target.port, port, stop)),
            name="emulated network",
            daemon=True,
        )
        thread.start()
        try:
            yield f"{target.scheme}://127.0.0.1:{port.result()}"
        finally:
            stop.set()
            thread.join()

    async def _serve(
        self, host: str | None, port: int | None, found: "Future[int]", stop: threading.Event
    ) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._connection(reader, writer, host, port))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            server = await asyncio.start_server(accept, "127.0.0.1", 0)
        except OSError as error:
            found.set_exception(error)
            return
        async with server:
            found.set_result(server.sockets[0].getsockname()[1])
            await asyncio.to_thread(stop.wait)
            for task in tuple(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str | None,
        port: int | None,
    ) -> None:
        self.connections += 1
        with contextlib.ExitStack() as closing:
            closing.callback(writer.close)
            # The handshake: the first byte leaves after the answer to it.
            await asyncio.sleep(self._rtt_seconds)
            try:
                far_reader, far_writer = await asyncio.open_connection(host, port)
                closing.callback(far_writer.close)
                async with asyncio.TaskGroup() as both:
                    both.create_task(forward(reader, far_writer, self.up))
                    both.create_task(forward(far_reader, writer, self.down))
            # One end has gone: so does the other, which tells its program all there is to tell.
            except* OSError:
                pass
