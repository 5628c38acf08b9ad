"""The spool: the same rows in one order, however they are cut into parts and buckets."""

import itertools
import resource
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_gen.events import Events, LabelledEvents
from data_gen.writing.spool import buckets, labelled_events, regroup, spool_part

START = 1_735_689_600
HOUR = 3_600
END = START + 48 * HOUR

_parts = st.lists(st.lists(st.integers(START, END - 1), max_size=40), min_size=1, max_size=5)


def _rows(times: list[int], part: int) -> LabelledEvents:
    """Return events whose customer is their position and whose amount tells the part."""
    n = len(times)
    events = Events.build(
        time=np.array(times, dtype=np.int64),
        customer=np.arange(n),
        channel=np.zeros(n, dtype=np.int8),
        merchant=np.zeros(n, dtype=np.int32),
        amount=np.full(n, part + 1),
    )
    return LabelledEvents(events=events, label_time=events.time + 5)


def _spool(directory: Path, parts: list[list[int]]) -> None:
    for number, times in enumerate(parts):
        rows = _rows(times, number)
        assert spool_part(directory, number, rows, start_time=START, end_time=END) == len(times)


@given(parts=_parts, bucket_rows=st.integers(1, 60))
def test_rows_come_by_time_then_part_then_position(
    parts: list[list[int]], bucket_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    _spool(directory, parts)
    found = [
        (int(row["time"]), int(row["amount"]) - 1, int(row["customer"]))
        for piece in buckets(directory, len(parts), bucket_rows=bucket_rows)
        for row in piece
    ]
    expected = sorted(
        (time, part, position)
        for part, times in enumerate(parts)
        for position, time in enumerate(times)
    )
    assert found == expected


def test_a_bucket_holds_no_more_than_asked_but_always_a_whole_hour(tmp_path: Path) -> None:
    # Hours 0 and 1 have 3 rows each, hour 5 has 7.
    hours = [0, 0, 0, 1, 1, 1, *[5] * 7]
    _spool(tmp_path, [[START + hour * HOUR for hour in hours]])
    sizes = [len(piece) for piece in buckets(tmp_path, 1, bucket_rows=4)]
    assert [size for size in sizes if size] == [3, 3, 7]
    assert [len(piece) for piece in buckets(tmp_path, 1, bucket_rows=100)] == [13]


def test_what_lies_outside_the_period_is_not_lost(tmp_path: Path) -> None:
    times = [END + HOUR, START - HOUR, START + HOUR]
    _spool(tmp_path, [times])
    found = np.concatenate(list(buckets(tmp_path, 1, bucket_rows=1)))
    assert found["time"].tolist() == sorted(times)


def test_every_array_comes_back_with_its_values_and_type(tmp_path: Path) -> None:
    rows = _rows([START + 9, START + 3, START + 3], 4)
    spool_part(tmp_path, 0, rows, start_time=START, end_time=END)
    back = labelled_events(next(buckets(tmp_path, 1)))
    order = [1, 2, 0]
    for field in fields(Events):
        before, after = getattr(rows.events, field.name), getattr(back.events, field.name)
        assert after.dtype == before.dtype
        assert after.tolist() == before[order].tolist()
    assert back.label_time.tolist() == rows.label_time[order].tolist()


def test_a_bank_may_have_more_parts_than_files_may_be_open(tmp_path: Path) -> None:
    _spool(tmp_path, [[START + part] for part in range(300)])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        found = np.concatenate(list(buckets(tmp_path, 300, bucket_rows=1_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found["time"].tolist() == list(range(START, START + 300))


def test_a_part_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    _spool(tmp_path, [[START, START + 1]])
    file = tmp_path / "000000.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(OSError, match="cut off"):
        list(buckets(tmp_path, 1))


@given(sizes=st.lists(st.integers(0, 30), max_size=8), rows=st.integers(1, 25))
def test_regrouping_changes_only_where_pieces_end(sizes: list[int], rows: int) -> None:
    ends = np.cumsum([0, *sizes])
    kind = np.dtype([("number", np.int64)])
    everything = np.arange(ends[-1]).astype(kind)
    pieces = [everything[a:b] for a, b in itertools.pairwise(ends)]
    found = list(regroup(iter(pieces), rows))
    assert all(len(piece) == rows for piece in found[:-1])
    assert all(0 < len(piece) <= rows for piece in found)
    together = [number for piece in found for number in piece["number"].tolist()]
    assert together == list(range(len(everything)))
