"""Features built key by key on disk: the bits of those that are built in memory."""

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import random_table
from oracles.shared_risk import risk_spec, solo_history

from fraudfed.errors import DataError
from fraudfed.features import FeatureTable, build_features
from fraudfed.features.by_key.buckets import (
    bucket_numbers,
    group_rows,
    group_schema,
    key_hashes,
    n_buckets_for,
    rows_by_bucket,
)
from fraudfed.features.by_key.groups import KEY_GROUPS, RawColumns, group_columns, group_names
from fraudfed.features.table import feature_schema
from fraudfed.intake import bucketed
from fraudfed.intake.bucketed import BuiltPiece, ReadPieces, build_in_buckets
from fraudfed.intake.spill import SpilledTable, SpilledValues
from fraudfed.wire.messages import FeatureSpec

KNOWN_HASHES = [3_964_544_830_487_390_419, 8_621_957_869_934_167_743, 16_354_354_658_807_663_062]
seeds = st.integers(0, 2**32 - 1)


def pieces_of(frame: pd.DataFrame, cuts: list[int]) -> ReadPieces:
    edges = [0, *sorted(min(cut, len(frame)) for cut in cuts), len(frame)]

    def read() -> Iterator[pd.DataFrame]:
        for start, stop in itertools.pairwise(edges):
            yield frame.iloc[start:stop]

    return read


def assert_same_pieces(pieces: list[BuiltPiece], whole: FeatureTable) -> None:
    built = [piece.features for piece in pieces]
    assert all(table.schema == whole.schema for table in built)
    values = np.concatenate([table.values for table in built])
    # Bits, not values: NaN is NaN, and 0.0 is not -0.0.
    np.testing.assert_array_equal(values.view(np.uint32), whole.values.view(np.uint32))
    for name in ("labels", "event_time", "label_time", "transaction_id"):
        together = np.concatenate([getattr(table, name) for table in built])
        np.testing.assert_array_equal(together, getattr(whole, name))
    positions = [piece.first_row + piece.features.positions for piece in pieces]
    np.testing.assert_array_equal(np.concatenate(positions), whole.positions)


@given(
    seed=seeds,
    n_buckets=st.integers(1, 9),
    delay=st.sampled_from([0, 1, 7, 40]),
    cuts=st.lists(st.integers(0, 90), max_size=5),
    inbound=st.booleans(),
    without=st.sets(
        st.sampled_from(["payee_id", "device_id", "terminal_id", "channel", "is_fraud"])
    ),
)
@settings(max_examples=25, deadline=None)
def test_any_pieces_and_buckets_give_the_bits_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    n_buckets: int,
    delay: int,
    cuts: list[int],
    inbound: bool,
    without: set[str],
) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 90, days=50)
    frame = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    # Ties: many payments of one customer in the same second.
    frame.loc[:20, "event_time"] = frame["event_time"].iloc[0]
    frame["label_time"] = np.maximum(frame["label_time"], frame["event_time"])
    if inbound:
        frame["direction"] = rng.choice(np.array(["inbound", "outbound"]), len(frame))
    if "is_fraud" in without:
        without = {*without, "label_time"}
    frame = frame.drop(columns=sorted(without & set(frame.columns)))
    whole = build_features(frame, risk_delay_days=delay)
    found = build_in_buckets(
        pieces_of(frame, cuts),
        directory=tmp_path_factory.getbasetemp(),
        n_buckets=n_buckets,
        risk_delay_days=delay,
    )
    assert_same_pieces(list(found), whole)


def test_own_columns_stand_behind_the_recipes(tmp_path: Path) -> None:
    frame = random_table(np.random.default_rng(3), 50)
    frame["score"] = np.arange(50) / 7
    own = (FeatureSpec(name="score", unit="points", description="of another model"),)
    whole = build_features(frame, own_columns=own)
    found = build_in_buckets(
        pieces_of(frame, [20]), directory=tmp_path, n_buckets=3, own_columns=own
    )
    assert_same_pieces(list(found), whole)


def test_what_other_banks_entered_is_looked_up_bucket_by_bucket(tmp_path: Path) -> None:
    frame = random_table(np.random.default_rng(4), 120, days=20)
    shared = solo_history(frame, risk_spec())
    whole = build_features(frame, risk_delay_days=7, shared=shared)
    assert np.nansum(whole.values[:, [n.startswith("shared_") for n in whole.names]]) > 0
    found = build_in_buckets(
        pieces_of(frame, [50]), directory=tmp_path, n_buckets=4, risk_delay_days=7, shared=shared
    )
    assert_same_pieces(list(found), whole)


@pytest.mark.parametrize("shared", [False, True])
def test_the_groups_have_every_column_that_looks_at_other_payments(shared: bool) -> None:
    names = [name for group in KEY_GROUPS for name in group_names(group, shared=shared)]
    assert len(set(names)) == len(names)
    others = set(feature_schema(shared=shared).names) - set(names)
    # What is left is told by the payment itself: one row alone gives it.
    frame = random_table(np.random.default_rng(0), 60)
    whole = build_features(frame)
    alone = [build_features(frame.iloc[[row]]) for row in range(60)]
    for name in others:
        column = whole.names.index(name)
        single = np.array([table.values[0, column] for table in alone])
        np.testing.assert_array_equal(single, whole.values[:, column])


@pytest.mark.parametrize("group", KEY_GROUPS, ids=lambda group: group.name)
def test_a_group_looks_at_nothing_but_its_columns(group: bucketed.KeyGroup) -> None:
    """Whatever else a table has: the columns that a bucket holds are enough."""
    frame = random_table(np.random.default_rng(5), 80)
    rows = group_rows(group, RawColumns.of(frame), frame)
    assert rows.schema == group_schema(group)
    values = group_columns(group, rows.to_pandas(), risk_delay_days=1)
    whole = build_features(frame, risk_delay_days=1)
    for number, name in enumerate(group_names(group, shared=False)):
        column = whole.values[:, whole.names.index(name)]
        np.testing.assert_array_equal(values[:, number], column)


def test_control_rows_of_one_key_in_two_buckets_give_other_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = random_table(np.random.default_rng(1), 90)
    whole = build_features(frame)

    def by_row(transactions: pd.DataFrame, key: str, *, n_buckets: int) -> np.ndarray:
        return np.arange(len(transactions)) % n_buckets

    monkeypatch.setattr(bucketed, "bucket_numbers", by_row)
    found = build_in_buckets(pieces_of(frame, []), directory=tmp_path, n_buckets=4)
    with pytest.raises(AssertionError):
        assert_same_pieces(list(found), whole)


def test_an_identifier_that_occurs_in_two_pieces_is_refused(tmp_path: Path) -> None:
    frame = random_table(np.random.default_rng(2), 40)
    frame.loc[33, "transaction_id"] = frame.loc[4, "transaction_id"]
    with pytest.raises(DataError, match=r"rows 5 and 34 have '.*', expected an identifier"):
        list(build_in_buckets(pieces_of(frame, [20]), directory=tmp_path, n_buckets=3))


def test_rows_that_change_between_the_readings_are_noticed(tmp_path: Path) -> None:
    frame = random_table(np.random.default_rng(2), 40)
    calls = iter([frame, frame.iloc[::-1]])
    with pytest.raises(DataError, match="changed while it was read"):
        list(build_in_buckets(lambda: iter([next(calls)]), directory=tmp_path, n_buckets=3))
    pieces = iter([[frame], []])
    with pytest.raises(DataError, match="changed while it was read"):
        list(build_in_buckets(lambda: iter(next(pieces)), directory=tmp_path, n_buckets=3))


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=30), st.integers(1, 7))
def test_a_key_is_in_one_bucket_wherever_it_occurs(keys: list[str | None], n: int) -> None:
    frame = pd.DataFrame({"key": pd.Series(keys, dtype=object)})
    numbers = bucket_numbers(frame, "key", n_buckets=n)
    again = bucket_numbers(frame.iloc[::-1], "key", n_buckets=n)[::-1]
    np.testing.assert_array_equal(numbers, again)
    assert [number < 0 for number in numbers] == [key is None for key in keys]
    rows = rows_by_bucket(numbers, n_buckets=n)
    assert sorted(np.concatenate(rows)) == np.flatnonzero(numbers >= 0).tolist()
    assert all((np.diff(these) > 0).all() for these in rows)


def test_hashes_are_the_same_in_every_process() -> None:
    found = key_hashes(pd.Series(["m0000001", None, "é"], dtype=object))
    assert found.tolist() == KNOWN_HASHES


def test_more_rows_or_less_memory_take_more_buckets() -> None:
    assert n_buckets_for(0, memory_bytes=1 << 20) == 1
    assert n_buckets_for(1 << 20, memory_bytes=1 << 28) == 4
    assert n_buckets_for(1 << 40, memory_bytes=1) == 4096


def test_what_lies_on_disk_has_no_name_and_is_nobody_elses(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    with SpilledTable(schema, tmp_path, n_buckets=2) as table:
        first = pa.table({"a": ["x", None], "b": [1, 2]}, schema=schema)
        table.add(1, first)
        table.add(0, first.slice(1))
        table.add(1, first.slice(0, 1))
        assert table.read(1).equals(pa.concat_tables([first, first.slice(0, 1)]))
        assert table.read(0).equals(first.slice(1))
        assert list(tmp_path.iterdir()) == []
        facts = os.fstat(table._file._file.fileno())
        assert stat.S_IMODE(facts.st_mode) == 0o600
        assert facts.st_nlink == 0
        assert facts.st_size > 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_values_come_back_from_the_first_row_to_the_last(sizes: list[int]) -> None:
    values = np.arange(sum(sizes) * 3, dtype=np.float32).reshape(-1, 3)
    with SpilledValues(3, Path("/tmp"), n_buckets=2) as spilled:
        spilled.put(0, -values)
        spilled.put(1, values)
        taken = [spilled.take(1, size) for size in sizes]
        np.testing.assert_array_equal(np.concatenate(taken), values)
        np.testing.assert_array_equal(spilled.take(0, sum(sizes)), -values)
