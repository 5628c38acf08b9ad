"""Several workers on one PostgreSQL database, as real processes: in step, killed, cut off."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from federations.fake_banks import Answer, FakeBank, Federation, TestKey
from federations.postgres import Cluster, on_postgresql
from federations.server_process import ServerProcess, assert_fails, run_command

from aggregator.runs.listener import RunListener
from aggregator.runs.waiters import Waiters
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.announcement import Announcement
from aggregator.storage.postgresql import CHANNEL, PostgreSQL
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames

_WORKERS = ("--workers", "4")


class PatientCall:
    """HTTP as a bank node does it: a new signature for each attempt is the caller's to make.

    Every call is a connection of its own, so that the calls of one bank reach all workers.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, method: str, path: str, *, token=None, body=None, json=None, headers=None):
        extra = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = httpx.request(
            method,
            self._url + path,
            content=body,
            json=json,
            headers={**extra, **(headers or {})},
            timeout=60,
        )
        return Answer(response.status_code, dict(response.headers), response.content)


def patiently(ask: Callable[[], Answer], seen: list[int]) -> Answer:
    """Repeat what met a dead connection or a 503, as a bank node does; note the statuses."""
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = ask()
        except httpx.TransportError:
            pass
        else:
            seen.append(answer.status)
            if answer.status != 503:
                return answer
            assert answer.problem() == (503, "unavailable")
            assert answer.headers["retry-after"] == "1"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def train(
    bank: FakeBank, index: int, banks: int, rounds: range, seen: list[int]
) -> list[list[int]]:
    """Take part in rounds by exchanges; return what this bank's shards open to."""
    opened = []
    for number in rounds:
        body = bank.contribution(number, [index + number] * banks)
        answer = patiently(lambda n=number, b=body: bank.post_contribution(n, b, wait=20), seen)
        while answer.status in (202, 204):
            answer = patiently(lambda n=number: bank.product(n, index, wait=20), seen)
        assert answer.status == 200, answer.body
        _, payload = frames.decode(answer.body, source="test")
        opened.append(bank.key.decrypt(CiphertextVector(bank.key.public, bytes(payload))))
        opening = bank.opening(number, index, 1)
        answer = patiently(lambda n=number, o=opening: bank.post_opening(n, o, wait=20), seen)
        while answer.status in (202, 204):
            answer = patiently(lambda n=number: bank.openings(n, wait=20), seen)
        assert answer.status == 200, answer.body
        assert len(frames.decode_many(answer.body, source="test")) == banks
    return opened


def workers_of(server: ServerProcess) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


@pytest.fixture
def served(state: StateDirectory, key: TestKey) -> Iterator[tuple[ServerProcess, Federation]]:
    with ServerProcess(state.path, options=_WORKERS) as server:
        token = state.operator_token.read_text().strip()
        yield server, Federation(PatientCall(server.url), token, key)
    assert "failed unexpectedly" not in server.log()


@pytest.mark.e2e
@on_postgresql
@pytest.mark.parametrize("trouble", ["none", "kill a worker", "restart the database"])
def test_five_banks_train_in_lock_step_through_four_workers(
    served: tuple[ServerProcess, Federation],
    state: StateDirectory,
    cluster: Cluster,
    trouble: str,
) -> None:
    server, federation = served
    banks = federation.start(cohort_size=5)
    deadline = time.monotonic() + 60
    while len(workers_of(server)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    seen: list[int] = []
    with ThreadPoolExecutor(max_workers=5) as pool:

        def rounds(which: range) -> list[list[list[int]]]:
            return list(pool.map(lambda i: train(banks[i], i, 5, which, seen), range(5)))

        opened = rounds(range(2))
        if trouble == "none":
            more = rounds(range(2, 6))
        else:
            running = [pool.submit(train, banks[i], i, 5, range(2, 10), seen) for i in range(5)]
            for bank_is_at in (3, 5, 7):
                while federation.status(banks[0].run_id)["round_number"] < bank_is_at:
                    assert not any(one.done() and one.exception() for one in running)
                    time.sleep(0.01)
                if trouble == "kill a worker":
                    os.kill(workers_of(server)[0], signal.SIGKILL)
                elif bank_is_at == 5:
                    cluster.restart()
                    break
            more = [one.result(timeout=200) for one in running]
    for index in range(5):
        sums = opened[index] + more[index]
        assert sums == [[sum(range(5)) + 5 * number] for number in range(len(sums))]
    # Never a refusal of what was sent, never an unexpected failure, and nothing counted twice.
    assert set(seen) <= {200, 202, 204, 503}
    status = federation.status(banks[0].run_id)
    assert status["round_number"] == len(opened[0] + more[0])
    assert status["ciphertexts"] == 5 * 5 * status["round_number"]
    if trouble == "none":
        assert server.stop() == 0
    verified = run_command("audit", "verify", "--state", str(state.path))
    assert verified.returncode == 0, verified.stderr


@pytest.mark.e2e
@on_postgresql
def test_what_is_revoked_or_removed_is_refused_by_all_workers(
    served: tuple[ServerProcess, Federation], state: StateDirectory
) -> None:
    federation = served[1]
    federation.start()
    where = ("--state", str(state.path))
    token = run_command("tokens", "create", *where, "--role", "viewer", "--name", "eve").stdout
    # Every call is a connection of its own, so that with 24 each worker has answered before.
    for _ in range(24):
        assert federation.call("GET", "/v1/runs", token=token.strip()).status == 200
        assert federation.banks[0].request("GET", "/v1/roster").status == 200
    run_command("tokens", "revoke", *where, "eve")
    assert federation.operate("DELETE", "/v1/banks/bank-00").status == 200
    for _ in range(24):
        assert federation.call("GET", "/v1/runs", token=token.strip()).status == 401
        assert federation.banks[0].request("GET", "/v1/roster").status == 403
    # A signed request is taken once, whichever worker it reaches.
    headers = federation.banks[1].signed_headers("GET", "/v1/roster")
    answers = [federation.call("GET", "/v1/roster", headers=headers).status for _ in range(16)]
    assert answers == [200] + [401] * 15


@pytest.fixture
def other(state: StateDirectory) -> Iterator[Store]:
    """Another store over the same database, as another process has."""
    store = state.open_store()
    yield store
    store.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def listener(other: Store) -> Iterator[tuple[RunListener, Waiters]]:
    dialect, waiters = other.database.dialect, Waiters()
    assert isinstance(dialect, PostgreSQL)
    listener = RunListener(dialect, other.runs, waiters, origin=other.database.origin)
    listener.start()
    yield listener, waiters
    listener.stop()


@on_postgresql
@pytest.mark.parametrize("notified", [True, False])
def test_another_process_is_told_and_looks_if_it_was_not(
    federation: Federation,
    store: Store,
    other: Store,
    listener: tuple[RunListener, Waiters],
    notified: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    banks = federation.start()
    run_id = banks[0].run_id
    if not notified:
        monkeypatch.setattr(PostgreSQL, "announce", lambda *_: None)
    assert other.runs.snapshot(run_id, 0).round is None
    with ThreadPoolExecutor() as pool:

        def complete() -> bool | None:
            current = other.runs.snapshot(run_id, 0).round
            return True if current and len(current.contributions) == 3 else None

        waiting = pool.submit(listener[1].wait, run_id, complete, seconds=60)
        until(lambda: run_id in listener[1].waited_for())
        for bank in banks:
            assert bank.contribute(0, [1]).status == 202
        assert waiting.result(timeout=30) is True
    assert other.runs.product(run_id, 0) == store.runs.product(run_id, 0)


@on_postgresql
def test_a_listener_survives_that_its_connection_is_cut(
    federation: Federation,
    other: Store,
    listener: tuple[RunListener, Waiters],
    database_url: str,
) -> None:
    banks = federation.start()
    run_id = banks[0].run_id
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Also the idle connections of both stores: the next transaction begins on a new one.
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert len(connection.execute(cut).fetchall()) >= 2
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(
                listener[1].wait,
                run_id,
                lambda: other.runs.snapshot(run_id, 0).round,
                seconds=60,
            )
            assert banks[0].contribute(0, [1]).status == 202
            assert waiting.result(timeout=30) is not None
        # What anybody else says there is no announcement.
        for text in ("", "x", "a b c d", "a b -1 1", "a b 1 2"):
            connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, text))
            assert Announcement.parse(text) is None
    said = Announcement("a", "b", 3, True)
    assert Announcement.parse(said.to_text()) == said


def test_several_workers_need_postgresql(state: StateDirectory) -> None:
    refused = run_command("serve", "--state", str(state.path), "--port", "0", "--workers", "2")
    assert_fails(refused, 2, "--workers 2", "SQLite", "aggregator init --database")
    assert not Path(state.path / "aggregator.lock").exists()
