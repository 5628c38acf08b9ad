"""Partitions of whole days: same rows as one file, same bytes on any pool of workers."""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.checking.validator import validate_data_set
from data_gen.describing.summary import summarise
from data_gen.schema.transactions import TRANSACTION_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.writing.dask_pool import DaskPool
from data_gen.writing.manifest import read_manifest
from data_gen.writing.output import Progress, write
from data_gen.writing.partitions import plan_partitions
from fraudfed.dask_engine.options import ClusterOptions
from fraudfed.errors import ConfigurationError, StateError

ROWS = 1_000


def _digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def config(tiny_config: WorldConfig) -> WorldConfig:
    # With what the banks send each other, which passes through a spool of its own.
    return tiny_config.replace(incoming_delay_days=3.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config: WorldConfig) -> Path:
    out = tmp_path_factory.mktemp("whole") / "world"
    write(config, out)
    return out


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory, config: WorldConfig) -> Path:
    out = tmp_path_factory.mktemp("parted") / "world"
    write(config, out, partition_rows=ROWS)
    return out


def test_partitions_hold_the_rows_of_the_whole_file(whole: Path, parted: Path) -> None:
    one, many = read_manifest(whole), read_manifest(parted)
    assert many["partition_rows"] == ROWS
    assert many["content_sha256"] == one["content_sha256"]
    for before, bank in zip(one["banks"], many["banks"], strict=True):
        assert {**bank, "files": 0} == {**before, "files": 0}
        files = [parted / file["path"] for file in bank["files"]]
        assert files == sorted((parted / bank["name"] / "transactions").iterdir())
        assert bank["rows"] < ROWS or len(files) > 1
        tables = [pq.read_table(path) for path in files]
        assert [table.num_rows for table in tables] == [file["rows"] for file in bank["files"]]
        expected = pq.read_table(whole / bank["name"] / "transactions.parquet")
        assert pa.concat_tables(tables).equals(expected)
        days = [np.unique(table["event_time"].to_numpy() // 86_400) for table in tables]
        # A day is in one file, whose name is that of its first day or an earlier one.
        assert np.concatenate(days).size == np.unique(np.concatenate(days)).size
        for path, found in zip(files, days, strict=True):
            assert np.datetime64(path.stem, "D").astype(int) <= found[0]


def test_partitions_are_described_and_validated_as_a_file_is(whole: Path, parted: Path) -> None:
    found = validate_data_set(parted, TRANSACTION_SCHEMA, most_faults=10)
    assert found.faults == ()
    assert found.rows == validate_data_set(whole, TRANSACTION_SCHEMA, most_faults=10).rows
    one, many = (summarise(out, read_manifest(out)) for out in (whole, parted))
    assert (one.delays == many.delays).all()
    assert (one.channels == many.channels).all()


def test_a_changed_partition_is_found(parted: Path, tmp_path: Path, config: WorldConfig) -> None:
    out = tmp_path / "world"
    manifest = write(config, out, partition_rows=ROWS)
    first, second, *_ = (out / file["path"] for file in manifest["banks"][0]["files"])
    # Each file is sorted and sound; only their order is wrong.
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    faults = validate_data_set(out, TRANSACTION_SCHEMA, most_faults=100).faults
    assert any("bytes" in fault.expected or "SHA-256" in fault.expected for fault in faults)
    assert any("sorted" in fault.expected and fault.file == str(second) for fault in faults)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=20).map(lambda days: np.array(days)),
    st.integers(1, 60),
)
def test_every_day_is_in_one_partition(per_day: np.ndarray, rows: int) -> None:
    hours = np.zeros(24 * per_day.size + 1, dtype=np.int64)
    # All of a day's payments in its last hour.
    hours[24::24] = per_day
    plan = plan_partitions(np.cumsum(hours), rows=rows)
    assert [part.first_day for part in plan] == [0, *(part.stop_day for part in plan[:-1])]
    assert plan[-1].stop_day == per_day.size
    for part in plan:
        assert part.rows == per_day[part.first_day : part.stop_day].sum()
        assert part.first_row == per_day[: part.first_day].sum()
        assert part.rows <= rows or part.stop_day == part.first_day + 1
    for part, after in itertools.pairwise(plan):
        assert part.rows + per_day[after.first_day] > rows


@pytest.mark.e2e
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_cluster_writes_the_same_bytes(
    parted: Path, tmp_path: Path, config: WorldConfig, workers: int
) -> None:
    reached: list[Progress] = []
    pool = DaskPool(ClusterOptions(workers=workers))
    write(
        config,
        tmp_path / "world",
        pool=pool,
        partition_rows=ROWS,
        on_progress=reached.append,
    )
    assert _digests(tmp_path / "world") == _digests(parted)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]
    last = {progress.phase: progress for progress in reached}
    assert last["writing"].done == last["writing"].total == read_manifest(parted)["rows"]


def test_partitions_that_cannot_be_are_refused(tmp_path: Path, config: WorldConfig) -> None:
    with pytest.raises(ConfigurationError, match="partition rows: got 999"):
        write(config, tmp_path / "world", partition_rows=999)
    with pytest.raises(ConfigurationError, match="expected parquet"):
        write(config, tmp_path / "world", partition_rows=ROWS, formats=("parquet", "csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_see_the_directory_is_named(tmp_path: Path) -> None:
    class Client:
        def run(self, function: object, path: str) -> dict[str, bool]:
            return {"tls://a:1": True, "tls://b:1": False}

    pool = DaskPool(ClusterOptions(workers=1))
    pool._client = Client()  # type: ignore[assignment]
    with pytest.raises(StateError, match="worker tls://b:1 does not see"):
        pool.prepare(tmp_path / "out")
