"""The store in Redis, against a real server."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bank_node.serving.store.arrival import ArrivalStore, StoreTerms
from bank_node.serving.store.memory import MemoryStore
from bank_node.serving.store.open import open_store as open_with
from bank_node.serving.store.protocol import Arrival
from fraudfed.errors import ConfigurationError, StateError, UnavailableError
from fraudfed.features.payment import Payment

pytestmark = pytest.mark.e2e

TERMS = StoreTerms(risk_delay_days=1)
START = 1_685_577_600


class Server:
    """A Redis server on a port of its own, which keeps its data when it is started again."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = directory
        # A busy machine may take longer than the default allows.
        self.url = f"redis://127.0.0.1:{self.port}/0?socket_timeout=5&socket_connect_timeout=5"
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--dir", str(self.directory)]
        command += ["--appendonly", "yes", "--save", "", "--bind", "127.0.0.1"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    pytest.importorskip("redis", reason="install fraudfed[redis]")
    server = Server(tmp_path)
    yield server
    server.stop()


def open_store(address: str, terms: StoreTerms, **options: Any) -> ArrivalStore:
    return open_with(address, terms, secret=b"secret", **options)


def payment(number: int) -> Payment:
    return Payment(
        f"t{number}",
        START + 3600 * number - 5000 * (number % 3),
        f"c{number % 4}",
        100 + number,
        payee_id=f"p{number % 3}",
        merchant_id="m",
    )


def test_a_store_in_redis(server: Server) -> None:
    memory = MemoryStore(TERMS)
    store = open_store(server.url, TERMS, cache_bytes=0)
    for number in range(60):
        one = payment(number)
        assert store.features(one).tobytes() == memory.features(one).tobytes()
        assert store.observe(one) is memory.observe(one)
        store.commit()
        if number == 30:
            assert store.report(one, report_time=one.event_time)
            assert memory.report(one, report_time=one.event_time)
    # The server goes, and comes back with its data.
    server.stop()
    with pytest.raises(UnavailableError, match="feature store in Redis: does not answer"):
        store.features(payment(60))
    with pytest.raises(UnavailableError):
        store.observe(payment(60))
    server.start()
    assert store.features(payment(60)).tobytes() == memory.features(payment(60)).tobytes()
    assert store.observe(payment(60)) is memory.observe(payment(60))
    store.commit()
    # Another process takes over, without a farewell of the first.
    second = open_store(server.url, TERMS)
    assert second.observe(payment(60)) is Arrival.REPEATED
    assert second.features(payment(61)).tobytes() == memory.features(payment(61)).tobytes()
    store.observe(payment(61))
    with pytest.raises(StateError, match="is not as this process left it"):
        store.commit()
    second.observe(payment(61))
    second.commit()
    with pytest.raises(StateError, match="risk_delay_days is '1', expected '7'"):
        open_store(server.url, StoreTerms(risk_delay_days=7))
    # A server that lost its data is not filled up with half of a history.
    subprocess.run(["redis-cli", "-p", str(server.port), "flushall"], check=True)
    second.observe(payment(62))
    with pytest.raises(StateError, match="is not as this process left it"):
        second.commit()


def test_addresses_that_cannot_be() -> None:
    pytest.importorskip("redis", reason="install fraudfed[redis]")
    with pytest.raises(ConfigurationError, match="expected redis://HOST:PORT/NUMBER"):
        open_store("redis://localhost:99999999/0", TERMS)
    with pytest.raises(UnavailableError):
        open_store("unix:///no/such/socket", TERMS)
