"""Statements that every round of a run executes: written with SQLAlchemy, executed by the driver.

A statement is compiled once for its database and its values go to the driver's cursor as they are.
That is a tenth of the time that SQLAlchemy needs to look a statement up, bind its values and wrap
its result. Values are of types that every driver takes: str, int, bytes and None.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.compiler import SQLCompiler


class Statement:
    """One statement with named parameters.

    Parameters
    ----------
    statement : ClauseElement
        A select, insert, update or delete.
        Its values are ``bindparam`` by name; those of an insert are all columns of its table.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}

    def change(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Execute an insert, update or delete; return the number of its rows.

        Raises
        ------
        IntegrityError
            If it violates a constraint.
        """
        cursor = self._execute(connection, values)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute a query and return all of its rows."""
        cursor = self._execute(connection, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return found

    def row(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute a query and return its first row, None if it has none."""
        found = self.rows(connection, values)
        return found[0] if found else None

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        text, names, constants = self._text(connection)
        parameters = tuple(constants[name] if name in constants else values[name] for name in names)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text, parameters)
        except connection.dialect.loaded_dbapi.IntegrityError as error:
            cursor.close()
            raise IntegrityError(text, parameters, error) from error
        except connection.dialect.loaded_dbapi.Error as error:
            # A connection that is dead must not go back to the others.
            if connection.dialect.is_disconnect(error, connection.connection, cursor):
                connection.invalidate(error)
            raise
        return cursor

    def _text(self, connection: Connection) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """Return the text, the names of its parameters in order, and those with a fixed value."""
        found = self._compiled.get(connection.dialect.name)
        if found is None:
            compiled = self._statement.compile(dialect=connection.dialect)
            assert isinstance(compiled, SQLCompiler)  # noqa: S101 - what every statement becomes
            binds = {compiled.bind_names[bind]: bind for bind in compiled.binds.values()}
            constants = {name: bind.value for name, bind in binds.items() if not bind.required}
            found = str(compiled), tuple(compiled.positiontup or ()), constants
            self._compiled[connection.dialect.name] = found
        return found
