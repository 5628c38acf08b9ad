"""Liveness says that the process answers, readiness that it can work; they fail apart."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from federations.fake_banks import Federation
from flask import Flask
from sqlalchemy import Connection

from aggregator.monitoring.readiness import Readiness
from aggregator.service.store import Store
from aggregator.storage.database import Database
from aggregator.storage.dialect import Kind
from fraudfed import __version__
from fraudfed.errors import UnavailableError


def break_database(database: Database, failing: Kind) -> None:
    """Let the driver fail in every transaction of a kind."""
    begin = database.dialect.begin

    def fail(connection: Connection, kind: Kind) -> None:
        if kind is failing:
            error = sqlite3.OperationalError("user=secret: disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        begin(connection, kind)

    database.dialect.begin = fail  # type: ignore[method-assign]


def unready(readiness: Readiness) -> str:
    with pytest.raises(UnavailableError) as refusal:
        readiness.require()
    return str(refusal.value)


def test_both_say_ok(federation: Federation) -> None:
    for path in ("/v1/health", "/v1/ready"):
        assert federation.call("GET", path).json() == {
            "protocol_version": 2,
            "status": "ok",
            "version": __version__,
        }


@pytest.mark.parametrize(("failing", "word"), [(Kind.READ, "read"), (Kind.WRITE, "written")])
def test_a_broken_database_makes_it_unready_but_not_dead(
    store: Store, tmp_path: Path, failing: Kind, word: str
) -> None:
    break_database(store.database, failing)
    text = unready(Readiness(store.database, tmp_path, room_bytes=1))
    assert f"cannot be {word} (OperationalError)" in text
    # What the database says may name users and addresses, and anybody may ask.
    assert "secret" not in text


def test_health_does_not_ask_the_database(app: Flask, federation: Federation, store: Store) -> None:
    assert app.extensions["fraudfed"].database is store.database
    for kind in Kind:
        break_database(store.database, kind)
    assert federation.call("GET", "/v1/health").status == 200
    answer = federation.call("GET", "/v1/ready")
    assert answer.problem() == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_it_is_unready_without_room(store: Store, tmp_path: Path) -> None:
    assert "make room" in unready(Readiness(store.database, tmp_path, room_bytes=2**80))
    missing = Readiness(store.database, tmp_path / "none", room_bytes=1)
    assert "directory for bodies" in unready(missing)


def test_probes_are_one_try_a_second_whatever_comes(store: Store, tmp_path: Path) -> None:
    now, tries = [100.0], []
    readiness = Readiness(store.database, tmp_path, room_bytes=1, clock=lambda: now[0])

    def counted(name: str, kind: Kind, _seconds: float) -> None:
        if (name, kind) == ("note-ready", Kind.WRITE):
            tries.append(now[0])

    store.database.observe = counted
    for _ in range(50):
        readiness.require()
    now[0] += 1.0
    readiness.require()
    assert tries == [100.0, 101.0]
    # A failure is remembered no longer than a success.
    readiness._room_bytes = 2**80
    readiness.require()
    now[0] += 1.0
    unready(readiness)
    readiness._room_bytes = 1
    unready(readiness)
    now[0] += 1.0
    readiness.require()


def test_a_database_that_hangs_makes_it_unready(store: Store, tmp_path: Path) -> None:
    readiness = Readiness(store.database, tmp_path, room_bytes=1, busy_seconds=0.05)
    entered, release = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert release.wait(60)

    store.database.check = hang  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(readiness.require)
        assert entered.wait(60)
        assert "has not answered" in unready(readiness)
        release.set()
        first.result(60)
    readiness.require()
