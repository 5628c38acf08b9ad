"""Answers of a server that wants the bank's memory, its time or its trust."""

import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from proxies.hostile import Answering, head, hostile_server

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from fraudfed.errors import FraudFedError, ProtocolError, TransportError
from fraudfed.http import metered
from fraudfed.http.metered import HEAD_BYTES, Meter

HEALTH = b'{"status": "ok", "version": "1"}'
MIB = 1024 * 1024


@contextmanager
def client_of(answering: Answering) -> Iterator[AggregatorClient]:
    with (
        hostile_server(answering) as server,
        AggregatorClient(server.url, retry=RetryPolicy(patience_seconds=0.0)) as client,
    ):
        yield client


def _said(raw: bytes) -> Answering:
    return lambda sock, _request: sock.sendall(raw)


def _endless(first: bytes, again: bytes, *, pause: float = 0.0) -> Answering:
    """Send without end, until the client hangs up or the server's test is over."""

    def answer(sock: socket.socket, _request: bytes) -> None:
        sock.sendall(first)
        while True:
            sock.sendall(again)
            if pause:
                sock.settimeout(pause)
                try:
                    if not sock.recv(1):
                        return
                except TimeoutError:
                    sock.settimeout(None)

    return answer


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bank_node.http.retry._LEAST_ANSWER_SECONDS", 0.5)


TOO_MUCH: dict[str, tuple[Answering, str]] = {
    "announced": (_said(head(Content_Length=10**12)), "announces more than"),
    "announced with more digits than a number may have": (
        _said(head(Content_Length="9" * 5000)),
        "Invalid JSON",  # the library takes it for none
    ),
    "without a length": (_endless(head(), b" " * MIB), "above the 2097152 bytes"),
    "in chunks": (
        _endless(head(Transfer_Encoding="chunked"), b"100000\r\n" + b" " * MIB + b"\r\n"),
        "above the 2097152 bytes",
    ),
    "in chunks of a byte": (
        _endless(head(Transfer_Encoding="chunked"), b"1\r\n \r\n" * 10_000),
        "above the 2097152 bytes",
    ),
    "a chunk with an endless extension": (
        _endless(head(Transfer_Encoding="chunked") + b"1;", b"x" * MIB),
        "above the|not reachable",
    ),
    "many headers": (_endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000), "not reachable|head"),
    "long headers": (
        _endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"a" * 60_000 + b"\r\n"),
        f"head of the answer is above {HEAD_BYTES}",
    ),
    "a status line without end": (_endless(b"HTTP/1.1 200 ", b"a" * MIB), "head of the answer"),
    "answers that only announce others": (
        _endless(b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100),
        "head of the answer",
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_an_answer_without_end_ends_with_one_line_and_little_memory(case: str) -> None:
    answering, message = TOO_MUCH[case]
    tracemalloc.start()
    try:
        with client_of(answering) as client, pytest.raises(FraudFedError, match=message) as failure:
            client.health()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(failure.value, ProtocolError | TransportError)
    assert "\n" not in str(failure.value)
    # A few times the limit, whatever the server sends: its own megabytes are in here, too.
    assert peak < 32 * MIB


def test_control_without_a_meter_the_answer_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the count, the bank takes in all that comes, as far as the test lets it."""
    taken = 0

    def count(self: Meter, size: int) -> None:
        nonlocal taken
        taken += size
        if taken > 40 * MIB:
            raise MemoryError

    monkeypatch.setattr(Meter, "count", count)
    monkeypatch.setattr(metered, "read_body", lambda response, meter, limit: response.read())
    monkeypatch.setattr(
        "fraudfed.http.connections.read_body", lambda response, meter, limit: response.read()
    )
    with client_of(_endless(head(), b" " * MIB)) as client, pytest.raises(MemoryError):
        client.health()


SLOW: dict[str, Answering] = {
    "body": _endless(head(Content_Length=1000), b" ", pause=0.1),
    "head": _endless(b"HTTP/1.1 200 OK\r\nX: ", b"y", pause=0.1),
    "status line": _endless(b"HT", b"T", pause=0.1),
    "announcements": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.1),
    "chunks": _endless(head(Transfer_Encoding="chunked"), b"1\r\n \r\n", pause=0.1),
    "nothing": _endless(b"", b"", pause=0.1),
}


@pytest.mark.parametrize("case", SLOW)
def test_a_byte_now_and_then_does_not_hold_the_bank(case: str, short_answers: None) -> None:
    """Each pause is far below the deadline; all together are not."""
    with (
        client_of(SLOW[case]) as client,
        pytest.raises(TransportError, match=r"did not come in time|timed out"),
    ):
        client.health()


def test_control_a_deadline_for_each_piece_is_none(
    monkeypatch: pytest.MonkeyPatch, short_answers: None
) -> None:
    """With a time limit per read, the answer takes as long as its sender likes."""
    pieces = 0

    def count(self: Meter, size: int) -> None:
        nonlocal pieces
        pieces += 1
        self.start(0.5)
        if pieces > 12:  # more than twice the deadline
            raise InterruptedError

    monkeypatch.setattr(Meter, "count", count)
    with client_of(SLOW["body"]) as client, pytest.raises(TransportError, match="Interrupted"):
        client.health()


def _deep(pairs: bytes, depth: int) -> Answering:
    body = b'{"status": ' + pairs * depth
    return _said(head(Content_Length=len(body)) + body)


MALFORMED: dict[str, tuple[Answering, str]] = {
    "nested arrays": (_deep(b"[", MIB), "recursion limit"),
    "nested objects": (_deep(b'{"a":', 200_000), "recursion limit"),
    "a number of a million digits": (
        _said(head(Content_Length=MIB) + b'{"status": ' + b"9" * (MIB - 12) + b"}"),
        "Health",
    ),
    "gzip": (_said(head(Content_Encoding="gzip", Content_Length=2) + b"\x1f\x8b"), "compressed"),
    "gzip in the framing": (
        _said(head(Transfer_Encoding="gzip, chunked") + b"0\r\n\r\n"),
        "Transfer-Encoding",
    ),
    "a redirect": (
        _said(head("302 Found", Location="http://example.org/", Content_Length=0)),
        "HTTP 302",
    ),
    "a redirect that keeps the method": (
        _said(head("307 No", Location="http://example.org/", Content_Length=0)),
        "HTTP 307",
    ),
    "a length below zero": (_said(head(Content_Length=-1) + HEALTH), "not reachable|Health|ok"),
    "another protocol": (_said(head("101 Switching Protocols", Upgrade="x")), "HTTP 101"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_answer_of_an_aggregator_is_refused_once(case: str) -> None:
    answering, message = MALFORMED[case]
    with hostile_server(answering) as server:
        retry = RetryPolicy(patience_seconds=5.0, base_seconds=0.01)
        with AggregatorClient(server.url, retry=retry) as client:
            if case == "a length below zero":
                # The library takes it for none: the answer is what comes until the end.
                assert client.health().status == "ok"
                return
            with pytest.raises(ProtocolError, match=message) as failure:
                client.health()
        assert len(server.requests) == 1
        assert b"accept-encoding: identity" in server.requests[0].lower()
    assert len(str(failure.value)) < 600


def test_a_body_that_breaks_off_is_no_answer() -> None:
    for length in (100, MIB):
        with (
            client_of(_said(head(Content_Length=length) + HEALTH)) as client,
            pytest.raises(TransportError, match="IncompleteRead"),
        ):
            client.health()


@pytest.mark.parametrize("value", ["9" * 400, "99999999", "-1", "1e9", "Wed, 21 Oct 2065 07:28:00"])
def test_the_server_does_not_decide_how_long_the_bank_sleeps(value: str) -> None:
    slept: list[float] = []
    answering = _said(head("503 No", Retry_After=value, Content_Length=2) + b"{}")
    with hostile_server(answering) as server:
        patience = 7200.0 if value.isdigit() else 20.0
        retry = RetryPolicy(patience_seconds=patience, sleep=slept.append, clock=lambda: sum(slept))
        with AggregatorClient(server.url, retry=retry) as client, pytest.raises(TransportError):
            client.health()
    assert max(slept) == 3600 if value.isdigit() else max(slept) <= 5


def test_what_an_error_says_of_a_message_is_short_and_not_written_out_first() -> None:
    """A message of a megabyte is not repeated, nor turned into text to show its beginning."""
    wrong = json.dumps({"status": ["x" * 1000] * 1000, "version": "1"}).encode()
    answering = _said(head(Content_Length=len(wrong)) + wrong)
    with client_of(answering) as client, pytest.raises(ProtocolError) as failure:
        client.health()
    assert len(str(failure.value)) < 300


@pytest.mark.parametrize("kind", ["round", "list", "model"])
def test_each_kind_of_request_has_a_limit_of_its_own(kind: str) -> None:
    from bank_node.http.client import BODY_BYTES, LIST_BYTES

    limits = {"round": BODY_BYTES, "list": LIST_BYTES, "model": BODY_BYTES}
    ask: dict[str, Callable[[AggregatorClient], object]] = {
        "round": lambda client: client.product("r", 0, shard=0),
        "list": lambda client: client.runs(),
        "model": lambda client: client.handover("r", 1),
    }
    media_type = "application/json" if kind == "list" else "application/octet-stream"
    answering = _said(head(media_type=media_type, Content_Length=limits[kind] + 1))
    with (
        client_of(answering) as client,
        pytest.raises(ProtocolError, match=f"announces more than the {limits[kind]} bytes"),
    ):
        ask[kind](client)
