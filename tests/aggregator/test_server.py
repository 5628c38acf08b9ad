"""The service as a real process: main flow, kill -9, stop, ports, broken connections."""

import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from federations.fake_banks import MODEL, MODEL_SHA256, FakeBank, TestKey, sum_round
from federations.server_process import ServerProcess, run_command
from gunicorn.config import Config

from aggregator.service.state_directory import StateDirectory
from aggregator.service.worker import Worker
from fraudfed.http.server.arrivals import Connection
from fraudfed.wire import frames

pytestmark = pytest.mark.e2e


def move(banks: list[FakeBank], server: ServerProcess) -> None:
    """Let the banks call another process of the same aggregator."""
    for bank in banks:
        bank.call = server


def test_three_banks_train_through_a_real_server(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server:
        assert state.url_file.read_text().strip() == server.url
        federation = server.federation(state.path, key)
        banks = federation.start()
        for number in range(3):
            assert sum_round(banks, number, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]) == [12, 15, 18]
        for bank in banks:
            assert bank.submit_model().status == 200
        assert banks[0].run_request("GET", "/model").body == MODEL
        assert server.stop() == 0
    assert "Traceback" not in server.log()
    assert not state.url_file.exists()


def test_a_worker_that_is_left_alone_ends_though_it_is_asked_all_the_time(
    state: StateDirectory, tmp_path: Path
) -> None:
    """The next service waits for its lock: it must not be held as long as somebody asks."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"stop_seconds": 300}))
    with ServerProcess(state.path, options=("--config", str(settings))) as server:
        answered = 0
        with httpx.Client(base_url=server.url, timeout=60) as kept:
            kept.get("/v1/health")
            server.process.kill()
            deadline = time.monotonic() + 60
            with contextlib.suppress(httpx.HTTPError):
                while kept.get("/v1/health").headers.get("connection") != "close":
                    answered += 1
                    assert time.monotonic() < deadline, "it serves on"
        assert answered > 0, "it served on for a moment"
        server.kill()


def test_a_killed_server_goes_on_from_its_database_alone(
    state: StateDirectory, key: TestKey
) -> None:
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        banks = federation.start()
        sum_round(banks, 0, [[1, 1], [2, 2], [3, 3]])
        receipt = banks[0].contribute(1, [10, 10]).json()
        banks[1].contribute(1, [20, 20])
        before = federation.status(banks[0].run_id)
        server.kill()
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        move(banks, server)
        assert federation.status(banks[0].run_id) == before
        # The bank that did not see its acknowledgement sends the same bytes again.
        assert banks[0].post_contribution(1, banks[0].sent[1]).json()["received"] == 2
        assert receipt["received"] == 1
        assert banks[2].contribute(1, [30, 30]).status == 202
        server.kill()
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        move(banks, server)
        opened = []
        for index, bank in enumerate(banks):
            # Kept until the next step: a restarted bank replays this one.
            assert frames.decode_many(bank.openings(0).body, source="test")[2][1] == b"box 2"
            answer = bank.product(1, index)
            count = len(range(index, 2, 3))
            if count:
                width = key.public.ciphertext_bytes
                value = int.from_bytes(answer.body[-width:], "big")
                opened.append(key.phe_private.raw_decrypt(value))
            assert bank.open(1, index, count).status == 202
        assert opened == [60, 60]
        assert federation.status(banks[0].run_id)["round_number"] == 2
        for bank in banks:
            bank.submit_model()
        server.kill()
    with ServerProcess(state.path) as server:
        move(banks, server)
        answer = banks[0].run_request("GET", "/model")
        assert (answer.body, answer.headers["etag"]) == (MODEL, f'"{MODEL_SHA256}"')


def test_what_was_accepted_survives_a_kill_while_its_sender_waits(
    state: StateDirectory, key: TestKey
) -> None:
    with ServerProcess(state.path) as server, ThreadPoolExecutor() as pool:
        federation = server.federation(state.path, key)
        banks = federation.start()
        bodies = [bank.contribution(0, [index, 5]) for index, bank in enumerate(banks)]
        waiting = pool.submit(banks[0].post_contribution, 0, bodies[0], wait=30)
        while federation.status(banks[0].run_id)["ciphertexts"] == 0:
            time.sleep(0.01)
        server.kill()
        with pytest.raises(httpx.TransportError):
            waiting.result(timeout=20)
    with ServerProcess(state.path) as server, ThreadPoolExecutor() as pool:
        federation = server.federation(state.path, key)
        move(banks, server)
        assert federation.status(banks[0].run_id)["ciphertexts"] == 2
        # Its sender cannot know: it sends the same bytes again, and waits again.
        answers = list(
            pool.map(lambda i: banks[i].post_contribution(0, bodies[i], wait=30), range(3))
        )
        assert [answer.status for answer in answers] == [200] * 3
        assert federation.status(banks[0].run_id)["ciphertexts"] == 6
        width = key.public.ciphertext_bytes
        sums = [int.from_bytes(answer.body[-width:], "big") for answer in answers[:2]]
        assert [key.phe_private.raw_decrypt(c) for c in sums] == [3, 15]


def test_the_main_process_alone_may_be_killed(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server:
        banks = server.federation(state.path, key).start()
        port = server.port
        # Only the main process: its worker is an orphan now, and has to let go by itself.
        server.process.send_signal(signal.SIGKILL)
        server._end()
        with ServerProcess(state.path, port=port) as successor:
            move(banks, successor)
            assert banks[0].contribute(0, [1]).status == 202


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_server_answers_who_waits(
    state: StateDirectory, key: TestKey, with_signal: signal.Signals
) -> None:
    with ServerProcess(state.path) as server, ThreadPoolExecutor() as pool:
        banks = server.federation(state.path, key).start()
        waiting = [pool.submit(bank.product, 0, 0, wait=30) for bank in banks]
        time.sleep(0.5)
        assert server.stop(with_signal) == 0
        assert [one.result(timeout=20).status for one in waiting] == [204] * 3
    assert "Traceback" not in server.log()


def test_fifty_banks_wait_at_once(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server, ThreadPoolExecutor(max_workers=50) as pool:
        banks = server.federation(state.path, key).start(cohort_size=50)
        for bank in banks[1:]:
            bank.contribute(0, [1, 2])
        waiting = [pool.submit(bank.product, 0, 0, wait=30) for bank in banks[1:]]
        assert banks[0].contribute(0, [1, 2]).status == 202
        bodies = {one.result(timeout=60).body for one in waiting}
        assert len(bodies) == 1
        width = key.public.ciphertext_bytes
        assert key.phe_private.raw_decrypt(int.from_bytes(bodies.pop()[-width:], "big")) == 50


def test_half_of_the_threads_stay_with_their_connections() -> None:
    config = Config()
    config.set("threads", 2)
    worker = Worker(0, 0, [], None, 30, config, logging.getLogger("test"))
    pairs = [socket.socketpair() for _ in range(3)]
    request = b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
    try:
        first, second, third = (Connection(config, mine, "", "", None) for mine, _ in pairs)
        first_client, second_client, third_client = (theirs for _, theirs in pairs)
        with ThreadPoolExecutor() as pool:
            staying = pool.submit(worker._comes_back, first)
            while worker._staying.acquire(blocking=False):
                worker._staying.release()
            second_client.send(request)
            # The other thread is for other callers, even after this one has come back.
            assert not worker._comes_back(second)
            first_client.send(request)
            assert staying.result(30)
        assert worker._comes_back(second)
        # Half a request gives the thread back, and is not lost.
        third_client.send(request[:20])
        assert not worker._comes_back(third)
        assert third.head == request[:20]
        worker.alive = False
        second_client.send(request)
        assert not worker._comes_back(second)
    finally:
        worker.tmp.close()
        for pair in pairs:
            for end in pair:
                end.close()


def healthy(connection: socket.socket, *, answers: int = 1) -> bool:
    """Read answers to health; False if the connection ends or falls silent before."""
    data = b""
    while data.count(b'"status":"ok"') < answers:
        piece = connection.recv(65536)
        if not piece:
            return False
        data += piece
    return data.count(b"HTTP/1.1 200") == answers


def test_connections_that_stay_leave_threads_for_the_others(
    state: StateDirectory, key: TestKey
) -> None:
    """Of two threads one may wait for the next request of its connection, the other may not."""
    with ServerProcess(state.path, options=("--threads", "2")) as server:
        address = ("127.0.0.1", server.port)
        request = b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(address, timeout=10)) for _ in range(6)
            ]
            # Twice over all: each comes back after the others, to a thread that has gone on.
            for connection in connections * 2:
                connection.sendall(request)
                assert healthy(connection)
            # Several at once on connections that are already known.
            for connection in connections:
                connection.sendall(request)
            assert all(healthy(connection) for connection in connections)
            # A second request that is sent before the first is answered is answered after it.
            connections[0].sendall(request * 2)
            assert healthy(connections[0], answers=2)
        assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_port_in_use_is_one_line(state: StateDirectory, tmp_path: Path) -> None:
    other = StateDirectory(tmp_path / "other")
    other.create()
    with ServerProcess(state.path) as server:
        result = run_command("serve", "--state", str(other.path), "--port", str(server.port))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {server.port}: ")


def raw_request(port: int, data: bytes) -> tuple[int, str]:
    """Send bytes, close the sending side and return status and problem slug."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["type"].rsplit(":", 1)[1]


def test_broken_requests_get_problem_documents(state: StateDirectory, key: TestKey) -> None:
    post = b"POST /v1/banks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with ServerProcess(state.path) as server:
        port = server.port
        assert raw_request(port, post + b'Content-Length: 50\r\n\r\n{"name"') == (400, "protocol")
        assert raw_request(port, post + b"Content-Length: abc\r\n\r\n") == (400, "protocol")
        assert raw_request(port, post + b"Content-Length: 99999999999\r\n\r\n{") == (
            413,
            "body-too-large",
        )
        chunked = post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"
        assert raw_request(port, chunked) == (400, "protocol")
        assert raw_request(port, b"nonsense\r\n\r\n") == (400, "protocol")
        assert server("GET", "/v1/health").status == 200
        server.federation(state.path, key).register("bank-a")


def test_nothing_secret_is_in_reach_of_the_service() -> None:
    code = (
        "import sys, json, aggregator.cli, aggregator.service.app, aggregator.service.server; "
        "print(json.dumps([m for m in sys.modules if m.startswith('fraudfed.')]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(found.stdout))
    assert "fraudfed.paillier.vector" in loaded
    forbidden = (
        "fraudfed.paillier.private_key",
        "fraudfed.boosting",
        "fraudfed.features",
        "fraudfed.evaluation",
        "fraudfed.secure_sum",
    )
    assert not [name for name in loaded if name.startswith(forbidden)]
    assert {name for name in loaded if name.startswith("fraudfed.consortium.")} == {
        "fraudfed.consortium.public",
        "fraudfed.consortium.public.documents",
        "fraudfed.consortium.public.fingerprint",
        "fraudfed.consortium.public.generations",
        "fraudfed.consortium.public.signatures",
    }
