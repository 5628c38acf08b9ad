"""Each feature on a small example that was worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from oracles.features import DAY, HOUR, START, table
from oracles.shared_risk import risk_spec, solo_history

from fraudfed.errors import DataError
from fraudfed.features import FeatureTable, build_features
from fraudfed.features.table import LABEL_NOT_KNOWN

NAN = math.nan


def build(*rows: dict[str, Any], delay: int = 0) -> FeatureTable:
    return build_features(table(rows), risk_delay_days=delay)


def column(features: FeatureTable, name: str) -> list[float]:
    values: list[float] = features.values[:, features.names.index(name)].tolist()
    return values


def check(features: FeatureTable, name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(column(features, name), expected, rtol=1e-6, err_msg=name)


def test_payment_itself() -> None:
    # Thursday 00:00, Friday 05:59:59, Saturday 06:00, Sunday 18:30, Monday 23:59:59.
    offsets = [0, DAY + 6 * HOUR - 1, 2 * DAY + 6 * HOUR, 3 * DAY + 18.5 * HOUR, 5 * DAY - 1]
    features = build(*({"event_time": START + int(o), "amount_minor": 1999} for o in offsets))
    check(features, "amount", [1999] * 5)
    check(features, "hour_of_day", [0, 6 - 1 / 3600, 6, 18.5, 24 - 1 / 3600])
    check(features, "is_night", [1, 1, 0, 0, 0])
    check(features, "is_weekend", [0, 0, 1, 1, 0])


def test_category_codes() -> None:
    features = build(
        {"channel": "pos", "merchant_category": "grocery"},
        {"channel": "atm", "merchant_category": "cash"},
        {"channel": "transfer", "merchant_category": None},
        {"channel": "ecommerce", "merchant_category": "fuel"},
    )
    check(features, "channel", [0, 3, 2, 1])
    check(features, "merchant_category", [0, 18, NAN, 1])
    assert features.n_categories[features.names.index("channel")] == 4
    assert features.n_categories[features.names.index("merchant_category")] == 19


def test_customer_history() -> None:
    features = build(
        {"event_time": START, "amount_minor": 100},
        {"event_time": START + HOUR, "amount_minor": 300},
        {"event_time": START + HOUR, "amount_minor": 500, "customer_id": "c2"},
        # The first payment is exactly one day old: still inside [t - 1 d, t).
        {"event_time": START + DAY, "amount_minor": 800},
        # One second later it is not.
        {"event_time": START + DAY + 1, "amount_minor": 50},
        {"event_time": START + 8 * DAY, "amount_minor": 90},
        {"event_time": START + 100 * DAY, "amount_minor": 70},
    )
    check(
        features,
        "customer_seconds_since_previous",
        [NAN, HOUR, NAN, DAY - HOUR, 1, 7 * DAY - 1, 92 * DAY],
    )
    check(features, "customer_count_1d", [0, 1, 0, 2, 2, 0, 0])
    check(features, "customer_count_7d", [0, 1, 0, 2, 3, 2, 0])
    check(features, "customer_count_30d", [0, 1, 0, 2, 3, 4, 0])
    check(features, "customer_mean_amount_1d", [NAN, 100, NAN, 200, 550, NAN, NAN])
    check(features, "customer_mean_amount_7d", [NAN, 100, NAN, 200, 400, 425, NAN])
    check(features, "customer_mean_amount_30d", [NAN, 100, NAN, 200, 400, 312.5, NAN])
    check(features, "amount_over_customer_mean_30d", [NAN, 3, NAN, 4, 0.125, 0.288, NAN])


def test_payments_of_nothing() -> None:
    """A mean of 0 is a mean, and nothing can be divided by it."""
    features = build(
        {"event_time": START, "amount_minor": 0},
        {"event_time": START + 1, "amount_minor": 0},
        {"event_time": START + 2, "amount_minor": 600},
        {"event_time": START + 3, "amount_minor": 400},
        {"event_time": START + 4, "amount_minor": 0},
    )
    check(features, "amount", [0, 0, 600, 400, 0])
    check(features, "customer_mean_amount_30d", [NAN, 0, 0, 200, 250])
    check(features, "amount_over_customer_mean_30d", [NAN, NAN, NAN, 2, 0])


def test_new_payee_and_device() -> None:
    features = build(
        {"event_time": START, "payee_id": "p1", "device_id": "d1"},
        # Another customer does not make p1 or d1 known to the first, nor the other way round.
        {"event_time": START + 1, "payee_id": "p1", "device_id": "d1", "customer_id": "c2"},
        {"event_time": START + 5, "payee_id": "p1", "device_id": None},
        {"event_time": START + 9, "payee_id": None, "device_id": "d1"},
        {"event_time": START + 9, "payee_id": "p2", "device_id": "d2"},
        {"event_time": START + 9, "payee_id": "p2", "device_id": "d2"},
    )
    check(features, "new_payee", [1, 1, 0, NAN, 1, 1])
    check(features, "new_device", [1, 1, NAN, 0, 1, 1])
    check(features, "device_age_seconds", [0, 0, NAN, 9, 0, 0])


def test_distance_and_speed() -> None:
    quarter = 6371.0088 * math.pi / 2
    features = build(
        {"event_time": START, "latitude": 0.0, "longitude": 0.0},
        {"event_time": START + HOUR, "latitude": 0.0, "longitude": 90.0},
        # No place: nothing to measure, and the place before it stays the previous one.
        {"event_time": START + 2 * HOUR},
        {"event_time": START + 3 * HOUR, "latitude": 90.0, "longitude": 0.0},
        {"event_time": START + 3 * HOUR, "latitude": 5.0, "longitude": 5.0, "customer_id": "c2"},
        # Two places at one second: the later transaction_id, 2 degrees east, is the previous.
        {"event_time": START + 9 * HOUR, "latitude": 0.0, "longitude": 3.0, "customer_id": "c3"},
        {"event_time": START + 9 * HOUR, "latitude": 0.0, "longitude": 2.0, "customer_id": "c3"},
        {"event_time": START + 11 * HOUR, "latitude": 0.0, "longitude": 1.0, "customer_id": "c3"},
    )
    degree = 6371.0088 * math.pi / 180
    check(features, "distance_km", [NAN, quarter, NAN, quarter, NAN, NAN, NAN, degree])
    check(features, "speed_kmh", [NAN, quarter, NAN, quarter / 2, NAN, NAN, NAN, degree / 2])


def test_fan_in_of_a_payee() -> None:
    rows: list[dict[str, Any]] = [
        {"event_time": START, "customer_id": "c1", "payee_id": "p"},
        {"event_time": START + DAY, "customer_id": "c2", "payee_id": "p"},
        {"event_time": START + 2 * DAY, "customer_id": "c1", "payee_id": "p"},
        {"event_time": START + 2 * DAY, "customer_id": "c3", "payee_id": "q"},
        # The last 7 days begin at day 2 (c1's second payment); c2's of day 1 is outside.
        {"event_time": START + 9 * DAY, "customer_id": "c4", "payee_id": "p"},
        {"event_time": START + 10 * DAY, "customer_id": "c4"},
    ]
    features = build(*rows)
    check(features, "payee_customers_7d", [0, 1, 2, 0, 1, NAN])
    check(features, "payee_customers_30d", [0, 1, 2, 0, 2, NAN])


@pytest.mark.parametrize("entity", ["terminal", "merchant", "payee"])
def test_risk_windows_end_before_the_risk_delay(entity: str) -> None:
    key = f"{entity}_id"
    features = build(
        {"event_time": START, key: "e", "is_fraud": 1, "label_time": START + 10 * DAY},
        {"event_time": START + DAY, key: "e", "is_fraud": 0, "label_time": START + 8 * DAY},
        {"event_time": START + 2 * DAY, key: "other", "is_fraud": 1},
        # Another customer: what counts is the entity, over all customers of the bank.
        # Seven days' delay: the window of 7 days is [day -5, day 2); the report is of day 10.
        {"event_time": START + 9 * DAY, key: "e", "customer_id": "c2"},
        # At the second of the report it is not used yet.
        {"event_time": START + 10 * DAY, key: "e"},
        # One second later it is. The window of 1 day is [day 2 + 1 s, day 3 + 1 s): empty.
        {"event_time": START + 10 * DAY + 1, key: "e"},
        {"event_time": START + 37 * DAY, key: "e"},
        # The report is 30 days old. One second later it leaves the window of 30 days.
        {"event_time": START + 40 * DAY, key: "e"},
        {"event_time": START + 40 * DAY + 1, key: "e"},
        {"event_time": START + 41 * DAY, key: None},
        delay=7,
    )
    check(features, f"{entity}_count_1d", [0, 0, 0, 1, 0, 0, 0, 0, 0, NAN])
    check(features, f"{entity}_count_7d", [0, 0, 0, 2, 2, 2, 0, 0, 0, NAN])
    check(features, f"{entity}_count_30d", [0, 0, 0, 2, 2, 2, 5, 3, 3, NAN])
    check(features, f"{entity}_fraud_count_1d", [0, 0, 0, 0, 0, 1, 0, 0, 0, NAN])
    check(features, f"{entity}_fraud_count_7d", [0, 0, 0, 0, 0, 1, 0, 0, 0, NAN])
    check(features, f"{entity}_fraud_count_30d", [0, 0, 0, 0, 0, 1, 1, 1, 0, NAN])
    check(features, f"{entity}_fraud_rate_1d", [0, 0, 0, 0, 0, 1 / 11, 0, 0, 0, NAN])
    check(features, f"{entity}_fraud_rate_7d", [0, 0, 0, 0, 0, 1 / 12, 0, 0, 0, NAN])
    check(features, f"{entity}_fraud_rate_30d", [0, 0, 0, 0, 0, 1 / 12, 1 / 15, 1 / 13, 0, NAN])


def test_a_quick_report_still_waits_for_the_delay() -> None:
    """The rate is of one window: a fraud does not enter it before its clean neighbours do."""
    features = build(
        {"event_time": START, "merchant_id": "m", "is_fraud": 1, "label_time": START + HOUR},
        {"event_time": START + 2 * DAY, "merchant_id": "m"},
        {"event_time": START + 2 * DAY + 1, "merchant_id": "m"},
        delay=2,
    )
    check(features, "merchant_fraud_count_1d", [0, 0, 1])
    check(features, "merchant_fraud_rate_1d", [0, 0, 1 / 11])


def test_a_report_counts_when_it_is_made_however_old_the_payment_is() -> None:
    """A mule, reported at noon 390 days after the payment, is on the list a second later.

    And on that of all banks once the table of that day is published.
    """
    noon = 390 * DAY + 12 * HOUR
    rows: list[dict[str, Any]] = [
        {"event_time": START, "payee_id": "mule", "is_fraud": 1, "label_time": START + noon},
        *(
            {"event_time": START + second, "payee_id": "mule", "customer_id": "c2"}
            for second in (noon, noon + 1, 391 * DAY + HOUR, 392 * DAY, 421 * DAY)
        ),
    ]
    frame = table(rows)
    # The label horizon, 395 days for transfers, has no part in it.
    first = START // DAY
    spec = risk_spec(delay_days=0, first_day=first, last_day=first + 430)
    for lag, shared_from in ((0, 391), (1, 392)):
        found = build_features(frame, shared=solo_history(frame, spec, lag=lag))
        check(found, "payee_fraud_count_1d", [0, 0, 1, 1, 0, 0])
        check(found, "payee_fraud_count_30d", [0, 0, 1, 1, 1, 0])
        seen = [0, 0, 0, int(shared_from <= 391), 1, int(lag == 1)]
        check(found, "shared_payee_fraud_count_30d", seen)
        check(found, "shared_payee_fraud_count_1d", [0, 0, 0, int(lag == 0), int(lag == 1), 0])


def test_rows_by_time() -> None:
    features = build(
        {"event_time": START},
        {"event_time": START + DAY},
        {"event_time": START + 2 * DAY},
        {"event_time": START + 3 * DAY},
    )
    chosen = features.rows_between(start=START + DAY, stop=START + 3 * DAY)
    assert chosen.tolist() == [False, True, True, False]
    part = features.take(chosen)
    assert part.transaction_id.tolist() == ["t0001", "t0002"]
    assert part.n_rows == 2
    np.testing.assert_array_equal(part.values, features.values[1:3])


def test_labels_need_not_be_known() -> None:
    frame = table([{}, {"event_time": START + 1}]).drop(columns=["is_fraud", "label_time"])
    features = build_features(frame)
    assert features.label_time.tolist() == [LABEL_NOT_KNOWN] * 2
    assert np.isnan(features.labels).all()


def test_unchecked_tables_are_refused() -> None:
    with pytest.raises(DataError, match="column 'customer_id' is missing"):
        build_features(table([{}]).drop(columns=["customer_id"]), risk_delay_days=0)
    with pytest.raises(DataError, match="column 'channel' holds 'swift', expected one of pos"):
        build({"channel": "swift"})
    with pytest.raises(ValueError, match="risk_delay_days is -1"):
        build({}, delay=-1)
