"""Features in the order of arrival: each row is that of a batch over what had arrived by then."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, HOUR, START, random_table, table
from oracles.inbound import random_flows

from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError
from fraudfed.features import OnlineFeatures, build_features
from fraudfed.features.inbound import OnlineInboundFeatures, build_inbound_features
from fraudfed.features.payment import Payment, payments_of

seeds = st.integers(0, 2**32 - 1)
latenesses = st.sampled_from([0, HOUR, DAY, 10 * DAY])

CARD = (OnlineFeatures, build_features, random_table)
INBOUND = (OnlineInboundFeatures, build_inbound_features, random_flows)


def arrivals_of(
    frame: pd.DataFrame, rng: np.random.Generator, *, lateness: int
) -> list[tuple[str, int]]:
    """Return payments and reports in an order in which they may arrive: what, and of which row."""
    n_rows = len(frame)
    late = np.where(rng.random(n_rows) < 0.4, rng.integers(0, lateness + 1, n_rows), 0)
    arrival = frame["event_time"].to_numpy() + late
    events = [(int(arrival[row]), float(rng.random()), "payment", row) for row in range(n_rows)]
    for row in np.flatnonzero(frame["is_fraud"] == 1).tolist():
        # The bank may hear of a fraud before or long after it enters the time of the report.
        heard = max(int(frame["label_time"].iloc[row]) + int(rng.integers(-3, 9)) * DAY, 0)
        events.append((max(heard, int(arrival[row])), 2.0, "report", row))
    return [(what, row) for *_, what, row in sorted(events)]


def rows_by_arrival(
    build: Any, frame: pd.DataFrame, order: list[tuple[str, int]], *, delay: int
) -> dict[str, Float32Array]:
    """Build the row of each arrival by a batch over everything that had arrived, this included."""
    labelled = frame.astype({"is_fraud": "Int8", "label_time": "Int64"})
    labelled[["is_fraud", "label_time"]] = pd.NA
    arrived: list[int] = []
    rows = {}
    for what, row in order:
        if what == "report":
            columns = ["is_fraud", "label_time"]
            labelled.loc[row, columns] = frame.loc[row, columns].to_numpy()
            continue
        arrived.append(row)
        name = frame["transaction_id"].iloc[row]
        batch = build(labelled.loc[arrived], risk_delay_days=delay)
        found = np.flatnonzero(batch.transaction_id == name)
        if found.size:
            rows[name] = batch.values[found[0]]
    return rows


def assert_same_bits(left: Float32Array, right: Float32Array, names: tuple[str, ...]) -> None:
    one, other = (np.ascontiguousarray(row).view(np.uint32) for row in (left, right))
    wrong = [names[i] for i in np.flatnonzero(one != other)]
    assert not wrong, [(name, left[names.index(name)], right[names.index(name)]) for name in wrong]


@pytest.mark.parametrize("recipe", [CARD, INBOUND], ids=["card", "inbound"])
@given(seed=seeds, delay=st.sampled_from([0, 1, 7, 40]), lateness=latenesses)
@settings(max_examples=8, deadline=None)
def test_a_row_is_that_of_all_that_had_arrived(
    recipe: Any, seed: int, delay: int, lateness: int
) -> None:
    online_class, build, frames = recipe
    rng = np.random.default_rng(seed)
    frame = frames(rng, 28, days=int(rng.choice([2, 15, 100])))
    order = arrivals_of(frame, rng, lateness=lateness)
    expected = rows_by_arrival(build, frame, order, delay=delay)
    online = online_class(risk_delay_days=delay, allowed_lateness_seconds=lateness)
    payments = payments_of(frame)
    for what, row in order:
        if what == "report":
            online.report(payments[row], report_time=int(frame["label_time"].iloc[row]))
            continue
        name = payments[row].transaction_id
        if name in expected:
            assert_same_bits(online.row(payments[row]), expected[name], online.names)
        online.observe(payments[row])


def test_a_late_payment_is_seen_by_those_after_it_and_by_no_other() -> None:
    rows = [
        {"payee_id": "p", "customer_id": "a", "event_time": START},
        {"payee_id": "p", "customer_id": "a", "event_time": START + 2 * HOUR},
        {"payee_id": "p", "customer_id": "b", "event_time": START + HOUR},
        {"payee_id": "p", "customer_id": "a", "event_time": START + HOUR},
    ]
    first, second, *late = payments_of(table(rows))
    online = OnlineFeatures(allowed_lateness_seconds=DAY)
    for payment in (first, second, *late):
        online.observe(payment)

    def customers(at: int) -> float:
        row = online.row(Payment("asked", at, "a", 5, payee_id="p"))
        return float(row[online.names.index("payee_customers_7d")])

    assert [customers(START + hours * HOUR) for hours in (0, 1, 2, 3)] == [0, 1, 2, 2]
    # A week after its first payment, only later ones of each customer are in the window.
    assert customers(START + 7 * DAY + HOUR + 1) == 1


def test_a_payment_beyond_the_lateness_is_refused() -> None:
    online = OnlineFeatures(allowed_lateness_seconds=HOUR)
    online.observe(Payment("a", START + HOUR, "c", 5))
    online.observe(Payment("b", START, "c", 5))
    early = Payment("early", START - 1, "c", 5)
    for call in (online.features, online.observe, online.row):
        with pytest.raises(DataError, match=r"'early': event_time is .* allowed lateness 3600 s"):
            call(early)
    with pytest.raises(ValueError, match="allowed_lateness_seconds is -1"):
        OnlineFeatures(allowed_lateness_seconds=-1)


@given(seed=seeds)
@settings(max_examples=3, deadline=None)
def test_crowded_keys_are_counted_like_small_ones(seed: int) -> None:
    """So many payments that whole arrays are counted at once, in two ways."""
    rng = np.random.default_rng(seed)
    for online_class, build, frames in (CARD, INBOUND):
        frame = frames(rng, 400, days=20)
        frame["customer_id"] = "c"
        order = [("payment", row) for row in rng.permutation(400).tolist()]
        online = online_class(risk_delay_days=1, allowed_lateness_seconds=4000 * DAY)
        payments = payments_of(frame)
        for _, row in order:
            online.observe(payments[row])
        bare = frame.drop(columns=["is_fraud", "label_time"])
        batch = build(bare, risk_delay_days=1)
        for index in rng.choice(batch.n_rows, 60, replace=False).tolist():
            row = int(batch.positions[index])
            assert_same_bits(online.row(payments[row]), batch.values[index], online.names)
