"""Damaged, foreign, full and absent databases: named, nothing overwritten, nothing half done."""

import contextlib
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from federations.fake_banks import DocumentedClient, Federation, TestKey, sum_round
from federations.postgres import PASSWORD, Cluster, on_postgresql
from federations.server_process import ServerProcess, assert_fails, run_command
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from aggregator.config import ServiceConfig
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import MetaRow
from aggregator.storage.sqlite import SQLite
from aggregator.storage.statement import Statement
from aggregator.storage.transaction import Transaction
from fraudfed.errors import DamagedError, StateError, UnavailableError


def content(directory: Path) -> dict[str, bytes]:
    """Return all files of a directory but those that SQLite makes to read."""
    return {
        file.name: file.read_bytes()
        for file in directory.iterdir()
        if not file.name.endswith(("-shm", "-wal"))
    }


def serve(state: StateDirectory) -> subprocess.CompletedProcess[str]:
    return run_command("serve", "--state", str(state.path), "--port", "0")


@pytest.fixture
def grown(state: StateDirectory, federation: Federation) -> StateDirectory:
    """Return a state directory with a few rounds' rows, its log written back into the file."""
    banks = federation.start()
    for number in range(3):
        sum_round(banks, number, [[1] * 20, [2] * 20, [3] * 20])
    with closing(sqlite3.connect(state.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    return state


@pytest.mark.parametrize("damage", ["truncated", "a page is noise", "not a database", "empty"])
def test_a_damaged_file_is_named_and_left_alone(
    grown: StateDirectory, tmp_path: Path, damage: str
) -> None:
    copy = StateDirectory(tmp_path / "copy")
    copy.path.mkdir()
    shutil.copy(grown.audit_key, copy.audit_key)
    whole = grown.database.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    size = len(whole) // page
    match damage:
        case "truncated":
            broken = whole[: (size // 2) * page]
        case "a page is noise":
            with closing(sqlite3.connect(grown.database)) as connection:
                query = "SELECT rootpage FROM sqlite_master WHERE name = 'contributions'"
                root = connection.execute(query).fetchone()[0]
            broken = whole[: (root - 1) * page] + os.urandom(page) + whole[root * page :]
        case "not a database":
            broken = b"this is no database " * 1000
        case "empty":
            broken = b""
    copy.database.write_bytes(broken)
    before = content(copy.path)
    word = "not an aggregator's" if damage == "empty" else "is damaged"
    assert_fails(serve(copy), 5, str(copy.database), word)
    assert_fails(run_command("migrate", "--state", str(copy.path)), 5, str(copy.database), word)
    after = content(copy.path)
    assert {name: after[name] for name in before} == before
    out = tmp_path / "b.db"
    if damage != "empty":
        refused = run_command("backup", "--state", str(copy.path), "--out", str(out))
        assert_fails(refused, 5, "is damaged")
    assert not out.exists()


def test_damage_at_run_time_is_named_and_no_unexpected_failure(
    grown: StateDirectory, key: TestKey
) -> None:
    """The file is overwritten under a service that has read none of it yet."""
    with closing(grown.open_store()) as store:
        config = ServiceConfig(insecure_allow_small_keys=True)
        client = DocumentedClient(create_app(config, store, Waiters()))
        token = grown.operator_token.read_text().strip()
        with closing(sqlite3.connect(grown.database)) as connection:
            page = connection.execute("PRAGMA page_size").fetchone()[0]
            query = "SELECT rootpage FROM sqlite_master WHERE name = 'runs'"
            root = connection.execute(query).fetchone()[0]
        store.database.close()
        with grown.database.open("r+b") as file:
            file.seek((root - 1) * page)
            file.write(b"\xff" * page)
        answer = client("GET", "/v1/runs", token=token)
        assert answer.problem() == (500, "damaged")
        assert "restore it from a back-up" in answer.json()["detail"]
        assert client("GET", "/v1/health").status == 200
        with pytest.raises(DamagedError):
            store.runs.statuses(visible_to=None)


def test_foreign_databases_are_named_and_left_alone(state: StateDirectory, tmp_path: Path) -> None:
    foreign = StateDirectory(tmp_path / "foreign")
    foreign.path.mkdir()
    with closing(sqlite3.connect(foreign.database)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
        connection.commit()
    before = content(foreign.path)
    for command in ("serve", "migrate"):
        refused = run_command(command, "--state", str(foreign.path))
        assert_fails(refused, 5, "not an aggregator's")
    assert_fails(run_command("init", "--state", str(foreign.path)), 5, "already holds")
    after = content(foreign.path)
    assert {name: after[name] for name in before} == before
    # An aggregator's, but not this one's.
    other = StateDirectory(tmp_path / "other")
    other.create()
    shutil.copy(state.database, other.database)
    assert_fails(serve(other), 5, "another aggregator's", str(other.audit_key))


@on_postgresql
def test_foreign_postgresql_databases_are_named_and_left_alone(
    state: StateDirectory, tmp_path: Path, database_url: str, cluster: Cluster
) -> None:
    again = run_command("init", "--state", str(tmp_path / "b"), "--database", database_url)
    assert_fails(again, 5, "already holds an aggregator")
    other = StateDirectory(tmp_path / "other")
    url = cluster.url()
    other.create(url)
    other.database_url.write_text(database_url)
    assert_fails(serve(other), 5, "another aggregator's")
    cluster.drop(url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
        assert_fails(serve(state), 5, "schema version 999", "knows up to")
        connection.execute("DROP TABLE meta CASCADE")
        assert_fails(serve(state), 5, "not an aggregator's")
        with pytest.raises(psycopg.Error, match="append-only"):
            connection.execute("TRUNCATE audit")
    refused = run_command("init", "--state", str(tmp_path / "b"), "--database", database_url)
    assert_fails(refused, 5, "holds tables that are not an aggregator's")
    assert not (tmp_path / "b" / "operator.token").exists()


@on_postgresql
def test_a_password_is_never_shown(
    state: StateDirectory, tmp_path: Path, database_url: str, cluster: Cluster
) -> None:
    assert stat.S_IMODE(state.database_url.stat().st_mode) == 0o600
    assert PASSWORD in state.database_url.read_text()
    made = run_command("tokens", "list", "--state", str(state.path))
    assert made.returncode == 0
    name = database_url.rpartition("/")[2]
    nowhere = database_url.replace(f":{cluster.port}/", ":1/")
    missing = database_url.replace(name, "none")
    wrong = "no url at all " + PASSWORD
    shown = ""
    for url, code, words in (
        (nowhere, 6, (f"database {name} at 127.0.0.1", "cannot be used")),
        (missing, 6, ("database none at 127.0.0.1", "does not exist")),
        (wrong, 2, ("--database", "postgresql://")),
        (f"mysql://u:{PASSWORD}@h/d", 2, ("--database",)),
        (f"postgresql://u:{PASSWORD}@h:port/d", 2, ("--database",)),
        (f"postgresql://u:{PASSWORD}@127.0.0.1", 2, ("--database",)),
    ):
        target = tmp_path / "b"
        done = run_command("init", "--state", str(target), "--database", url)
        assert_fails(done, code, *words)
        shown += done.stdout + done.stderr
        assert not (target / "database.url").exists()
    state.database_url.write_text(nowhere)
    down = serve(state)
    assert_fails(down, 6, name)
    state.database_url.write_text(wrong)
    unusable = serve(state)
    assert_fails(unusable, 5, str(state.database_url))
    assert PASSWORD not in shown + down.stderr + unusable.stderr


@on_postgresql
def test_a_database_that_goes_away_is_503_and_nothing_is_half_done(
    federation: Federation, state: StateDirectory, cluster: Cluster, database_url: str
) -> None:
    banks = federation.start()
    body = banks[0].contribution(0, [1])
    cluster.control("stop", "-m", "immediate")
    try:
        answers = [
            banks[0].post_contribution(0, body),
            banks[0].product(0, 0),
            federation.operate("GET", "/v1/runs"),
            federation.call("GET", "/v1/ready"),
        ]
    finally:
        cluster.control("start")
    for answer in answers:
        assert answer.problem() == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert PASSWORD.encode() not in answer.body
    # The very same request: its nonce was not taken.
    assert banks[0].post_contribution(0, body).json()["received"] == 1
    assert federation.status(banks[0].run_id)["ciphertexts"] == 1


def test_a_locked_database_is_503(
    federation: Federation, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks = federation.start()
    monkeypatch.setattr("aggregator.storage.sqlite._BUSY_SECONDS", 0.1)
    with (
        closing(state.open_store()) as store,
        closing(sqlite3.connect(state.database, isolation_level=None)) as holder,
    ):
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError):
            store.database.transaction("test", Kind.WRITE, lambda _: None)
        holder.execute("ROLLBACK")
        store.database.transaction("test", Kind.WRITE, lambda _: None)
    assert banks[0].contribute(0, [1]).status == 202


@pytest.mark.e2e
def test_a_full_disk_acknowledges_nothing_and_the_service_goes_on_with_room(
    state: StateDirectory, key: TestKey
) -> None:
    """The worker may not make its files longer for a while: as a full disk, but for one process."""
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        banks = federation.start()
        sum_round(banks, 0, [[1] * 50, [2] * 50, [3] * 50])
        before = federation.status(banks[0].run_id)
        (worker,) = (
            int(pid)
            for pid in subprocess.run(
                ["pgrep", "-P", str(server.process.pid)], capture_output=True, check=True
            ).stdout.split()
        )
        body = banks[0].contribution(1, [1] * 50)
        used = (state.path / "aggregator.db-wal").stat().st_size
        limits = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (used, limits[1]))
        statuses = [banks[0].post_contribution(1, body).problem() for _ in range(5)]
        assert statuses == [(503, "unavailable")] * 5
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
        assert federation.status(banks[0].run_id) == before
        assert banks[0].post_contribution(1, body).json()["received"] == 1
        banks[1].contribute(1, [2] * 50)
        banks[2].contribute(1, [3] * 50)
        width = key.public.ciphertext_bytes
        total = int.from_bytes(banks[0].product(1, 0).body[-width:], "big")
        assert key.phe_private.raw_decrypt(total) == 6
        assert server.stop() == 0
    assert "disk" in server.log()
    assert "failed unexpectedly" not in server.log()
    assert run_command("audit", "verify", "--state", str(state.path)).returncode == 0


def test_a_state_directory_without_its_url_or_file_is_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="aggregator init"):
        StateDirectory(tmp_path).open_store()


@on_postgresql
def test_each_kind_of_transaction_on_postgresql(state: StateDirectory) -> None:
    def settings(opened: Transaction) -> tuple[object, ...]:
        names = ("synchronous_commit", "transaction_isolation")
        return tuple(opened.connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names)

    with closing(state.open_store()) as store:
        for kind, commit, isolation in (
            (Kind.WRITE, "on", "read committed"),
            (Kind.WRITE_BEHIND, "off", "read committed"),
            (Kind.READ, "on", "repeatable read"),
        ):
            found = store.database.transaction("test", kind, settings)
            assert found == (commit, isolation)
        with pytest.raises(UnavailableError):
            store.database.transaction(
                "test",
                Kind.READ,
                lambda read: read.connection.exec_driver_sql("DELETE FROM meta"),
            )


@on_postgresql
def test_a_failed_statement_is_never_committed_in_silence(state: StateDirectory) -> None:
    put = Statement(insert(MetaRow))
    with closing(state.open_store()) as store:

        def swallow(written: Transaction) -> None:
            put.change(written.connection, {"key": "x", "value": "1"})
            with contextlib.suppress(IntegrityError):
                put.change(written.connection, {"key": "x", "value": "2"})

        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            store.database.transaction("test", Kind.WRITE, swallow)
        found = store.database.transaction(
            "test", Kind.READ, lambda read: read.session.get(MetaRow, "x")
        )
        assert found is None


def test_a_full_file_is_passing_trouble(state: StateDirectory) -> None:
    dialect = SQLite(state.database)
    with closing(sqlite3.connect(state.database)) as connection:
        connection.execute("PRAGMA max_page_count = 1").close()
        with pytest.raises(sqlite3.OperationalError, match="full") as caught:
            connection.execute("INSERT INTO meta VALUES ('x', ?)", ("x" * 100_000,))
    assert isinstance(dialect.meaning(caught.value), UnavailableError)
