"""The client against a real local server that misbehaves as told."""

import inspect
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from bank_node.client import AggregatorClient, check_url, mapped_errors, wait_for
from bank_node.retry import RetryPolicy
from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    ServerError,
    TransportError,
    VersionError,
    error_classes,
)
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameHeader, FrameKind, Health

HEALTH = json.dumps({"status": "ok", "version": "1"}).encode()
JSON = "application/json"
PROBLEM = "application/problem+json"
BINARY = "application/octet-stream"


def _problem(kind: str) -> bytes:
    return json.dumps({"type": kind, "title": "t", "status": 409, "detail": "x"}).encode()


@dataclass
class Script:
    """Answers to give in turn, the last one for ever; and what was asked."""

    url: str = ""
    answers: list[tuple[int, str, bytes, dict[str, str]] | None] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def say(self, status: int, kind: str = JSON, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, kind, body, headers))

    def hang_up(self) -> None:
        self.answers.append(None)


@pytest.fixture
def script() -> Iterator[Script]:
    found = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.requests.append((self.command, self.path, dict(self.headers), body))
            answer = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            if answer is None:
                self.close_connection = True
                return
            status, kind, content, headers = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names of http.server

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.delays: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.now += seconds

    def policy(self, patience_seconds: float = 10.0) -> RetryPolicy:
        return RetryPolicy(
            patience_seconds=patience_seconds, sleep=self.sleep, clock=lambda: self.now
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(script: Script, clock: Clock) -> Iterator[AggregatorClient]:
    with AggregatorClient(script.url, token="s3cret-token", retry=clock.policy()) as made:
        yield made


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_restarting_aggregator_is_asked_again(script, client, clock, status) -> None:
    script.say(status)
    script.hang_up()
    script.say(200, JSON, HEALTH)
    assert client.health().status == "ok"
    assert len(script.requests) == 3
    ids = {headers["X-Request-Id"] for _, _, headers, _ in script.requests}
    assert len(ids) == 1, "a repeated request is the same request"
    assert len(clock.delays) == 2


def test_the_patience_is_used_up_with_growing_delays(script, client, clock) -> None:
    script.say(503)
    with pytest.raises(TransportError, match=r"HTTP 503.*attempts in") as failure:
        client.health()
    assert script.url in str(failure.value)
    assert "\n" not in str(failure.value)
    assert sum(clock.delays) <= 10
    assert all(d <= min(5.0, 0.1 * 2**i) for i, d in enumerate(clock.delays))


def test_retry_after_is_respected(script, client, clock) -> None:
    script.say(503, Retry_After="7")
    script.say(200, JSON, HEALTH)
    client.health()
    assert clock.delays == [7.0]


def test_a_registration_is_sent_once(script, client) -> None:
    script.hang_up()
    with pytest.raises(TransportError, match="not reachable"):
        client.register("bank-a")
    assert len(script.requests) == 1


def test_no_aggregator_is_one_line_with_the_url_and_what_to_do(clock) -> None:
    with (
        AggregatorClient("http://127.0.0.1:9", retry=clock.policy(1.0)) as client,
        pytest.raises(TransportError, match=r"http://127\.0\.0\.1:9: aggregator not reachable.*ch"),
    ):
        client.health()


@pytest.mark.parametrize("slug", sorted(error_classes()))
def test_every_problem_becomes_the_error_it_was_made_from(script, client, slug) -> None:
    cls = error_classes()[slug]
    body = {
        "type": f"urn:fraudfed:problem:{slug}",
        "title": "t",
        "status": 409,
        "detail": "why\nso",
    }
    script.say(409, PROBLEM, json.dumps(body).encode())
    with pytest.raises(cls, match=r"^why so$") as failure:
        client.join("run")
    assert type(failure.value) is cls


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((409, PROBLEM, _problem("urn:fraudfed:problem:new")),
         ProtocolError, "unknown problem type"),
        ((409, PROBLEM, _problem("conflict")), ProtocolError, "unknown problem type"),
        ((404, "text/html", b"<html>"), ProtocolError, "is this the URL of an aggregator"),
        ((500, "text/html", b"<html>"), ServerError, "without a problem document"),
        ((200, "text/html", b"<html>"), ProtocolError, "expected application/json"),
        ((302, "text/html", b""), ProtocolError, "HTTP 302"),
        ((204, JSON, b""), ProtocolError, "empty answer"),
        ((200, JSON, b"{"), ProtocolError, "Health"),
        ((200, JSON, b'{"status":"ok","version":"1","extra":1}'), ProtocolError, "extra"),
        ((200, JSON, b'{"protocol_version":2,"status":"ok","version":"1"}'),
         VersionError, "speaks"),
    ],
)  # fmt: skip
def test_answers_that_are_not_the_aggregators(script, client, answer, error, message) -> None:
    script.say(*answer)
    with pytest.raises(error, match=message) as failure:
        client.health()
    assert type(failure.value) is error


def test_a_truncated_product_and_a_missing_one(script, client) -> None:
    header = FrameHeader(
        kind=FrameKind.PRODUCT,
        run_id="r",
        round_number=0,
        label="histogram",
        context="0" * 64,
        count=2,
        item_bytes=3,
    )
    frame = frames.encode(header, b"abcdef")
    script.say(200, BINARY, frame[:-1])
    with pytest.raises(FraudFedError, match="truncated"):
        client.product("r", 0, shard=1)
    script.answers = []
    script.say(200, BINARY, frame)
    found = client.product("r", 0, shard=1)
    assert found is not None
    assert found[0] == header
    assert bytes(found[1]) == b"abcdef"
    script.answers = []
    script.say(204, BINARY)
    assert client.product("r", 0, shard=1, wait_seconds=0) is None
    assert script.requests[-1][1] == "/v1/runs/r/rounds/0/product?shard=1&wait=0"


def test_the_token_is_sent_and_never_logged(script, client, caplog) -> None:
    script.say(503)
    script.say(200, JSON, HEALTH)
    with caplog.at_level(logging.DEBUG):
        client.health()
    assert script.requests[0][2]["Authorization"] == "Bearer s3cret-token"
    assert "GET /v1/health -> 200" in caplog.text
    assert "s3cret-token" not in caplog.text
    assert "s3cret-token" not in repr(client)


def test_a_run_id_cannot_leave_its_place_in_the_path(script, client) -> None:
    body = {"type": "urn:fraudfed:problem:not-found", "title": "", "status": 404, "detail": "no"}
    script.say(404, PROBLEM, json.dumps(body).encode())
    with pytest.raises(FraudFedError):
        client.run("../banks?x#y")
    assert script.requests[0][1] == "/v1/runs/..%2Fbanks%3Fx%23y"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "http://10.0.0.1:8765",
        "http://127.0.0.1.example.org",
        "http://localhost@example.org",
        "ftp://localhost",
        "localhost:8765",
        "https://user:hunter2@example.org",
        "https://example.org/?a=1",
        "https://",
        "",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        check_url(url)
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    "url", ["https://example.org/", "http://localhost:1", "http://127.0.0.7", "http://[::1]:8765"]
)
def test_urls_that_are_accepted(url: str) -> None:
    assert check_url(url) == url.rstrip("/")


def test_every_exception_of_httpx_is_mapped() -> None:
    """Fails when httpx grows an exception that no rule covers."""
    request = httpx.Request("GET", "http://localhost")
    found = [
        cls
        for cls in vars(httpx).values()
        if inspect.isclass(cls) and issubclass(cls, Exception) and cls is not httpx.CookieConflict
    ]
    assert httpx.ConnectError in found
    for cls in found:
        if issubclass(cls, httpx.HTTPStatusError):
            error = cls("x", request=request, response=httpx.Response(500))
        elif cls in {httpx.RequestNotRead, httpx.ResponseNotRead, httpx.StreamClosed,
                     httpx.StreamConsumed}:  # fmt: skip
            error = cls()
        else:
            error = cls("x")
        with pytest.raises(Exception) as failure, mapped_errors("http://localhost"):
            raise error
        assert not type(failure.value).__module__.startswith("httpx"), cls


def test_wait_for_asks_until_the_time_is_over() -> None:
    now = [0.0]
    asked: list[float] = []

    def never(wait: float) -> Health | None:
        asked.append(wait)
        now[0] += wait
        return None

    assert wait_for(never, seconds=60, clock=lambda: now[0]) is None
    assert asked == [25.0, 25.0, 10.0, 0.0], "the last question does not wait"
