"""``fraudfed bench scale``: its rows, pooled XGBoost out of files, and a small case."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fraudfed.lab.bench.scale import rows as rows_module
from fraudfed.lab.bench.scale.command import run_scale
from fraudfed.lab.bench.scale.pooled import train_pooled
from fraudfed.lab.bench.scale.result import ScaleCase, ScaleFigures
from fraudfed.lab.bench.scale.rows import bank_rows, scale_contract, write_banks
from fraudfed.lab.bench.workload import LABEL


@given(
    n_rows=st.integers(300, 10**9),
    shares=st.lists(st.floats(0.1, 100.0), min_size=1, max_size=9),
)
def test_every_row_has_a_bank(n_rows: int, shares: list[float]) -> None:
    sizes = bank_rows(n_rows, shares)
    assert min(sizes) >= 1
    assert abs(sum(sizes) - n_rows) <= len(shares)
    for size, share in zip(sizes, shares, strict=True):
        assert size == pytest.approx(n_rows * share / sum(shares), abs=1.5)


def test_the_files_are_the_same_and_more_rows_begin_with_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 700)
    made = [
        write_banks(sizes, 5, tmp_path / str(number), prevalence=0.1, seed=3)
        for number, sizes in enumerate([(1500, 10), (1500, 10), (2100, 10)])
    ]
    first, again, longer = ([*paths.values()] for paths in made)
    assert [path.name for path in first] == ["bank_01", "bank_02"]
    for one, other in zip(first, again, strict=True):
        files = sorted(one.iterdir())
        assert [path.name for path in files] == [path.name for path in sorted(other.iterdir())]
        for path in files:
            assert path.read_bytes() == (other / path.name).read_bytes()
    assert len(list(first[0].iterdir())) == 3
    assert (first[0] / "rows-00001.parquet").read_bytes() == (
        longer[0] / "rows-00001.parquet"
    ).read_bytes()
    table = pq.read_table(longer[0])
    assert table.num_rows == 2100
    assert table.column_names == [*(each.name for each in scale_contract(5).features), LABEL]
    labels = table[LABEL].to_numpy()
    assert set(labels.tolist()) == {0, 1}
    assert labels.mean() == pytest.approx(0.1, abs=0.03)
    # Banks have rows of their own.
    other = pq.read_table(longer[1])
    assert not np.isin(other["f0"].to_numpy(), table["f0"].to_numpy()).any()


@pytest.mark.e2e
def test_a_small_case_at_two_sizes(tmp_path: Path) -> None:
    """Real processes; what does not depend on the clock is checked."""
    said: list[str] = []
    case = ScaleCase(features=4, trees=2, max_depth=2, max_bin=8, key_bits=2048, prevalence=0.1)
    figures = run_scale(case, (600, 1200), tmp_path, announce=said.append)
    assert said.count("pooled xgboost") == 2
    assert [size.rows for size in figures.sizes] == [600, 1200]
    for size in figures.sizes:
        assert sum(bank.rows for bank in size.banks) == size.rows
        assert [bank.rows for bank in size.banks] == [
            size.rows // 2,
            size.rows * 3 // 10,
            size.rows // 5,
        ]
        assert size.file_bytes > 0
        assert 0 < size.crypto_cpu_seconds < sum(size.banks[0].cpu_seconds.values())
        assert min(size.banks[0].peak_memory_bytes, size.pooled[0].peak_memory_bytes) > 2**20
    assert figures.crypto_spread >= 1.0
    assert "max_bin 8" in figures.to_text()
    assert json.loads(TypeAdapter(ScaleFigures).dump_json(figures))["case"]["features"] == 4
    assert not list(tmp_path.iterdir())


def test_external_memory_gives_a_model_of_the_same_files(tmp_path: Path) -> None:
    files = write_banks((400, 300), 4, tmp_path, prevalence=0.2, seed=1)
    parameters = {"num_boost_round": 2, "max_depth": 2, "max_bin": 8, "xgboost_version": "3.2"}
    cost = train_pooled(list(files.values()), parameters, threads=1, external_memory=True)
    assert cost.external_memory
    assert cost.seconds > 0
    # Nothing of XGBoost's cache is left.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank_01", "bank_02"]
