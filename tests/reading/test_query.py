"""``--data postgresql://...``: one snapshot of a real server, and no password anywhere."""

import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from federations import postgres

from fraudfed.errors import ConfigurationError, DataError, TransportError
from fraudfed.reading import query as module
from fraudfed.reading import scratch
from fraudfed.reading.location import open_data, parse_location
from fraudfed.reading.partitions import partitions_of
from fraudfed.reading.query import Query

pytestmark = pytest.mark.e2e

SELECT = "SELECT id, amount, paid, day, country, card FROM payments WHERE country <> 'no % way'"
TYPES = {"amount": pa.float64(), "country": pa.string(), "id": pa.string()}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return a database with 40,000 payments."""
    with postgres.started() as cluster:
        url = cluster.url()
        with psycopg.connect(url) as connection:
            connection.execute(
                "CREATE TABLE payments AS SELECT n AS id, n / 2.0::numeric AS amount, "
                "timestamptz '2026-01-01' + n * interval '1 s' AS paid, date '2026-01-01' AS day, "
                "CASE WHEN n % 5 = 0 THEN NULL ELSE 'C' || n % 7 END AS country, "
                "9007199254740993::numeric(30, 2) AS card FROM generate_series(1, 40000) AS n"
            )
            connection.execute("UPDATE payments SET country = 'none' WHERE country IS NULL")
        yield url


def test_an_answer_is_a_table_in_partitions_and_the_same_however_often_it_is_read(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FILE_ROWS", 15_000)
    file = open_data(parse_location(url, query=SELECT + ";"))
    first = file.read(TYPES)
    assert first.num_rows == 40_000
    assert sum(first["amount"].cast(pa.float64()).to_pylist()) == 40_000 * 40_001 / 4
    assert set(first["country"].to_pylist()) == {"none", *(f"C{i}" for i in range(7))}
    assert file.read({"card": pa.string()})["card"][0].as_py() == "9007199254740993"
    assert len(partitions_of(file)) == 3
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO payments SELECT * FROM payments LIMIT 10")
    again = open_data(parse_location(url, query=SELECT))
    assert again.read(TYPES).equals(first)
    assert file.places([20_000])[0] == (None, 20_000, None)


def test_nothing_is_written_whatever_the_query_is(url: str) -> None:
    for sql in (
        "DELETE FROM payments RETURNING id",
        "WITH gone AS (DELETE FROM payments RETURNING id) SELECT * FROM gone",
        "SELECT 1; COMMIT; DROP TABLE payments",
        "SELECT nextval('s')",
        "SELECT nothing FROM payments",
    ):
        with pytest.raises(DataError, match="the query fails"):
            open_data(parse_location(url, query=sql))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM payments").fetchone()[0] >= 40_000
    with pytest.raises(DataError, match=r"test_\w+: 1 file and no row in any of them"):
        open_data(parse_location(url, query="SELECT id FROM payments WHERE id < 0")).read(
            {"id": pa.int64()}
        )


def test_a_password_is_in_no_text(
    url: str, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    query = parse_location(url, query=SELECT)
    assert isinstance(query, Query)
    wrong = url.replace("127.0.0.1", "127.0.0.2").replace("postgres:", "postgres:geheim%40")
    texts = [str(query), repr(query), open_data(query).name]
    for address, sql in (
        (url, "SELECT wrong"),
        (wrong, SELECT),
        (url + "?sslmode=nonsense", SELECT),
        (url + "?passwort=geheim", SELECT),
    ):
        with pytest.raises((DataError, TransportError, ConfigurationError)) as raised:
            open_data(parse_location(address, query=sql))
        texts.append(str(raised.value))
        assert raised.value.__cause__ is None
    with pytest.raises(TypeError, match="is not pickled"):
        pickle.dumps(query)
    for text in (*texts, caplog.text):
        assert postgres.PASSWORD not in text
        assert "geheim" not in text
    # From a file of passwords, as libpq reads it.
    keep = tmp_path / "pgpass"
    keep.write_text(f"*:*:*:*:{postgres.PASSWORD}\n")
    keep.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(keep))
    without = url.replace(f":{postgres.PASSWORD}", "")
    assert open_data(parse_location(without, query=SELECT)).read(TYPES).num_rows >= 40_000


@pytest.mark.parametrize(
    "address", ["postgresql://u:p@w@host/d", "postgresql://u:p/w@host/d", "postgres://u:p?w@host/d"]
)
def test_an_address_whose_password_would_pass_for_a_host_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-encode") as raised:
        parse_location(address, query="SELECT 1")
    assert "w@host" not in str(raised.value)


def test_a_query_and_a_database_belong_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--query: missing beside --data postgresql://"):
        parse_location("postgresql://host/d")
    with pytest.raises(ConfigurationError, match="--query: goes with --data postgresql://"):
        parse_location("rows.parquet", query="SELECT 1")
    with pytest.raises(ConfigurationError, match=r"none.sql cannot be read"):
        parse_location("postgresql://host/d", query=str(tmp_path / "none.sql"))
    (tmp_path / "some.sql").write_text("SELECT 1;\n")
    found = parse_location("postgresql://host/d", query=str(tmp_path / "some.sql"))
    assert isinstance(found, Query)
    assert found.sql == "SELECT 1"
    with pytest.raises(TransportError, match="the server does not answer"):
        open_data(parse_location("postgresql://127.0.0.1:1/d", query="SELECT 1"))


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "import os\nfrom fraudfed.reading.scratch import scratch_directory\n"
        "(scratch_directory() / 'rows').write_text('4711')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not list(tmp_path.iterdir())
    subprocess.run([sys.executable, "-c", code + "os.kill(os.getpid(), 9)"], check=False)
    (left,) = tmp_path.iterdir()
    mine = scratch.scratch_directory()
    assert list(tmp_path.iterdir()) == [mine]
    assert left != mine
    assert mine.stat().st_mode & 0o077 == 0
    other = scratch.scratch_directory()
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])
