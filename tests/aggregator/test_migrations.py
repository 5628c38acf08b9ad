"""From the first release's tables to today's: the same tables, nothing lost, all or nothing."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from federations.postgres import Cluster, on_both_stores
from federations.server_process import assert_fails, run_command
from sqlalchemy import Table, insert, inspect, select

from aggregator.service.state_directory import StateDirectory
from aggregator.storage import schema_version
from aggregator.storage.database import Database
from aggregator.storage.dialect import Dialect, Kind
from aggregator.storage.schema import SCHEMA_VERSION, Base, MetaRow, OpeningRow
from fraudfed import __version__
from fraudfed.wire.messages import RunState

#: A database as the first release left it: one finished run, one in its second round.
OLD = Path(__file__).with_name("version_2")
FACTS = json.loads((OLD / "facts.json").read_text())


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """Return a SQLite file as the first release left it."""
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.executescript((OLD / "aggregator.sql").read_text())
    return file


@pytest.fixture
def old_state(tmp_path: Path, old_file: Path, database_url: str | None) -> StateDirectory:
    """Return a state directory of the first release, its database in either store."""
    state = StateDirectory(tmp_path / "old")
    state.path.mkdir(mode=0o700)
    shutil.copy(OLD / "audit.key", state.audit_key)
    state.audit_key.chmod(0o600)
    if database_url is None:
        old_file.rename(state.database)
        return state
    state.database_url.write_text(database_url)
    # That release knew SQLite only: its tables by the first migration, its rows from the file.
    database = Database(state.dialect())
    with database.write_rows() as connection, closing(sqlite3.connect(old_file)) as old:
        config = schema_version.alembic_config(connection)
        command.upgrade(config, f"{schema_version.FIRST_VERSION:04d}")
        old.row_factory = sqlite3.Row
        tables = inspect(connection)
        for table in Base.metadata.sorted_tables:
            if not tables.has_table(table.name):
                continue
            reflected = Table(table.name, type(Base.metadata)(), autoload_with=connection)
            rows = [dict(row) for row in old.execute(f"SELECT * FROM {table.name}")]
            if rows:
                connection.execute(insert(reflected), rows)
    database.close()
    return state


def differences(dialect: Dialect) -> list[Any]:
    """Return what tells the tables of a database from those stated in the schema."""
    engine = dialect.engines()[Kind.READ]
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "target_metadata": Base.metadata}
            )
            return list(compare_metadata(context, Base.metadata))
    finally:
        engine.dispose()


def version_of(dialect: Dialect) -> str | None:
    database = Database(dialect)
    try:
        with database.read() as session:
            return session.scalar(select(MetaRow.value).where(MetaRow.key == "schema_version"))
    finally:
        database.close()


@on_both_stores
def test_created_and_migrated_tables_are_those_of_the_schema(
    state: StateDirectory, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert differences(state.dialect()) == []
    other = StateDirectory(tmp_path / "other")
    other.path.mkdir()
    if state.database_url.exists():
        cluster: Cluster = request.getfixturevalue("cluster")
        other.database_url.write_text(cluster.url())
    else:
        other.database.touch()
    database = Database(other.dialect())
    with database.write_rows() as connection:
        command.upgrade(schema_version.alembic_config(connection), "head")
    database.close()
    assert differences(other.dialect()) == []
    if other.database_url.exists():
        cluster.drop(other.database_url.read_text())


def test_every_version_has_its_migration() -> None:
    versions = Path(schema_version.__file__).parents[1] / "migrations" / "versions"
    found = sorted(int(file.name[1:5]) for file in versions.glob("v*.py"))
    assert found == list(range(schema_version.FIRST_VERSION, SCHEMA_VERSION + 1))


@on_both_stores
def test_a_database_of_the_first_release_goes_on(old_state: StateDirectory) -> None:
    refused = run_command("serve", "--state", str(old_state.path), "--port", "0")
    assert_fails(refused, 5, "schema version 2", f"aggregator migrate --state {old_state.path}")
    with pytest.raises(Exception, match="schema version 2"):
        old_state.open_store()
    migrated = run_command("migrate", "--state", str(old_state.path))
    assert f"went from 2 to {SCHEMA_VERSION}" in migrated.stdout, migrated.stderr
    assert differences(old_state.dialect()) == []
    with closing(old_state.open_store()) as store:
        head = store.audit.verify()
        assert (head.entries, head.hash) == (FACTS["entries"], FACTS["hash"])
        banks = ("bank-00", "bank-01", "bank-02")
        finished = store.runs.status(FACTS["finished"])
        assert finished.state is RunState.FINISHED
        assert finished.model_sha256 is not None
        assert store.runs.model(finished.model_sha256) is not None
        assert len(store.runs.round_summaries(FACTS["finished"], start=0, limit=9)) == 2
        going_on = store.runs.snapshot(FACTS["open"])
        assert (going_on.run.state, going_on.run.round_number) == (RunState.TRAINING, 1)
        assert (going_on.run.generation, going_on.run.banks) == (0, banks)
        assert going_on.round is not None
        assert [bank for bank, _ in going_on.round.contributions] == list(banks[:2])
        assert store.runs.product(FACTS["open"], 1)
        assert store.runs.openings(FACTS["open"], 0)
        summaries = store.runs.round_summaries(FACTS["open"], start=0, limit=9)
        assert [one.number for one in summaries] == [0, 1]
        with store.database.read() as session:
            release = session.scalar(select(MetaRow.value).where(MetaRow.key == "release"))
            assert release == __version__
            assert all(session.scalars(select(OpeningRow.frame)))
        # What guards the log is still there, and the next entry is chained to the last.
        with pytest.raises(Exception, match="append-only"), store.database.write() as session:
            session.connection().exec_driver_sql("DELETE FROM audit")
        store.tokens.create("new", store.tokens.listed()[0].role)
        assert store.audit.verify().entries == FACTS["entries"] + 1
    again = run_command("migrate", "--state", str(old_state.path))
    assert again.stdout.endswith(f"is at schema version {SCHEMA_VERSION}\n")


@on_both_stores
def test_a_migration_that_is_killed_leaves_the_old_version(old_state: StateDirectory) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from aggregator import schema_version\n"
        "from aggregator.storage.database import Database\n"
        "from aggregator.service.state_directory import StateDirectory\n"
        "schema_version._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Database.migrate(StateDirectory(pathlib.Path(sys.argv[1])).dialect())\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, old_state.path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert version_of(old_state.dialect()) == "2"
    database = Database(old_state.dialect())
    with database.read_rows() as connection:
        assert not inspect(connection).has_table("handovers")
    database.close()
    assert run_command("migrate", "--state", str(old_state.path)).returncode == 0
    assert version_of(old_state.dialect()) == str(SCHEMA_VERSION)


def test_a_migration_waits_for_nobody_who_serves(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.service.state_directory._LOCK_SECONDS", 0.2)
    with state.locked():
        refused = run_command("migrate", "--state", str(state.path))
    assert_fails(refused, 5, "served by another aggregator process")
