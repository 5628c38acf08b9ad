"""Tables and plots: the numbers of the files, and the same bytes for the same numbers."""

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from data_gen.credit.config import CreditConfig
from data_gen.credit.describe import describe_credit, summarise_credit
from data_gen.credit.output import write_credit
from data_gen.credit.plots import save_credit_plots
from data_gen.describing import summary as summary_module
from data_gen.describing.describe import describe
from data_gen.describing.plots import PLOT_NAMES, save_plots
from data_gen.describing.summary import AMOUNT_EDGES, DELAY_EDGES, Summary, summarise
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.settings.config import DAY_SECONDS, WorldConfig, bank_names
from data_gen.writing.manifest import read_manifest
from data_gen.writing.output import write
from fraudfed.errors import DataError


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory, tiny_config: WorldConfig) -> Path:
    out = tmp_path_factory.mktemp("describe") / "world"
    write(tiny_config, out)
    return out


@pytest.fixture(scope="module")
def manifest(data_set: Path) -> dict[str, Any]:
    return read_manifest(data_set)


@pytest.fixture(scope="module")
def found(data_set: Path, manifest: dict[str, Any]) -> Summary:
    return summarise(data_set, manifest)


@pytest.fixture(scope="module")
def frame(data_set: Path, manifest: dict[str, Any]) -> pd.DataFrame:
    parts = [
        pd.read_parquet(data_set / bank["name"] / "transactions.parquet").assign(bank=bank["name"])
        for bank in manifest["banks"]
    ]
    return pd.concat(parts, ignore_index=True)


def test_volumes_are_those_of_pandas(found: Summary, frame: pd.DataFrame) -> None:
    time = pd.to_datetime(frame["event_time"], unit="s")
    for channel, name in enumerate(CHANNEL_NAMES):
        rows = frame["channel"] == name
        assert found.channels[channel] == rows.sum()
        counts = time[rows].groupby([time.dt.day_of_week, time.dt.hour]).size()
        for weekday in range(7):
            for hour in range(24):
                assert found.hours[channel, weekday, hour] == counts.get((weekday, hour), 0)
    for bank, name in enumerate(found.banks):
        day = (frame.loc[frame["bank"] == name, "event_time"] - 1_735_689_600) // DAY_SECONDS
        assert found.days[bank].tolist() == np.bincount(day, minlength=found.n_days).tolist()


def test_amounts_and_delays_fall_into_their_bins(found: Summary, frame: pd.DataFrame) -> None:
    for channel, name in enumerate(CHANNEL_NAMES):
        amounts = frame.loc[frame["channel"] == name, "amount_minor"]
        expected = np.histogram(amounts, bins=[*AMOUNT_EDGES, np.inf])[0]
        assert found.amounts[channel][1:].tolist() == expected.tolist()
        assert found.amounts[channel][0] == 0
    reported = frame[frame["is_fraud"] == 1]
    for kind, name in enumerate(KIND_NAMES):
        rows = reported[reported["fraud_kind"] == name]
        days = (rows["label_time"] - rows["event_time"]) / DAY_SECONDS
        expected = np.histogram(days, bins=[-np.inf, *DELAY_EDGES, np.inf])[0]
        assert found.delays[kind].tolist() == expected.tolist()


def test_missing_values_are_counted_by_column_and_channel(
    found: Summary, frame: pd.DataFrame
) -> None:
    missing = frame[list(found.columns)].isna().groupby(frame["channel"]).sum()
    for column, name in enumerate(found.columns):
        expected = [int(missing.loc[channel, name]) for channel in CHANNEL_NAMES]
        assert found.missing[column].tolist() == expected


def test_how_a_file_is_read_in_pieces_does_not_matter(
    data_set: Path, manifest: dict[str, Any], found: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = summary_module.read_tables

    def slowly(path: Path, schema: Any) -> Any:
        for table in read(path, schema):
            for start in range(0, len(table), 97):
                yield table.slice(start, 97)

    monkeypatch.setattr(summary_module, "read_tables", slowly)
    again = summarise(data_set, manifest)
    for name in ("hours", "days", "amounts", "delays", "missing", "channels"):
        assert (getattr(again, name) == getattr(found, name)).all()


def _printed(tables: list[Any]) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=150)
    for table in tables:
        console.print(table)
    return stream.getvalue()


def test_the_tables_show_the_manifests_counts(found: Summary, manifest: dict[str, Any]) -> None:
    text = _printed(describe(manifest, found))
    for bank in manifest["banks"]:
        (line, *_) = [line for line in text.splitlines() if f" {bank['name']} " in line]
        for name in ("customers", "rows", "fraud_rows", "missed_fraud_rows", "blocked_rows"):
            assert f" {bank[name]:,} " in line
    assert f"{manifest['bank_distance']['mean']:.3f} over all pairs" in " ".join(text.split())
    line = next(line for line in text.splitlines() if " payee_id " in line)
    assert line.count("100.0 %") == 3
    assert line.count(" 0.0 %") == 1


def test_plots_are_small_svg_files_with_the_same_bytes(
    found: Summary, manifest: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths = save_plots(found, manifest, tmp_path / name)
        assert [path.stem for path in paths] == list(PLOT_NAMES)
    for path in (tmp_path / "one").iterdir():
        content = path.read_bytes()
        assert content == (tmp_path / "two" / path.name).read_bytes()
        assert len(content) < 150_000
        assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        assert b"<dc:date>" not in content
        # No text that was meant to be set as a formula.
        assert b"mathdefault" not in content


def test_a_plot_changes_with_the_numbers(
    found: Summary, manifest: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    before = save_plots(found, manifest, tmp_path / "before")
    other = Summary(banks=found.banks, n_days=found.n_days)
    for name in ("hours", "days", "amounts", "delays", "missing", "channels"):
        getattr(other, name)[...] = getattr(found, name)[..., ::-1]
    after = save_plots(other, manifest, tmp_path / "after")
    changed = {
        a.stem for a, b in zip(before, after, strict=True) if a.read_bytes() != b.read_bytes()
    }
    # These two are drawn from the manifest alone.
    assert changed == set(PLOT_NAMES) - {"fraud_kinds", "bank_distance"}


def test_plots_of_many_banks_stay_small(manifest: dict[str, Any], tmp_path: Path) -> None:
    names = bank_names(120)
    apart = np.abs(np.subtract.outer(range(120), range(120))) / 120.0
    many = manifest | {
        "banks": [
            manifest["banks"][number % 3] | {"name": name} for number, name in enumerate(names)
        ],
        "bank_distance": {
            "mean": 0.5,
            **{mix: apart.tolist() for mix in ("channel", "town", "kind")},
        },
    }
    found = Summary(banks=tuple(names), n_days=30)
    for path in save_plots(found, many, tmp_path):
        assert path.stat().st_size < 150_000
    assert "the first 12 of 120 banks" in (tmp_path / "fraud_kinds.svg").read_text()
    lines = _printed(describe(many, found)).splitlines()
    (line,) = [line for line in lines if f" {names[1]} " in line and " 0.008 " in line]
    assert line.count(" 0.0") == 12


def test_files_that_do_not_fit_are_named(
    data_set: Path, manifest: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "bank_a").mkdir()
    table = pd.read_parquet(data_set / "bank_a" / "transactions.parquet")
    table.drop(columns="channel").to_parquet(tmp_path / "bank_a" / "transactions.parquet")
    with pytest.raises(DataError, match="no column 'channel'"):
        summarise(tmp_path, manifest)


def test_credit_tables_and_plots_show_the_files_counts(tmp_path: Path) -> None:
    manifest = write_credit(CreditConfig(banks=3, customers=900), tmp_path / "credit")
    found = summarise_credit(tmp_path / "credit", manifest)
    frame = pd.read_parquet(tmp_path / "credit" / "all_banks.parquet")
    text = _printed(describe_credit(manifest, found))
    for column in ("employment", "age_band", "sex"):
        for value, rows in frame.groupby(column):
            line = next(line for line in text.splitlines() if f" {value} " in line)
            assert f" {len(rows):,} " in line
            assert f" {rows['is_default'].sum():,} " in line
    known = frame["bureau_score"].dropna()
    assert found.scores[:, 0].sum() == len(known)
    assert found.scores[3].tolist() == [
        known.between(450, 499).sum(),
        frame.loc[frame["bureau_score"].between(450, 499), "is_default"].sum(),
    ]
    first, again = (save_credit_plots(found, manifest, tmp_path)[0].read_bytes() for _ in range(2))
    assert first == again
    assert b"<dc:date>" not in first
