"""The emulated network: how long bytes take, by a clock of its own, and that none is lost."""

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxies.server import Handler, http_server

from fraudfed.lab.local_federation.network import EmulatedNetwork, Link, forward

RATE = 1_000_000.0
DELAY = 0.05


class _JumpingSelector(selectors.DefaultSelector):
    """Waits no time at all: it notes how long the loop wanted to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


def in_simulated_time(program: Coroutine[Any, Any, None]) -> float:
    """Run a program that touches no socket; return the seconds that have passed for it."""
    selector = _JumpingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(program)
    finally:
        loop.close()
    return selector.now


class _Receiver:
    """The side of a writer that ``forward`` uses; notes when bytes arrive."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.arrivals: list[tuple[float, int]] = []
        self.ended_at: float | None = None

    def write(self, data: bytes) -> None:
        self.data += data
        self.arrivals.append((asyncio.get_running_loop().time(), len(self.data)))

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended_at = asyncio.get_running_loop().time()


def transfer(data: bytes, link: Link, *, connections: int = 1) -> list[_Receiver]:
    receivers = [_Receiver() for _ in range(connections)]

    async def program() -> None:
        jobs = []
        for receiver in receivers:
            reader = asyncio.StreamReader()
            reader.feed_data(data)
            reader.feed_eof()
            jobs.append(forward(reader, receiver, link))  # type: ignore[arg-type]
        await asyncio.gather(*jobs)

    in_simulated_time(program())
    return receivers


def test_a_transfer_takes_its_bytes_over_the_rate_and_the_delay_once() -> None:
    data = bytes(range(256)) * 4000
    link = Link(delay_seconds=DELAY, bytes_per_second=RATE)
    (received,) = transfer(data, link)
    assert received.data == data
    assert link.n_bytes == len(data)
    assert received.arrivals[-1][0] == pytest.approx(len(data) / RATE + DELAY, rel=1e-3)
    assert received.ended_at == pytest.approx(len(data) / RATE + DELAY, rel=1e-3)
    # No byte before it can be there: the delay, and the time to send all bytes up to it.
    for at, count in received.arrivals:
        assert at >= DELAY + count / RATE - 1e-9


def test_the_delay_does_not_add_up_over_chunks() -> None:
    data = bytes(1_000_000)
    (received,) = transfer(data, Link(delay_seconds=2.0, bytes_per_second=None))
    assert len(received.arrivals) > 10
    assert received.arrivals[-1][0] == pytest.approx(2.0, rel=1e-3)


def test_connections_share_a_link() -> None:
    data = bytes(500_000)
    receivers = transfer(data, Link(delay_seconds=DELAY, bytes_per_second=RATE), connections=3)
    last = max(received.arrivals[-1][0] for received in receivers)
    assert last == pytest.approx(3 * len(data) / RATE + DELAY, rel=1e-3)
    assert all(received.data == data for received in receivers)


@given(
    sends=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 10**7)), min_size=1, max_size=20),
    rate=st.floats(1e3, 1e9),
    delay=st.floats(0, 1),
)
def test_a_link_keeps_order_rate_and_delay(
    sends: list[tuple[float, int]], rate: float, delay: float
) -> None:
    link = Link(delay_seconds=delay, bytes_per_second=rate)
    now, times = 0.0, []
    for pause, n_bytes in sends:
        now += pause
        times.append((now, n_bytes, link.deliver_at(now, n_bytes)))
    for sent, n_bytes, at in times:
        assert at >= (sent + n_bytes / rate + delay) * (1 - 1e-12)
    delivered = [at for _, _, at in times]
    assert delivered == sorted(delivered)
    # Never idle while there is something to send: nothing takes longer than in one go.
    total = sum(n_bytes for _, n_bytes in sends)
    assert delivered[-1] <= (now + total / rate + delay) * (1 + 1e-9)
    assert link.n_bytes == total


def test_a_link_without_limit_only_delays() -> None:
    link = Link(delay_seconds=0.25, bytes_per_second=None)
    assert [link.deliver_at(1.0, 10**9), link.deliver_at(1.0, 10**9)] == [1.25, 1.25]


def test_rates_are_bits_and_delays_are_halves() -> None:
    network = EmulatedNetwork(rtt_seconds=0.2, mbit_per_second=8.0)
    for link in (network.up, network.down):
        assert link.deliver_at(0.0, 1_000_000) == pytest.approx(1.0 + 0.1)


@contextmanager
def echo_server() -> Iterator[tuple[str, list[int]]]:
    """Answer every POST with its body; gives the URL and the lengths of the bodies so far."""
    received: list[int] = []

    class Echo(Handler):
        def do_POST(self) -> None:
            body = self.body()
            received.append(len(body))
            self.answer(body)

    with http_server(Echo) as url:
        yield url, received


def test_http_passes_unchanged_and_is_counted() -> None:
    """Over real sockets; a body of a known size, in both directions, on several connections."""
    body = bytes(range(256)) * 1000
    network = EmulatedNetwork(rtt_seconds=0.002, mbit_per_second=2000.0)
    with (
        echo_server() as (upstream, received),
        network.to(upstream) as url,
        httpx.Client() as first,
        httpx.Client() as second,
    ):
        answers = [client.post(url, content=body).content for client in (first, second)]
    assert answers == [body, body]
    assert received == [len(body)] * 2
    assert network.connections == 2
    for link in (network.up, network.down):
        assert 2 * len(body) < link.n_bytes < 2 * (len(body) + 2000)


def test_an_aggregator_that_is_gone_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    network = EmulatedNetwork(rtt_seconds=0.0, mbit_per_second=None)
    with network.to(f"http://127.0.0.1:{port}") as url, pytest.raises(httpx.TransportError):
        httpx.get(url)


def test_a_block_that_ends_cuts_what_is_on_its_way() -> None:
    network = EmulatedNetwork(rtt_seconds=1000.0, mbit_per_second=None)
    failed: list[Exception] = []

    def ask(url: str) -> None:
        try:
            httpx.get(url, timeout=60.0)
        except httpx.TransportError as error:
            failed.append(error)

    with echo_server() as (upstream, _), network.to(upstream) as url:
        asking = threading.Thread(target=ask, args=(url,))
        asking.start()
        while network.connections == 0:
            time.sleep(0.01)
    asking.join(30.0)
    assert len(failed) == 1
