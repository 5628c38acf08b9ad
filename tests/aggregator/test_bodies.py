"""Bodies: what arrives is what was sent, few are in memory, and nobody holds the others up."""

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import ClientDisconnected

from aggregator.guards.bodies import Bodies
from fraudfed.errors import ProtocolError


class Trickle(io.RawIOBase):
    """A stream that gives its bytes in pieces of given sizes, then what is left at once."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = iter(sizes)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(min(size, next(self._sizes, size)))


class Stalled:
    """A sender that stops in the middle until it is told to go on."""

    def __init__(self, data: bytes) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._data = io.BytesIO(data)
        self._calls = 0

    def read(self, size: int, /) -> bytes:
        self._calls += 1
        if self._calls == 2:
            self.reached.set()
            assert self.go_on.wait(30)
        return self._data.read(min(size, 10))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bodies")


@given(
    st.binary(max_size=300),
    st.lists(st.integers(1, 50), max_size=20),
    st.integers(0, 300),
    st.integers(1, 3),
)
def test_what_arrives_is_what_was_sent(
    directory: Path, data: bytes, sizes: list[int], arriving: int, at_once: int
) -> None:
    bodies = Bodies(directory, arriving_bytes=arriving, loaded_at_once=at_once)
    for _ in range(2):
        with bodies.received(Trickle(data, sizes), len(data)) as body:
            assert body.sha256 == hashlib.sha256(data).digest()
            assert (body.file is None) == (len(data) <= arriving)
            # Without a name from the start: a killed service leaves nothing behind.
            assert list(directory.iterdir()) == []
            with bodies.loaded(body) as loaded:
                assert loaded == data


def test_large_bodies_come_in_pieces_of_a_file(directory: Path) -> None:
    data = bytes(range(256)) * 4000
    bodies = Bodies(directory, arriving_bytes=1000)
    with bodies.received(io.BytesIO(data), len(data)) as body, bodies.loaded(body) as loaded:
        assert body.file is not None
        assert loaded == data


class Broken:
    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self._calls = 0

    def read(self, size: int, /) -> bytes:
        self._calls += 1
        if self._calls == 1:
            return b"x" * min(size, 3)
        if self._error is not None:
            raise self._error
        return b""


@pytest.mark.parametrize("arriving", [0, 100])
@pytest.mark.parametrize("error", [None, ConnectionResetError(), ClientDisconnected()])
def test_a_body_that_breaks_off_is_refused_and_its_place_is_free(
    directory: Path, arriving: int, error: Exception | None
) -> None:
    bodies = Bodies(directory, arriving_bytes=arriving)
    for _ in range(5):
        with (
            pytest.raises(ProtocolError, match="broke off before the announced 100 bytes"),
            bodies.received(Broken(error), 100),
        ):
            pass
    with bodies.received(io.BytesIO(b"y" * 100), 100) as body:
        assert (body.file is None) == (arriving == 100)


def test_memory_of_bodies_that_arrive_is_bounded(directory: Path) -> None:
    bodies = Bodies(directory, arriving_bytes=250)
    senders = [Stalled(b"z" * 100) for _ in range(8)]
    places: list[bool] = []

    def receive(sender: Stalled) -> None:
        with bodies.received(sender, 100) as body:
            places.append(body.file is None)
            inside.wait(30)

    inside = threading.Barrier(len(senders))
    with ThreadPoolExecutor(len(senders)) as pool:
        done = [pool.submit(receive, sender) for sender in senders]
        for sender in senders:
            assert sender.reached.wait(30)
        for sender in senders:
            sender.go_on.set()
        for one in done:
            one.result(30)
    assert sorted(places) == [False] * 6 + [True] * 2


def test_few_bodies_are_loaded_at_once_and_slow_senders_hold_up_nobody(directory: Path) -> None:
    bodies = Bodies(directory, arriving_bytes=0, loaded_at_once=2)
    loaded, most = 0, 0
    lock = threading.Lock()

    def work(stream: io.BytesIO | Stalled) -> None:
        nonlocal loaded, most
        with bodies.received(stream, 100) as body, bodies.loaded(body):
            with lock:
                loaded += 1
                most = max(most, loaded)
            threading.Event().wait(0.01)
            with lock:
                loaded -= 1

    slow = [Stalled(b"s" * 100) for _ in range(4)]
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(work, sender) for sender in slow]
        for sender in slow:
            assert sender.reached.wait(30)
        quick = [pool.submit(work, io.BytesIO(b"q" * 100)) for _ in range(16)]
        for one in quick:
            one.result(30)
        assert not any(one.done() for one in waiting)
        for sender in slow:
            sender.go_on.set()
        for one in waiting:
            one.result(30)
    assert most == 2
