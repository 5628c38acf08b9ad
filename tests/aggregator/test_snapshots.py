"""The copy in memory is what the database holds, even if others write into it."""

import contextlib
from collections.abc import Iterator

import pytest
from federations.fake_banks import Answer, DocumentedClient, FakeBank, Federation, sum_round
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from aggregator import run_machine as machine
from aggregator.config import ServiceConfig
from aggregator.runs.cache import LatestBytes, Snapshot, Snapshots
from aggregator.runs.store import RunStore
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import MetaRow
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.wire import frames

#: See conftest.py.
STORES = ("sqlite", "postgresql")


@pytest.fixture
def other(state: StateDirectory) -> Iterator[Store]:
    """Another store over the same database, as another process would have."""
    store = state.open_store()
    yield store
    store.close()


def assert_same(store: Store, state: StateDirectory, run_id: str) -> None:
    """Hold all that the service knows of a run against a store that has just been opened."""
    fresh = state.open_store()
    try:
        for number in (None, *range(7)):
            assert store.runs.snapshot(run_id, number) == fresh.runs.snapshot(run_id, number)
            if number is not None:
                assert store.runs.product(run_id, number) == fresh.runs.product(run_id, number)
                assert store.runs.openings(run_id, number) == fresh.runs.openings(run_id, number)
    finally:
        fresh.close()


@pytest.mark.parametrize("ending", ["model", "abort", "disagree"])
def test_every_step_of_a_run_leaves_memory_and_database_equal(
    federation: Federation, store: Store, state: StateDirectory, ending: str
) -> None:
    for index in range(3):
        federation.register(f"bank-{index}")
    banks = federation.banks
    run_id = federation.open_run()
    assert_same(store, state, run_id)
    for bank in banks:
        bank.join(run_id)
        assert_same(store, state, run_id)
    for number in (0, 1):
        for bank in banks:
            bank.contribute(number, [1, 2])
            assert_same(store, state, run_id)
        for shard, bank in enumerate(banks):
            bank.open(number, shard, len(range(shard, 2, 3)))
            assert_same(store, state, run_id)
    banks[0].contribute(2, [1])
    assert_same(store, state, run_id)
    if ending == "abort":
        banks[1].abort()
    elif ending == "disagree":
        assert banks[1].contribute(2, [1], label="leaf").problem() == (409, "run-failed")
    else:
        for bank in banks[1:]:
            bank.contribute(2, [1])
        for shard, bank in enumerate(banks):
            bank.open(2, shard, len(range(shard, 1, 3)))
        for bank in banks:
            bank.submit_model()
            assert_same(store, state, run_id)
    assert_same(store, state, run_id)


def test_every_step_of_generations_leaves_memory_and_database_equal(
    federation: Federation, store: Store, state: StateDirectory
) -> None:
    """The longest life: dropped before the start, while a round is open, while others gather."""
    banks = [federation.register(f"bank-{index}") for index in range(4)]
    first, second, third, late = banks
    run_id = federation.open_run(min_cohort=2)
    for bank in banks:
        bank.run_id = run_id

    def check(*answers: Answer) -> None:
        assert {answer.status for answer in answers} <= {200, 202}, answers
        assert_same(store, state, run_id)

    def whole_round(number: int, taking_part: list[FakeBank], *, step: int) -> None:
        size = len(taking_part)
        for bank in taking_part:
            check(bank.contribute(number, [1, 2], step=step))
        for shard, bank in enumerate(taking_part):
            check(bank.open(number, shard, len(range(shard, 2, size))))

    for bank in banks[:3]:
        check(bank.join(run_id))
    check(federation.drop(late))
    whole_round(0, banks[:3], step=0)
    for bank in banks[:3]:
        check(bank.contribute(1, [1]))
    check(first.open(1, 0, 1))
    check(late.join(run_id))
    check(federation.drop(second))
    check(first.agree(1, step=1, more_rows=0))
    # Too few without the one that waits.
    check(federation.drop(third))
    check(first.agree(2, step=1))
    # Back while the others gather: it comes in at once.
    check(second.join(run_id))
    check(late.agree(3, step=0, more_rows=64))
    for bank in (first, second):
        check(bank.agree(3, step=1))
    whole_round(4, [first, second, late], step=1)
    # Back while they sum: at the next step.
    check(third.join(run_id))
    assert first.contribute(5, [1], step=2).problem() == (409, "cohort-changed")
    check()
    for bank in banks:
        check(bank.agree(4, step=2))
    check(first.put_handover(4, b"sealed", step=2))
    whole_round(6, banks, step=2)
    check(first.submit_model(b"{}"), second.submit_model(b"{}"))
    check(federation.drop(second))
    for bank in (first, third, late):
        check(bank.agree(5, step=3))
    for bank in (first, third, late):
        check(bank.submit_model())
    assert federation.status(run_id)["state"] == "finished"
    store.audit.verify()


def test_two_services_over_one_database_lose_nothing(
    federation: Federation, other: Store, key, state: StateDirectory
) -> None:
    """What one remembers and the other has changed overwrites nothing and refuses nobody."""
    config = ServiceConfig(insecure_allow_small_keys=True)
    second = DocumentedClient(create_app(config, other, Waiters()))
    banks = federation.start()
    through_both = [banks[0], FakeBank(banks[1].name, banks[1].identity, second, key), banks[2]]
    for bank in through_both:
        bank.run_id = banks[0].run_id
    for number in range(3):
        bodies = [bank.contribution(number, [number, 5]) for bank in through_both]
        for bank, body in zip(through_both, bodies, strict=True):
            assert bank.post_contribution(number, body).status == 202
        opened = []
        for shard, bank in enumerate(through_both):
            # A question may be answered with "not yet" by the one that has not been told.
            _, payload = frames.decode(banks[shard].product(number, shard).body, source="test")
            opened += [bytes(payload)]
            assert bank.open(number, shard, len(range(shard, 2, 3))).status == 202
        values = [int.from_bytes(part, "big") for part in opened[:2]]
        assert [key.phe_private.raw_decrypt(c) for c in values] == [3 * number, 15]
    assert federation.status(banks[0].run_id)["ciphertexts"] == 3 * 3 * 2
    other.audit.verify()


def test_a_commit_that_fails_is_forgotten(
    federation: Federation, store: Store, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks = federation.start()
    banks[0].contribute(0, [1])
    body = banks[1].contribution(0, [1])

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store.runs, "_write", full)
        assert banks[1].post_contribution(0, body).status == 500
    assert_same(store, state, banks[0].run_id)
    assert banks[1].post_contribution(0, body).json()["received"] == 2
    banks[2].contribute(0, [1])
    assert_same(store, state, banks[0].run_id)


def test_a_service_reads_no_run_or_product_that_it_has_written(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    original = RunStore._read_snapshot
    monkeypatch.setattr(
        RunStore,
        "_read_snapshot",
        lambda self, *asked: read.append("run") or original(self, *asked),
    )
    monkeypatch.setattr(RunStore, "_read_product", lambda self, _, number: read.append(number))
    banks = federation.start()
    sum_round(banks, 0, [[1], [2], [3]])
    read.clear()
    assert sum_round(banks, 1, [[1], [2], [3]]) == [6]
    assert sum_round(banks, 2, [[1], [2], [4]]) == [7]
    # Before the first contribution there is no product, here or there.
    assert read == [1, 2]


RUN = machine.Run("r", ("a", "b"))


def test_an_older_read_does_not_replace_a_newer_state() -> None:
    snapshots = Snapshots()
    before = Snapshot(RUN, None, 3)
    snapshots.was_read(before, 0)
    step = machine.advance(RUN, None, machine.Join("a"))
    snapshots.was_committed(before, step)
    assert snapshots.find("r", 0) == Snapshot(step.run, None, 4)
    # Somebody had begun to read before the commit, and is done only now.
    snapshots.was_read(before, 0)
    assert snapshots.find("r", 0) == Snapshot(step.run, None, 4)
    assert snapshots.find("r", None) == snapshots.find("r", 0)
    # A version that somebody else has written in between makes all of it unknown.
    snapshots.was_committed(Snapshot(RUN, None, 9), step)
    assert snapshots.find("r", 0) is None


def test_what_is_remembered_is_bounded() -> None:
    snapshots, kept = Snapshots(), LatestBytes()
    for index in range(1000):
        run = machine.Run(f"r{index}", ("a",))
        snapshots.was_read(Snapshot(run, None, 0), 0)
        kept.keep(run.run_id, 0, b"product")
    assert len(snapshots._known) == 64
    assert len(kept._kept) == 16
    assert snapshots.find("r999", 0) is not None
    assert snapshots.find("r0", 0) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["keep", "get", "expire"]))))
def test_latest_bytes_are_those_of_the_database(steps: list[tuple[int, str]]) -> None:
    """Against a database that is a dict: whatever is kept, what is read is true."""
    stored: dict[int, bytes] = {}
    kept = LatestBytes()
    for number, step in steps:
        if step == "keep":
            stored[number] = stored.get(number, b"") + b"x"
            kept.keep("r", number, stored[number])
        elif step == "expire":
            for old in [one for one in stored if one < number]:
                del stored[old]
            kept.forget("r", before=number)
        assert kept.get("r", number, lambda _, n: stored.get(n)) == stored.get(number)


def test_statements_do_what_sqlalchemy_does(store: Store) -> None:
    put = Statement(insert(MetaRow))
    change = Statement(
        update(MetaRow).where(MetaRow.key == bindparam("of_key")).values(value=bindparam("new"))
    )
    query = select(MetaRow.key, MetaRow.value).where(MetaRow.key > "m").order_by(MetaRow.key)
    read = Statement(query.limit(9))

    def use(written: Transaction) -> list[tuple[object, ...]]:
        connection = written.connection
        for key in ("q", "x", "n"):
            assert put.change(connection, {"key": key, "value": f"old {key}"}) == 1
        assert change.change(connection, {"of_key": "x", "new": "new"}) == 1
        assert change.change(connection, {"of_key": "nobody", "new": "new"}) == 0
        found = read.rows(connection, {})
        assert found == [tuple(row) for row in connection.execute(query)]
        assert read.row(connection, {}) == found[0]
        assert ("x", "new") in found
        with pytest.raises(KeyError):
            change.change(connection, {"of_key": "x"})
        return found

    def again(written: Transaction) -> None:
        put.change(written.connection, {"key": "x", "value": "again"})

    def give_up(written: Transaction) -> None:
        put.change(written.connection, {"key": "z", "value": "given up"})
        raise RuntimeError

    found = store.database.transaction("test", Kind.WRITE, use)
    with pytest.raises(IntegrityError):
        store.database.transaction("test", Kind.WRITE, again)
    with contextlib.suppress(RuntimeError):
        store.database.transaction("test", Kind.WRITE, give_up)
    left = store.database.transaction(
        "test", Kind.READ, lambda kept: read.rows(kept.connection, {})
    )
    assert left == found


def test_a_product_that_is_older_than_what_was_read_is_not_kept(
    federation: Federation, store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process commits, and is read, between this one's commit and its note of it."""
    banks = federation.start()
    run_id = banks[0].run_id
    product = other.runs.product
    original = RunStore._write

    def overtaken(self: RunStore, *arguments: object) -> None:
        original(self, *arguments)
        monkeypatch.setattr(RunStore, "_write", original)
        second = DocumentedClient(create_app(config, other, Waiters()))
        bank = FakeBank(banks[1].name, banks[1].identity, second, banks[1].key, run_id)
        assert bank.contribute(0, [20]).status == 202
        # As a waiter of this process does that is woken now.
        assert store.runs.snapshot(run_id, 0, fresh=True).version > 0

    config = ServiceConfig(insecure_allow_small_keys=True)
    monkeypatch.setattr(RunStore, "_write", overtaken)
    assert banks[0].contribute(0, [10]).status == 202
    assert store.runs.product(run_id, 0) == product(run_id, 0)
    assert banks[2].contribute(0, [30]).status == 202
    _, payload = frames.decode(banks[0].product(0, 0).body, source="test")
    assert banks[0].key.phe_private.raw_decrypt(int.from_bytes(payload, "big")) == 60


def test_who_sees_that_a_product_is_complete_finds_it(
    federation: Federation, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiter may look at any moment of a commit: never at the product before the last."""
    banks = federation.start()
    run_id = banks[0].run_id
    seen: list[tuple[int, int]] = []
    original = Snapshots.was_committed

    def look() -> None:
        found = store.runs.snapshot(run_id, 0)
        data = store.runs.product(run_id, 0)
        if found.round is not None and data:
            values = int.from_bytes(data, "big")
            opened = banks[0].key.phe_private.raw_decrypt(values)
            seen.append((len(found.round.contributions), opened))

    def watched(self: Snapshots, *arguments: object) -> None:
        look()
        original(self, *arguments)
        look()

    monkeypatch.setattr(Snapshots, "was_committed", watched)
    for bank in banks:
        assert bank.contribute(0, [1]).status == 202
    assert (3, 3) in seen
    assert all(opened == 3 for count, opened in seen if count == 3)
