"""Rows in mapped files, in pieces of any size: the model of rows in memory, and no file left."""

import errno
import gc
import mmap
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.mapped import (
    MappedFiles,
    MemoryBudget,
    mapped_shard,
    rows_of_part,
)
from fraudfed.boosting.shard.parts import PartedShard
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import ParameterError, StateError
from fraudfed.parameters import BoosterParams

SCHEMA = FeatureSchema(("a", "b", "c"), (0, 3, 0))
PARAMS = {"num_boost_round": 3, "max_depth": 3, "max_bin": 8, "eta": 0.5}


def rows_of(seed: int, n_rows: int, *, weighted: bool = False) -> TrainingTable:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, 3)).astype(np.float32)
    features[:, 1] = rng.integers(0, 3, n_rows)
    labels = (features[:, 0] + rng.normal(size=n_rows) > 0.5).astype(np.float32)
    labels[:2] = (0, 1)
    features[rng.random(features.shape) < 0.15] = np.nan
    weights = rng.uniform(0.1, 2, n_rows).astype(np.float32) if weighted else None
    return TrainingTable(SCHEMA, features, labels, weights, 2.0)


def pieces_of(table: TrainingTable, sizes: list[int]) -> Iterator[TrainingTable]:
    """Yield pieces of these sizes, and then the rest."""
    start = 0
    for size in [*sizes, table.n_rows]:
        rows = slice(start, min(start + size, table.n_rows))
        yield TrainingTable(
            SCHEMA,
            table.features[rows],
            table.labels[rows],
            None if table.weights is None else table.weights[rows],
            table.max_weight,
        )
        start = rows.stop


def mapped(table: TrainingTable, sizes: list[int], **options: Any) -> PartedShard:
    return mapped_shard(
        SCHEMA,
        pieces_of(table, sizes),
        max_weight=table.max_weight,
        has_weights=table.weights is not None,
        engine=load_engine(),
        **{"memory_limit": 1 << 30, **options},
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 40), max_size=5),
    part_rows=st.integers(1, 60),
    n_rows=st.integers(6, 100),
    more=st.sampled_from([{}, {"subsample": 0.6}, {"max_bank_weight": 7.5}]),
    weighted=st.booleans(),
    spare=st.integers(0, 4000),
)
def test_any_pieces_parts_and_limits_give_the_same_bytes(
    seed: int,
    sizes: list[int],
    part_rows: int,
    n_rows: int,
    more: dict[str, Any],
    weighted: bool,
    spare: int,
) -> None:
    table = rows_of(seed, n_rows, weighted=weighted)
    params = BoosterParams.parse({**PARAMS, **more})
    expected = train(params, table, SoloCommunicator(), validation=table)
    # From a limit by which all is mapped to one by which little is.
    limit = 2 * n_rows * 7 + spare
    shard = mapped(table, sizes, part_rows=part_rows, memory_limit=limit)
    assert len(shard.parts) == -(-n_rows // part_rows)
    found = train(params, shard, SoloCommunicator(), validation=shard)
    assert found.model.to_json() == expected.model.to_json()
    assert found.history == expected.history
    assert found.margins.tobytes() == expected.margins.tobytes()


def test_a_bank_without_rows_has_a_shard_as_well() -> None:
    shard = mapped(rows_of(1, 2), [], part_rows=4)
    nothing = mapped_shard(
        SCHEMA,
        iter(()),
        max_weight=2.0,
        has_weights=False,
        engine=load_engine(),
        memory_limit=1 << 20,
    )
    assert (nothing.n_rows, nothing.n_positives) == (0, 0)
    params = BoosterParams.parse(PARAMS)
    both = PartedShard([*nothing.parts, *shard.parts])
    models = {train(params, each, SoloCommunicator()).model.to_json() for each in (shard, both)}
    assert len(models) == 1


def test_files_of_rows_have_no_name_and_are_the_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = os.posix_fallocate

    def watched(file: int, start: int, size: int) -> None:
        state = os.fstat(file)
        modes.append(stat.S_IMODE(state.st_mode))
        assert state.st_nlink == 0
        real(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", watched)
    shard = mapped(rows_of(1, 100), [30], part_rows=40, directory=tmp_path, memory_limit=1400)
    train(BoosterParams.parse(PARAMS), shard, SoloCommunicator())
    assert list(tmp_path.iterdir()) == []
    assert len(modes) > 9
    assert set(modes) == {0o600}


def test_control_a_file_with_a_name_is_seen_by_a_look_at_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tempfile,
        "TemporaryFile",
        lambda dir, buffering: tempfile.NamedTemporaryFile(  # noqa: SIM115
            dir=dir, buffering=buffering, delete=False
        ),
    )
    kept = mapped(rows_of(1, 20), [], directory=tmp_path)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert kept.parts[0].n_rows == 20
    assert rows_of(1, 20).features.tobytes() in content


def test_a_full_disk_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        StateError, match=r"cannot be put on disk \(No space left on device\); set TMP"
    ):
        mapped(rows_of(1, 20), [], directory=tmp_path)


def test_a_limit_that_cannot_be_held_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"memory limit is 1,000 bytes.* need 1,400 at least"):
        mapped(rows_of(1, 100), [], memory_limit=1000)


def test_pieces_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="a piece of rows differs"):
        mapped_shard(
            SCHEMA,
            [rows_of(1, 5)],
            max_weight=2.0,
            has_weights=True,
            engine=load_engine(),
            memory_limit=1 << 20,
        )


def test_parts_are_as_large_as_the_limit_lets_them_be() -> None:
    found = [rows_of_part(limit, 30) for limit in (1 << 20, 1 << 30, 4 << 30, 1 << 40)]
    assert found == sorted(found)
    assert all(rows_of_part(limit, 30) * 30 * 6 < limit / 8 for limit in (1 << 30, 4 << 30))


def test_pages_leave_memory_when_the_room_is_left(tmp_path: Path) -> None:
    room = MappedFiles(tmp_path, MemoryBudget(0))
    before = file_pages()
    with room:
        array = room.empty((1 << 22,), np.float64)
        array[:] = 7
        inside = file_pages()
    assert inside - before > 30 << 20
    assert file_pages() - before < 4 << 20
    assert float(array[12345]) == 7
    del array
    gc.collect()
    assert len(room._maps) == 0


def test_control_without_advice_pages_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_DONTNEED", mmap.MADV_NORMAL)
    room = MappedFiles(tmp_path, MemoryBudget(0))
    before = file_pages()
    with room:
        array = room.empty((1 << 22,), np.float64)
        array[:] = 7
    assert file_pages() - before > 30 << 20


def file_pages() -> int:
    """Return how many bytes of mapped files this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return 1024 * (int(sizes["RssFile"]) + int(sizes["RssShmem"]))
