"""Files: same bytes for a seed, all or nothing, a manifest that tells the truth."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_gen.config import WorldConfig
from data_gen.errors import ConfigurationError, DataError, OutputError
from data_gen.manifest import read_manifest
from data_gen.output import write
from data_gen.schema import ARROW_SCHEMA
from data_gen.world import generate

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


def test_same_seed_same_bytes_for_any_number_of_workers(
    written: Path, tmp_path: Path, tiny_config: WorldConfig
) -> None:
    write(tiny_config, tmp_path / "two", formats=BOTH, workers=2)
    assert _digests(tmp_path / "two") == _digests(written)
    assert len(_digests(written)) == 2 * tiny_config.banks + 1


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
    assert "No real person" in manifest["statement"]
    assert WorldConfig(**manifest["config"]) == tiny_config
    assert manifest["start_time"] < manifest["split_time"] < manifest["end_time"]
    assert [column["name"] for column in manifest["columns"]] == ARROW_SCHEMA.names
    assert manifest["rows"] == sum(bank["rows"] for bank in manifest["banks"])
    digests = _digests(written)
    for bank in manifest["banks"]:
        frame = pd.read_parquet(written / bank["name"] / "transactions.parquet")
        assert bank["rows"] == len(frame)
        assert bank["fraud_rows"] == frame["fraud_kind"].notna().sum()
        assert bank["first_event_time"] == frame["event_time"].min()
        assert bank["channels"] == frame["channel"].value_counts().to_dict()
        kinds = {kind: count for kind, count in bank["fraud_kinds"].items() if count}
        assert kinds == frame["fraud_kind"].value_counts().to_dict()
        for file in bank["files"]:
            assert digests[file["path"]] == file["sha256"]
            assert (written / file["path"]).stat().st_size == file["bytes"]


def test_an_empty_directory_is_filled_and_a_full_one_is_not(
    tmp_path: Path, tiny_config: WorldConfig
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(tiny_config, out)
    before = _digests(out)
    with pytest.raises(OutputError, match="not empty"):
        write(tiny_config.replace(seed=1), out)
    assert _digests(out) == before
    write(tiny_config.replace(seed=1), out, force=True)
    assert _digests(out) != before
    assert list(tmp_path.iterdir()) == [out]


def test_force_replaces_only_data_sets(tmp_path: Path, tiny_config: WorldConfig) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("ten years of work")
    with pytest.raises(OutputError, match="not written by data-gen"):
        write(tiny_config, tmp_path, force=True)
    assert precious.read_text() == "ten years of work"


def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, tiny_config: WorldConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(done: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        write(tiny_config, tmp_path / "out", on_progress=fail)
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
    with pytest.raises(OutputError, match="is a file"):
        write(tiny_config, a_file)
    with pytest.raises(OutputError, match="cannot be made"):
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
