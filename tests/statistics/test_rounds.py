"""The sums of a statistics run: the same for every split, small counts hidden, nothing lost."""

import numpy as np
import pandas as pd
import pytest
from cohorts.recording import RecordingCommunicator
from examples.statistics import KEY, SPEC, contract, counted, layout, payments, pooled, read
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import StateError
from fraudfed.statistics.contents import contents_of
from fraudfed.statistics.counts import count, entered
from fraudfed.statistics.layout import AMOUNT, ENDINGS, HOURS, WEEKDAYS, Layout
from fraudfed.statistics.pooled import Statistics
from fraudfed.statistics.quantiles import density_of, quantiles
from fraudfed.statistics.rounds import pool
from fraudfed.statistics.shapes import SHAPES, shape_counts
from fraudfed.statistics.summary import summarise_columns, summarise_entities
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType, StatisticsSpec


def rows_of(found: Statistics) -> list[tuple[object, ...]]:
    """Return all that is counted of rows, which no split changes."""
    columns = zip(found.layout.columns, found.columns, strict=True)
    return [(found.rows, found.labelled, found.frauds)] + [
        (
            column.name,
            counts.missing,
            counts.cells.tolist(),
            counts.frauds.tolist(),
            None if counts.fine is None else counts.fine.tolist(),
        )
        for column, counts in columns
        if column.entity is None
    ]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_banks=st.integers(1, 4))
def test_exact_counts_do_not_depend_on_the_split(seed: int, n_banks: int) -> None:
    rows = payments(0, seed=1, n_rows=300)
    at = layout(4)
    owner = np.random.default_rng(seed).integers(0, n_banks, len(rows))
    parts = [rows[owner == bank].reset_index(drop=True) for bank in range(n_banks)]
    alone = pool(counted(rows, at), at, SoloCommunicator(), least=1, hash_key=KEY).pooled
    split = pooled([counted(part, at) for part in parts], at, least=1)
    assert {each.pooled.to_bytes() for each in split} == {split[0].pooled.to_bytes()}
    assert rows_of(split[0].pooled) == rows_of(alone)


def test_what_is_counted_is_what_pandas_counts() -> None:
    rows = payments(0, seed=2)
    rows.loc[:99, "channel"] = None
    at = layout(1)
    found = pool(counted(rows, at), at, SoloCommunicator(), least=1, hash_key=KEY).pooled

    def cells(name: str) -> dict[str, tuple[int, int]]:
        (column,) = [c for c in summarise_columns(found) if (c.group, c.name) == ("raw", name)]
        return {cell.name: (cell.rows, cell.frauds) for cell in column.cells}

    time = pd.to_datetime(rows["event_time"], unit="s")
    by_day = rows.groupby(time.dt.strftime("%a"))["is_fraud"].agg(["size", "sum"])
    assert cells(WEEKDAYS) == {day: (row["size"], row["sum"]) for day, row in by_day.iterrows()}
    label = rows["channel"].fillna("none") + " " + time.dt.strftime("%H")
    by_hour = rows.groupby(label)["is_fraud"].agg(["size", "sum"])
    assert cells(HOURS) == {hour: (row["size"], row["sum"]) for hour, row in by_hour.iterrows()}
    by_channel = rows.groupby("channel")["is_fraud"].agg(["size", "sum"])
    assert cells("channel") == {c: (row["size"], row["sum"]) for c, row in by_channel.iterrows()}
    zeros = rows["amount_minor"].astype(str).str.extract(r"(0*)$")[0].str.len().clip(upper=3)
    shown = zeros.map({0: "0", 1: "1", 2: "2", 3: "3 or more"}).value_counts()
    assert {name: n for name, (n, _) in cells(ENDINGS).items()} == shown.to_dict()
    missing = {c.name: c.missing_share for c in summarise_columns(found) if c.group == "raw"}
    assert missing["payee_id"] == rows["payee_id"].isna().mean()
    assert missing["channel"] == rows["channel"].isna().mean()
    assert missing["device_id"] == 1.0


@pytest.mark.parametrize("scale", [1e-30, 0.01, 1.0, 1e6, -3.0])
def test_quantiles_are_known_to_an_eighth(scale: float) -> None:
    values = (np.random.default_rng(3).lognormal(8, 2, 5000) * scale).astype(np.float32)
    at = Layout.of(DataContract(kind="table", features=(FeatureSpec(name="x"),)), SPEC, n_banks=1)
    contents = contents_of(
        at,
        features={"x": values},
        labels=np.zeros(values.size, np.float32),
        transactions=None,
        min_customers=1,
    )
    counts = count(contents, at, hash_key=KEY)
    found = pool(counts, at, SoloCommunicator(), least=1, hash_key=KEY).pooled
    levels = np.array([0.01, 0.25, 0.5, 0.75, 0.99])
    close = quantiles(density_of(found.columns[0]), levels)
    np.testing.assert_allclose(close, np.quantile(values.astype(np.float64), levels), rtol=0.125)


def test_the_quantile_of_zeros_and_flags_is_one_that_people_recognise() -> None:
    at = Layout.of(DataContract(kind="table", features=(FeatureSpec(name="x"),)), SPEC, n_banks=1)
    values = np.repeat(np.array([0.0, 1.0], np.float32), (700, 300))
    contents = contents_of(
        at,
        features={"x": values},
        labels=np.zeros(values.size, np.float32),
        transactions=None,
        min_customers=1,
    )
    counts = count(contents, at, hash_key=KEY)
    found = pool(counts, at, SoloCommunicator(), least=10, hash_key=KEY).pooled
    low, middle, high = quantiles(density_of(found.columns[0]), np.array([0.05, 0.5, 0.95]))
    assert (low, middle) == (0.0, 0.0)
    assert 1.0 <= high <= 1.125


@given(
    counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=20),
    least=st.integers(1, 1000),
)
def test_small_counts_are_entered_as_0_and_parts_stay_in_their_whole(
    counts: list[int], least: int
) -> None:
    exact = np.array(counts, dtype=np.int64)
    found = entered(exact, least)
    assert (found[exact < least] == 0).all()
    assert (found % least == 0).all()
    big = exact >= least
    assert (np.abs(found - exact)[big] * 2 <= least).all()
    order = np.argsort(exact, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_all_takes_three_sums_and_an_empty_bank_takes_part() -> None:
    at = layout(3)
    recorder = RecordingCommunicator()
    pool(counted(payments(0), at), at, recorder, least=10, hash_key=KEY)
    assert recorder.labels == ["statistics:totals", "statistics:cells", "statistics:parts"]
    nothing = payments(0).iloc[:0]
    with_empty = pooled([counted(payments(0), at), counted(nothing, at)], at)
    alone = pooled([counted(payments(0), at)], at)
    assert with_empty[0].pooled.to_bytes() == alone[0].pooled.to_bytes()


def test_a_part_can_be_taken_out_of_the_sums() -> None:
    at = layout(3)
    counts = [counted(payments(bank), at) for bank in range(3)]
    everything, two = pooled(counts, at), pooled(counts[:2], at)
    left = everything[2].pooled.without(everything[2].own)
    assert (left.rows, left.frauds) == (two[0].pooled.rows, two[0].pooled.frauds)
    for one, other in zip(left.columns, two[0].pooled.columns, strict=True):
        assert one.cells.tolist() == other.cells.tolist()
    for entity, known in left.known.items():
        assert known.marks.tolist() == two[0].pooled.known[entity].marks.tolist()


def test_bytes_are_canonical_and_nothing_else_is_read() -> None:
    at = layout(2)
    found = pooled([counted(payments(bank, n_rows=200), at) for bank in range(2)], at)[0].pooled
    data = found.to_bytes()
    assert read(data, 2).to_bytes() == data
    other = Layout.of(contract(train_from=0), StatisticsSpec(width=8192), n_banks=2)
    changed = [
        data[:-1],
        data + b" ",
        data.replace(b'"version":1', b'"version":2'),
        data.replace(b'"totals":[', b'"totals":[ '),
        data.replace(b'"totals":[', b'"totals":[-1,'),
        data.replace(b'"missing":0', b'"missing":0.0', 1),
        data.replace(b'"channel"', b'"chanel"', 1),
        data.replace(b'"totals":[400,', b'"totals":[10,'),
        data.replace(b'"only_one":', b'"only_one":9', 1),
        data.replace(b'"missing":0,"name":"amount_minor"', b'"missing":999,"name":"amount_minor"'),
        b"{}",
        b"[]",
        b"\xff",
    ]
    for each in changed:
        assert each != data
        with pytest.raises(StateError, match="statistics: they"):
            read(each, 2)
    with pytest.raises(StateError):
        Statistics.from_bytes(data, layout=other)


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("abc", ("small letters", "none", "none", "no leading zero", "ASCII", "3")),
        ("ABC", ("capitals", "none", "none", "no leading zero", "ASCII", "3")),
        ("Ab1", ("both cases", "some", "none", "no leading zero", "ASCII", "3")),
        ("0012", ("no letters", "all", "none", "leading zero", "ASCII", "4")),
        ("A B", ("capitals", "none", "inside", "no leading zero", "ASCII", "3")),
        (" ab", ("small letters", "none", "at an end", "no leading zero", "ASCII", "3")),
        ("CAFÉ", ("capitals", "none", "none", "no leading zero", "beyond ASCII", "4")),
        ("x" * 80, ("small letters", "none", "none", "no leading zero", "ASCII", "64 or more")),
    ],
)
def test_shapes_of_identifiers(text: str, cells: tuple[str, ...]) -> None:
    found = shape_counts([text])
    assert tuple(SHAPES[facet][int(found[facet].argmax())] for facet in SHAPES) == cells
    assert all(counts.sum() == 1 for counts in found.values())


def test_a_contract_names_its_columns_and_only_tables_have_no_identifiers() -> None:
    features = (
        FeatureSpec(name="x"),
        FeatureSpec(name="c", type=FeatureType.CATEGORICAL, categories=("a", "b")),
    )
    at = Layout.of(DataContract(kind="table", features=features), SPEC, n_banks=3)
    assert [(c.group, c.name, c.cells) for c in at.columns] == [
        ("feature", "x", None),
        ("feature", "c", ("a", "b")),
    ]
    assert at.entities == ()
    names = [(column.group, column.name) for column in layout(3).columns]
    assert len(set(names)) == len(names)
    assert ("raw", AMOUNT) in names
    assert ("feature", "amount") not in names


def test_a_summary_says_how_many_identifiers_banks_have_in_common() -> None:
    at = layout(3)
    rows = [payments(bank, n_rows=3000) for bank in range(3)]
    # One bank has merchants of its own.
    rows[2]["merchant_id"] = "own " + rows[2]["merchant_id"]
    found = pooled([counted(each, at, min_customers=1) for each in rows], at, least=1)[0].pooled
    for summary in summarise_entities(found):
        sets = [set(each[f"{summary.entity}_id"].dropna()) for each in rows]
        truth = len((sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2]))
        everything = len(sets[0] | sets[1] | sets[2])
        assert abs(summary.distinct.value - everything) <= 4 * summary.distinct.error + 1
        assert abs(summary.several.value - truth) <= 4 * summary.several.error + 1
