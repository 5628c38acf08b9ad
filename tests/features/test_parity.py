"""Seven payments, and every feature of every one of them worked out by hand, for both builders."""

import math
from typing import Any

import numpy as np
import pytest
from oracles.features import DAY, HOUR, START, table

from fraudfed.catalogue.recipe import FEATURES
from fraudfed.features import OnlineFeatures, build_features
from fraudfed.features.payment import payments_of

N = math.nan
DELAY = 7
#: 90 degrees along the equator.
QUARTER = 6371.0088 * math.pi / 2
SATURDAY = START + 2 * DAY + 3 * HOUR
NEXT_SATURDAY = SATURDAY + 7 * DAY

#: START is a Thursday, 00:00. A's fraud is reported three hours before E, B's at the second of E.
PAYMENTS: dict[str, dict[str, Any]] = {
    "A": {
        "event_time": START,
        "amount_minor": 1000,
        "channel": "pos",
        "terminal_id": "e",
        "merchant_id": "m",
        "latitude": 0.0,
        "longitude": 0.0,
        "is_fraud": 1,
        "label_time": START + 9 * DAY,
    },
    "B": {
        "event_time": START + 34 * HOUR,
        "customer_id": "c2",
        "amount_minor": 3000,
        "channel": "transfer",
        "merchant_category": None,
        "payee_id": "p",
        "device_id": "d",
        "is_fraud": 1,
        "label_time": NEXT_SATURDAY,
    },
    "C": {
        "event_time": SATURDAY,
        "amount_minor": 500,
        "channel": "pos",
        "merchant_category": "fuel",
        "terminal_id": "e",
        "merchant_id": "m",
        "latitude": 0.0,
        "longitude": 90.0,
    },
    # At the second of C: they do not see each other.
    "D": {
        "event_time": SATURDAY,
        "amount_minor": 0,
        "merchant_category": "electronics",
        "merchant_id": "m",
        "device_id": "d",
    },
    "E": {
        "event_time": NEXT_SATURDAY,
        "amount_minor": 1500,
        "channel": "transfer",
        "merchant_category": None,
        "payee_id": "p",
        "device_id": "d",
    },
    "F": {
        "event_time": NEXT_SATURDAY + 1,
        "amount_minor": 700,
        "channel": "pos",
        "terminal_id": "e",
        "merchant_id": "m",
        "latitude": 0.0,
        "longitude": 0.0,
    },
    "G": {
        "event_time": NEXT_SATURDAY + 1,
        "customer_id": "c3",
        "amount_minor": 20,
        "channel": "transfer",
        "merchant_category": None,
        "payee_id": "p",
        "device_id": "d2",
    },
}

#: By feature: the values of A to G.
EXPECTED: dict[str, list[float]] = {
    "amount": [1000, 3000, 500, 0, 1500, 700, 20],
    "hour_of_day": [0, 10, 3, 3, 3, 3 + 1 / 3600, 3 + 1 / 3600],
    "is_night": [1, 0, 1, 1, 1, 1, 1],
    "is_weekend": [0, 0, 1, 1, 1, 1, 1],
    "channel": [0, 2, 0, 1, 2, 0, 2],
    "merchant_category": [0, N, 1, 6, N, 0, N],
    "customer_seconds_since_previous": [N, N, 51 * HOUR, 51 * HOUR, 7 * DAY, 1, N],
    "customer_count_1d": [0, 0, 0, 0, 0, 1, 0],
    "customer_count_7d": [0, 0, 1, 1, 2, 1, 0],
    "customer_count_30d": [0, 0, 1, 1, 3, 4, 0],
    "customer_mean_amount_1d": [N, N, N, N, N, 1500, N],
    "customer_mean_amount_7d": [N, N, 1000, 1000, 250, 1500, N],
    "customer_mean_amount_30d": [N, N, 1000, 1000, 500, 750, N],
    "amount_over_customer_mean_30d": [N, N, 0.5, 0, 3, 700 / 750, N],
    "new_payee": [N, 1, N, N, 1, N, 1],
    "new_device": [N, 1, N, 1, 0, N, 1],
    "device_age_seconds": [N, 0, N, 0, 7 * DAY, N, 0],
    "distance_km": [N, N, QUARTER, N, N, QUARTER, N],
    "speed_kmh": [N, N, QUARTER / 51, N, N, QUARTER / (7 * 24 + 1 / 3600), N],
    "payee_customers_7d": [N, 0, N, N, 0, N, 1],
    "payee_customers_30d": [N, 0, N, N, 1, N, 2],
    # The windows of F end at C's second and include it; those of C end before everything.
    "terminal_count_1d": [0, N, 0, N, N, 1, N],
    "terminal_count_7d": [0, N, 0, N, N, 2, N],
    "terminal_count_30d": [0, N, 0, N, N, 2, N],
    # A's report is three hours old, though A lies before the window of a day.
    "terminal_fraud_count_1d": [0, N, 0, N, N, 1, N],
    "terminal_fraud_count_7d": [0, N, 0, N, N, 1, N],
    "terminal_fraud_count_30d": [0, N, 0, N, N, 1, N],
    "terminal_fraud_rate_1d": [0, N, 0, N, N, 1 / 11, N],
    "terminal_fraud_rate_7d": [0, N, 0, N, N, 1 / 12, N],
    "terminal_fraud_rate_30d": [0, N, 0, N, N, 1 / 12, N],
    "merchant_count_1d": [0, N, 0, 0, N, 2, N],
    "merchant_count_7d": [0, N, 0, 0, N, 3, N],
    "merchant_count_30d": [0, N, 0, 0, N, 3, N],
    "merchant_fraud_count_1d": [0, N, 0, 0, N, 1, N],
    "merchant_fraud_count_7d": [0, N, 0, 0, N, 1, N],
    "merchant_fraud_count_30d": [0, N, 0, 0, N, 1, N],
    "merchant_fraud_rate_1d": [0, N, 0, 0, N, 1 / 12, N],
    "merchant_fraud_rate_7d": [0, N, 0, 0, N, 1 / 13, N],
    "merchant_fraud_rate_30d": [0, N, 0, 0, N, 1 / 13, N],
    # B lies in all windows of E and G. Its report is not known at its own second, E, but at G.
    "payee_count_1d": [N, 0, N, N, 1, N, 1],
    "payee_count_7d": [N, 0, N, N, 1, N, 1],
    "payee_count_30d": [N, 0, N, N, 1, N, 1],
    "payee_fraud_count_1d": [N, 0, N, N, 0, N, 1],
    "payee_fraud_count_7d": [N, 0, N, N, 0, N, 1],
    "payee_fraud_count_30d": [N, 0, N, N, 0, N, 1],
    "payee_fraud_rate_1d": [N, 0, N, N, 0, N, 1 / 11],
    "payee_fraud_rate_7d": [N, 0, N, N, 0, N, 1 / 11],
    "payee_fraud_rate_30d": [N, 0, N, N, 0, N, 1 / 11],
}

ROWS = table({"transaction_id": name, **payment} for name, payment in PAYMENTS.items())


def one_at_a_time() -> np.ndarray[Any, Any]:
    online = OnlineFeatures(risk_delay_days=DELAY)
    values = []
    for payment, is_fraud, known in zip(
        payments_of(ROWS), ROWS["is_fraud"], ROWS["label_time"], strict=True
    ):
        values.append(online.features(payment))
        online.observe(payment)
        if is_fraud:
            online.report(payment, report_time=int(known))
    return np.array(values)


@pytest.fixture(scope="module", params=["table", "one at a time"])
def values(request: pytest.FixtureRequest) -> np.ndarray[Any, Any]:
    if request.param == "table":
        return build_features(ROWS, risk_delay_days=DELAY).values
    return one_at_a_time()


@pytest.mark.parametrize("index", range(len(FEATURES)), ids=[f.name for f in FEATURES])
def test_every_feature_is_what_was_worked_out(values: np.ndarray[Any, Any], index: int) -> None:
    name = FEATURES[index].name
    assert name in EXPECTED, f"work out {name} for the seven payments"
    np.testing.assert_allclose(values[:, index], EXPECTED[name], rtol=1e-6, err_msg=name)


def test_nothing_was_worked_out_that_is_no_feature() -> None:
    assert EXPECTED.keys() == {feature.name for feature in FEATURES}
