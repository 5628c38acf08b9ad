"""Files of lines: the same bytes however the lines come, whole files or none."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bank_node.serving import table_file
from bank_node.serving.table_file import write_pieces, write_table

ROWS = 40


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "_LEAST_GROUP_ROWS", 3)
    monkeypatch.setattr(table_file, "_MOST_GROUP_ROWS", 7)


def table(start: int = 0, stop: int = ROWS) -> pa.Table:
    """Return some rows, made anew: slices of one table would share their chunks."""
    rows = np.arange(start, stop)
    shops = pa.DictionaryArray.from_arrays(
        pa.array(rows % 3, mask=rows % 5 == 0), pa.array(["a", "b", "c", "none"])
    )
    return pa.table(
        {
            "transaction_id": pa.array([f"t,{row}" for row in rows], pa.string()),
            "x": pa.array((rows / 7).astype(np.float32), mask=rows % 4 == 0),
            "row": rows,
            "shop": shops,
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@given(ends=st.lists(st.integers(0, ROWS), max_size=6).map(sorted))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_bytes_do_not_depend_on_pieces(tmp_path: Path, suffix: str, ends: list[int]) -> None:
    names = ["transaction_id", "x", "row"] + ["shop"] * (suffix == "parquet")
    whole, pieces = tmp_path / f"whole.{suffix}", tmp_path / f"pieces.{suffix}"
    write_table(table().select(names), whole)
    # With pieces of no row among them.
    edges = [0, *ends, ROWS]
    parts = [table(start, stop).select(names) for start, stop in pairwise(edges)]
    assert write_pieces(parts, pieces) == ROWS
    assert pieces.read_bytes() == whole.read_bytes()


def test_groups_as_the_pieces_come_would_be_other_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pieces = tmp_path / "whole.parquet", tmp_path / "pieces.parquet"
    write_table(table(), whole)
    monkeypatch.setattr(table_file, "_in_groups", lambda pieces, rows: pieces)
    write_pieces([table(0, 5), table(5)], pieces)
    assert pieces.read_bytes() != whole.read_bytes()


def test_what_ends_the_pieces_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    write_table(table(0, 2), out)
    before = out.read_bytes()

    def pieces() -> Iterator[pa.Table]:
        yield table(0, 30)
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        write_pieces(pieces(), out)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out[1].csv"
    left = tmp_path / ".out[1].csv.k3_xq90a"
    others = [
        ".out[1].csv.swp",
        ".out1.csv.abcdefgh",
        "out[1].csv.abcdefgh",
        ".out[1].csv.ABCDEFGH",
    ]
    for name in (left.name, *others):
        (tmp_path / name).write_text("half")
    write_table(table(0, 2).select(["row"]), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, *others])
