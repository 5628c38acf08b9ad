"""Callers that are not known: half requests, slow ones, large ones, many at once; a real server."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.certificates import certify
from federations.server_process import ServerProcess
from gunicorn.workers.gthread import ThreadWorker
from hypothesis import given
from hypothesis import strategies as st

from aggregator.service.state_directory import StateDirectory
from fraudfed.http.server import arrivals
from fraudfed.http.server.arrivals import BODY_SECONDS, HEAD_BYTES, HEAD_SECONDS, Held

pytestmark = pytest.mark.e2e

HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#: Far below what one that is stuck may take.
PATIENCE = min(HEAD_SECONDS, BODY_SECONDS) / 2
#: More than threads + max_waiting + 16 of the default settings.
MANY = 400


def asks(port: int, request: bytes = HEALTH, *, context: ssl.SSLContext | None = None) -> bytes:
    """Return the whole answer to a request that is sent at once."""
    with contextlib.ExitStack() as stack:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if context is not None:
            sock = context.wrap_socket(stack.enter_context(sock), server_hostname="127.0.0.1")
        stack.enter_context(sock)
        sock.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            return b"".join(iter(lambda: sock.recv(65536), b""))
    return b""


@contextlib.contextmanager
def crowd(port: int, first: bytes, *, number: int = MANY) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(number):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            # The server ends the oldest of them while we still open others.
            with contextlib.suppress(OSError):
                sock.sendall(first)
            sockets.append(sock)
        yield sockets


#: What each of the crowd sends and never goes on with.
STUCK = {
    "nothing": b"",
    "half a request line": b"GET /v1/he",
    "a head without its end": b"GET /v1/health HTTP/1.1\r\nHost: x\r\n",
    "empty lines before half a request": b"\r\n\r\nGET /v1/he",
    "a body that does not come": b"POST /v1/banks HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
    "a body that nobody may send": b"POST /v1/runs HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 1000\r\n\r\n",
    "a body at no address": b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    "chunks": b"POST /v1/banks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nh",
    "no request": b"nonsense\r\n\r\n",
    "an answer that is not read": b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2,
    "a request and then half of one": b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/he",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    state = StateDirectory(tmp_path_factory.mktemp("strangers") / "state")
    state.create()
    with ServerProcess(state.path) as started:
        yield started
        assert started.stop() == 0
    assert "Traceback" not in started.log()


@pytest.mark.parametrize("case", STUCK)
def test_a_crowd_that_is_stuck_does_not_stop_the_service(server: ServerProcess, case: str) -> None:
    """The crowd holds every thread that there is, if it holds any; each would for seconds."""
    with crowd(server.port, STUCK[case]):
        for _ in range(3):
            assert asks(server.port).startswith(b"HTTP/1.1 200")


def test_control_with_threads_that_read_heads_half_requests_stop_the_service(
    state: StateDirectory, tmp_path: Path
) -> None:
    """Gunicorn's own worker gives every connection that has sent something a thread."""
    patch = tmp_path / "sitecustomize.py"
    patch.write_text(
        "import aggregator.service.worker as worker\n"
        f"from {ThreadWorker.__module__} import ThreadWorker, TConn\n"
        "for name in (\n"
        "    'accept', 'finish_request', 'murder_keepalived', '_cap_keepalive', 'handle'\n"
        "):\n"
        "    setattr(worker.Worker, name, getattr(ThreadWorker, name))\n"
    )
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"threads": 2, "max_waiting": 1}))
    with (
        ServerProcess(
            state.path,
            options=("--config", str(settings)),
            environment={"PYTHONPATH": str(tmp_path)},
        ) as server,
        crowd(server.port, STUCK["half a request line"], number=40),
        socket.create_connection(("127.0.0.1", server.port), timeout=3) as sock,
    ):
        sock.sendall(HEALTH)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_half_a_request_and_a_slow_one_end(server: ServerProcess) -> None:
    """A byte now and then does not prolong it: the time is that of the whole head."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=HEAD_SECONDS * 3) as sock:
        sock.settimeout(0.5)
        sock.sendall(b"GET /v1/health HTTP/1.1\r\nX: ")
        ended = False
        for _ in range(int(HEAD_SECONDS * 6)):
            try:
                sock.sendall(b"y")
                ended = not sock.recv(1)
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended


@pytest.mark.parametrize("size", [HEAD_BYTES, 60_000])
def test_a_head_above_its_limit_is_refused(server: ServerProcess, size: int) -> None:
    request = b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * size + b"\r\n\r\n"
    answer = asks(server.port, request)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert f"above {HEAD_BYTES} bytes".encode() in answer
    fits = b"GET /v1/health HTTP/1.1\r\nConnection: close\r\nX: "
    fits += b"a" * (HEAD_BYTES - len(fits) - 4) + b"\r\n\r\n"
    assert asks(server.port, fits).startswith(b"HTTP/1.1 200")


def test_the_body_of_an_unknown_caller_is_small(server: ServerProcess) -> None:
    body = b'{"name": "' + b"a" * 4096 + b'"}'
    head = f"POST /v1/banks HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answer = asks(server.port, head + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer


SECRET = b"hunter2-hunter2-hunter2-hunter2"
REPEATED: dict[str, bytes] = {
    "request line": SECRET + b" \x1b[2J / HTTP/9\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\n" + SECRET + b"\x1b[2J\r\n\r\n",
    "header name": b"GET / HTTP/1.1\r\nA " + SECRET + b": 1\r\n\r\n",
    "body": b"POST /v1/banks HTTP/1.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n{"
    % (1 + 120 + len(SECRET))
    + b" " * 120
    + SECRET,
}


@pytest.mark.parametrize("case", REPEATED)
def test_what_a_stranger_sends_is_not_repeated(server: ServerProcess, case: str) -> None:
    answer = asks(server.port, REPEATED[case])
    assert answer.startswith(b"HTTP/1.1 4")
    assert SECRET not in answer
    assert SECRET.decode() not in server.log()
    assert "\x1b" not in server.log()


def test_the_limits_hold_under_tls(state: StateDirectory, tmp_path: Path) -> None:
    authority = certify(tmp_path, "authority", host="127.0.0.1")
    certificate, private = certify(tmp_path, "server", authority, host="127.0.0.1").files
    options = ("--tls-certificate", str(certificate), "--tls-key", str(private))
    client = ssl.create_default_context(cafile=str(authority.certificate_file))
    hello = bytes.fromhex("160301020001000400")  # the beginning of a handshake
    with ServerProcess(state.path, options=options, verify=client) as server:
        for first in (b"", hello):
            with crowd(server.port, first):
                assert asks(server.port, context=client).startswith(b"HTTP/1.1 200")
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
                secured = client.wrap_socket(
                    stack.enter_context(plain), server_hostname="127.0.0.1"
                )
                stack.enter_context(secured).sendall(b"GET /v1/he")
            assert asks(server.port, context=client).startswith(b"HTTP/1.1 200")
        too_long = b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES
        assert asks(server.port, too_long, context=client).startswith(b"HTTP/1.1 431 ")
        assert asks(server.port, b"not TLS\r\n\r\n") is not None
        assert asks(server.port, context=client).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0
    assert "Traceback" not in server.log()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "x"])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), ADDRESSES),
            st.tuples(st.just("remove"), st.integers(0, 40)),
            st.tuples(st.just("wait"), st.floats(0, 3)),
        ),
        max_size=60,
    )
)
def test_held_is_never_above_its_bounds_and_ends_the_oldest(
    steps: list[tuple[str, object]],
) -> None:
    clock = Clock()
    held: Held[int] = Held(seconds=5.0, most=6, most_of_one=3, clock=clock)
    model: dict[int, tuple[str, float]] = {}
    for number, (step, value) in enumerate(steps):
        if step == "add":
            network = arrivals.network_of(str(value))
            same = [key for key, (whose, _) in model.items() if whose == network]
            gone = held.add(number, str(value))
            expected = None
            if len(same) == 3:
                expected = min(same)
            elif len(model) == 6:
                expected = min(model)
            assert gone == expected
            model.pop(gone, None) if gone is not None else None
            model[number] = (network, clock.now + 5.0)
        elif step == "remove":
            assert isinstance(value, int)
            held.remove(value)
            model.pop(value, None)
        else:
            assert isinstance(value, float)
            clock.now += value
            over = [key for key, (_, deadline) in model.items() if deadline <= clock.now]
            assert held.expired() == over
            for key in over:
                del model[key]
        assert len(held) == len(model) <= 6
        assert held.oldest() == (min(model) if model else None)


def test_the_two_addresses_of_one_network_are_one() -> None:
    assert arrivals.network_of("2001:db8::1") == arrivals.network_of("2001:db8::ffff")
    assert arrivals.network_of("nonsense") == "unknown"
