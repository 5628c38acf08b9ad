"""Rows out of PostgreSQL: the answer of one query, taken once and kept on disk while it is used.

The query runs in a read-only transaction of isolation level REPEATABLE READ, so it sees one
snapshot, through a cursor on the server that hands out some rows after others. The answer becomes
Parquet files in a private directory below ``TMPDIR``, which goes when the command ends. So however
often the rows are read, they are the same, and no transaction stays open over a training: on a busy
server it would keep dead rows from being removed.

A password comes from the address, ``PGPASSFILE`` or a service file, as libpq has it. It is in no
text of this module.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from fraudfed.errors import ConfigurationError, DataError, TransportError
from fraudfed.foreign_text import visible
from fraudfed.reading.scratch import scratch_directory

if TYPE_CHECKING:
    from decimal import Decimal

#: Rows that come over the wire at a time, and rows of a file.
_FETCHED: Final = 1 << 14
_FILE_ROWS: Final = 1 << 18
#: Seconds to wait for the server, unless the address says otherwise.
_CONNECT_SECONDS: Final = 30
#: Types by their names in PostgreSQL; all others are texts.
_TYPES: Final = {
    "bool": pa.bool_(),
    "int2": pa.int64(),
    "int4": pa.int64(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
_ENCODE: Final = "percent-encode '@', '/', '?' and '#' in it, or leave the password to PGPASSFILE"

#: Answers of this process; asked again they are the same.
_answers: dict[tuple[str, str], Path] = {}


@dataclass(frozen=True)
class Query:
    """A query, and where it is asked.

    Attributes
    ----------
    address : str
        With a password, maybe: it is neither printed nor pickled.
    sql : str
    """

    address: str = field(repr=False)
    sql: str = field(repr=False)

    @classmethod
    def parse(cls, address: str, query: str | None) -> "Query":
        """Check an address as far as that goes without asking.

        Parameters
        ----------
        address : str
            ``postgresql://user@host/database``.
        query : str or None
            SQL, or the name of a file ``.sql``.

        Raises
        ------
        ConfigurationError
            If there is no query, or the address cannot be taken apart.
        """
        if query is None:
            raise ConfigurationError(
                "--query: missing beside --data postgresql://...; give the SELECT whose rows are "
                "the data, or a file .sql with it"
            )
        if address.count("@") != urlsplit(address).netloc.count("@") or address.count("@") > 1:
            # A piece of the password would pass for the name of a host.
            raise ConfigurationError(f"--data: the address cannot be taken apart; {_ENCODE}")
        if query.strip().lower().endswith(".sql"):
            try:
                query = Path(query.strip()).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(
                    f"--query: {query.strip()} cannot be read ({type(error).__name__}); check path "
                    "and mode"
                ) from error
        sql = query.strip().removesuffix(";").strip()
        if not sql:
            raise ConfigurationError("--query: is empty, expected a SELECT")
        return cls(address, sql)

    def __str__(self) -> str:
        """Say where it is asked, with neither password nor parameters."""
        try:
            found = urlsplit(self.address)
            host, port, user = found.hostname or "", found.port, found.username
        except ValueError:
            return "postgresql://..."
        where = host if port is None else f"{host}:{port}"
        service = parse_qs(found.query).get("service", [""])[0]
        return visible(
            f"postgresql://{'' if user is None else unquote(user) + '@'}{where}{found.path}"
            + (f"?service={service}" if service else "")
        )

    def __reduce__(self) -> Any:
        raise TypeError("a query holds a password and is not pickled; open it, and send partitions")

    def answer(self) -> Path:
        """Ask, if this process has not yet; return the directory with the answer.

        Raises
        ------
        ConfigurationError
            If psycopg is not installed, or the address cannot be taken apart.
        TransportError
            If the server cannot be reached, or does not let this user in.
        DataError
            If the query fails.
        StateError
            If there is no place for the answer.
        """
        key = (self.address, self.sql)
        if key not in _answers:
            _answers[key] = self._ask()
        return _answers[key]

    def _ask(self) -> Path:
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise ConfigurationError(
                f"{self}: reading from PostgreSQL needs the extra 'postgresql'; install it with "
                "'pip install fraudfed[postgresql]'"
            ) from None
        try:
            asked: dict[str, Any] = dict(conninfo_to_dict(self.address))
        except psycopg.Error:
            raise ConfigurationError(
                f"{self}: the address cannot be taken apart; {_ENCODE}"
            ) from None
        asked.setdefault("connect_timeout", _CONNECT_SECONDS)
        asked.setdefault("application_name", "fraudfed bank-node")
        # Nothing is written, whatever the query tries.
        asked["options"] = f"{asked.get('options', '')} -c default_transaction_read_only=on".strip()
        try:
            connection = psycopg.connect(**asked)
        except psycopg.Error as error:
            raise TransportError(
                f"{self}: the server does not answer ({self._hidden(error, asked)}); check "
                "address, user and password, and that the server takes connections from here"
            ) from None
        try:
            with connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                return self._taken(connection)
        except psycopg.Error as error:
            raise DataError(
                f"{self}: the query fails ({self._hidden(error, asked)}); correct --query, which "
                "is one SELECT, and see that this user may read what it names"
            ) from None
        finally:
            connection.close()

    def _taken(self, connection: Any) -> Path:
        directory = scratch_directory()
        with connection.cursor(name="fraudfed_rows") as cursor:
            cursor.execute(self.sql)
            columns = [
                (one.name, self._type(connection, one.type_code)) for one in cursor.description
            ]
            writer: pa_parquet.ParquetWriter | None = None
            number, in_file = 0, 0
            schema = pa.schema([pa.field(name, kind) for name, kind in columns])
            try:
                while True:
                    rows = cursor.fetchmany(_FETCHED)
                    if writer is None and (rows or number == 0):
                        # Names of the same length in the order of the rows.
                        path = directory / f"part-{number:06d}.parquet"
                        writer, number, in_file = (
                            pa_parquet.ParquetWriter(path, schema),
                            number + 1,
                            0,
                        )
                    if not rows or writer is None:
                        return directory
                    writer.write_table(_table(rows, schema))
                    in_file += len(rows)
                    if in_file >= _FILE_ROWS:
                        writer.close()
                        writer = None
            except (OSError, pa.ArrowException, OverflowError) as error:
                reason = " ".join(str(error).split())[:200]
                raise DataError(
                    f"{self}: the answer cannot be kept ({reason}); see that TMPDIR has room, and "
                    "cast what no file can hold"
                ) from error
            finally:
                if writer is not None:
                    writer.close()

    @staticmethod
    def _type(connection: Any, code: int) -> pa.DataType:
        found = connection.adapters.types.get(code)
        return _TYPES.get("" if found is None else found.name, pa.large_string())

    @staticmethod
    def _hidden(error: Exception, asked: dict[str, Any]) -> str:
        """Return what went wrong on one line, without any secret of the address."""
        text = " ".join(str(error).split())
        for key, value in asked.items():
            if "password" in key and value:
                text = text.replace(str(value), "***")
        return visible(text, 300)


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = [
        pa.array(
            [_text(value) for value in values] if pa.types.is_large_string(kind) else values, kind
        )
        for kind, values in zip(schema.types, zip(*rows, strict=True), strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if type(value).__name__ == "Decimal":
        return _number(value)
    return str(value)


def _number(value: "Decimal") -> str:
    """Return a number of any size as text: a whole one without a point."""
    if not value.is_finite():
        return str(value)
    return str(int(value)) if value == value.to_integral_value() else format(value, "f")
