"""What a transaction promises, on SQLite and on PostgreSQL."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select

from aggregator.audit.log import AuditRecord
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.schema import MetaRow
from aggregator.storage.statement import Statement

#: See conftest.py.
STORES = ("sqlite", "postgresql")


@pytest.fixture
def other(state: StateDirectory) -> Iterator[Store]:
    """Another store over the same database, as another process has."""
    store = state.open_store()
    yield store
    store.close()


def values(store: Store) -> dict[str, str]:
    with store.database.read_rows() as connection:
        return {row.key: row.value for row in connection.execute(select(MetaRow.__table__))}


def test_writers_of_two_processes_take_turns(store: Store, other: Store) -> None:
    """Each reads the head of the log inside its transaction: one chain, whoever writes."""

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
    with store.database.read_rows() as connection:
        query = select(MetaRow.value).where(MetaRow.key == "x")
        assert connection.scalar(query) is None
        with other.database.write_rows() as writing:
            writing.execute(insert(MetaRow).values(key="x", value="1"))
        assert connection.scalar(query) is None
    assert values(store)["x"] == "1"


@pytest.mark.parametrize("kind", ["write", "write_behind"])
def test_a_transaction_is_all_or_nothing(store: Store, other: Store, kind: str) -> None:
    put = Statement(insert(MetaRow))
    opened = store.database.write_rows if kind == "write" else store.database.write_behind
    with contextlib.suppress(ZeroDivisionError), opened() as connection:
        put.change(connection, {"key": "x", "value": "1"})
        raise ZeroDivisionError
    assert "x" not in values(other)
    with opened() as connection:
        put.change(connection, {"key": "x", "value": "1"})
    assert values(other)["x"] == "1"


def test_words_are_ordered_by_their_bytes(store: Store, other: Store) -> None:
    subjects = ["run/a", "run/a/round/1", "run/a0", "run/A/x", "run/a/round/10", "run/B"]
    for subject in subjects:
        store.audit.record(AuditRecord(kind="k", actor="a", subject=subject, detail="d"))
    found = [entry.subject for entry in other.audit.entries(run_id="a")]
    assert found == ["run/a", "run/a/round/1", "run/a/round/10"]
