"""One payment at a time gives what the whole table gives, to the last bit."""

import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.contract_terms import TERMS, with_contract_terms
from oracles.features import DAY, START, random_table, table
from oracles.shared_risk import risk_spec, solo_history

from fraudfed.errors import DataError
from fraudfed.features import OnlineFeatures, Payment, build_features
from fraudfed.features.payment import payments_of
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.payments.columns import COLUMNS, LABEL_COLUMNS
from fraudfed.wire.messages import DataContract

seeds = st.integers(0, 2**32 - 1)
delays = st.sampled_from([0, 1, 7, 40])


def replay(
    frame: pd.DataFrame,
    *,
    delay: int,
    rng: np.random.Generator,
    early: float = 0.3,
    shared: SharedRisk | None = None,
    contract: DataContract | None = None,
) -> np.ndarray[Any, Any]:
    """Feed a table second by second and return every row's features, in the order of the table.

    Payments of one second come in a random order, each asked for before or after the others are
    observed. A report comes at a random time up to the first second that it counts for.
    """
    own = () if contract is None else contract.own_columns
    online = OnlineFeatures(
        risk_delay_days=delay,
        shared=shared,
        own_columns=own,
        currency=None if contract is None else contract.currency,
    )
    payments = payments_of(frame, [spec.name for spec in own])
    values = np.empty((len(payments), len(online.names)), dtype=np.float32)
    waiting: list[tuple[int, int]] = []
    if "is_fraud" in frame.columns:
        frauds = np.flatnonzero((frame["is_fraud"] == 1).fillna(False))
        waiting = sorted((int(frame["label_time"].iloc[row]), int(row)) for row in frauds)
    seconds = frame.groupby("event_time").indices
    seen: set[int] = set()
    for now in sorted(seconds):
        for known, row in list(waiting):
            if row in seen and (known < now or rng.random() < early):
                waiting.remove((known, row))
                online.report(payments[row], report_time=known)
        steps = [(what, row) for row in seconds[now] for what in ("ask", "observe")]
        for index in rng.permutation(len(steps)):
            what, row = steps[index]
            if what == "ask":
                values[row] = online.features(payments[row])
            else:
                online.observe(payments[row])
                seen.add(row)
    return values


def assert_same_bits(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(
        np.ascontiguousarray(left).view(np.uint32), np.ascontiguousarray(right).view(np.uint32)
    )


@given(seed=seeds, delay=delays, n_rows=st.integers(1, 120))
@settings(max_examples=40, deadline=None)
def test_online_equals_batch(seed: int, delay: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, n_rows, days=90)
    batch = build_features(frame, risk_delay_days=delay)
    assert_same_bits(replay(frame, delay=delay, rng=rng), batch.values)


@given(seed=seeds, delay=delays, n_rows=st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_online_equals_batch_with_own_columns_and_currencies(
    seed: int, delay: int, n_rows: int
) -> None:
    rng = np.random.default_rng(seed)
    frame = with_contract_terms(random_table(rng, n_rows, days=90), rng)
    batch = build_features(
        frame,
        risk_delay_days=delay,
        own_columns=TERMS.own_columns,
        currency=TERMS.currency,
    )
    assert batch.names[-2:] == ("balance", "entry_mode")
    assert_same_bits(replay(frame, delay=delay, rng=rng, contract=TERMS), batch.values)
    plain = build_features(frame, risk_delay_days=delay)
    assert batch.names[:-2] == plain.names
    if set(frame["currency"]) == {"GBP"}:
        assert_same_bits(batch.values[:, :-2], plain.values)


@pytest.mark.parametrize("lost", ["payment", "label"])
def test_what_the_builder_was_not_told_is_missed(lost: str) -> None:
    """Negative control: the law above notices one payment or one label that went astray."""
    rng = np.random.default_rng(5)
    frame = random_table(rng, 120, days=20)
    batch = build_features(frame, risk_delay_days=1)
    frauds = frame[(frame["is_fraud"] == 1) & frame["payee_id"].notna()]
    row = int(frauds["label_time"].idxmin())
    poorer = frame.astype({"is_fraud": "Int8", "label_time": "Int64"})
    if lost == "label":
        poorer.loc[row, ["is_fraud", "label_time"]] = pd.NA
    else:
        poorer, batch = poorer.drop(index=row), batch.take(np.arange(120) != row)
    found = replay(poorer.reset_index(drop=True), delay=1, rng=rng)
    differing = {
        name
        for index, name in enumerate(batch.names)
        if not np.array_equal(found[:, index], batch.values[:, index], equal_nan=True)
    }
    assert "payee_fraud_count_30d" in differing
    assert ("payee_count_30d" in differing) == (lost == "payment")
    assert "amount" not in differing


@given(seed=seeds, delay=delays)
@settings(max_examples=15, deadline=None)
def test_online_equals_batch_without_or_with_some_labels(seed: int, delay: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 80)
    bare = frame.drop(columns=["is_fraud", "label_time"])
    batch = build_features(bare, risk_delay_days=delay)
    assert_same_bits(replay(bare, delay=delay, rng=rng), batch.values)
    partly = frame.astype({"is_fraud": "Int8", "label_time": "Int64"})
    partly.loc[rng.random(80) < 0.5, ["is_fraud", "label_time"]] = pd.NA
    batch = build_features(partly, risk_delay_days=delay)
    assert_same_bits(replay(partly, delay=delay, rng=rng), batch.values)


@given(seed=seeds, absent=st.sets(st.sampled_from(["payee_id", "device_id", "channel"])))
@settings(max_examples=15, deadline=None)
def test_online_equals_batch_without_columns(seed: int, absent: set[str]) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 80).drop(columns=sorted(absent))
    batch = build_features(frame, risk_delay_days=1)
    assert_same_bits(replay(frame, delay=1, rng=rng), batch.values)


@given(seed=seeds, delay=st.sampled_from([0, 1, 7]))
@settings(max_examples=10, deadline=None)
def test_online_equals_batch_with_risk_tables(seed: int, delay: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 60)
    shared = solo_history(frame, risk_spec(delay_days=delay))
    batch = build_features(frame, risk_delay_days=delay, shared=shared)
    assert any(name.startswith("shared_") for name in batch.names)
    assert_same_bits(replay(frame, delay=delay, rng=rng, shared=shared), batch.values)
    with pytest.raises(DataError):
        OnlineFeatures(risk_delay_days=delay + 1, shared=shared)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_online_equals_batch_within_one_hour(seed: int) -> None:
    """Many payments of few keys at a handful of seconds: nearly everything is a tie."""
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 100, days=1)
    frame["event_time"] = START + rng.integers(0, 5, 100)
    frame["label_time"] = frame["event_time"] + rng.integers(0, 5, 100)
    batch = build_features(frame, risk_delay_days=0)
    assert_same_bits(replay(frame, delay=0, rng=rng), batch.values)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return the smallest bank of a small generated world."""
    out = tmp_path_factory.mktemp("world") / "data"
    options = ["--customers", "150", "--banks", "3", "--days", "60", "--seed", "3", "--quiet"]
    command = [sys.executable, "-c", "from data_gen.cli import main; main()", "generate"]
    subprocess.run([*command, *options, "--out", str(out)], check=True)
    files = sorted(out.glob("*/transactions.parquet"), key=lambda path: path.stat().st_size)
    return pd.read_parquet(files[0])


def test_online_equals_batch_on_a_generated_world(world: pd.DataFrame) -> None:
    assert len(world) > 300
    assert world["is_fraud"].any()
    delay = 7
    batch = build_features(world, risk_delay_days=delay)
    assert_same_bits(
        replay(world, delay=delay, rng=np.random.default_rng(1), early=0), batch.values
    )


def days_of_payments(n_days: int) -> Iterator[Payment]:
    for day in range(n_days):
        yield Payment(
            transaction_id=f"t{day:04d}",
            event_time=START + day * DAY,
            customer_id="c",
            amount_minor=100,
            merchant_id=f"m{day}",
            payee_id="p",
        )


def test_what_no_window_reaches_is_forgotten() -> None:
    online = OnlineFeatures(risk_delay_days=7)
    for payment in days_of_payments(200):
        online.observe(payment)
        online.report(payment, report_time=payment.event_time + DAY)
        # 30 days and the delay, the window's first second among them.
        assert online.n_remembered <= 38
    late = Payment("late", START + 400 * DAY, "c", 100, payee_id="p")
    row = dict(zip(online.names, online.features(late).tolist(), strict=True))
    assert online.n_remembered == 0
    assert row["customer_count_30d"] == 0
    assert row["payee_customers_30d"] == 0
    assert row["payee_fraud_count_30d"] == 0
    # Recency and acquaintance have no window.
    assert row["customer_seconds_since_previous"] == 201 * DAY
    assert row["new_payee"] == 0


def test_asking_changes_nothing_but_the_time() -> None:
    online = OnlineFeatures(risk_delay_days=0)
    first, second, *_ = days_of_payments(2)
    assert_same_bits(online.features(first), online.features(first))
    assert online.n_remembered == 0
    online.observe(first)
    assert_same_bits(online.features(second), online.features(second))
    assert online.n_remembered == 1


def test_a_report_that_comes_late_counts_from_then_on() -> None:
    online = OnlineFeatures(risk_delay_days=0)
    first, second, third = days_of_payments(3)
    counts = []
    for payment in (first, second, third):
        row = online.features(payment)
        counts.append(float(row[online.names.index("payee_fraud_count_7d")]))
        online.observe(payment)
        if payment is second:
            assert online.report(first, report_time=START + 5)
    assert counts == [0, 0, 1]


def test_a_payment_is_reported_once() -> None:
    online = OnlineFeatures()
    (payment,) = days_of_payments(1)
    online.observe(payment)
    with pytest.raises(DataError, match=r"'t0000': report_time is 5, expected at or after the ev"):
        online.report(payment, report_time=5)
    assert online.report(payment, report_time=START)
    assert not online.report(payment, report_time=START + 1)
    # A report that no window can hold any more is none.
    online.features(replace(payment, transaction_id="late", event_time=START + 31 * DAY))
    assert not online.report(payment, report_time=START)


def test_time_goes_forward_and_payments_come_once() -> None:
    online = OnlineFeatures(risk_delay_days=0)
    first, second = days_of_payments(2)
    online.observe(second)
    for call in (online.features, online.observe):
        with pytest.raises(DataError, match=r"'t0000': event_time is .*, expected .* or later"):
            call(first)
    with pytest.raises(DataError, match="'t0001': observed before"):
        online.observe(second)
    with pytest.raises(DataError, match="column 'channel' holds 'swift'"):
        online.features(Payment("t9", second.event_time, "c", 1, channel="swift"))
    with pytest.raises(ValueError, match="risk_delay_days is -1"):
        OnlineFeatures(risk_delay_days=-1)


def test_a_payment_has_the_columns_of_the_schema() -> None:
    known = [c.name for c in COLUMNS if not c.analysis and c.name not in LABEL_COLUMNS]
    assert set(Payment.__dataclass_fields__) == {*known, "own", "identifiers"}
    (only,) = payments_of(table([{"payee_id": "p"}]))
    assert only == Payment(
        "t0000",
        START,
        "c1",
        1000,
        payee_id="p",
        channel="ecommerce",
        merchant_category="grocery",
    )
    assert only.place is None


def test_a_place_that_is_nan_is_no_place() -> None:
    no_place, nan = Payment("t", START, "c", 100), Payment("t", START, "c", 100, latitude=math.nan)
    assert nan.latitude is None
    assert nan == no_place
    assert hash(nan) == hash(no_place)
    assert pickle.loads(pickle.dumps(nan)) == nan
    assert replace(nan, longitude=1.0).place is None
    assert replace(nan, latitude=51.5, longitude=-0.1).place == (51.5, -0.1)
