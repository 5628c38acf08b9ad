"""Packed stores: the same bits as in memory, from any cache, after any end of the process."""

import dataclasses
import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, START, random_table
from oracles.inbound import random_flows

from bank_node.data.pieces import load_pieces
from bank_node.serving.store import packed, packing
from bank_node.serving.store import warm as warming
from bank_node.serving.store.arrival import ArrivalStore, StoreTerms
from bank_node.serving.store.memory import MemoryStore
from bank_node.serving.store.open import open_store as open_with
from bank_node.serving.store.packed import PackedStore
from bank_node.serving.store.protocol import Arrival
from bank_node.serving.store.sealed_shelf import StoreKeys
from bank_node.serving.store.shelf import Batch
from bank_node.serving.store.sqlite_shelf import SqliteShelf
from bank_node.serving.store.store_secret import store_secret
from bank_node.serving.store.warm import warm, warm_from_file
from bank_node.vault.key_sources import KeySource
from bank_node.vault.vault import SealedVault
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.errors import (
    ConfigurationError,
    ConflictError,
    DataError,
    KeyMaterialError,
    StateError,
    UnavailableError,
)
from fraudfed.features.payment import Payment, payments_of
from fraudfed.reading import pieces as reading_pieces

CARD = StoreTerms(recipe=RECIPE, risk_delay_days=1)
INBOUND = StoreTerms(recipe=INBOUND_RECIPE, risk_delay_days=1)


SECRET = b"secret of a bank's feature stores"


def open_store(address: str | Path, terms: StoreTerms, **options: Any) -> ArrivalStore:
    return open_with(address, terms, secret=SECRET, **options)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few payments divide an entity by days, and few changes are kept in the journal."""
    monkeypatch.setattr(packing, "MOST_IN_HEAD", 3)
    monkeypatch.setattr(packed, "JOURNAL_CHANGES", 5)
    monkeypatch.setattr(warming, "PIECE_ROWS", 30)


def replay(
    store: ArrivalStore, recipe: str, *, seed: int, n_rows: int = 60
) -> Iterator[tuple[int, np.ndarray[Any, Any] | None]]:
    """Observe payments in any order within a day, report frauds; yield the row of each before."""
    rng = np.random.default_rng(seed)
    frames = random_table if recipe == RECIPE else random_flows
    frame = frames(rng, n_rows, days=90)
    payments = payments_of(frame)
    arrival = frame["event_time"].to_numpy() + rng.integers(0, DAY, n_rows) * (
        rng.random(n_rows) < 0.3
    )
    for number, row in enumerate(np.lexsort([rng.random(n_rows), arrival]).tolist()):
        payment = payments[row]
        judged = payment.is_inbound == (recipe == INBOUND_RECIPE)
        found = None
        if judged:
            # Without waiting it is the same row, or none.
            at_once, found = store.features_at_once(payment), store.features(payment)
            assert at_once is None or same(at_once, found)
        yield number, found
        assert store.observe(payment) in (Arrival.NEW, Arrival.LATE)
        if frame["is_fraud"].iloc[row]:
            store.report(payment, report_time=int(frame["label_time"].iloc[row]))


def same(left: np.ndarray[Any, Any] | None, right: np.ndarray[Any, Any] | None) -> bool:
    return (left is None and right is None) or (
        left is not None and right is not None and left.tobytes() == right.tobytes()
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("terms", [CARD, INBOUND], ids=["card", "inbound"])
@pytest.mark.parametrize("seed", range(4))
def test_a_store_without_a_cache_gives_the_same_bits(
    terms: StoreTerms, seed: int, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "store", terms, cache_bytes=0)
    memory = MemoryStore(terms)
    others = replay(memory, terms.recipe, seed=seed)
    for (number, row), (_, other) in zip(
        replay(store, terms.recipe, seed=seed), others, strict=True
    ):
        assert same(row, other), number
        if number % 3:
            store.commit()
        assert isinstance(store, PackedStore)
    store.close()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("terms", [CARD, INBOUND], ids=["card", "inbound"])
@given(seed=st.integers(0, 99), stops=st.sets(st.integers(9, 59), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None)
def test_a_store_that_is_opened_again_gives_the_same_bits(
    terms: StoreTerms, seed: int, stops: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Copied as a crash leaves it: in the middle, without being closed."""
    where = tmp_path_factory.mktemp("store")
    memory = MemoryStore(terms)
    proxy = _Reopened(where, terms, stops)
    others = replay(memory, terms.recipe, seed=seed)
    for (number, row), (_, other) in zip(
        replay(proxy, terms.recipe, seed=seed), others, strict=True
    ):
        assert same(row, other), number
    proxy.store.close()
    again = open_store(where / str(proxy.number), terms)
    for payment in (Payment("new", START + 95 * DAY, "c1", 5, payee_id="p1", direction=None),):
        if terms is CARD:
            assert same(again.features(payment), memory.features(payment))
    again.close()


class _Reopened:
    """A store that is committed after every call, and goes on from a copy of its files at times."""

    def __init__(self, where: Path, terms: StoreTerms, stops: set[int]) -> None:
        self.where, self.terms, self.stops = where, terms, stops
        self.number = self.calls = 0
        self.store = open_store(where / "0", terms)

    def features(self, payment: Payment) -> Any:
        return self.store.features(payment)

    def features_at_once(self, payment: Payment) -> Any:
        return self.store.features_at_once(payment)

    def observe(self, payment: Payment) -> Arrival:
        if self.calls in self.stops:
            before = self.where / str(self.number)
            self.number += 1
            after = self.where / str(self.number)
            shutil.copytree(before, after)
            self.store.shelf.close()
            self.store = open_store(after, self.terms)
        self.calls += 1
        found = self.store.observe(payment)
        self.store.commit()
        return found

    def report(self, payment: Payment, *, report_time: int) -> bool:
        found = self.store.report(payment, report_time=report_time)
        self.store.commit()
        return found


def test_features_are_there_at_once_if_their_histories_are_in_memory(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", CARD)
    payment = Payment("a", START, "c", 100, payee_id="p")
    assert store.features_at_once(payment) is None
    store.observe(payment)
    later = dataclasses.replace(payment, transaction_id="b", event_time=START + 60)
    assert same(store.features_at_once(later), store.features(later))
    store.close()


def test_payments_come_once(tmp_path: Path) -> None:
    for address in ("memory:", tmp_path / "store"):
        store = open_store(address, CARD)
        first = Payment("a", START, "c", 100, payee_id="p")
        assert store.observe(first) is Arrival.NEW
        assert store.observe(first) is Arrival.REPEATED
        with pytest.raises(ConflictError, match="'a': was observed with other content"):
            store.observe(dataclasses.replace(first, amount_minor=101))
        store.commit()
        assert store.observe(first) is Arrival.REPEATED
        assert store.observe(Payment("b", START + 10 * DAY, "c", 1)) is Arrival.NEW
        assert store.observe(Payment("c", START + 9 * DAY, "c", 1)) is Arrival.LATE
        assert store.n_too_late == 0
        assert store.observe(Payment("d", START + 9 * DAY - 1, "c", 1)) is Arrival.TOO_LATE
        assert store.n_too_late == 1
        assert store.report(first, report_time=START)
        assert not store.report(first, report_time=START + 5)
        store.close()
    again = open_store(tmp_path / "store", CARD)
    assert not again.report(first, report_time=START + 5)
    assert again.latest == START + 10 * DAY
    again.close()


_KILLED = """
import json, sys
from pathlib import Path
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store import warm as warming
from bank_node.serving.store.open import open_store
from fraudfed.features.payment import Payment
store = open_store(Path(sys.argv[1]), StoreTerms(risk_delay_days=1), secret=sys.argv[2].encode())
for line in sys.stdin:
    store.observe(Payment(**json.loads(line)))
    store.commit()
    print("ok", flush=True)
"""


def _payments(count: int) -> list[Payment]:
    rng = np.random.default_rng(3)
    return [
        Payment(
            f"t{i}",
            START + 600 * i + int(rng.integers(0, 9000)),
            f"c{rng.integers(0, 9)}",
            int(rng.integers(1, 9999)),
            payee_id=f"p{rng.integers(0, 5)}",
            merchant_id=f"m{rng.integers(0, 3)}",
            latitude=float(rng.random()),
            longitude=float(rng.random()),
        )
        for i in range(count)
    ]


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """A real process is killed while payments are under way, three times."""
    payments, done = _payments(240), 0
    memory = MemoryStore(CARD)
    for stop in (60, 180):
        with subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(tmp_path / "store"), SECRET.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for payment in payments[done : stop + 20]:
                process.stdin.write(json.dumps(_plain(payment)) + "\n")
            process.stdin.flush()
            acknowledged = done
            while acknowledged < stop:
                assert process.stdout.readline() == "ok\n"
                acknowledged += 1
            os.kill(process.pid, signal.SIGKILL)
            acknowledged += process.stdout.read().count("ok\n")
        store = open_store(tmp_path / "store", CARD)
        for number, payment in enumerate(payments[done:acknowledged], done):
            assert store.observe(payment) is Arrival.REPEATED, number
        for payment in payments[done:acknowledged]:
            memory.observe(payment)
        # One more may have been taken without an answer: then it is there as a whole.
        nxt = payments[acknowledged]
        store.observe(nxt)
        memory.observe(nxt)
        done = acknowledged + 1
        for payment in payments[done : done + 20]:
            if payment.event_time >= store.latest - DAY:
                assert same(store.features(payment), memory.features(payment))
        store.close()


def _plain(payment: Payment) -> dict[str, Any]:
    values = dataclasses.asdict(payment)
    return {name: value for name, value in values.items() if name != "identifiers"}


def test_a_full_disk_refuses_payments_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", CARD)
    assert isinstance(store, PackedStore)
    payments = _payments(900)
    store.observe(payments[0])
    store.commit()
    database = store.shelf.inner._database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 2}")
    acknowledged = 1

    def fill() -> None:
        nonlocal acknowledged
        for payment in payments[1:]:
            store.observe(payment)
            store.commit()
            acknowledged += 1

    with pytest.raises(UnavailableError, match=r"features.sqlite: does not answer .*full"):
        fill()
    assert 1 < acknowledged < 900
    # New ones are refused before they change anything; what is there still gives features.
    with pytest.raises(UnavailableError):
        store.observe(payments[acknowledged + 1])
    store.features(payments[acknowledged + 1])
    database.execute(f"PRAGMA max_page_count = {pages + 100_000}")
    assert store.observe(payments[acknowledged]) is Arrival.REPEATED
    store.commit()
    assert store.observe(payments[acknowledged + 1]) is not Arrival.REPEATED
    store.close()


def test_a_store_of_other_terms_is_refused(tmp_path: Path) -> None:
    where = tmp_path / "store"
    store = open_store(where, CARD)
    with pytest.raises(StateError, match="another process has the feature store open"):
        open_store(where, CARD)
    store.close()
    for terms, match in (
        (INBOUND, "recipe is 'fraudfed-card-2', expected 'fraudfed-inbound-2'"),
        (StoreTerms(risk_delay_days=7), "risk_delay_days is '1', expected '7'"),
        (dataclasses.replace(CARD, allowed_lateness_seconds=5), "allowed_lateness_seconds is"),
    ):
        with pytest.raises(StateError, match=match):
            open_store(where, terms)
    with sqlite3.connect(where / "features.sqlite") as database:
        database.execute("UPDATE fact SET value = '0' WHERE name = 'version'")
    database.close()
    with pytest.raises(StateError, match="version is '0', expected '2'"):
        open_store(where, CARD)
    (where / "features.sqlite").write_bytes(b"no database at all, but some text" * 99)
    for name in where.glob("*-wal"):
        name.unlink()
    with pytest.raises(StateError, match="is no feature store"):
        SqliteShelf(where)
    with pytest.raises(ConfigurationError, match=r"ftp://\.\.\.: unknown kind"):
        open_store("ftp://x/", CARD)
    with pytest.raises(ConfigurationError, match="recipe 'x': got a recipe that no store serves"):
        open_store(tmp_path / "new", StoreTerms(recipe="x"))
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("small")
def test_what_no_window_reaches_leaves_the_database(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", CARD, cache_bytes=0)
    for day in range(200):
        time = START + day * DAY
        store.observe(
            Payment(f"t{day}", time, f"c{day % 7}", 5, payee_id=f"p{day}", merchant_id="m")
        )
        store.commit()
    rows = store.shelf.inner._database.execute("SELECT count(*) FROM history").fetchone()[0]
    # Of 200 payees many are gone; those that the sweep has not come to yet are still there.
    assert rows < 170
    journal = store.shelf.inner._database.execute("SELECT count(*) FROM journal").fetchone()[0]
    assert journal <= 600
    store.close()


def test_damaged_bytes_are_refused() -> None:
    with pytest.raises(StateError, match="a history cannot be read"):
        packing.unpack_customer(b"x" * 100)
    with pytest.raises(StateError, match="a history cannot be read"):
        packing.unpack_customer(b"c")
    with pytest.raises(StateError, match="a history cannot be read"):
        packing.unpack_entity({})


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("terms", [CARD, INBOUND], ids=["card", "inbound"])
@pytest.mark.parametrize("seed", range(4))
def test_a_store_that_was_filled_is_that_of_payments_one_by_one(
    terms: StoreTerms, seed: int, tmp_path: Path
) -> None:
    frames = random_table if terms is CARD else random_flows
    frame = frames(np.random.default_rng(seed), 150, days=100).sort_values("event_time")
    past, future = frame.iloc[:120], payments_of(frame.iloc[120:])
    memory, store = MemoryStore(terms), open_store(tmp_path / "store", terms)
    assert isinstance(store, PackedStore)
    for payment, fraud, known in zip(
        payments_of(past), past["is_fraud"], past["label_time"], strict=True
    ):
        memory.observe(payment)
        if fraud:
            memory.report(payment, report_time=int(known))
    # In any order of the rows.
    assert warm(store, past.sample(frac=1, random_state=seed), work=tmp_path / "work") == 120
    with pytest.raises(StateError, match="holds payments, expected an empty one"):
        warm(store, past, work=tmp_path / "work")
    assert store.observe(payments_of(past.iloc[-1:])[0]) is Arrival.REPEATED
    for payment in future:
        if payment.is_inbound == (terms is INBOUND):
            assert same(store.features(payment), memory.features(payment))
        assert store.observe(payment) is memory.observe(payment)
    store.close()


def test_a_store_that_was_not_filled_to_the_end_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", CARD)
    assert isinstance(store, PackedStore)
    store.shelf.write(Batch(facts={"filling": "yes"}))
    store.close()
    with pytest.raises(StateError, match="filling it was interrupted"):
        open_store(tmp_path / "store", CARD)


def test_a_store_is_filled_from_a_file(tmp_path: Path) -> None:
    frame = random_table(np.random.default_rng(1), 40, days=3).sort_values("event_time")
    frame.to_parquet(tmp_path / "past.parquet", index=False)
    store = open_store(tmp_path / "store", CARD)
    assert isinstance(store, PackedStore)
    assert warm_from_file(store, tmp_path / "past.parquet", work=tmp_path / "work") == 40
    last = payments_of(frame)[-1]
    again = dataclasses.replace(last, direction="outbound", own={"balance": 1})
    assert store.observe(again) is Arrival.REPEATED
    with pytest.raises(ConflictError):
        store.observe(dataclasses.replace(last, direction="outbound", latitude=1.5, longitude=2.5))
    store.close()


def test_a_large_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV and Parquet, in pieces and as a whole: the same rows, and faults across pieces."""
    frame = random_table(np.random.default_rng(2), 95, days=50)
    frame.to_parquet(tmp_path / "past.parquet", index=False)
    frame.to_csv(tmp_path / "past.csv", index=False)
    monkeypatch.setattr(reading_pieces, "_SMALL_CSV_BYTES", 0)
    monkeypatch.setattr(reading_pieces, "_BLOCK_BYTES", 4096)
    for name in ("past.parquet", "past.csv"):
        tables = list(load_pieces(tmp_path / name, None, rows=20).read())
        assert len(tables) > 1
        (whole,) = load_pieces(tmp_path / "past.parquet", None, rows=1000).read()
        together = pd.concat(tables, ignore_index=True)
        pd.testing.assert_frame_equal(together[list(whole)], whole, check_dtype=False)
    monkeypatch.setattr(warming, "PIECE_ROWS", 20)
    twice = pd.concat([frame, frame.iloc[:1]])
    twice.to_parquet(tmp_path / "twice.parquet", index=False)
    wrong = frame.assign(amount_minor=frame["amount_minor"].where(frame.index != 70, -5))
    wrong.to_parquet(tmp_path / "wrong.parquet", index=False)
    frame.drop(columns="event_time").to_csv(tmp_path / "missing.csv", index=False)
    store = open_store(tmp_path / "store", CARD)
    assert isinstance(store, PackedStore)
    for name, match in (
        ("twice.parquet", "rows 1 and 96 have one transaction_id"),
        ("wrong.parquet", r"wrong.parquet: row 71, column 'amount_minor'"),
        ("missing.csv", "event_time"),
        ("no.csv", "no.csv: no such file"),
    ):
        with pytest.raises(DataError, match=match):
            warm_from_file(store, tmp_path / name, work=tmp_path / "work")
    assert not (tmp_path / "work").exists()
    assert warm_from_file(store, tmp_path / "past.csv", work=tmp_path / "work") == 95
    store.close()


def test_a_store_is_filled_once_and_anew_after_an_end_in_the_middle(tmp_path: Path) -> None:
    frame = random_table(np.random.default_rng(1), 40, days=3)
    path, other = tmp_path / "past.parquet", tmp_path / "other.parquet"
    frame.to_parquet(path, index=False)
    frame.iloc[:30].to_parquet(other, index=False)
    store = open_store(tmp_path / "store", CARD)
    assert isinstance(store, PackedStore)
    assert warm_from_file(store, path, work=tmp_path / "work") == 40
    store.close()
    again = open_store(tmp_path / "store", CARD, refill=True)
    assert isinstance(again, PackedStore)
    assert warm_from_file(again, path, work=tmp_path / "work") is None
    with pytest.raises(StateError, match="holds payments, expected an empty one"):
        warm_from_file(again, other, work=tmp_path / "work")
    again.shelf.write(Batch(facts={"filling": "yes", "latest": "0", "warmed_from": ""}))
    again.close()
    # What was there of the first filling is gone: else its payments would count twice.
    anew = open_store(tmp_path / "store", CARD, refill=True)
    assert isinstance(anew, PackedStore)
    assert not list(anew.shelf.after(b"", 10)[1])
    assert warm_from_file(anew, other, work=tmp_path / "work") == 30
    anew.close()


def test_no_customer_payee_or_payment_can_be_read_in_a_stores_files(tmp_path: Path) -> None:
    payments = _payments(40)
    _observed(tmp_path / "store", payments)
    assert _readable(tmp_path / "store", payments) == set()


def test_control_without_the_seal_identifiers_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "SealedShelf", lambda shelf, _keys: shelf)
    payments = _payments(40)
    _observed(tmp_path / "store", payments)
    assert _readable(tmp_path / "store", payments)


def _observed(where: Path, payments: list[Payment]) -> None:
    store = open_store(where, CARD)
    for payment in payments:
        store.observe(dataclasses.replace(payment, transaction_id=f"SECRET{payment.event_time}"))
        store.commit()
    store.close()


def _readable(where: Path, payments: list[Payment]) -> set[str]:
    """Return what of the payments stands in the files: identifiers, and seconds in four bytes."""
    content = b"".join(path.read_bytes() for path in where.iterdir())
    found = {payment.transaction_id for payment in payments if b"SECRET" in content}
    seconds = {str(p.event_time) for p in payments if p.event_time.to_bytes(4, "little") in content}
    return found | seconds


def test_a_store_of_another_secret_or_with_changed_bytes_is_refused(tmp_path: Path) -> None:
    where = tmp_path / "store"
    _observed(where, _payments(5))
    with pytest.raises(StateError, match="was made with another secret"):
        open_with(where, CARD, secret=b"another")
    with sqlite3.connect(where / "features.sqlite") as database:
        database.execute("UPDATE history SET data = (SELECT data FROM history LIMIT 1)")
    database.close()
    store = open_store(where, CARD)
    # Of two histories one at least has the bytes of another.
    with pytest.raises(StateError, match="something in it was changed or damaged"):
        _features_of_all(store)
    store.shelf.close()


def _features_of_all(store: ArrivalStore) -> None:
    for payment in _payments(5):
        store.features(payment)


def test_the_secret_of_stores_is_drawn_once_and_sealed(tmp_path: Path) -> None:
    vault = SealedVault(b"k" * 32, source=KeySource.PASSPHRASE)
    secret = store_secret(tmp_path / "serving", vault)
    assert len(secret) == 32
    assert store_secret(tmp_path / "serving", vault) == secret
    assert secret not in (tmp_path / "serving" / "store.key").read_bytes()
    with pytest.raises(KeyMaterialError, match="does not open"):
        store_secret(tmp_path / "serving", SealedVault(b"x" * 32, source=KeySource.PASSPHRASE))
    assert "secret" not in repr(StoreKeys(secret, "id"))
    with pytest.raises(TypeError):
        pickle.dumps(StoreKeys(secret, "id"))
