"""The faulty network breaks what it says it breaks, and leaves nothing behind."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
from proxies.fault_plan import FaultKind, FaultPlan, PlannedFault
from proxies.faulty import FaultProxy, Traffic
from proxies.server import Handler, http_server

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from bank_node.http.transport import BINARY, Caller
from bank_node.state.audit_log import AuditLog
from fraudfed.consortium.identity import Identity
from fraudfed.http.connections import HttpConnections
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameHeader, FrameKind

BODY = b"contribution " * 5000
ANSWER = b"product " * 5000


class Upstream:
    """A tiny server that keeps what it got whole, and what it got cut off."""

    def __init__(self) -> None:
        self.whole: list[bytes] = []
        self.broken: list[int] = []
        self.got_one = threading.Event()
        self.held = threading.Event()
        self.held.set()
        self.url = ""


@contextmanager
def upstream_server(answer: bytes, media_type: str) -> Iterator[Upstream]:
    found = Upstream()

    class Counting(Handler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                found.broken.append(len(body))
                self.close_connection = True
                return
            found.whole.append(self.headers.get("X-Number", "-").encode() + b" " + body)
            found.got_one.set()
            assert found.held.wait(20)
            self.answer(answer, media_type=media_type)

        do_GET = do_POST = handle_any  # noqa: N815 - http.server's names

    with http_server(Counting) as found.url:
        try:
            yield found
        finally:
            found.held.set()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with upstream_server(ANSWER, "application/octet-stream") as found:
        yield found


def call(proxy: FaultProxy, number: int = 0, *, body: bytes | None = BODY) -> tuple[int, bytes]:
    """Send one request on a connection of its own; raise what the client sees."""
    where = urlsplit(proxy.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, "/v1/x?y=1", body=body, headers={"X-Number": str(number)})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def one(kind: FaultKind, **options: object) -> FaultPlan:
    return FaultPlan([PlannedFault(kind, **options)])  # type: ignore[arg-type]


BROKEN = (OSError, http.client.HTTPException)


def test_without_a_fault_everything_passes(upstream: Upstream) -> None:
    with FaultProxy(upstream.url) as proxy:
        assert call(proxy) == (200, ANSWER)
        assert call(proxy, 1, body=None) == (200, ANSWER)
    assert upstream.whole == [b"0 " + BODY, b"1 "]
    assert not proxy.counts


@pytest.mark.parametrize("seed", range(4))
def test_a_request_is_cut_off_in_its_body(upstream: Upstream, seed: int) -> None:
    plan = one(FaultKind.CUT_REQUEST)
    with FaultProxy(upstream.url, plan, random=Random(seed)) as proxy:
        with pytest.raises(BROKEN):
            call(proxy)
        assert call(proxy, 1) == (200, ANSWER)
    assert upstream.whole == [b"1 " + BODY]
    (got,) = upstream.broken
    assert 0 < got < len(BODY)
    assert proxy.counts == {FaultKind.CUT_REQUEST: 1}


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_cut_off_in_its_body(upstream: Upstream, seed: int) -> None:
    plan = one(FaultKind.CUT_ANSWER)
    with FaultProxy(upstream.url, plan, random=Random(seed)) as proxy:
        with pytest.raises(BROKEN):
            call(proxy)
        assert call(proxy, 1) == (200, ANSWER)
    assert len(upstream.whole) == 2, "the request itself arrived"
    assert proxy.counts == {FaultKind.CUT_ANSWER: 1}


def test_an_accepted_request_is_not_acknowledged(upstream: Upstream) -> None:
    seen: list[int] = []
    plan = one(FaultKind.LOSE_ANSWER, meanwhile=lambda: seen.append(len(upstream.whole)))
    with FaultProxy(upstream.url, plan) as proxy, pytest.raises(BROKEN):
        call(proxy)
    assert upstream.whole == [b"0 " + BODY]
    assert seen == [1], "it had been accepted"
    assert proxy.counts == {FaultKind.LOSE_ANSWER: 1}


def test_a_request_is_delayed(upstream: Upstream) -> None:
    begun = threading.Event()
    plan = one(FaultKind.DELAY, seconds=0.2, meanwhile=begun.set)
    with FaultProxy(upstream.url, plan) as proxy:
        started = time.monotonic()
        assert call(proxy) == (200, ANSWER)
        assert time.monotonic() - started >= 0.2
    assert begun.is_set()


def test_a_request_is_sent_twice_at_once(upstream: Upstream) -> None:
    with FaultProxy(upstream.url, one(FaultKind.DUPLICATE)) as proxy:
        assert call(proxy) == (200, ANSWER)
        assert proxy.replays == [200]
    assert upstream.whole == [b"0 " + BODY] * 2


def test_a_request_is_sent_twice_behind_a_later_one(upstream: Upstream) -> None:
    plan = one(FaultKind.DUPLICATE_LATER)
    with FaultProxy(upstream.url, plan) as proxy:
        assert call(proxy, 0) == (200, ANSWER)
        assert len(upstream.whole) == 1
        assert call(proxy, 1) == (200, ANSWER)
    assert [got[:1] for got in upstream.whole] == [b"0", b"1", b"0"]
    assert proxy.replays == [200]


def test_a_request_is_overtaken_by_another_banks(upstream: Upstream) -> None:
    traffic, held = Traffic(), threading.Event()
    plan = one(FaultKind.REORDER, seconds=20, meanwhile=held.set)
    with (
        FaultProxy(upstream.url, plan, traffic=traffic) as first,
        FaultProxy(upstream.url, traffic=traffic) as second,
    ):
        thread = threading.Thread(target=call, args=(first, 0))
        thread.start()
        assert held.wait(20)
        # It may not wait yet when ours passes: then the next one overtakes it.
        n_overtaking = 0
        while thread.is_alive():
            n_overtaking += 1
            call(second, 1)
        thread.join()
    numbers = [got[:1] for got in upstream.whole]
    # Forwarded in this order; a server with threads may still read them in another.
    assert numbers.count(b"1") == n_overtaking
    assert numbers.count(b"0") == 1
    assert first.counts == {FaultKind.REORDER: 1}


def test_a_request_that_nothing_overtakes_was_only_delayed(upstream: Upstream) -> None:
    with FaultProxy(upstream.url, one(FaultKind.REORDER, seconds=0.05)) as proxy:
        assert call(proxy) == (200, ANSWER)
    assert proxy.counts == {FaultKind.DELAY: 1}


@pytest.mark.parametrize(
    ("kind", "status"), [(FaultKind.ANSWER_502, 502), (FaultKind.ANSWER_503, 503)]
)
def test_the_proxy_answers_itself(upstream: Upstream, kind: FaultKind, status: int) -> None:
    with FaultProxy(upstream.url, one(kind)) as proxy:
        assert call(proxy) == (status, b"")
        assert call(proxy, 1) == (200, ANSWER)
    assert upstream.whole == [b"1 " + BODY]


def test_a_server_that_is_away_looks_like_one_that_is_away(upstream: Upstream) -> None:
    with upstream_server(ANSWER, "text/plain") as other:
        gone = other.url
    with FaultProxy(gone) as proxy, pytest.raises(BROKEN):
        call(proxy)


def test_a_fault_waits_for_its_request(upstream: Upstream) -> None:
    plan = one(FaultKind.ANSWER_503, after=1, method="POST", ending="/x")
    with FaultProxy(upstream.url, plan) as proxy:
        statuses = [call(proxy, body=body)[0] for body in (None, BODY, None, BODY, BODY)]
    assert statuses == [200, 200, 200, 503, 200]


def test_the_proxy_can_be_switched_to_clean(upstream: Upstream) -> None:
    with FaultProxy(upstream.url, one(FaultKind.DUPLICATE_LATER)) as proxy:
        call(proxy, 0)
        proxy.plan.add(PlannedFault(FaultKind.ANSWER_502))
        proxy.be_clean()
        assert call(proxy, 1) == (200, ANSWER)
    assert len(upstream.whole) == 2


def test_a_seed_gives_the_same_faults() -> None:
    def kinds(seed: int) -> list[tuple[FaultKind, int]]:
        plan = FaultPlan.drawn(Random(seed), faults=9, kinds=FaultKind, gap=3, seconds=0.1)
        return [(fault.kind, fault.after) for fault in plan.faults]

    assert kinds(1) == kinds(1)
    assert kinds(1) != kinds(2)


def test_closing_ends_whatever_hangs(upstream: Upstream) -> None:
    """Held requests, a silent server and a silent client: all end, no thread stays."""
    before = set(threading.enumerate())
    upstream.held.clear()
    errors: list[BaseException] = []

    def client(proxy: FaultProxy) -> None:
        try:
            call(proxy)
        except BROKEN as error:
            errors.append(error)

    delays = [PlannedFault(FaultKind.DELAY, seconds=3600, meanwhile=threading.Event().set)]
    held = threading.Event()
    reorder = PlannedFault(FaultKind.REORDER, seconds=3600, meanwhile=held.set)
    with (
        FaultProxy(upstream.url, FaultPlan(delays)) as delaying,
        FaultProxy(upstream.url, FaultPlan([reorder])) as reordering,
        FaultProxy(upstream.url) as waiting,
    ):
        threads = [
            threading.Thread(target=client, args=(proxy,))
            for proxy in (delaying, reordering, waiting)
        ]
        for thread in threads:
            thread.start()
        assert held.wait(20)
        assert upstream.got_one.wait(20)
        silent = http.client.HTTPConnection("127.0.0.1", urlsplit(waiting.url).port)
        silent.connect()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    silent.close()
    assert len(errors) == 3
    upstream.held.set()
    left = {t for t in set(threading.enumerate()) - before if "process_request" not in t.name}
    assert not left


# A bank's real client


#: How often the server sees a request whole that the bank repeats until it has an answer.
ARRIVALS = {
    FaultKind.CUT_REQUEST: 1,
    FaultKind.CUT_ANSWER: 2,
    FaultKind.LOSE_ANSWER: 2,
    FaultKind.DELAY: 1,
    FaultKind.DUPLICATE: 2,
    FaultKind.REORDER: 1,
    FaultKind.ANSWER_502: 1,
    FaultKind.ANSWER_503: 1,
}


@pytest.mark.parametrize("kind", ARRIVALS)
def test_a_kept_connection_sees_the_fault(upstream: Upstream, kind: FaultKind) -> None:
    """``HttpConnections``: the first answer opens the connection that the fault then hits."""
    plan = one(kind, after=1, seconds=0.05)
    with FaultProxy(upstream.url, plan) as proxy:
        http_ = HttpConnections(proxy.url, trust=None)

        def send() -> int:
            return http_.send(
                "POST",
                "/x",
                headers={"X-Number": "0"},
                body=BODY,
                answer_seconds=20,
                answer_bytes=len(ANSWER),
            ).status

        assert send() == 200
        statuses = []
        while 200 not in statuses:
            try:
                statuses.append(send())
            except BROKEN:
                statuses.append(0)
        http_.close()
    assert len(upstream.whole) == 1 + ARRIVALS[kind]
    assert len(statuses) == (
        1 if kind in (FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.REORDER) else 2
    )


@pytest.mark.parametrize("kind", ARRIVALS)
def test_a_bank_gets_its_answer_all_the_same(tmp_path: Path, kind: FaultKind) -> None:
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
    box = b"sealed opening" * 1000
    frame = frames.encode(header, box)
    identity = Identity.generate()
    caller = Caller("bank-a", identity, AuditLog(tmp_path / "audit.log", identity))
    retry = RetryPolicy(base_seconds=0.01)
    plan = FaultPlan(PlannedFault(kind, after=after, seconds=0.05) for after in (1, 0))
    with (
        upstream_server(frames.encode_many([frame]), BINARY) as server,
        FaultProxy(server.url, plan) as proxy,
        AggregatorClient(proxy.url, caller=caller, retry=retry) as client,
    ):
        for _ in range(3):
            answer = client.send_opening(frame)
            assert answer is not None
            ((_, got),) = answer[1]
            assert bytes(got) == box
    assert sum(proxy.counts.values()) == 2
    assert {received.partition(b" ")[2] for received in server.whole} == {frame}
    # The second fault hit the repetition of the first, or the next request.
    assert len(server.whole) == 3 + 2 * (ARRIVALS[kind] - 1)
