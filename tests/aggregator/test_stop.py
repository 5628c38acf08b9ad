"""A service that stops in the middle of rounds: it answers who waits, and nobody loses anything."""

import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from federations.fake_banks import Answer, FakeBank, TestKey
from federations.server_process import ServerProcess, run_command

from aggregator.service.state_directory import StateDirectory

pytestmark = pytest.mark.e2e

ROUNDS = 40


class Stubborn:
    """Calls whichever service is there now, as a bank node does: again after 503 or no answer."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.told_to_come_back = 0
        self.cut_off = 0

    def request(self, bank: FakeBank, method: str, path: str, body: bytes | None = None) -> Answer:
        deadline = time.monotonic() + 90
        while True:
            # Signed anew each time: what was seen is refused.
            headers = bank.signed_headers(method, path, body=body)
            try:
                answer = self.server(method, path, body=body, headers=headers)
            except (httpx.TransportError, RuntimeError):  # closed under the request
                self.cut_off += 1
                answer = None
            if answer is not None and answer.status != 503:
                assert answer.status in (200, 202, 204), answer.body
                return answer
            if answer is not None:
                assert answer.problem()[1] == "unavailable"
                assert int(answer.headers["retry-after"]) >= 1
                self.told_to_come_back += 1
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_for(self, bank: FakeBank, path: str) -> Answer:
        while (answer := self.request(bank, "GET", f"{path}wait=20")).status == 204:
            pass
        return answer


def take_part(bank: FakeBank, index: int, size: int, service: Stubborn, done: list[int]) -> None:
    """Go through all rounds; every request is repeated until it is answered."""
    for number in range(ROUNDS):
        base = f"/v1/runs/{bank.run_id}/rounds/{number}"
        values = list(range(index + number, index + number + size))
        body = bank.contribution(number, values)
        answer = service.request(bank, "POST", f"{base}/contributions?wait=20", body)
        if answer.status == 202:
            answer = service.wait_for(bank, f"{base}/product?shard={index}&")
        width = bank.key.public.ciphertext_bytes
        opened = bank.key.phe_private.raw_decrypt(int.from_bytes(answer.body[-width:], "big"))
        assert opened == sum(other + number + index for other in range(size))
        opening = bank.opening(number, index, 1)
        if service.request(bank, "POST", f"{base}/openings?wait=20", opening).status == 202:
            service.wait_for(bank, f"{base}/openings?")
        done.append(number)


@pytest.mark.parametrize("ends", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM)])
def test_rounds_go_on_over_a_stop_and_a_restart(
    state: StateDirectory, key: TestKey, ends: tuple[signal.Signals, ...]
) -> None:
    size = 5
    with ServerProcess(state.path) as server, ThreadPoolExecutor(size) as pool:
        federation = server.federation(state.path, key)
        banks = federation.start(cohort_size=size)
        service, done = Stubborn(server), list[int]()
        work = [
            pool.submit(take_part, bank, index, size, service, done)
            for index, bank in enumerate(banks)
        ]
        for stop_after in (size * 5, size * 15):
            while len(done) < stop_after:
                time.sleep(0.005)
            port = service.server.port
            for number in ends:
                service.server.process.send_signal(number)
            assert service.server._end() == 0
            assert "Traceback" not in service.server.log()
            service.server = ServerProcess(state.path, port=port)
        try:
            for one in work:
                one.result(120)
            assert len(done) == size * ROUNDS
            token = federation.operator_token
            status = service.server("GET", f"/v1/runs/{banks[0].run_id}", token=token).json()
            assert (status["state"], status["round_number"]) == ("training", ROUNDS)
            assert status["ciphertexts"] == size * size * ROUNDS
            assert service.server.stop() == 0
        finally:
            if service.server.process.poll() is None:
                service.server.kill()
    assert run_command("audit", "verify", "--state", str(state.path)).returncode == 0


def read_answer(connection: socket.socket) -> bytes:
    """Read one answer to its end."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and length is not None and len(body) >= int(length[1]):
            return data
        piece = connection.recv(65536)
        assert piece, data
        data += piece


def test_who_waits_is_answered_at_once_and_what_is_new_is_told_to_come_back(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    """A sender in the middle of its body holds the stop up; meanwhile all others are answered."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"stop_seconds": 60}))
    with (
        ServerProcess(state.path, options=("--config", str(settings))) as server,
        ThreadPoolExecutor(12) as pool,
    ):
        federation = server.federation(state.path, key)
        banks = federation.start(cohort_size=6)
        bodies = [bank.contribution(0, [1]) for bank in banks]
        for bank, body in zip(banks[:5], bodies[:5], strict=True):
            pool.submit(bank.post_contribution, 0, body, wait=30)
        server.await_metric("fraudfed_requests_waiting", state, 5)
        waiting = [pool.submit(bank.product, 0, i, wait=30) for i, bank in enumerate(banks[:5])]
        server.await_metric("fraudfed_requests_waiting", state, 10)

        # A connection with a request, and one in the middle of its body.
        address = ("127.0.0.1", server.port)
        path = f"/v1/runs/{banks[5].run_id}/rounds/0/contributions"
        headers = banks[5].signed_headers("POST", path, body=bodies[5])
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(
            [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(bodies[5])}", *lines]
        )
        probe = b"GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n"
        with (
            socket.create_connection(address, timeout=30) as slow,
            socket.create_connection(address, timeout=30) as kept,
        ):
            slow.sendall(head.encode() + b"\r\n\r\n" + bodies[5][:10])
            server.await_metric("fraudfed_requests_working", state, 1)
            kept.sendall(probe)
            assert read_answer(kept).startswith(b"HTTP/1.1 200")
            server.process.send_signal(signal.SIGTERM)
            assert [one.result(30).status for one in waiting] == [204] * 5
            kept.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = read_answer(kept)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: " in answer
            assert b"problem:unavailable" in answer
            # What was being taken is taken, and durable.
            slow.sendall(bodies[5][10:])
            assert read_answer(slow).startswith(b"HTTP/1.1 202")
        assert server._end() == 0
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        assert federation.status(banks[0].run_id)["ciphertexts"] == 6


def test_a_sender_that_never_ends_is_cut_off_in_time(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"stop_seconds": 1}))
    with ServerProcess(state.path, options=("--config", str(settings))) as server:
        federation = server.federation(state.path, key)
        for _ in range(210):
            assert federation.call("GET", "/v1/runs").status == 401
        head = b"POST /v1/banks HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
            slow.sendall(head)
            server.await_metric("fraudfed_requests_working", state, 1)
            assert server.stop() == 0
        assert "Traceback" not in server.log()
    # What was only counted is on record, although the process was cut off.
    shown = run_command("audit", "show", "--state", str(state.path)).stdout
    assert "refusals-left-out" in shown
    assert run_command("audit", "verify", "--state", str(state.path)).returncode == 0


def test_lingering_connections_hold_nobody_up(state: StateDirectory, key: TestKey) -> None:
    """A client that asks for the end of its connection and then stays must not stop the others."""
    with ServerProcess(state.path) as server:
        lingering, finished = [], threading.Event()
        try:
            for _ in range(40):
                one = socket.create_connection(("127.0.0.1", server.port), timeout=60)
                one.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                lingering.append(one)
            # One after the other they would take longer than any client waits.
            http = httpx.Client(base_url=server.url, timeout=20)
            assert http.get("/v1/health").status_code == 200
            http.close()
            finished.set()
        finally:
            for one in lingering:
                one.close()
        assert finished.is_set()
