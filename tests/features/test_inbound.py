"""Features of incoming payments: against the slow way, one at a time, and from the past only."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.contract_terms import CURRENCY, OWN_COLUMNS, TERMS, with_contract_terms
from oracles.features import DAY, HOUR, START
from oracles.inbound import flows, random_flows, slow_inbound_features
from oracles.shared_risk import risk_spec, solo_history

from fraudfed.catalogue.inbound import INBOUND_FEATURES, INBOUND_RECIPE
from fraudfed.catalogue.recipes import find_recipe
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError
from fraudfed.features import FeatureTable
from fraudfed.features.builders import build_recipe
from fraudfed.features.inbound import OnlineInboundFeatures, build_inbound_features
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.payment import Payment, payments_of
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.payments.columns import COLUMNS, INBOUND
from fraudfed.wire.messages import DataContract

seeds = st.integers(0, 2**32 - 1)
delays = st.sampled_from([0, 1, 7, 40])


def by_id(table: FeatureTable) -> pd.DataFrame:
    frame = pd.DataFrame(table.values, columns=list(table.names), index=table.transaction_id)
    return frame.sort_index()


def assert_same_bits(left: Float32Array, right: Float32Array) -> None:
    np.testing.assert_array_equal(
        np.ascontiguousarray(left).view(np.uint32), np.ascontiguousarray(right).view(np.uint32)
    )


@given(seed=seeds, delay=delays, n_rows=st.integers(1, 70))
@settings(max_examples=25, deadline=None)
def test_every_feature_equals_the_slow_way(seed: int, delay: int, n_rows: int) -> None:
    frame = random_flows(np.random.default_rng(seed), n_rows)
    found = build_inbound_features(frame, risk_delay_days=delay)
    np.testing.assert_array_equal(found.positions, np.flatnonzero(frame["direction"] == INBOUND))
    expected = slow_inbound_features(frame, delay=delay)
    if expected.empty:
        assert found.n_rows == 0
        return
    assert set(expected) == set(found.names)
    for index, name in enumerate(found.names):
        np.testing.assert_allclose(
            found.values[:, index],
            expected[name].to_numpy(dtype=np.float64),
            rtol=1e-6,
            err_msg=name,
        )


def replay(
    frame: pd.DataFrame,
    *,
    delay: int,
    rng: np.random.Generator,
    shared: SharedRisk | None = None,
    contract: DataContract | None = None,
) -> Float32Array:
    """Feed a table second by second, in a random order within one, reports late or early."""
    own = () if contract is None else contract.own_columns
    currency = None if contract is None else contract.currency
    online = OnlineInboundFeatures(
        risk_delay_days=delay, shared=shared, own_columns=own, currency=currency
    )
    payments = payments_of(frame, [spec.name for spec in own])
    rows = np.full((len(payments), len(online.names)), np.nan, dtype=np.float32)
    frauds = np.flatnonzero(frame["is_fraud"] == 1)
    waiting = sorted((int(frame["label_time"].iloc[row]), int(row)) for row in frauds)
    seconds = frame.groupby("event_time").indices
    seen: set[int] = set()
    for now in sorted(seconds):
        for known, row in list(waiting):
            if row in seen and (known < now or rng.random() < 0.3):
                waiting.remove((known, row))
                online.report(payments[row], report_time=known)
        steps = [(what, row) for row in seconds[now] for what in ("ask", "observe")]
        for index in rng.permutation(len(steps)):
            what, row = steps[index]
            if what == "observe":
                online.observe(payments[row])
                seen.add(row)
            elif payments[row].is_inbound:
                rows[row] = online.features(payments[row])
    return rows[(frame["direction"] == INBOUND).to_numpy()]


@given(seed=seeds, delay=delays, n_rows=st.integers(1, 120))
@settings(max_examples=25, deadline=None)
def test_one_at_a_time_gives_the_same_bits(seed: int, delay: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_flows(rng, n_rows, days=int(rng.choice([10, 90])))
    batch = build_inbound_features(frame, risk_delay_days=delay)
    assert_same_bits(replay(frame, delay=delay, rng=rng), batch.values)


@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_own_columns_and_currencies_one_at_a_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = with_contract_terms(random_flows(rng, 60), rng)
    batch = build_inbound_features(
        frame, risk_delay_days=1, own_columns=TERMS.own_columns, currency=TERMS.currency
    )
    assert batch.names[-2:] == ("balance", "entry_mode")
    assert_same_bits(replay(frame, delay=1, rng=rng, contract=TERMS), batch.values)


@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_shared_risk_of_both_accounts(seed: int) -> None:
    """What all banks entered about the account that is paid, and about the one that pays."""
    rng = np.random.default_rng(seed)
    frame = random_flows(rng, 80)
    shared = solo_history(frame, risk_spec(delay_days=7))
    batch = build_inbound_features(frame, risk_delay_days=7, shared=shared)
    assert_same_bits(replay(frame, delay=7, rng=rng, shared=shared), batch.values)
    values = by_id(batch)
    rows = frame.set_index("transaction_id").loc[values.index]
    # The same account on the same day has the same numbers, whichever side it is on.
    known: dict[tuple[str, int], float] = {}
    for side in ("payee", "payer"):
        column = values[f"shared_{side}_fraud_count_30d"]
        np.testing.assert_array_equal(column.isna(), rows[f"{side}_id"].isna())
        for name, time, count in zip(rows[f"{side}_id"], rows["event_time"], column, strict=True):
            if not pd.isna(name):
                assert known.setdefault((name, time // DAY), count) == count
    with pytest.raises(DataError, match="risk_delay_days"):
        build_inbound_features(frame, risk_delay_days=1, shared=shared)
    with pytest.raises(DataError, match="risk_delay_days"):
        OnlineInboundFeatures(risk_delay_days=1, shared=shared)


@given(seed=seeds, delay=delays, cut=st.floats(0.1, 0.9))
@settings(max_examples=15, deadline=None)
def test_later_rows_and_labels_change_nothing(seed: int, delay: int, cut: float) -> None:
    rng = np.random.default_rng(seed)
    frame = random_flows(rng, 100)
    now = int(frame["event_time"].quantile(cut))
    before = frame["event_time"] <= now
    changed = frame.astype({"is_fraud": "Int8", "label_time": "Int64"})
    unknown = changed["label_time"] >= now
    changed.loc[unknown, ["is_fraud", "label_time"]] = pd.NA
    later = ~before
    changed.loc[later, "amount_minor"] = 7
    changed.loc[later, "customer_id"] = "c0"
    changed.loc[later, "payer_id"] = "a1"
    changed = changed.drop(index=changed.index[later][::2])
    kept = frame.loc[before & (frame["direction"] == INBOUND), "transaction_id"].tolist()
    expected = by_id(build_inbound_features(frame, risk_delay_days=delay)).loc[kept]
    found = by_id(build_inbound_features(changed, risk_delay_days=delay)).loc[kept]
    pd.testing.assert_frame_equal(found, expected)


@given(seed=seeds, delay=delays)
@settings(max_examples=10, deadline=None)
def test_neither_order_nor_names_matter(seed: int, delay: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_flows(rng, 100)
    expected = by_id(build_inbound_features(frame, risk_delay_days=delay))
    other = frame.iloc[rng.permutation(len(frame))].copy()
    other["customer_id"] = "z" + other["customer_id"].str[::-1]
    for name in ("payee_id", "payer_id"):
        other[name] = other[name].str.replace("a", "GB")
    pd.testing.assert_frame_equal(
        by_id(build_inbound_features(other, risk_delay_days=delay)), expected
    )


def one(rows: list[dict[str, object]], **facts: float) -> None:
    """Compare some features of the last row, which is inbound."""
    table = build_inbound_features(flows(rows), risk_delay_days=0)
    last = dict(zip(table.names, table.values[-1].tolist(), strict=True))
    assert {name: last[name] for name in facts} == pytest.approx(facts, nan_ok=True)


def out(seconds: int, amount: int, **more: object) -> dict[str, object]:
    return {
        "direction": "outbound",
        "event_time": START + seconds,
        "amount_minor": amount,
        "payer_id": None,
        **more,
    }


def came(seconds: int, amount: int, **more: object) -> dict[str, object]:
    return {"event_time": START + seconds, "amount_minor": amount, **more}


def test_money_that_leaves_within_the_hours_counts_once_they_are_over() -> None:
    rows = [came(0, 100_000), out(HOUR, 70_000), out(2 * HOUR, 20_000, channel="atm")]
    nan = float("nan")
    # An hour later to the second the hour is not over: a payment of that second may still leave.
    one([*rows, came(HOUR, 1)], passed_on_1h=nan, seconds_to_outflow=nan)
    one([*rows, came(HOUR + 1, 1)], passed_on_1h=0.7, passed_on_6h=nan, seconds_to_outflow=HOUR)
    one([*rows, came(7 * HOUR, 1)], passed_on_1h=0.7, passed_on_6h=0.9, passed_on_24h=nan)
    one([*rows, came(2 * DAY, 1)], passed_on_24h=0.9, out_over_in_1d=nan, out_over_in_7d=0.9)
    one([*rows, came(40 * DAY, 1)], passed_on_24h=nan, seconds_to_outflow=HOUR)


def test_purchases_are_no_outflows_and_more_than_came_is_not_passed_on() -> None:
    rows = [came(0, 1_000), out(60, 900, channel="pos"), out(90, 5_000)]
    one([*rows, came(DAY, 1)], passed_on_6h=1.0, outflow_count_7d=1, out_over_in_7d=5.0)
    # Without channels nothing tells purchases apart.
    frame = flows([*rows, came(DAY, 1)]).drop(columns="channel")
    found = by_id(build_inbound_features(frame, risk_delay_days=0)).iloc[-1]
    assert found["outflow_count_7d"] == 2


def test_a_chain_shows_at_the_next_bank() -> None:
    """The bank's customers were robbed into an account that now pays one of its customers."""
    robbed = out(0, 9_000, customer_id="c7", payee_id="mule", is_fraud=1, label_time=START + HOUR)
    arriving = came(3 * HOUR, 8_500, payer_id="mule", customer_id="c8", payee_id="next")
    one([robbed, arriving], payer_reported_30d=1, new_payer=1, account_age_seconds=0)
    early = came(HOUR, 8_500, payer_id="mule", customer_id="c8", payee_id="next")
    one([robbed, early], payer_reported_30d=0)


def test_fan_in_first_time_payers_and_dormant_customers() -> None:
    rows = [came(k * HOUR, 5_000, payer_id=f"victim{k}") for k in range(5)]
    one(
        [*rows, came(6 * HOUR, 5_000, payer_id="victim0")],
        credit_payers_1d=5,
        new_payer=0,
        seconds_since_activity=2 * HOUR,
        amount_zeros=3,
    )
    one(
        [*rows, came(50 * DAY, 5, payer_id="x")], credit_payers_30d=0, customer_age_seconds=50 * DAY
    )


def test_outbound_payments_cannot_be_asked_for() -> None:
    online = OnlineInboundFeatures(risk_delay_days=0)
    payment = Payment("t1", START, "c1", 5, channel="transfer")
    online.observe(payment)
    with pytest.raises(DataError, match="is outbound, expected an inbound payment for recipe"):
        online.features(payment)
    with pytest.raises(DataError, match="observed before"):
        online.observe(payment)
    assert online.report(payment, report_time=START)
    assert not online.report(payment, report_time=START)
    for build in (OnlineInboundFeatures, lambda **how: build_inbound_features(flows([{}]), **how)):
        with pytest.raises(ValueError, match="risk_delay_days is -1"):
            build(risk_delay_days=-1)


def test_what_no_window_reaches_is_forgotten() -> None:
    frame = random_flows(np.random.default_rng(4), 150)
    online = OnlineInboundFeatures(risk_delay_days=1)
    for payment in sorted(payments_of(frame), key=lambda payment: payment.event_time):
        online.observe(payment)
        online.report(payment, report_time=payment.event_time)
    assert online.n_remembered
    late = Payment("late", START + 400 * DAY, "c9", 5, direction="inbound")
    row = dict(zip(online.names, online.features(late).tolist(), strict=True))
    assert online.n_remembered == 0
    assert row["customer_age_seconds"] == 0


def test_one_at_a_time_hours_end_with_their_last_second() -> None:
    """Asked in the very second in which the hours end, before that second's outflow is seen."""
    rows = [came(0, 100), came(HOUR, 1), out(HOUR, 100), came(HOUR + 1, 1)]
    batch = build_inbound_features(flows(rows), risk_delay_days=0)
    online = OnlineInboundFeatures(risk_delay_days=0)
    found = []
    for payment in payments_of(flows(rows)):
        if payment.is_inbound:
            found.append(online.features(payment))
        online.observe(payment)
    assert_same_bits(np.array(found), batch.values)
    assert batch.values[-1, batch.names.index("passed_on_1h")] == 1


def test_one_at_a_time_nobody_need_ask_before_payments_are_forgotten() -> None:
    rows = [came(second, 100) for second in range(100)]
    rows += [out(200, 100), came(5 * DAY, 50), out(5 * DAY + 60, 10), came(33 * DAY, 1)]
    batch = build_inbound_features(flows(rows), risk_delay_days=0)
    online = OnlineInboundFeatures(risk_delay_days=0)
    payments = payments_of(flows(rows))
    for payment in payments[:-1]:
        online.observe(payment)
    assert_same_bits(online.features(payments[-1])[None, :], batch.values[-1:])
    assert online.n_remembered == 2


def test_without_inbound_rows_or_outbound_ones() -> None:
    frame = random_flows(np.random.default_rng(2), 40)
    bare = frame.drop(columns="direction")
    assert build_recipe(INBOUND_RECIPE, bare, risk_delay_days=0).n_rows == 0
    alone = frame[frame["direction"] == INBOUND]
    found = by_id(build_recipe(INBOUND_RECIPE, alone, risk_delay_days=0))
    assert not found[["outflow_count_30d", "customer_reported_30d"]].to_numpy().any()
    assert found["seconds_since_outflow"].isna().all()


def test_own_columns_and_currencies_of_a_contract() -> None:
    rng = np.random.default_rng(6)
    frame = with_contract_terms(random_flows(rng, 80), rng).sort_values("event_time")
    frame = frame.reset_index(drop=True)
    batch = build_inbound_features(frame, risk_delay_days=1, currency=CURRENCY)
    plain = with_own_columns(batch, OWN_COLUMNS, frame)
    terms = {"own_columns": OWN_COLUMNS, "currency": CURRENCY}
    online = OnlineInboundFeatures(risk_delay_days=1, **terms)
    found = []
    payments = payments_of(frame, own_columns=[spec.name for spec in OWN_COLUMNS])
    seconds = frame.groupby("event_time").indices
    for now in sorted(seconds):
        for row in seconds[now]:
            if payments[row].is_inbound:
                found.append(online.features(payments[row]))
            online.observe(payments[row])
    without = build_inbound_features(frame, risk_delay_days=1)
    assert not np.array_equal(without.values, batch.values, equal_nan=True)
    kept = [name for name in plain.names if "fraud" not in name and "reported" not in name]
    where = [plain.names.index(name) for name in kept]
    assert online.names == plain.names
    assert_same_bits(np.array(found)[:, where], plain.values[:, where])


def test_unused_columns_change_nothing() -> None:
    frame = random_flows(np.random.default_rng(3), 60)
    recipe = find_recipe(INBOUND_RECIPE)
    assert recipe.unused < {column.name for column in COLUMNS if column.optional}
    lean = frame.drop(columns=sorted(recipe.unused & set(frame)))
    pd.testing.assert_frame_equal(
        by_id(build_inbound_features(lean, risk_delay_days=1)),
        by_id(build_inbound_features(frame, risk_delay_days=1)),
    )
    assert len(INBOUND_FEATURES) == len({feature.name for feature in INBOUND_FEATURES})
