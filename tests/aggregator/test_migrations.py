"""From one version of the tables to the next: the same tables, nothing lost, all or nothing.

There is one version yet. What a later release will do is tried with a step of these tests' own.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from federations.fake_banks import Federation, sum_round
from federations.postgres import Cluster
from federations.server_process import assert_fails, run_command
from sqlalchemy import inspect, select

from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage import schema_version
from aggregator.storage.database import Database
from aggregator.storage.dialect import Dialect, Kind
from aggregator.storage.schema import SCHEMA_VERSION, Base, MetaRow
from aggregator.storage.transaction import Transaction
from fraudfed import __version__
from fraudfed.errors import StateError
from fraudfed.wire.messages import RunState

#: See conftest.py.
STORES = ("sqlite", "postgresql")
MIGRATIONS = Path(schema_version.__file__).parents[1] / "migrations"
LATER = SCHEMA_VERSION + 1
STEP = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{LATER:04d}", "{SCHEMA_VERSION:04d}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.add_column("rounds", sa.Column("later", sa.BigInteger(), nullable=True))
    op.execute("UPDATE rounds SET later = number + 1")
    op.create_table("later", sa.Column("id", sa.BigInteger(), primary_key=True))
'''


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """Return a folder with this release's steps and one more."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / f"v{LATER:04d}_later.py").write_text(STEP)
    return folder


@pytest.fixture
def later_release(
    migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Be the release after this one."""
    with monkeypatch.context() as patch:
        patch.setattr(schema_version, "_MIGRATIONS", migrations)
        patch.setattr(schema_version, "SCHEMA_VERSION", LATER)
        yield patch


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


def read(dialect: Dialect, work: Callable[[Transaction], Any]) -> Any:
    with closing(Database(dialect)) as database:
        return database.transaction("test", Kind.READ, work)


def version_of(dialect: Dialect) -> int:
    query = select(MetaRow.value).where(MetaRow.key == "schema_version")
    return int(read(dialect, lambda found: found.connection.scalar(query)))


def has_later(dialect: Dialect) -> bool:
    return bool(read(dialect, lambda found: inspect(found.connection).has_table("later")))


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
    with closing(Database(other.dialect())) as database:
        database.transaction(
            "test",
            Kind.WRITE,
            lambda written: command.upgrade(
                schema_version.alembic_config(written.connection), "head"
            ),
        )
    assert differences(other.dialect()) == []
    if other.database_url.exists():
        cluster.drop(other.database_url.read_text())


def test_every_version_has_its_migration() -> None:
    found = sorted(int(file.name[1:5]) for file in (MIGRATIONS / "versions").glob("v*.py"))
    assert found == list(range(1, SCHEMA_VERSION + 1))


def test_a_database_of_an_earlier_version_continues(
    state: StateDirectory,
    store: Store,
    federation: Federation,
    later_release: pytest.MonkeyPatch,
) -> None:
    """With one finished run, and one in its second round."""
    banks = federation.start()
    finished = banks[0].run_id
    sum_round(banks, 0, [[1], [2], [3]])
    for bank in banks:
        assert bank.submit_model().status == 200
    going_on = federation.open_run()
    for bank in banks:
        bank.join(going_on)
    sum_round(banks, 0, [[1], [2], [3]])
    for bank in banks[:2]:
        bank.contribute(1, [4])
    before = store.audit.verify()
    known = {run_id: store.runs.status(run_id) for run_id in (finished, going_on)}

    refused = run_command("serve", "--state", str(state.path), "--port", "0")
    assert_fails(refused, 5, f"aggregator migrate --state {state.path}")
    with pytest.raises(StateError, match=f"needs {LATER}.*aggregator migrate --state {state.path}"):
        state.open_store()
    migrated = run_command("migrate", "--state", str(state.path))
    assert f"went from {SCHEMA_VERSION} to {LATER}" in migrated.stdout, migrated.stderr
    assert version_of(state.dialect()) == LATER

    with closing(state.open_store()) as after:
        assert after.audit.verify() == before
        assert {run_id: after.runs.status(run_id) for run_id in known} == known
        assert known[finished].state is RunState.FINISHED
        assert after.runs.model(known[finished].model_sha256 or "") is not None
        snapshot = after.runs.snapshot(going_on)
        assert snapshot.round is not None
        assert [bank for bank, _ in snapshot.round.contributions] == [b.name for b in banks[:2]]
        assert after.runs.product(going_on, 1)
        assert after.runs.openings(going_on, 0)

        def rows(found: Transaction) -> tuple[str | None, list[int]]:
            release = select(MetaRow.value).where(MetaRow.key == "release")
            later = found.connection.exec_driver_sql("SELECT later - number FROM rounds")
            return found.connection.scalar(release), list(later.scalars())

        release, filled = after.database.transaction("test", Kind.READ, rows)
        assert release == __version__
        assert set(filled) == {1}
        # What guards the log is still there, and the next entry is chained to the last.
        with pytest.raises(Exception, match="append-only"):
            after.database.transaction(
                "test",
                Kind.WRITE,
                lambda written: written.connection.exec_driver_sql("DELETE FROM audit"),
            )
        after.tokens.create("new", after.tokens.listed()[0].role)
        assert after.audit.verify().entries == before.entries + 1
    again = run_command("migrate", "--state", str(state.path))
    assert again.stdout.endswith(f"is at schema version {LATER}\n")

    # The release before does not touch it.
    later_release.undo()
    for refusal in (state.open_store, lambda: Database.migrate(state.dialect())):
        with pytest.raises(StateError, match=f"version {LATER}.*knows up to {SCHEMA_VERSION}"):
            refusal()


def test_a_migration_that_is_killed_leaves_the_old_version(
    state: StateDirectory, migrations: Path
) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from aggregator.storage import schema_version\n"
        "from aggregator.storage.database import Database\n"
        "from aggregator.service.state_directory import StateDirectory\n"
        "schema_version._MIGRATIONS = pathlib.Path(sys.argv[2])\n"
        "schema_version.SCHEMA_VERSION += 1\n"
        "if sys.argv[3:]:\n"
        "    schema_version._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Database.migrate(StateDirectory(pathlib.Path(sys.argv[1])).dialect())\n"
    )
    arguments = [sys.executable, "-c", program, str(state.path), str(migrations)]
    killed = subprocess.run([*arguments, "kill"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert version_of(state.dialect()) == SCHEMA_VERSION
    assert not has_later(state.dialect())
    subprocess.run(arguments, check=True)
    assert version_of(state.dialect()) == LATER
    assert has_later(state.dialect())


def test_a_migration_that_fails_leaves_the_old_version(
    state: StateDirectory, migrations: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("later_release")  # now that this release has made the state
    (step,) = (migrations / "versions").glob("*_later.py")
    step.write_text(STEP + "    raise ZeroDivisionError\n")
    with pytest.raises(ZeroDivisionError):
        Database.migrate(state.dialect())
    assert version_of(state.dialect()) == SCHEMA_VERSION
    assert not has_later(state.dialect())
    step.write_text(STEP)
    assert Database.migrate(state.dialect()) == (SCHEMA_VERSION, LATER)
    assert has_later(state.dialect())


def test_a_migration_waits_for_nobody_who_serves(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.service.state_directory._LOCK_SECONDS", 0.2)
    with state.locked():
        refused = run_command("migrate", "--state", str(state.path))
    assert_fails(refused, 5, "served by another aggregator process")
