"""What a transaction promises, on SQLite and on PostgreSQL."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import psycopg
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from aggregator.audit.log import AuditRecord
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import MetaRow
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.errors import UnavailableError

#: See conftest.py.
STORES = ("sqlite", "postgresql")
PUT = Statement(insert(MetaRow))


@pytest.fixture
def other(state: StateDirectory) -> Iterator[Store]:
    """Another store over the same database, as another process has."""
    store = state.open_store()
    yield store
    store.close()


def values(store: Store) -> dict[str, str]:
    query = select(MetaRow.__table__)
    return store.database.transaction(
        "test",
        Kind.READ,
        lambda read: {row.key: row.value for row in read.connection.execute(query)},
    )


def test_writers_of_two_processes_take_turns(store: Store, other: Store) -> None:
    """Each reads the head of the log inside its transaction: one chain for all writers."""

    def write(writer: Store) -> None:
        for index in range(20):
            writer.audit.record(
                AuditRecord(kind="test", actor="a", subject="service", detail=f"{index}")
            )

    before = store.audit.verify().entries
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, [store, other, store, other]))
    assert other.audit.verify().entries == before + 80


def test_a_read_is_of_one_state(store: Store, other: Store) -> None:
    query = select(MetaRow.value).where(MetaRow.key == "x")
    put = insert(MetaRow).values(key="x", value="1")

    def look_twice(read: Transaction) -> None:
        assert read.connection.scalar(query) is None
        other.database.transaction(
            "test", Kind.WRITE, lambda written: written.connection.execute(put)
        )
        assert read.connection.scalar(query) is None

    store.database.transaction("test", Kind.READ, look_twice)
    assert values(store)["x"] == "1"


@pytest.mark.parametrize("kind", [Kind.WRITE, Kind.WRITE_BEHIND])
@pytest.mark.parametrize("way", ["connection", "session", "both"])
def test_a_transaction_is_all_or_nothing(store: Store, other: Store, kind: Kind, way: str) -> None:
    def put(written: Transaction) -> None:
        if way != "connection":
            written.session.add(MetaRow(key="x", value="1"))
        if way != "session":
            PUT.change(written.connection, {"key": "y", "value": "1"})

    def put_and_fail(written: Transaction) -> None:
        put(written)
        written.flush()
        raise ZeroDivisionError

    before = values(other)
    with contextlib.suppress(ZeroDivisionError):
        store.database.transaction("test", kind, put_and_fail)
    assert values(other) == before
    store.database.transaction("test", kind, put)
    keys = {"connection": {"y"}, "session": {"x"}, "both": {"x", "y"}}[way]
    assert values(other).keys() - before.keys() == keys


# Done again


def busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    return error


#: What the database says, and whether the same may then be done again: in the middle of a durable
#: change, of another transaction, and when the commit of a change was sent.
ERRORS = {
    "sqlite": [
        (busy, True, True, True),
        (lambda: sqlite3.OperationalError("no such table"), False, False, False),
        (lambda: sqlite3.IntegrityError("UNIQUE constraint failed"), False, False, False),
    ],
    "postgresql": [
        (psycopg.errors.SerializationFailure, True, True, True),
        (psycopg.errors.DeadlockDetected, True, True, True),
        (psycopg.errors.AdminShutdown, False, True, False),
        (lambda: psycopg.OperationalError("the connection is lost"), False, True, False),
        (lambda: psycopg.InterfaceError("the connection is closed"), False, True, False),
        (psycopg.errors.LockNotAvailable, False, False, False),
        (psycopg.errors.DiskFull, False, False, False),
        (psycopg.errors.UniqueViolation, False, False, False),
    ],
}


Makes = Callable[[], Exception]


def errors(store: Store) -> list[tuple[Makes, bool, bool, bool]]:
    return ERRORS["postgresql" if store.database.is_shared else "sqlite"]


class Work:
    """Puts a row, and fails the first times."""

    def __init__(self, key: str, make: Makes, *, failures: int) -> None:
        self.key = key
        self.make = make
        self.failures = failures
        self.begun = 0

    def __call__(self, written: Transaction) -> int:
        self.begun += 1
        PUT.change(written.connection, {"key": self.key, "value": f"{self.begun}"})
        if self.begun <= self.failures:
            raise self.make()
        return self.begun


def test_what_was_given_up_before_its_commit_is_done_again(store: Store, other: Store) -> None:
    for (index, (make, *again, _)), kind in product(
        enumerate(errors(store)), (Kind.WRITE, Kind.WRITE_BEHIND)
    ):
        work = Work(f"{kind} {index}", make, failures=2)
        if again[kind is not Kind.WRITE]:
            assert store.database.transaction("test", kind, work) == 3
            assert values(other)[work.key] == "3"
        else:
            with pytest.raises(Exception):  # noqa: B017 - each has a name of its own
                store.database.transaction("test", kind, work)
            assert work.begun == 1
            assert work.key not in values(other)


def test_it_is_done_again_a_few_times_and_not_for_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    retried: list[str] = []
    store.database.retried = retried.append
    work = Work("x", errors(store)[0][0], failures=99)
    for kind in (Kind.WRITE, Kind.WRITE_BEHIND):
        with pytest.raises(UnavailableError):
            store.database.transaction("test", kind, work)
    assert (work.begun, retried) == (6, ["test"] * 4)
    monkeypatch.setattr("aggregator.storage.database._RETRY_SECONDS", -1.0)
    with pytest.raises(UnavailableError):
        store.database.transaction("test", Kind.WRITE, work)
    assert work.begun == 7
    assert "x" not in values(store)


def lose_the_next_answer(store: Store, patch: pytest.MonkeyPatch, make: Makes) -> None:
    """Let the next commit happen, and fail all the same."""
    left = [make]
    for engine in set(store.database._engines.values()):
        commit = engine.dialect.do_commit

        def lose(connection: Any, commit: Callable[[Any], None] = commit) -> None:
            commit(connection)
            if left:
                raise left.pop()()

        patch.setattr(engine.dialect, "do_commit", lose)


def test_a_commit_without_an_answer_is_never_done_again(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, make in enumerate(make for make, _, _, again in errors(store) if not again):
        work = Work(f"x{index}", make, failures=0)
        with monkeypatch.context() as patch:
            lose_the_next_answer(store, patch, make)
            with contextlib.suppress(UnavailableError, DBAPIError):
                store.database.transaction("test", Kind.WRITE, work)
        assert work.begun == 1
        assert values(other)[work.key] == "1"


def test_a_read_is_done_again_whatever_became_of_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make in (make for make, _, again, _ in errors(store) if again):
        begun: list[int] = []
        with monkeypatch.context() as patch:
            lose_the_next_answer(store, patch, make)
            store.database.transaction("test", Kind.READ, begun.append)
        assert len(begun) == 2


@pytest.mark.parametrize("kind", [Kind.WRITE, Kind.WRITE_BEHIND])
def test_a_session_that_the_server_ends_is_replaced_unless_a_change_needs_what_was_before(
    store: Store, other: Store, kind: Kind
) -> None:
    """A real one: PostgreSQL ends the session in the middle of the work."""
    if not store.database.is_shared:
        pytest.skip("SQLite has no sessions")
    own = text("SELECT pg_backend_pid()")
    begun = []

    def put(written: Transaction) -> None:
        begun.append(1)
        PUT.change(written.connection, {"key": "x", "value": "1"})
        if len(begun) == 1:
            end = text(f"SELECT pg_terminate_backend({written.connection.scalar(own)})")
            other.database.transaction("test", Kind.READ, lambda read: read.connection.scalar(end))
        PUT.change(written.connection, {"key": "y", "value": "1"})

    if kind is Kind.WRITE:
        with pytest.raises(UnavailableError):
            store.database.transaction("test", kind, put)
        assert not {"x", "y"} & values(other).keys()
    else:
        store.database.transaction("test", kind, put)
        assert len(begun) == 2
        assert {"x", "y"} <= values(other).keys()


def test_a_durable_change_does_not_begin_on_another_connection(store: Store, other: Store) -> None:
    """The server may have crashed since the request's nonce was written, and lost it."""
    if not store.database.is_shared:
        pytest.skip("SQLite has no sessions")
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def cut(read: Transaction) -> int:
        return len(read.connection.execute(end).fetchall())

    for kind in Kind:
        store.database.transaction("test", Kind.READ, lambda _: None)
        assert other.database.transaction("test", Kind.READ, cut) >= 1
        work = Work(f"{kind}", ZeroDivisionError, failures=0)
        if kind is Kind.READ:
            store.database.transaction("test", kind, lambda _: None)
        elif kind is Kind.WRITE_BEHIND:
            store.database.transaction("test", kind, work)
        else:
            with pytest.raises(UnavailableError):
                store.database.transaction("test", kind, work)
            assert work.begun == 0
            # The next one does not find another connection that is closed.
            store.database.transaction("test", kind, work)
        assert (work.key in values(other)) is (kind is not Kind.READ)


def test_words_are_ordered_by_their_bytes(store: Store, other: Store) -> None:
    subjects = ["run/a", "run/a/round/1", "run/a0", "run/A/x", "run/a/round/10", "run/B"]
    for subject in subjects:
        store.audit.record(AuditRecord(kind="k", actor="a", subject=subject, detail="d"))
    found = [entry.subject for entry in other.audit.entries(run_id="a")]
    assert found == ["run/a", "run/a/round/1", "run/a/round/10"]
