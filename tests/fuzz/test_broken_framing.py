"""What is no HTTP, over sockets to both services as processes: a 4xx or an end, never a 5xx."""

import contextlib
import random
import socket
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from attack_kit.framing import Sent, answer_of, draw
from attack_kit.malformed import judge
from federations.server_process import ServerProcess
from serving_kit.scored_bank import make_bank
from serving_kit.service_process import ServiceProcess

from aggregator.service.state_directory import StateDirectory

pytestmark = pytest.mark.e2e

COUNT = 300
HEALTH = Sent(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
#: Far more than the threads of the scoring service.
MANY = 60


@pytest.fixture(scope="module")
def bank_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    state = make_bank(tmp_path_factory.mktemp("bank"))
    with ServiceProcess(state.path) as started:
        yield urlsplit(started.url).port or 0
        assert started.stop() == 0
    assert "Traceback" not in started.log.read_text()


@pytest.fixture(scope="module")
def aggregator_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    state = StateDirectory(tmp_path_factory.mktemp("aggregator") / "state")
    state.create()
    with ServerProcess(state.path) as started:
        yield started.port
        assert started.stop() == 0
    assert "Traceback" not in started.log()


def attack(port: int, seed: int) -> Counter[int]:
    rng, found = random.Random(seed), Counter[int]()
    for _ in range(COUNT):
        sent = draw(rng)
        answer = answer_of(port, sent)
        if answer is None:
            found[0] += 1
            continue
        status, headers, body = answer
        found[status] += 1
        if status == 100:
            continue
        # The body of an answer to HEAD is left out.
        if body or not sent.data.startswith(b"HEAD"):
            judge(sent, status, headers, body)
    answer = answer_of(port, HEALTH)
    assert answer is not None
    assert answer[0] == 200
    # Only what is no whole request ends without an answer.
    assert found[0] < COUNT / 2
    return found


def test_broken_framing_to_the_scoring_service(bank_port: int) -> None:
    found = attack(bank_port, 1)
    assert {200, 400, 404, 431} <= set(found), found


def test_broken_framing_to_the_aggregator(aggregator_port: int) -> None:
    found = attack(aggregator_port, 2)
    assert {200, 400, 431} <= set(found), found


def test_half_requests_hold_no_thread_of_the_scoring_service(bank_port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            address = ("127.0.0.1", bank_port)
            sock = stack.enter_context(socket.create_connection(address, timeout=60))
            sock.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\n")
        for _ in range(3):
            answer = answer_of(bank_port, HEALTH)
            assert answer is not None
            assert answer[0] == 200
