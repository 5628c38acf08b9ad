"""Windows over the tables of runs, and the features made of them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, START, random_table, table
from oracles.shared_risk import FIRST_DAY, KEY, exact_entries, risk_spec, solo_history, solo_tables

from fraudfed.catalogue.recipe import FEATURES, SHARED_FEATURES
from fraudfed.errors import DataError
from fraudfed.features import FeatureTable, OnlineFeatures, build_features, contract_features
from fraudfed.features.payment import payments_of
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.wire.messages import RiskEntity

OTHER_KEY = KEY[::-1]
WIDTHS = (1, 7, 30)


def column(found: FeatureTable, name: str) -> list[float]:
    return found.values[:, found.names.index(name)].tolist()


@given(
    seed=st.integers(0, 2**32 - 1), delay=st.sampled_from([0, 3, 7]), lag=st.sampled_from([0, 1, 4])
)
@settings(max_examples=12, deadline=None)
def test_features_equal_exact_windows(seed: int, delay: int, lag: int) -> None:
    """Few identifiers in wide sketches: estimates are exact but for a collision in every row."""
    frame = random_table(np.random.default_rng(seed), 60, days=60)
    spec = risk_spec(delay_days=delay)
    payments, frauds = exact_entries(frame, spec)
    found = build_features(frame, risk_delay_days=delay, shared=solo_history(frame, spec, lag=lag))
    for row, payment in enumerate(frame.to_dict("records")):
        day = payment["event_time"] // DAY
        for entity in RiskEntity:
            identifier = payment[f"{entity}_id"]
            for width in WIDTHS:
                count, fraud, rate = (
                    column(found, f"shared_{entity}_{name}_{width}d")[row]
                    for name in ("count", "fraud_count", "fraud_rate")
                )
                if pd.isna(identifier):
                    assert np.isnan([count, fraud, rate]).all()
                    continue
                window = range(day - lag - width, day - lag)
                assert count == sum(payments[one, str(entity), identifier] for one in window)
                assert fraud == sum(frauds[one, str(entity), identifier] for one in window)
                expected = fraud / (max(count, fraud) + 10)
                np.testing.assert_allclose(rate, expected, rtol=1e-7)


@given(seed=st.integers(0, 2**32 - 1), cut_day=st.integers(0, 80))
@settings(max_examples=15, deadline=None)
def test_features_do_not_look_into_the_future(seed: int, cut_day: int) -> None:
    """Payments before a day have the same features without anything that happened from it on."""
    frame = random_table(np.random.default_rng(seed), 100, days=80)
    cut = START + cut_day * DAY
    past = frame[frame["event_time"] < cut].copy()
    if past.empty:
        return
    unknown = past["label_time"] >= cut
    known = past.copy()
    known["is_fraud"] = known["is_fraud"].mask(unknown, 0)
    known["label_time"] = known["label_time"].mask(unknown, known["event_time"])
    whole = build_features(past, risk_delay_days=7, shared=solo_history(frame, risk_spec()))
    alone = build_features(past, risk_delay_days=7, shared=solo_history(known, risk_spec()))
    first = len(FEATURES)
    np.testing.assert_array_equal(whole.values[:, first:], alone.values[:, first:])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_one_payment_at_a_time_has_the_features_of_the_table(seed: int) -> None:
    """In narrow sketches, so that estimates of collisions agree as well."""
    frame = random_table(np.random.default_rng(seed), 40, days=60).sort_values("event_time")
    shared = solo_history(frame, risk_spec(transaction_width=16, fraud_width=16, depth=2))
    batch = build_features(frame, risk_delay_days=7, shared=shared)
    online = OnlineFeatures(risk_delay_days=7, shared=shared)
    assert online.names == batch.names
    first = len(FEATURES)
    for payment, row in zip(payments_of(frame), batch.values, strict=True):
        np.testing.assert_array_equal(online.features(payment)[first:], row[first:])


def paid(day: int, customer: str, **more: object) -> dict[str, object]:
    return {
        "event_time": START + day * DAY + 3600,
        "customer_id": customer,
        "terminal_id": "t",
        **more,
    }


def test_every_shared_feature_by_hand() -> None:
    """Delay 7, lag 0: day 40 sees payments of day 32 (1 d), 26..32 (7 d), 3..32 (30 d)."""
    frame = table(
        [
            paid(2, "c0"),
            paid(3, "c1"),
            paid(26, "c2", is_fraud=1, label_time=START + 27 * DAY),
            paid(30, "c2"),
            paid(32, "c3"),
            # Reported on day 39, entered on day 39: not part of the count of its window.
            paid(5, "c4", is_fraud=1, label_time=START + 39 * DAY + 5),
            # Reported on day 40: not known on day 40.
            paid(6, "c5", is_fraud=1, label_time=START + 40 * DAY),
            paid(33, "c6"),
            paid(40, "c7"),
        ]
    )
    shared = solo_history(frame, risk_spec(), lag=0)
    found = build_features(frame, risk_delay_days=7, shared=shared)
    expected = {
        "count": (1, 3, 6),
        "fraud_count": (1, 2, 2),
        "fraud_rate": (1 / 11, 2 / 13, 2 / 16),
    }
    for name, values in expected.items():
        for width, value in zip(WIDTHS, values, strict=True):
            of_column = column(found, f"shared_terminal_{name}_{width}d")
            assert of_column[-1] == pytest.approx(value), (name, width)
    # The first payment has a terminal and no history; nobody has a payee.
    assert column(found, "shared_terminal_count_30d")[0] == 0
    assert column(found, "shared_terminal_fraud_rate_30d")[0] == 0
    assert np.isnan(column(found, "shared_payee_fraud_rate_30d")).all()
    assert np.isnan(column(found, "shared_payee_count_30d")).all()
    tested = {
        f"shared_{entity}_{name}_{width}d"
        for entity in RiskEntity
        for name in expected
        for width in WIDTHS
    }
    assert tested == {feature.name for feature in SHARED_FEATURES}


def test_the_rate_stays_below_one_where_frauds_are_counted_and_payments_are_not() -> None:
    frame = table([*(paid(0, "c", is_fraud=1, label_time=START) for _ in range(3)), paid(8, "c")])
    shared = solo_history(frame, risk_spec(min_customers=3), lag=0)
    found = build_features(frame, risk_delay_days=7, shared=shared)
    assert column(found, "shared_terminal_count_1d")[-1] == 0
    assert column(found, "shared_terminal_fraud_count_1d")[-1] == 3
    assert column(found, "shared_terminal_fraud_rate_1d")[-1] == pytest.approx(3 / 13)


def test_an_entity_that_is_not_counted_has_no_features() -> None:
    frame = table([paid(0, "c"), paid(8, "c")])
    shared = solo_history(frame, risk_spec(entities=[RiskEntity.MERCHANT]))
    found = build_features(frame, risk_delay_days=7, shared=shared)
    assert np.isnan(column(found, "shared_terminal_count_1d")).all()
    with pytest.raises(DataError, match="do not count by terminal, only by merchant"):
        shared.windows(
            RiskEntity.TERMINAL, ["t"], np.zeros(1, np.int64), np.zeros(1, np.int64), widths=(1,)
        )


def test_features_without_tables_are_as_before() -> None:
    frame = random_table(np.random.default_rng(0), 30)
    plain = build_features(frame, risk_delay_days=7)
    assert plain.names == tuple(feature.name for feature in FEATURES)
    shared = build_features(frame, risk_delay_days=7, shared=solo_history(frame, risk_spec()))
    assert shared.names == tuple(feature.name for feature in (*FEATURES, *SHARED_FEATURES))
    assert shared.names == tuple(spec.name for spec in contract_features(shared=True))
    np.testing.assert_array_equal(shared.values[:, : len(FEATURES)], plain.values)


def test_tables_of_another_delay_are_refused() -> None:
    frame = random_table(np.random.default_rng(0), 10)
    shared = solo_history(frame, risk_spec(delay_days=7))
    for days in (6, 8, 0):
        with pytest.raises(DataError, match=f"7 days after their own, expected the {days} of risk"):
            build_features(frame, risk_delay_days=days, shared=shared)
        with pytest.raises(DataError, match="7 days after their own, expected the"):
            OnlineFeatures(risk_delay_days=days, shared=shared)
    with pytest.raises(ValueError, match="publication_lag_days is -1"):
        solo_history(frame, risk_spec(), lag=-1)


def test_tables_of_another_hash_key_are_refused() -> None:
    tables = solo_tables(random_table(np.random.default_rng(0), 10), risk_spec())
    with pytest.raises(DataError, match="made under hash key"):
        KeyedTables(tables, OTHER_KEY)


def test_tables_that_differ_in_delay_make_no_history() -> None:
    frame = random_table(np.random.default_rng(0), 10)
    first, other = (
        KeyedTables(solo_tables(frame, risk_spec(delay_days=days)), KEY) for days in (7, 6)
    )
    with pytest.raises(DataError, match=r"differ in delay \(6 and 7 days\)"):
        SharedRisk([first, other])
    with pytest.raises(DataError, match="no risk tables are given"):
        SharedRisk([])


def test_a_history_counts_what_all_of_its_tables_count() -> None:
    frame = random_table(np.random.default_rng(0), 10)
    kinds = ([RiskEntity.PAYEE, RiskEntity.TERMINAL], [RiskEntity.MERCHANT, RiskEntity.PAYEE])
    runs = [KeyedTables(solo_tables(frame, risk_spec(entities=one)), KEY) for one in kinds]
    assert SharedRisk(runs).entities == (RiskEntity.PAYEE,)


def of_days(frame: pd.DataFrame, first: int, last: int, *, key: bytes = KEY) -> KeyedTables:
    spec = risk_spec(first_day=FIRST_DAY + first, last_day=FIRST_DAY + last)
    return KeyedTables(solo_tables(frame, spec, key=key), key)


def test_runs_under_several_keys_are_one_history() -> None:
    """A key epoch ends whenever a bank joins or leaves: earlier tables are still of use."""
    frame = random_table(np.random.default_rng(4), 80, days=60)
    one = SharedRisk([of_days(frame, -1, 200)])
    parts = SharedRisk(
        [of_days(frame, -1, 29), of_days(frame, 30, 49, key=OTHER_KEY), of_days(frame, 50, 200)]
    )
    assert parts.missing_days(FIRST_DAY - 1, FIRST_DAY + 200) == []
    whole, joined = (
        build_features(frame, risk_delay_days=7, shared=shared).values for shared in (one, parts)
    )
    np.testing.assert_array_equal(whole, joined)


def test_where_days_overlap_a_payment_sees_the_tables_that_stood_then() -> None:
    """The newest of the runs that had ended, 1 + lag days before; until one had, the oldest."""
    frame = table([paid(0, "c")])
    asked = table([paid(day, "c") for day in (8, 10, 11, 12, 21, 22, 23)])
    once, twice, thrice = (
        of_days(pd.concat([frame] * times), first, last)
        for times, first, last in ((1, 0, 9), (2, 5, 10), (3, 7, 20))
    )
    for runs in ([once, twice, thrice], [thrice, twice, once], [twice, thrice, once]):
        found = build_features(asked, risk_delay_days=7, shared=SharedRisk(runs))
        assert column(found, "shared_terminal_count_30d") == [0, 1, 1, 2, 2, 3, 3]
    # Of two runs that end on one day the one that is named later replaces the other, always.
    again = of_days(pd.concat([frame] * 5), 0, 9)
    for runs, count in (([once, again], 5), ([again, once], 1)):
        found = build_features(asked, risk_delay_days=7, shared=SharedRisk(runs))
        assert column(found, "shared_terminal_count_30d") == [0, *[count] * 6]


@given(seed=st.integers(0, 2**32 - 1), lag=st.sampled_from([0, 1, 3]), now=st.integers(5, 50))
@settings(max_examples=12, deadline=None)
def test_a_later_run_changes_no_feature_that_earlier_ones_gave(
    seed: int, lag: int, now: int
) -> None:
    """What a payment saw on its day it sees in every batch that is made later."""
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 60, days=60)
    other = random_table(rng, 60, days=60)
    before = [of_days(frame, -1, 3), of_days(frame, 2, now)]
    later = of_days(other, int(rng.integers(0, now)), int(rng.integers(now + 1, 70)))
    paid_then = frame[frame["event_time"] < START + (now + 1 + lag) * DAY]
    if paid_then.empty:
        return
    expected, found = (
        build_features(
            paid_then,
            risk_delay_days=7,
            shared=SharedRisk(runs, publication_lag_days=lag),
        ).values
        for runs in (before, [*before, later])
    )
    np.testing.assert_array_equal(found, expected)


def test_gaps_are_named() -> None:
    frame = table([paid(0, "c")])
    shared = SharedRisk([of_days(frame, 0, 3), of_days(frame, 6, 8)])
    assert (shared.first_day, shared.last_day) == (FIRST_DAY, FIRST_DAY + 8)
    found = [
        (first - FIRST_DAY, last - FIRST_DAY)
        for first, last in shared.missing_days(FIRST_DAY - 2, FIRST_DAY + 9)
    ]
    assert found == [(-2, -1), (4, 5), (9, 9)]


def test_payments_long_before_and_after_the_tables_have_empty_windows() -> None:
    frame = table([paid(0, "c"), paid(8, "c")])
    shared = SharedRisk([of_days(frame, 0, 20)])
    far = table([paid(day, "c") for day in (-18_000, 8, 20, 21, 60, 15_000)])
    found = build_features(far, risk_delay_days=7, shared=shared)
    assert column(found, "shared_terminal_count_30d") == [0, 0, 2, 2, 0, 0]


def test_blocks_of_identifiers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = random_table(np.random.default_rng(9), 80, days=60)
    shared = solo_history(frame, risk_spec())
    whole = build_features(frame, risk_delay_days=7, shared=shared).values
    monkeypatch.setattr("fraudfed.features.shared_risk.history._BLOCK", 2)
    parts = build_features(frame, risk_delay_days=7, shared=shared).values
    np.testing.assert_array_equal(whole, parts)
