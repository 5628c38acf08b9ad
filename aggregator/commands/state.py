"""``aggregator init``, ``migrate`` and ``backup``: what is done to a state directory."""

import sys
from pathlib import Path

import click

from aggregator.commands.options import FILE, state_option
from aggregator.commands.output import BackedUp, Created, Migrated
from aggregator.service.backup import back_up
from aggregator.service.state_directory import StateDirectory
from aggregator.storage.database import Database
from fraudfed.console import answers, say


def _show_created(created: Created) -> None:
    say(f"created {created.database}; the operator's token is in {created.operator_token_file}")


@click.command()
@state_option
@click.option(
    "--database",
    "database_url",
    metavar="URL",
    help="Keep all in this empty PostgreSQL database; '-' reads the URL from standard input.  "
    "[default: a SQLite file in DIR]",
)
@answers(Created, _show_created)
def init(state_path: Path, database_url: str | None) -> Created:
    """Create the database, the audit key and the operator's token in DIR."""
    state = StateDirectory(state_path)
    if database_url == "-":
        # A command line can be seen by every user of the machine.
        database_url = sys.stdin.readline().strip()
    state.create(database_url)
    made = state.database if database_url is None else f"database {state.dialect().name}"
    return Created(
        state=str(state.path), database=str(made), operator_token_file=str(state.operator_token)
    )


def _show_migrated(migrated: Migrated) -> None:
    before, after = migrated.version_before, migrated.version
    told = f"is at schema version {after}" if before == after else f"went from {before} to {after}"
    say(f"database {migrated.database} {told}")


@click.command()
@state_option
@answers(Migrated, _show_migrated)
def migrate(state_path: Path) -> Migrated:
    """Bring the database to this program's schema version, all or nothing."""
    state = StateDirectory(state_path)
    dialect = state.dialect()
    with state.locked():
        before, after = Database.migrate(dialect)
    return Migrated(database=dialect.name, version_before=before, version=after)


def _show_backed_up(done: BackedUp) -> None:
    say(
        f"copied {done.database} to {done.out}; {' and '.join(done.secret_files)} belong "
        "to a back-up, too: they are secret, copy them once to a safe place"
    )


@click.command()
@state_option
@click.option("--out", "target", required=True, type=FILE, metavar="FILE", help="File to make.")
@answers(BackedUp, _show_backed_up)
def backup(state_path: Path, target: Path) -> BackedUp:
    """Copy the SQLite database into a new file, also while it is served."""
    state = StateDirectory(state_path)
    back_up(state, target)
    return BackedUp(
        out=str(target),
        database=str(state.database),
        secret_files=(str(state.audit_key), str(state.operator_token)),
    )
