"""The emulated network: how long bytes take, by a clock of its own, and that none is lost."""

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxies.server import Handler, http_server

from fraudfed.lab.local_federation.network import EmulatedNetwork, Flow, Link

RATE = 1_000_000.0
DELAY = 0.05


CHUNK = 16 * 1024


def transfer(data: bytes, link: Link, *, connections: int = 1) -> list[list[tuple[float, int]]]:
    """Send data and its end over flows in turn; return when how many bytes had arrived."""
    flows = [Flow(link) for _ in range(connections)]
    for start in [*range(0, len(data), CHUNK), len(data)]:
        for flow in flows:
            flow.leave(0.0, data[start : start + CHUNK])
    found = []
    for flow in flows:
        received, arrivals = bytearray(), []
        while flow.next_at < math.inf:
            now = flow.next_at
            assert not list(flow.arrive(now - 1e-6)) or now == 0.0
            for piece in flow.arrive(now):
                received += piece
            arrivals.append((now, len(received)))
        assert received == data
        found.append(arrivals)
    return found


def test_a_transfer_takes_its_bytes_over_the_rate_and_the_delay_once() -> None:
    data = bytes(range(256)) * 4000
    link = Link(delay_seconds=DELAY, bytes_per_second=RATE)
    (arrivals,) = transfer(data, link)
    assert link.n_bytes == len(data)
    assert arrivals[-1] == (pytest.approx(len(data) / RATE + DELAY), len(data))
    # No byte before it can be there: the delay, and the time to send all bytes up to it.
    for at, count in arrivals:
        assert at >= DELAY + count / RATE - 1e-9


def test_the_delay_does_not_add_up_over_chunks() -> None:
    (arrivals,) = transfer(bytes(1_000_000), Link(delay_seconds=2.0, bytes_per_second=None))
    assert arrivals == [(2.0, 1_000_000)]


def test_connections_share_a_link() -> None:
    data = bytes(500_000)
    found = transfer(data, Link(delay_seconds=DELAY, bytes_per_second=RATE), connections=3)
    last = max(arrivals[-1][0] for arrivals in found)
    assert last == pytest.approx(3 * len(data) / RATE + DELAY)


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


def test_a_large_answer_to_a_slow_reader_is_lost_nowhere() -> None:
    """More than the sockets hold: what the reader does not take yet is kept."""
    body = bytes(range(256)) * 100_000
    network = EmulatedNetwork(rtt_seconds=0.0, mbit_per_second=None)
    with (
        echo_server() as (upstream, _),
        network.to(upstream) as url,
        httpx.Client(timeout=60.0) as client,
        client.stream("POST", url, content=body) as answer,
    ):
        time.sleep(0.2)
        assert answer.read() == body


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
