"""Laws that hold for every feature of the recipe, on random tables full of ties and edges."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, random_table, slow_features

from fraudfed.catalogue.recipe import FEATURES, RECIPE
from fraudfed.catalogue.recipes import find_recipe
from fraudfed.features import FeatureTable, build_features
from fraudfed.payments.columns import COLUMNS

seeds = st.integers(0, 2**32 - 1)
#: With 40 days the windows reach past everything; with 0 only label_time guards the labels.
delays = st.sampled_from([0, 1, 7, 40])


def by_id(table: FeatureTable) -> pd.DataFrame:
    frame = pd.DataFrame(table.values, columns=list(table.names), index=table.transaction_id)
    return frame.sort_index()


def assert_same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal to the last bit, NaN equal to NaN."""
    pd.testing.assert_frame_equal(left, right, check_exact=True)


@given(seed=seeds, delay=delays, n_rows=st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_every_feature_equals_the_slow_oracle(seed: int, delay: int, n_rows: int) -> None:
    frame = random_table(np.random.default_rng(seed), n_rows, days=50)
    fast = build_features(frame, risk_delay_days=delay)
    slow = slow_features(frame, delay=delay)
    assert set(slow.columns) == {feature.name for feature in FEATURES} == set(fast.names)
    for column, name in enumerate(fast.names):
        np.testing.assert_allclose(
            fast.values[:, column],
            slow[name].to_numpy(dtype=np.float64),
            # float32, and near antipodes the haversine formula loses half its digits.
            rtol=3e-7 if name not in ("distance_km", "speed_kmh") else 1e-6,
            atol=0 if name not in ("distance_km", "speed_kmh") else 1e-3,
            err_msg=name,
        )


@given(seed=seeds, delay=delays, cut_day=st.integers(1, 99))
@settings(max_examples=30, deadline=None)
def test_later_rows_do_not_change_earlier_features(seed: int, delay: int, cut_day: int) -> None:
    frame = random_table(np.random.default_rng(seed), 120)
    cut = int(frame["event_time"].min()) + cut_day * DAY
    past = frame[frame["event_time"] < cut]
    if past.empty:
        return
    whole = by_id(build_features(frame, risk_delay_days=delay))
    alone = by_id(build_features(past, risk_delay_days=delay))
    assert_same(whole.loc[alone.index], alone)


@given(seed=seeds, delay=delays, cut_day=st.integers(1, 99))
@settings(max_examples=30, deadline=None)
def test_labels_not_yet_known_do_not_change_features(seed: int, delay: int, cut_day: int) -> None:
    frame = random_table(np.random.default_rng(seed), 120)
    now = int(frame["event_time"].min()) + cut_day * DAY
    unknown = frame["label_time"] >= now
    flipped = frame.copy()
    flipped.loc[unknown, "is_fraud"] = 1 - flipped.loc[unknown, "is_fraud"]
    dropped = frame.astype({"is_fraud": "Int8", "label_time": "Int64"})
    dropped.loc[unknown, ["is_fraud", "label_time"]] = pd.NA
    before = frame.loc[frame["event_time"] <= now, "transaction_id"].tolist()
    expected = by_id(build_features(frame, risk_delay_days=delay)).loc[before]
    for other in (flipped, dropped):
        assert_same(by_id(build_features(other, risk_delay_days=delay)).loc[before], expected)


@given(seed=seeds, delay=delays)
@settings(max_examples=30, deadline=None)
def test_row_order_does_not_matter(seed: int, delay: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 120)
    shuffled = frame.iloc[rng.permutation(len(frame))]
    table = build_features(shuffled, risk_delay_days=delay)
    assert table.transaction_id.tolist() == shuffled["transaction_id"].tolist()
    np.testing.assert_array_equal(table.labels, shuffled["is_fraud"])
    np.testing.assert_array_equal(table.event_time, shuffled["event_time"])
    np.testing.assert_array_equal(table.label_time, shuffled["label_time"])
    assert_same(by_id(table), by_id(build_features(frame, risk_delay_days=delay)))


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_events_of_one_second_do_not_see_each_other(seed: int) -> None:
    frame = random_table(np.random.default_rng(seed), 60)
    frame["event_time"] = frame["event_time"].min()
    frame["label_time"] = frame["event_time"]
    table = build_features(frame, risk_delay_days=0)
    values = pd.DataFrame(table.values, columns=list(table.names))
    assert values["customer_seconds_since_previous"].isna().all()
    assert values["distance_km"].isna().all()
    assert set(values["new_payee"].dropna()) <= {1.0}
    assert set(values["device_age_seconds"].dropna()) <= {0.0}
    counts = [name for name in table.names if "_count_" in name or "_customers_" in name]
    assert counts
    assert not np.nan_to_num(values[counts].to_numpy()).any()


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_customers_of_one_bank_do_not_depend_on_names(seed: int) -> None:
    """Identifiers are only ever compared: another spelling gives the same features."""
    frame = random_table(np.random.default_rng(seed), 100)
    renamed = frame.copy()
    for column in ("customer_id", "merchant_id", "terminal_id", "payee_id", "device_id"):
        known = renamed[column].notna()
        renamed.loc[known, column] = "z" + renamed.loc[known, column].str[::-1] + "-new"
    assert_same(
        by_id(build_features(frame, risk_delay_days=1)),
        by_id(build_features(renamed, risk_delay_days=1)),
    )


@pytest.mark.parametrize("dtype", ["string", "object", "category"])
def test_every_string_storage_gives_the_same(dtype: str) -> None:
    frame = random_table(np.random.default_rng(7), 200)
    expected = by_id(build_features(frame, risk_delay_days=1))
    text = frame.columns[[isinstance(d, pd.StringDtype) for d in frame.dtypes]]
    other = frame.astype(dict.fromkeys(text, dtype))
    if dtype == "object":
        other[text] = other[text].where(other[text].notna(), None)
    assert_same(by_id(build_features(other, risk_delay_days=1)), expected)


def test_any_index_is_ignored() -> None:
    frame = random_table(np.random.default_rng(8), 50)
    odd = frame.set_axis([0] * len(frame), axis=0)
    assert_same(
        by_id(build_features(odd, risk_delay_days=1)),
        by_id(build_features(frame, risk_delay_days=1)),
    )


#: What each column is needed for; the other features do not change when it is absent.
BUILT_ON = {
    "merchant_id": "merchant_(fraud_)?(count|rate).*",
    "terminal_id": "terminal_.*",
    "payee_id": "payee_.*|new_payee",
    "device_id": "new_device|device_age_seconds",
    "channel": "channel",
    "merchant_category": "merchant_category",
    "latitude": "distance_km|speed_kmh",
    "longitude": "distance_km|speed_kmh",
}


@given(seed=seeds, absent=st.sets(st.sampled_from(sorted(BUILT_ON))))
@settings(max_examples=30, deadline=None)
def test_an_absent_column_is_a_column_of_nothing(seed: int, absent: set[str]) -> None:
    """And what is built on it is missing, while every other feature stays what it was."""
    frame = random_table(np.random.default_rng(seed), 80)
    if {"latitude", "longitude"} & absent:
        absent |= {"latitude", "longitude"}
    lean = frame.drop(columns=sorted(absent))
    expected = by_id(build_features(frame, risk_delay_days=1))
    pattern = "|".join(BUILT_ON[column] for column in sorted(absent)) or "none"
    missing = [name for name in expected if re.fullmatch(pattern, name)]
    assert bool(missing) == bool(absent)
    expected[missing] = np.float32(np.nan)
    assert_same(by_id(build_features(lean, risk_delay_days=1)), expected)


def test_every_optional_column_is_in_the_law_above() -> None:
    optional = {c.name for c in COLUMNS if c.optional and not c.analysis}
    # Absent, all amounts are in the run's currency: see test_contract_terms.py.
    assert BUILT_ON.keys() == optional - find_recipe(RECIPE).unused - {"currency"}


def test_columns_for_analysis_change_nothing() -> None:
    frame = random_table(np.random.default_rng(10), 80)
    rng = np.random.default_rng(11)
    more = frame.assign(
        account_id=rng.choice(["a1", "a2"], 80),
        card_id="k1",
        is_blocked=rng.integers(0, 2, 80),
        fraud_kind="lost_card",
    )
    assert {c.name for c in COLUMNS if c.analysis} <= set(more)
    assert_same(
        by_id(build_features(more, risk_delay_days=1)),
        by_id(build_features(frame, risk_delay_days=1)),
    )


def test_scoring_needs_no_labels() -> None:
    frame = random_table(np.random.default_rng(9), 80)
    bare = frame.drop(columns=["is_fraud", "label_time"])
    table = build_features(bare, risk_delay_days=1)
    expected = frame.assign(is_fraud=0)
    np.testing.assert_array_equal(table.values, build_features(expected, risk_delay_days=1).values)
    assert np.isnan(table.labels).all()
