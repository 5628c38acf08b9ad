"""Files: same bytes for a seed, all or nothing, a manifest that tells the truth."""

import functools
import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_gen.checking.table_reader import read_tables
from data_gen.events import KIND_NAMES
from data_gen.schema.columns import ARROW_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.world.making import bank_parts, generate, make_world
from data_gen.writing import output
from data_gen.writing.content import ContentDigest, combined_digest
from data_gen.writing.manifest import read_manifest
from data_gen.writing.output import Progress, write
from data_gen.writing.spool import buckets
from fraudfed.errors import ConfigurationError, DataError, StateError

BOTH = ("parquet", "csv")
FIXED_CSV = "47f8ad1ab87600d93a69735f8471239a6119b5925a5843f53b01931e6f439a11"


def _digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_config: WorldConfig) -> Path:
    out = tmp_path_factory.mktemp("data_gen") / "deep" / "world"
    write(tiny_config, out, formats=BOTH)
    return out


@pytest.mark.parametrize("workers", [2, 3])
def test_same_seed_same_bytes_for_any_number_of_workers(
    written: Path, tmp_path: Path, tiny_config: WorldConfig, workers: int
) -> None:
    write(tiny_config, tmp_path / "many", formats=BOTH, workers=workers)
    assert _digests(tmp_path / "many") == _digests(written)
    assert len(_digests(written)) == 2 * tiny_config.banks + 1


def test_workers_share_the_parts_of_a_single_bank(tmp_path: Path, tiny_config: WorldConfig) -> None:
    # More than one block of customers.
    config = tiny_config.replace(banks=1, customers=4_500, days=14)
    assert bank_parts(make_world(config), 0) >= 3 + len(KIND_NAMES)
    for workers in (1, 3):
        write(config, tmp_path / str(workers), workers=workers)
    assert _digests(tmp_path / "1") == _digests(tmp_path / "3")


def test_the_bytes_do_not_depend_on_the_size_of_a_bucket(
    written: Path, tmp_path: Path, tiny_config: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "buckets", functools.partial(buckets, bucket_rows=321))
    write(tiny_config, tmp_path / "out", formats=BOTH)
    assert _digests(tmp_path / "out") == _digests(written)


def test_row_groups_are_filled_over_the_ends_of_buckets(
    tmp_path: Path, tiny_config: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "buckets", functools.partial(buckets, bucket_rows=700))
    monkeypatch.setattr(output, "ROW_GROUP_ROWS", 1_000)
    write(tiny_config, tmp_path / "out")
    metadata = pq.ParquetFile(tmp_path / "out" / "bank_a" / "transactions.parquet").metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {1_000}


def test_progress_tells_parts_made_then_rows_written(
    tmp_path: Path, tiny_config: WorldConfig
) -> None:
    reached: list[Progress] = []
    manifest = write(tiny_config, tmp_path / "out", on_progress=reached.append)
    phases = [progress.phase for progress in reached]
    assert phases == sorted(phases)  # "making", then "writing"
    world = make_world(tiny_config)
    parts = sum(bank_parts(world, bank) for bank in range(tiny_config.banks))
    last = {progress.phase: progress for progress in reached}
    assert last["making"] == Progress("making", parts, parts)
    assert last["writing"] == Progress("writing", manifest["rows"], manifest["rows"])


def test_different_seed_different_bytes(
    written: Path, tmp_path: Path, tiny_config: WorldConfig
) -> None:
    write(tiny_config.replace(seed=8), tmp_path / "other", formats=BOTH)
    ours, other = _digests(written), _digests(tmp_path / "other")
    assert ours.keys() == other.keys()
    assert not set(ours.values()) & set(other.values())


def test_files_hold_what_the_python_api_yields(written: Path, tiny_config: WorldConfig) -> None:
    for name, frame in generate(tiny_config):
        parquet = pd.read_parquet(written / name / "transactions.parquet")
        pd.testing.assert_frame_equal(parquet, frame)
        csv = pd.read_csv(written / name / "transactions.csv", dtype={"is_fraud": "int8"})
        pd.testing.assert_frame_equal(
            csv.astype(object).fillna("null"),
            frame.astype(object).fillna("null"),
            check_dtype=False,
        )


def test_csv_bytes_are_fixed(written: Path) -> None:
    # Independent of the version of pyarrow: a change here changes every published data set.
    text = (written / "bank_c" / "transactions.csv").read_bytes()
    assert hashlib.sha256(text).hexdigest() == FIXED_CSV


def test_parquet_carries_no_foreign_metadata(written: Path) -> None:
    file = pq.ParquetFile(written / "bank_a" / "transactions.parquet")
    assert file.schema_arrow.equals(ARROW_SCHEMA)
    assert file.metadata.metadata is None


def test_manifest_matches_the_files(written: Path, tiny_config: WorldConfig) -> None:
    manifest = json.loads((written / "manifest.json").read_text())
    assert manifest["license"] == "CC0-1.0"
    assert "no real person" in manifest["statement"]
    assert WorldConfig(**manifest["config"]) == tiny_config
    assert manifest["start_time"] < manifest["split_time"] < manifest["end_time"]
    assert manifest["kind"] == "transactions"
    assert [column["name"] for column in manifest["columns"]] == ARROW_SCHEMA.names
    for name in ("rows", "fraud_rows", "missed_fraud_rows", "false_report_rows", "blocked_rows"):
        assert manifest[name] == sum(bank[name] for bank in manifest["banks"])
    digests = _digests(written)
    for bank in manifest["banks"]:
        frame = pd.read_parquet(written / bank["name"] / "transactions.parquet")
        assert bank["rows"] == len(frame)
        assert bank["fraud_rows"] == frame["is_fraud"].sum()
        assert bank["first_event_time"] == frame["event_time"].min()
        assert bank["channels"] == frame["channel"].value_counts().to_dict()
        is_true, is_reported = frame["fraud_kind"].notna(), frame["is_fraud"] == 1
        for name, rows in (
            ("fraud_kinds", is_true),
            ("reported_fraud_kinds", is_true & is_reported),
            ("blocked_fraud_kinds", is_true & (frame["is_blocked"] == 1)),
        ):
            kinds = {kind: count for kind, count in bank[name].items() if count}
            assert kinds == frame.loc[rows, "fraud_kind"].value_counts().to_dict()
        assert bank["true_fraud_rows"] == is_true.sum()
        assert bank["missed_fraud_rows"] == (is_true & ~is_reported).sum()
        assert bank["false_report_rows"] == (~is_true & is_reported).sum()
        assert bank["blocked_rows"] == frame["is_blocked"].sum()
        assert bank["blocked_clean_rows"] == frame.loc[~is_true, "is_blocked"].sum()
        for file in bank["files"]:
            assert digests[file["path"]] == file["sha256"]
            assert (written / file["path"]).stat().st_size == file["bytes"]


def test_the_content_hash_is_that_of_the_rows_of_either_format(written: Path) -> None:
    manifest = read_manifest(written)
    for bank in manifest["banks"]:
        for file in bank["files"]:
            digest = ContentDigest(ARROW_SCHEMA)
            for table in read_tables(written / file["path"], ARROW_SCHEMA):
                digest.update(table)
            assert digest.hexdigest() == bank["content_sha256"]
    pairs = [(bank["name"], bank["content_sha256"]) for bank in manifest["banks"]]
    assert manifest["content_sha256"] == combined_digest(pairs)


def test_the_distance_between_banks_is_that_of_their_channels(written: Path) -> None:
    manifest = read_manifest(written)
    first, second = (
        {name: count / bank["rows"] for name, count in bank["channels"].items()}
        for bank in manifest["banks"][:2]
    )
    half = sum(abs(first[name] - second[name]) for name in first) / 2
    matrix = manifest["bank_distance"]["channel"]
    assert matrix[0][1] == matrix[1][0] == pytest.approx(half, abs=1e-6)
    assert [matrix[i][i] for i in range(len(matrix))] == [0.0] * len(matrix)
    assert 0.0 < manifest["bank_distance"]["mean"] < 1.0


def test_an_empty_directory_is_filled_and_a_full_one_is_not(
    tmp_path: Path, tiny_config: WorldConfig
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(tiny_config, out)
    before = _digests(out)
    with pytest.raises(StateError, match="not empty"):
        write(tiny_config.replace(seed=1), out)
    assert _digests(out) == before
    write(tiny_config.replace(seed=1), out, force=True)
    assert _digests(out) != before
    assert list(tmp_path.iterdir()) == [out]


def test_force_replaces_only_data_sets(tmp_path: Path, tiny_config: WorldConfig) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("ten years of work")
    with pytest.raises(StateError, match="not written by data-gen"):
        write(tiny_config, tmp_path, force=True)
    assert precious.read_text() == "ten years of work"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("phase", ["making", "writing"])
def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, tiny_config: WorldConfig, workers: int, phase: str
) -> None:
    def fail(reached: Progress) -> None:
        if reached.phase == phase:
            raise OSError(28, "No space left on device")

    with pytest.raises(StateError, match="No space left on device"):
        write(tiny_config, tmp_path / "out", workers=workers, on_progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_refused_before_any_work(
    tmp_path: Path, tiny_config: WorldConfig
) -> None:
    with pytest.raises(ConfigurationError, match="workers: got 0"):
        write(tiny_config, tmp_path / "out", workers=0)
    with pytest.raises(ConfigurationError, match="formats"):
        write(tiny_config, tmp_path / "out", formats=("xlsx",))
    a_file = tmp_path / "file"
    a_file.touch()
    with pytest.raises(StateError, match="is a file"):
        write(tiny_config, a_file)
    with pytest.raises(StateError, match="cannot be made"):
        write(tiny_config, a_file / "below")
    assert list(tmp_path.iterdir()) == [a_file]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "not JSON"), ('{"format": "x"}', "format is 'x'")],
)
def test_what_is_not_a_data_set_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("banks", 0),
        ("banks", 677),
        ("customers", 99),
        ("days", 13),
        ("start_time", 1),
        ("fraud_rate", 0.2),
        ("fraud_rate", float("nan")),
        ("size_exponent", -0.1),
        ("clean_delay_days", 0),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: got"):
        WorldConfig().replace(**{name: value})
