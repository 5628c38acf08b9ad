"""``--data s3://...``: objects as partitions, against a real server of moto's."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from fraudfed.errors import ConfigurationError, DataError
from fraudfed.reading.location import open_data, parse_location
from fraudfed.reading.partitioned import PartitionedFile
from fraudfed.reading.partitions import partitions_of
from fraudfed.reading.pieces import in_pieces
from fraudfed.reading.place import file_system

pytestmark = pytest.mark.e2e

TYPES = {"amount": pa.float64()}


@pytest.fixture(scope="module")
def store() -> Iterator[None]:
    """Start a server of the S3 protocol, with a bucket; the environment says where it is."""
    pytest.importorskip("moto", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    patch = pytest.MonkeyPatch()
    try:
        for name, value in settings.items():
            patch.setenv(name, value)
        for _ in range(600):
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        file_system("s3://").mkdir("bucket")
        yield
    finally:
        patch.undo()
        server.kill()
        server.wait()


def put(frame: pd.DataFrame, key: str) -> None:
    with file_system("s3://").open(f"bucket/{key}", "wb") as file:
        if key.endswith(".csv"):
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False, row_group_size=2)


@pytest.mark.usefixtures("store")
def test_objects_are_read_as_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        frame = pd.DataFrame({"amount": [number, number + 0.5, number + 0.75]})
        put(frame, f"rows/day=2026-01-0{number}/a.parquet")
        put(frame, f"csv/part-{number}.csv")
    put(pd.DataFrame({"amount": [1.0]}), "rows/_temporary/x.parquet")
    expected = [n + part for n in range(3) for part in (0, 0.5, 0.75)]
    for url in (
        "s3://bucket/rows",
        "s3://bucket/rows/*/*.parquet",
        "s3://bucket/rows/day=*/a.parquet",
        "s3://bucket/csv/*.csv",
    ):
        file = open_data(parse_location(url))
        assert isinstance(file, PartitionedFile)
        assert file.read(TYPES)["amount"].to_pylist() == expected
        pieces = [piece.read(TYPES)["amount"].to_pylist() for piece in in_pieces(file, rows=2)]
        assert [value for piece in pieces for value in piece] == expected
    days = open_data(parse_location("s3://bucket/rows")).read({"day": pa.string()})["day"]
    assert days.unique().to_pylist() == ["2026-01-00", "2026-01-01", "2026-01-02"]
    one = open_data(parse_location("s3://bucket/csv/part-1.csv"))
    assert one.read(TYPES)["amount"].to_pylist() == expected[3:6]
    assert one.places([1])[0][1:] == (1, 3)
    part = partitions_of(open_data(parse_location("s3://bucket/rows")))[1]
    put(pd.DataFrame({"amount": [7.0, 8.0, 9.0]}), "rows/day=2026-01-01/a.parquet")
    with pytest.raises(DataError, match=r"s3://bucket/rows/day=2026-01-01/a.parquet: has changed"):
        part.open()


@pytest.mark.usefixtures("store")
def test_what_is_not_there_or_not_allowed_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(DataError, match=r"s3://bucket/none: no object matches"):
        open_data(parse_location("s3://bucket/none"))
    with pytest.raises(DataError, match=r"s3://nobucket/x\*: (no object|cannot be listed)"):
        open_data(parse_location("s3://nobucket/x*"))
    put(pd.DataFrame({"amount": [1.0]}), "cut/a.csv")
    with file_system("s3://").open("bucket/cut/b.parquet", "wb") as file:
        file.write(b"PAR1 and nothing more")
    with pytest.raises(DataError, match=r"s3://bucket/cut/b.parquet"):
        open_data(parse_location("s3://bucket/cut/*.parquet"))
    with pytest.raises(ConfigurationError, match="nosuch://: fsspec knows no such store"):
        open_data(parse_location("nosuch://bucket/x"))


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from fraudfed.reading.location import open_data, parse_location\n"
        "open_data(parse_location('s3://bucket/rows'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ,
        cwd=tmp_path,
        check=False,
    )
    assert "pip install fraudfed[object-store]" in done.stderr.splitlines()[-1]
