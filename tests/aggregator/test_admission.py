"""What is taken and what is not: at once, of one sender, while stopping; and what nobody loses."""

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from federations.fake_banks import DocumentedClient, Federation, TestKey, sum_round
from federations.server_process import ServerProcess
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.config import ServiceConfig
from aggregator.guards.admission import SHARE, Admission
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from fraudfed.errors import OverloadedError, RateLimitedError, UnavailableError
from fraudfed.http.server.rates import BURST_SECONDS, MOST_SENDERS, Rates

RATES = st.floats(0.05, 500)


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_admission(
    *, working: int = 8, waiting: int = 8, per_second: float = 1e6, anonymous: float = 1e6
) -> Admission:
    return Admission(
        working=working, waiting=waiting, per_second=per_second, anonymous_per_second=anonymous
    )


# Rates


@given(RATES, st.lists(st.floats(0, 5), max_size=200))
def test_no_time_lets_more_through_than_burst_and_rate(
    per_second: float, gaps: list[float]
) -> None:
    clock = Clock()
    rates = Rates(per_second, clock=clock)
    let_through = []
    for gap in gaps:
        clock.now += gap
        if not rates.take("a"):
            let_through.append(clock.now)
    burst = max(1.0, per_second * BURST_SECONDS)
    for index, begin in enumerate(let_through):
        for count, end in enumerate(let_through[index:], start=1):
            assert count <= burst + (end - begin) * per_second + 1e-6


@settings(deadline=None)  # thousands of requests
@given(RATES, st.integers(0, 50))
def test_a_caller_that_waits_as_long_as_told_is_let_through(per_second: float, more: int) -> None:
    clock = Clock()
    rates = Rates(per_second, clock=clock)
    taken = 0
    while not (seconds := rates.take("a")):
        taken += 1
    assert taken == math.floor(max(1.0, per_second * BURST_SECONDS))
    for _ in range(more):
        clock.now += math.ceil(seconds)
        assert rates.take("a") == 0
        while not (seconds := rates.take("a")):
            pass


def test_senders_have_buckets_of_their_own_and_are_not_remembered_for_ever() -> None:
    clock = Clock()
    rates = Rates(0.1, clock=clock)
    assert rates.take("a") == 0
    assert rates.take("a") > 0
    assert rates.take("b") == 0
    for number in range(MOST_SENDERS):
        rates.take(f"other {number}")
    assert len(rates._buckets) == MOST_SENDERS
    assert rates.take("a") == 0


def test_an_address_of_version_6_stands_for_its_network() -> None:
    admission = make_admission(anonymous=0.01)
    admission.charge_anonymous("2001:db8::1")
    with pytest.raises(RateLimitedError):
        admission.charge_anonymous("2001:db8::ffff:2")
    admission.charge_anonymous("2001:db8:0:1::1")
    admission.charge_anonymous("192.0.2.1")
    admission.charge_anonymous("192.0.2.2")
    with pytest.raises(RateLimitedError):
        admission.charge_anonymous("192.0.2.1")


# Places


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_places_are_neither_lost_nor_made(
    most_working: int, most_waiting: int, data: st.DataObject
) -> None:
    """Whatever comes and goes, the counts are those of who is there, and within the limits."""
    seen = [(0, 0)]
    admission = Admission(
        working=most_working,
        waiting=most_waiting,
        per_second=1e9,
        anonymous_per_second=1e9,
        on_change=lambda working, waiting: seen.append((working, waiting)),
    )
    inside = []
    for step in data.draw(
        st.lists(st.sampled_from(["enter", "assign", "wait", "leave"]), max_size=60)
    ):
        if step == "enter":
            block = admission.place()
            try:
                inside.append((block, block.__enter__()))
            except OverloadedError:
                assert seen[-1][0] == most_working
        elif inside:
            block, place = inside[data.draw(st.integers(0, len(inside) - 1))]
            if step == "assign" and place.sender is None:
                try:
                    place.assign(data.draw(st.sampled_from("ab")))
                except OverloadedError:
                    assert len([p for _, p in inside if not p.waits and p.sender]) >= 2
            elif step == "wait" and place.sender is not None and not place.waits:
                place.wait()
            elif step == "leave":
                inside.remove((block, place))
                block.__exit__(None, None, None)
        waiting = sum(place.waits for _, place in inside)
        assert seen[-1] == (len(inside) - waiting, waiting)
        assert seen[-1][0] <= most_working
        assert seen[-1][1] <= most_waiting
    for block, _ in inside:
        block.__exit__(None, None, None)
    assert seen[-1] == (0, 0)
    assert not admission._working_of
    assert not admission._waiting_of


def test_who_waits_keeps_nobody_out_who_works() -> None:
    admission = make_admission(working=4, waiting=100)
    blocks = []
    for number in range(100):
        block = admission.place()
        place = block.__enter__()
        place.assign(f"bank {number}")
        assert place.wait()
        blocks.append(block)
    with admission.place() as last:
        last.assign("bank 100")
        assert not last.wait()
        with pytest.raises(OverloadedError, match="max_waiting"):
            last.require_wait()
    for block in blocks:
        block.__exit__(None, None, None)


def test_one_sender_has_a_share_only() -> None:
    admission = make_admission(working=16, waiting=16)
    blocks = [admission.place() for _ in range(16 // SHARE + 1)]
    places = [block.__enter__() for block in blocks]
    for place in places[:-1]:
        place.assign("bank a")
    with pytest.raises(OverloadedError, match="bank a has 4 requests"):
        places[-1].assign("bank a")
    places[-1].assign("bank b")
    for block in blocks:
        block.__exit__(None, None, None)


# Over the API


@pytest.fixture
def strict(store: Store, waiters: Waiters, state: StateDirectory, key: TestKey) -> Federation:
    """Make an aggregator that takes little: ten requests of each, and then one a second."""
    config = ServiceConfig(
        insecure_allow_small_keys=True,
        requests_per_second=1,
        anonymous_requests_per_second=1,
        threads=4,
        max_waiting=2,
    )
    app = create_app(config, store, waiters)
    return Federation(DocumentedClient(app), state.operator_token.read_text().strip(), key)


def test_a_bank_above_its_rate_is_429_and_others_go_on(strict: Federation) -> None:
    first, second = strict.register("bank-a"), strict.register("bank-b")
    answers = [first.request("GET", "/v1/roster") for _ in range(13)]
    refused = answers[-1]
    assert refused.problem() == (429, "rate-limited")
    assert refused.headers["retry-after"] == "1"
    assert "bank:bank-a" in refused.json()["detail"]
    assert second.request("GET", "/v1/roster").status == 200
    assert strict.operate("GET", "/v1/roster").status == 200
    # Nothing was judged, and writing it down would be work.
    assert strict.refusals() == []


def test_a_flood_of_the_unknown_locks_out_nobody_who_is_known(strict: Federation) -> None:
    bank = strict.register("bank-a")
    statuses = [strict.call("GET", "/v1/roster").status for _ in range(15)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert strict.call("GET", "/v1/openapi.json").problem() == (429, "rate-limited")
    assert bank.request("GET", "/v1/roster").status == 200
    assert strict.operate("GET", "/v1/roster").status == 200
    # A monitor of the service must not take it for dead.
    for path in ("/v1/health", "/v1/ready"):
        assert [strict.call("GET", path).status for _ in range(15)] == [200] * 15


def test_a_full_service_says_so_and_is_watched_all_the_same(
    app: object, federation: Federation
) -> None:
    bank = federation.register("bank-a")
    admission = app.extensions["fraudfed"].admission  # type: ignore[attr-defined]
    blocks = [admission.place() for _ in range(64)]
    for block in blocks:
        block.__enter__()
    answer = bank.request("GET", "/v1/roster")
    assert answer.problem() == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert federation.call("GET", "/v1/health").status == 200
    assert federation.call("GET", "/v1/ready").status == 200
    assert federation.operate("GET", "/metrics").status == 200
    blocks[0].__exit__(None, None, None)
    assert bank.request("GET", "/v1/roster").status == 200
    for block in blocks[1:]:
        block.__exit__(None, None, None)


def test_where_there_is_no_room_to_wait_a_contribution_is_taken_and_a_question_asked_again(
    app: object, federation: Federation
) -> None:
    banks = federation.start()
    admission = app.extensions["fraudfed"].admission  # type: ignore[attr-defined]
    admission._most_waiting = 0
    body = banks[0].contribution(0, [1])
    answer = banks[0].post_contribution(0, body, wait=20)
    assert answer.status == 202
    assert answer.json()["received"] == 1
    assert banks[0].product(0, 0, wait=20).problem() == (503, "overloaded")
    assert banks[0].product(0, 0).status == 204


def test_a_stopping_service_takes_nothing_new(app: object, federation: Federation) -> None:
    banks = federation.start()
    app.extensions["fraudfed"].admission.stop()  # type: ignore[attr-defined]
    answer = banks[0].contribute(0, [1])
    assert answer.problem() == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["connection"] == "close"
    assert federation.call("GET", "/v1/health").status == 200
    assert federation.call("GET", "/v1/ready").problem() == (503, "unavailable")
    assert federation.operate("GET", "/metrics").status == 200


def test_a_stopping_admission_lets_in_work_finish() -> None:
    admission = make_admission()
    with admission.place() as place:
        place.assign("bank a")
        admission.stop()
        assert admission.stopping
        assert place.wait()
    with pytest.raises(UnavailableError, match="stopping"), admission.place():
        pass


# Real processes


@pytest.mark.e2e
def test_a_flooding_bank_is_slowed_while_the_others_go_on(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"requests_per_second": 20}))
    with ServerProcess(state.path, options=("--config", str(settings))) as server:
        federation = server.federation(state.path, key)
        banks = federation.start()
        flooder = federation.register("flooder")
        stop, statuses = threading.Event(), []

        def flood() -> None:
            while not stop.is_set() or 429 not in statuses:
                statuses.append(flooder.request("GET", "/v1/roster").status)

        with ThreadPoolExecutor() as pool:
            floods = [pool.submit(flood) for _ in range(2)]
            for number in range(5):
                assert sum_round(banks, number, [[1], [2], [3]]) == [6]
            stop.set()
            for one in floods:
                one.result(60)
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 200


@pytest.mark.e2e
def test_as_many_banks_as_may_wait_cannot_keep_the_last_contribution_out(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    """Every place to wait and every thread that used to serve is taken; the round ends."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"max_waiting": 9, "threads": 2}))
    with (
        ServerProcess(state.path, options=("--config", str(settings))) as server,
        ThreadPoolExecutor(10) as pool,
    ):
        federation = server.federation(state.path, key)
        banks = federation.start(cohort_size=10)
        for bank in banks[1:]:
            assert bank.contribute(0, [1]).status == 202

        def ask(number: int) -> int:
            while (answer := banks[number].product(0, number, wait=30)).status == 503:
                assert int(answer.headers["retry-after"]) >= 1
                time.sleep(0.05)
            return answer.status

        waiting = [pool.submit(ask, number) for number in range(1, 10)]
        server.await_metric("fraudfed_requests_waiting", state, 9)
        assert banks[1].product(0, 1, wait=30).problem() == (503, "overloaded")
        assert banks[0].contribute(0, [1]).status == 202
        assert [one.result(60) for one in waiting] == [200] * 9
