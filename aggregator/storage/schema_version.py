"""Which version the tables of a database have, and how they get to this program's.

The tables are stated in ``schema``; ``migrations`` holds one step for each version, the first of
which makes them. ``meta`` has the version and the release that wrote it, so that any program can
tell without knowing the tables; Alembic keeps its own note of the same in ``alembic_version``.
"""

import logging
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, inspect, select, update

from aggregator.storage.dialect import Dialect
from aggregator.storage.schema import SCHEMA_VERSION, Base, MetaRow
from fraudfed import __version__
from fraudfed.errors import StateError

if TYPE_CHECKING:
    from alembic.config import Config


#: Where the steps are.
_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_VERSION_KEY = "schema_version"
_RELEASE_KEY = "release"


def create(connection: Connection, name: str) -> None:
    """Create the tables in an empty database.

    Raises
    ------
    StateError
        If it is not empty.
    """
    tables = inspect(connection).get_table_names()
    if MetaRow.__tablename__ in tables:
        raise StateError(
            f"database {name} already holds an aggregator; serve it with its own state directory, "
            "or give an empty database"
        )
    if tables:
        raise StateError(
            f"database {name} holds tables that are not an aggregator's ({sorted(tables)[0]!r} "
            f"and {len(tables) - 1} more); give an empty database"
        )
    Base.metadata.create_all(connection)
    _note(connection, SCHEMA_VERSION)
    _stamp(connection, SCHEMA_VERSION)


def require_known(connection: Connection, dialect: Dialect) -> None:
    """Raise ``StateError`` unless it is an aggregator's database of a version up to this one's."""
    found = _found(connection, dialect.name)
    if found > SCHEMA_VERSION:
        raise _newer(connection, dialect.name, found)


def require_current(connection: Connection, dialect: Dialect) -> None:
    """Raise ``StateError`` unless the tables are of this program's version."""
    found = _found(connection, dialect.name)
    if found == SCHEMA_VERSION:
        return
    if found > SCHEMA_VERSION:
        raise _newer(connection, dialect.name, found)
    raise StateError(
        f"database {dialect.name} has schema version {found}, this program needs "
        f"{SCHEMA_VERSION}; stop the service, back the database up, and run `aggregator migrate "
        f"--state {dialect.directory}`"
    )


def upgrade(connection: Connection, dialect: Dialect) -> tuple[int, int]:
    """Bring the tables to this program's version; return the version before and after.

    Raises
    ------
    StateError
        If the version is unknown, or newer than this program's.
    """
    found = _found(connection, dialect.name)
    if found > SCHEMA_VERSION:
        raise _newer(connection, dialect.name, found)
    if found < SCHEMA_VERSION:
        _alembic().upgrade(alembic_config(connection), "head")
        _note(connection, SCHEMA_VERSION)
    return found, SCHEMA_VERSION


def alembic_config(connection: Connection) -> "Config":
    """Return Alembic's configuration for the migrations of this package, on a connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _stamp(connection: Connection, version: int) -> None:
    """Let Alembic know which version the tables have."""
    _alembic().stamp(alembic_config(connection), f"{version:04d}")


def _alembic() -> ModuleType:
    # Before it is loaded: even that it logs.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Only here: it takes longer to load than most commands run.
    from alembic import command

    return command


def _found(connection: Connection, name: str) -> int:
    tables = inspect(connection).get_table_names()
    value = _meta(connection, _VERSION_KEY) if MetaRow.__tablename__ in tables else None
    if value is None or not value.isdecimal() or "audit" not in tables:
        raise StateError(
            f"database {name} is not an aggregator's; give the directory that `aggregator init` "
            "made"
        )
    found = int(value)
    if found < 1:
        raise StateError(
            f"database {name} has schema version {found}, which no release had; make a new state "
            "directory with `aggregator init`"
        )
    return found


def _newer(connection: Connection, name: str, found: int) -> StateError:
    release = _meta(connection, _RELEASE_KEY)
    use = (
        f"fraudfed {release}, which wrote it, or newer" if release else "the release that wrote it"
    )
    return StateError(
        f"database {name} has schema version {found}, this program (fraudfed {__version__}) knows "
        f"up to {SCHEMA_VERSION}; use {use}"
    )


def _meta(connection: Connection, key: str) -> str | None:
    return connection.scalar(select(MetaRow.value).where(MetaRow.key == key))


def _note(connection: Connection, version: int) -> None:
    for key, value in ((_VERSION_KEY, str(version)), (_RELEASE_KEY, __version__)):
        changed = connection.execute(
            update(MetaRow).where(MetaRow.key == key).values(value=value)
        ).rowcount
        if not changed:
            connection.execute(insert(MetaRow).values(key=key, value=value))
