"""The client against a real local server that misbehaves as told."""

import hashlib
import http.client
import inspect
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from examples.messages import EXAMPLES
from proxies.server import Handler, http_server

from bank_node.audit.explain import EVERY_REQUEST
from bank_node.http.client import AggregatorClient, wait_for
from bank_node.http.retry import RetryPolicy
from bank_node.http.transport import Caller, mapped_errors
from bank_node.state.audit_log import AuditLog, read_audit_log, verify_audit_log
from fraudfed import __version__
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.signatures import verify_request
from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    ConfigurationError,
    ConflictError,
    FraudFedError,
    ProtocolError,
    ServerError,
    StateError,
    TransportError,
    VersionError,
    error_classes,
)
from fraudfed.http.address import check_url
from fraudfed.http.route import route_to
from fraudfed.wire import frames, handovers
from fraudfed.wire.messages import (
    HANDOVER_SIGNATURE_HEADER,
    AbortReason,
    FrameHeader,
    FrameKind,
    HandoverReceipt,
    HandoverSignatures,
    Health,
    Join,
    Ready,
    RoundReceipt,
    RunState,
    RunStatus,
    parse,
)

HEALTH = json.dumps({"status": "ok", "version": "1"}).encode()
JSON = "application/json"
PROBLEM = "application/problem+json"
BINARY = "application/octet-stream"


def _problem(kind: str) -> bytes:
    return json.dumps({"type": kind, "title": "t", "status": 409, "detail": "x"}).encode()


@dataclass
class Script:
    """Answers to give in turn, the last one repeatedly; and the requests."""

    url: str = ""
    answers: list[tuple[int, str, bytes, dict[str, str]] | None] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    on_request: Callable[[], None] | None = None
    on_connection: Callable[[int], None] | None = None
    """Called with the port of the client's connection, for each request."""
    hangs_up_after: bool = False
    """Close the connection behind each answer without saying so."""

    def say(self, status: int, kind: str = JSON, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, kind, body, headers))

    def hang_up(self) -> None:
        self.answers.append(None)


@pytest.fixture
def script() -> Iterator[Script]:
    found = Script()

    class Scripted(Handler):
        def handle_any(self) -> None:
            body = self.body()
            if found.on_request is not None:
                found.on_request()
            if found.on_connection is not None:
                found.on_connection(self.client_address[1])
            found.requests.append((self.command, self.path, dict(self.headers), body))
            answer = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            if answer is None:
                self.close_connection = True
                return
            status, kind, content, headers = answer
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self.answer(content, status=status, media_type=kind, headers=named)
            self.close_connection |= found.hangs_up_after

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names of http.server

    with http_server(Scripted) as found.url:
        yield found


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


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.generate()


@pytest.fixture
def audit_file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def client(
    script: Script, clock: Clock, identity: Identity, audit_file: Path
) -> Iterator[AggregatorClient]:
    caller = Caller("bank-a", identity, AuditLog(audit_file, identity))
    with AggregatorClient(script.url, caller=caller, retry=clock.policy()) as made:
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


def test_a_wait_that_a_proxy_gives_up_is_shorter_from_then_on(script, client, clock) -> None:
    """A gateway that waits five seconds for an answer costs one request, not every long poll."""

    def waits() -> None:
        clock.now += 5.0 if len(script.answers) > 1 else 0.0

    script.on_request = waits
    script.say(504)
    script.say(204)
    assert client.openings("run-1", 3) is None
    script.on_request = None
    assert client.openings("run-1", 3) is None
    assert client.openings("run-1", 3, wait_seconds=2) is None
    paths = [path.partition("?")[2] for _, path, _, _ in script.requests]
    assert paths == ["wait=25", "wait=3.5", "wait=3.5", "wait=2"]


@pytest.mark.parametrize("status", [502, 503])
def test_an_aggregator_that_restarts_shortens_no_wait(script, client, status: int) -> None:
    script.say(status)
    script.say(204)
    assert client.openings("run-1", 3) is None
    assert {path.partition("?")[2] for _, path, _, _ in script.requests} == {"wait=25"}


def test_a_body_that_a_proxy_does_not_take_names_the_proxys_setting(script, client) -> None:
    script.say(413, "text/html", b"<html>413 Request Entity Too Large</html>")
    header = FrameHeader(
        kind=FrameKind.CONTRIBUTION,
        run_id="run-1",
        round_number=0,
        label="histogram:0",
        context="a" * 64,
        bank="bank-a",
        count=1,
        item_bytes=8,
        commitment="b" * 64,
    )
    frame = frames.encode(header, bytes(8))
    with pytest.raises(BodyTooLargeError) as failure:
        client.contribute(frame)
    for words in (script.url, f"{len(frame)} bytes", "nginx: client_max_body_size"):
        assert words in str(failure.value)
    assert len(script.requests) == 1


def test_the_patience_is_used_up_with_growing_delays(script, client, clock) -> None:
    script.say(503)
    with pytest.raises(TransportError, match=r"HTTP 503.*attempts in") as failure:
        client.health()
    assert script.url in str(failure.value)
    assert "\n" not in str(failure.value)
    assert sum(clock.delays) <= 10
    assert all(d <= min(5.0, 0.1 * 2**i) for i, d in enumerate(clock.delays))


def test_requests_are_counted_by_kind_also_those_sent_again(script, client) -> None:
    script.answers = []
    script.say(503)
    script.say(200, JSON, HEALTH)
    client.health()
    script.answers = []
    script.say(204, BINARY, b"")
    assert client.product("r", 3, shard=0, wait_seconds=0) is None
    assert client.openings("r", 3, wait_seconds=0) is None
    assert client.requests == {"health": 2, "product": 1, "openings": 1}


def test_retry_after_is_respected(script, client, clock) -> None:
    script.say(503, Retry_After="7")
    script.say(200, JSON, HEALTH)
    client.health()
    assert clock.delays == [7.0]


def test_every_attempt_is_signed_anew_and_verifies(script, client, clock, identity) -> None:
    clock.now = 0.0
    script.say(503)
    script.hang_up()
    script.say(409, PROBLEM, _problem("urn:fraudfed:problem:conflict"))
    header = FrameHeader(
        kind=FrameKind.OPENING,
        run_id="r",
        round_number=3,
        label="histogram",
        context="c" * 64,
        bank="bank-a",
        shard=0,
        count=1,
        item_bytes=0,
    )
    with pytest.raises(ConflictError):
        client.send_opening(frames.encode(header, b"box"))
    seen = set()
    for method, path, headers, body in script.requests:
        found = verify_request(
            {"bank-a": identity.public.signing_key}.get,
            method=method,
            target=path,
            headers=headers,
            body_sha256=hashlib.sha256(body).digest(),
            now=int(time.time()),
        )
        assert found.keyid == "bank-a"
        seen.add(found.nonce)
        with pytest.raises(AuthError):
            verify_request(
                {"bank-a": identity.public.signing_key}.get,
                method=method,
                target=path,
                headers=headers,
                body_sha256=hashlib.sha256(body + b"x").digest(),
                now=int(time.time()),
            )
    assert len(seen) == 3, "an aggregator refuses a nonce that it has seen"


def test_questions_are_signed_too(script, client, identity) -> None:
    script.say(200, JSON, json.dumps({"protocol_version": 2, "runs": []}).encode())
    assert client.runs().runs == ()
    ((method, path, headers, body),) = script.requests
    found = verify_request(
        lambda name: identity.public.signing_key,
        method=method,
        target=path,
        headers=headers,
        body_sha256=hashlib.sha256(body).digest(),
        now=int(time.time()),
    )
    assert found.keyid == "bank-a"


def test_a_model_goes_with_its_signature_under_the_requests_signature(
    script, client, identity
) -> None:
    script.say(409, PROBLEM, _problem("urn:fraudfed:problem:conflict"))
    with pytest.raises(ConflictError):
        client.submit_model("r", "1" * 64, b"sealed", plain_sha256="2" * 64, signature="3" * 128)
    ((method, path, headers, body),) = script.requests
    assert (method, path, body) == ("PUT", f"/v1/runs/r/models/{'1' * 64}", b"sealed")
    assert headers["Content-Type"] == BINARY
    assert "fraudfed-model-plain" in headers["Signature-Input"]
    assert "fraudfed-model-signature" in headers["Signature-Input"]


def test_what_leaves_is_written_down_before_it_leaves(script, client, audit_file, identity) -> None:
    """The entry is there when the request arrives, each attempt has one, and so has the answer."""
    script.say(503)
    script.say(409, PROBLEM, _problem("urn:fraudfed:problem:conflict"))
    entries_at_arrival = []
    script.on_request = lambda: entries_at_arrival.append(len(list(read_audit_log(audit_file))))
    with pytest.raises(ConflictError):
        client.abort("r", AbortReason.STOPPED)
    assert entries_at_arrival == [1, 3]
    entries = verify_audit_log(audit_file, signing_key=identity.public.signing_key)
    assert [(entry.event, entry.status) for entry in entries] == [
        ("sent", None),
        ("answered", 503),
        ("sent", None),
        ("answered", 409),
    ]
    bodies = [body for _, _, _, body in script.requests]
    for entry, body in zip(entries[::2], bodies, strict=True):
        assert entry.body_sha256 == hashlib.sha256(body).hexdigest()
        assert entry.body_bytes == len(body)
        assert (entry.kind, entry.run_id, entry.path) == ("abort", "r", "/v1/runs/r/abort")
    assert len({entry.request_id for entry in entries}) == 1


def test_without_the_log_nothing_is_sent(script, client, audit_file) -> None:
    audit_file.write_bytes(b"damaged\n")
    script.say(200, JSON, HEALTH)
    with pytest.raises(StateError, match="no entry of an audit log"):
        client.health()
    assert script.requests == []


def test_a_client_says_nothing_about_its_machine(script, client) -> None:
    script.say(200, JSON, HEALTH)
    client.health()
    headers = script.requests[0][2]
    assert headers["User-Agent"] == f"fraudfed/{__version__}"
    explained = {name.strip() for names in EVERY_REQUEST for name in names.split(",")}
    assert set(headers) <= explained


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
    with pytest.raises(cls, match=r"^why\\x0aso$") as failure:
        client.join("run", Join())
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
        ((200, JSON, b'{"protocol_version":9,"status":"ok","version":"1"}'),
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
        commitments=("1" * 64, "2" * 64),
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


def sent_frame(kind: FrameKind) -> FrameHeader:
    return FrameHeader(
        kind=kind,
        run_id="r",
        round_number=3,
        label="histogram",
        context="c" * 64,
        bank="bank-a",
        shard=0 if kind is FrameKind.OPENING else None,
        count=2,
        item_bytes=0,
        commitment="1" * 64 if kind is FrameKind.CONTRIBUTION else None,
        commitments=("1" * 64, "2" * 64) if kind is FrameKind.PRODUCT else None,
    )


def test_a_contribution_is_answered_with_the_product_or_a_receipt(script, client) -> None:
    header = sent_frame(FrameKind.CONTRIBUTION)
    changes = {"item_bytes": 3, "bank": None}
    product = sent_frame(FrameKind.PRODUCT).model_copy(update=changes)
    script.say(200, BINARY, frames.encode(product, b"abcdef"))
    frame = frames.encode(header, b"box")
    found = client.contribute(frame, wait_seconds=7)
    assert found is not None
    assert (found[0], bytes(found[1])) == (product, b"abcdef")
    method, path, headers, body = script.requests[-1]
    assert (method, path) == ("POST", "/v1/runs/r/rounds/3/contributions?wait=7")
    assert body == frame
    assert headers["Content-Type"] == BINARY
    script.answers = []
    receipt = RoundReceipt(run_id="r", round_number=3, received=1, expected=3)
    script.say(202, JSON, receipt.model_dump_json().encode())
    assert client.contribute(frame) is None
    mine = frames.encode(sent_frame(FrameKind.OPENING), b"box")
    assert client.send_opening(mine) is None
    script.answers = []
    opening = frames.encode(sent_frame(FrameKind.OPENING), b"theirs")
    script.say(200, BINARY, frames.encode_many([opening, opening]))
    openings = client.send_opening(mine)
    assert openings is not None
    assert openings[0] == 2 * (8 + len(opening))
    assert [bytes(box) for _, box in openings[1]] == [b"theirs"] * 2


def test_what_banks_send_when_others_take_part(script, client) -> None:
    told = EXAMPLES[RunStatus].model_copy(update={"run_id": "r"})
    script.say(200, JSON, told.model_dump_json().encode())
    ready = Ready(step=3, more_rows=64, key="2" * 64, signature="3" * 128)
    assert client.become_ready("r", 2, ready) == told
    method, path, _, body = script.requests[-1]
    assert (method, path) == ("POST", "/v1/runs/r/generations/2/banks")
    assert parse(Ready, body, source="test") == ready
    join = Join(key="2" * 64, signature="3" * 128)
    assert client.join("r", join) == told
    method, path, _, body = script.requests[-1]
    assert (method, path) == ("POST", "/v1/runs/r/members")
    assert parse(Join, body, source="test") == join
    client.run("r", while_state=RunState.GATHERING, while_generation=2, wait_seconds=3)
    _, path, _, _ = script.requests[-1]
    assert path == "/v1/runs/r?wait=3&state=gathering&generation=2"
    # A status of another run is never taken for this one's.
    for call in (lambda: client.become_ready("q", 2, ready), lambda: client.join("q", Join())):
        with pytest.raises(ProtocolError, match="status of run 'r', expected 'q'"):
            call()


def test_a_handover_goes_out_as_bytes_and_comes_back_when_it_is_there(script, client) -> None:
    receipt = HandoverReceipt(run_id="r", generation=2, sha256="1" * 64)
    script.say(200, JSON, receipt.model_dump_json().encode())
    assert client.put_handover("r", 2, b"sealed", signature="1" * 128) == receipt
    method, path, headers, body = script.requests[-1]
    assert (method, path, body) == ("PUT", "/v1/runs/r/generations/2/handover", b"sealed")
    assert headers["Content-Type"] == BINARY
    assert headers[HANDOVER_SIGNATURE_HEADER] == "1" * 128
    script.answers = []
    script.say(204)
    assert client.handover("r", 2, wait_seconds=4) is None
    method, path, _, _ = script.requests[-1]
    assert (method, path) == ("GET", "/v1/runs/r/generations/2/handover?wait=4")
    script.answers = []
    signatures = EXAMPLES[HandoverSignatures]
    whole = handovers.encode(signatures, b"sealed")
    script.say(200, BINARY, whole)
    assert client.handover("r", 2) == (signatures, b"sealed")
    # What is cut off, or is no head, is no handover.
    for body in (whole[:-7], whole[:3], b"", b"\0\0\0\x02{}sealed", b"\0\0\0\x00sealed"):
        script.answers = []
        script.say(200, BINARY, body)
        with pytest.raises(ProtocolError):
            client.handover("r", 2)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (BINARY, b"{}", "expected application/json"),
        (JSON, b"{}", "RoundReceipt"),
        (JSON, b"other run", "receipt is for round 3 of run 'q'"),
        (JSON, b"other round", "receipt is for round 4 of run 'r'"),
    ],
)
def test_a_receipt_for_something_else_is_refused(script, client, kind, body, message) -> None:
    receipts = {b"other run": ("q", 3), b"other round": ("r", 4)}
    if body in receipts:
        run_id, number = receipts[body]
        receipt = RoundReceipt(run_id=run_id, round_number=number, received=1, expected=3)
        body = receipt.model_dump_json().encode()
    script.say(202, kind, body)
    with pytest.raises(ProtocolError, match=message):
        client.contribute(frames.encode(sent_frame(FrameKind.CONTRIBUTION), b"box"))
    with pytest.raises(ProtocolError):
        # A question is never answered by a receipt.
        client.product("r", 3, shard=0)


def test_requests_are_logged_for_debugging_without_their_signature(script, client, caplog) -> None:
    script.say(200, JSON, HEALTH)
    with caplog.at_level(logging.DEBUG):
        client.health()
    assert "GET /v1/health -> 200" in caplog.text
    assert script.requests[0][2]["Signature"] not in caplog.text


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


def test_every_exception_of_the_standard_library_is_mapped() -> None:
    """Fails when ``http.client`` grows an exception that no rule covers."""
    found = [
        cls
        for cls in vars(http.client).values()
        if inspect.isclass(cls) and issubclass(cls, Exception)
    ]
    assert http.client.RemoteDisconnected in found
    found += [OSError, TimeoutError, ConnectionError, socket.gaierror, ssl.SSLError]
    for cls in found:
        with pytest.raises(Exception) as failure, mapped_errors(route_to("http://localhost", {})):
            raise cls("x")
        assert type(failure.value).__module__ in {"bank_node.http.transport", "fraudfed.errors"}, (
            cls
        )


@pytest.mark.parametrize("error", [http.client.CannotSendRequest, ssl.SSLCertVerificationError])
def test_what_does_not_change_by_asking_again_ends_at_once(error) -> None:
    with pytest.raises(TransportError), mapped_errors(route_to("http://localhost", {})):
        raise error("x")


def test_a_connection_is_kept_and_made_anew_when_the_server_has_closed_it(
    script, client, clock
) -> None:
    """Without an attempt that fails: only what was asked and not answered is asked again."""
    ports: list[int] = []
    script.on_connection = ports.append
    script.say(200, JSON, HEALTH)
    client.health()
    client.health()
    assert len(ports) == 2
    assert len(set(ports)) == 1
    script.answers = []
    script.say(200, JSON, HEALTH, Connection="close")
    client.health()
    client.health()
    assert len(set(ports)) == 2
    script.answers, script.hangs_up_after = [], True
    script.say(200, JSON, HEALTH)
    for _ in range(3):
        client.health()
        time.sleep(0.05)
    assert len(set(ports)) == 5
    assert clock.delays == []


def test_wait_for_asks_until_the_time_is_over() -> None:
    now = [0.0]
    asked: list[float] = []

    def never(wait: float) -> Health | None:
        asked.append(wait)
        now[0] += wait
        return None

    assert wait_for(never, seconds=60, clock=lambda: now[0]) is None
    assert asked == [25.0, 25.0, 10.0, 0.0], "the last question does not wait"
