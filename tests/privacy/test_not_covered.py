"""What the bound does *not* cover: a row's traces in the features of other rows.

The unit is a training row with the features of all others held fixed. The feature builder looks at
the past, so that a payment taken away changes what later payments look like, and these move the
sums as well: by as many rows as there are traces.
"""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from oracles.features import DAY, HOUR, START, table

from fraudfed.boosting.objective import gradients
from fraudfed.boosting.shard.capped import PrivateGradients
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.features import FeatureTable, build_features
from fraudfed.parameters import BoosterParams
from fraudfed.privacy.plan import PrivacyPlan, paired_variance, plan_of, variance_of
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit

#: Later payments of other people at the terminal, within 30 days of the fraud.
OTHERS = 200
RATE = "terminal_fraud_rate_30d"


def payments(*, customer_of_others: str = "other-{}") -> pd.DataFrame:
    """Return one reported fraud at a terminal, and clean payments there after it."""
    fraud = {
        "event_time": START,
        "label_time": START + HOUR,
        "customer_id": "victim",
        "terminal_id": "terminal",
        "channel": "pos",
        "is_fraud": 1,
    }
    later = [
        {
            "event_time": START + 2 * DAY + number * HOUR,
            "customer_id": customer_of_others.format(number),
            "terminal_id": "terminal",
            "channel": "pos",
        }
        for number in range(OTHERS)
    ]
    return table([fraud, *later])


def plan(unit: PrivacyUnit) -> PrivacyPlan:
    terms = PrivacyTerms(epsilon=1, unit=unit, tolerated_colluders=1, declared_rows=10_000)
    return plan_of(terms, BoosterParams(num_boost_round=10), n_features=1, n_numeric=1)


def noised_bins_of(
    features: FeatureTable, name: str, chosen: PrivacyPlan, customers: Int64Array | None = None
) -> Int64Array:
    """Return what a bank would add noise to: bins of one feature, shape (2, 3), missing last."""
    values: Float32Array = features.values[:, features.names.index(name)]
    bins = np.where(np.isnan(values), 2, values > 0).astype(np.int64)
    margins = np.full(features.n_rows, -4.0, dtype=np.float32)
    pairs = gradients(margins, features.labels, None, scale_pos_weight=1.0)
    PrivateGradients(chosen, customers).bound(pairs)
    sums = np.zeros((2, 3), dtype=np.int64)
    for kind in range(2):
        np.add.at(sums[kind], bins, pairs[:, kind])
    return sums


def moved(change: Int64Array, chosen: PrivacyPlan) -> Fraction:
    """Return the sum of (change / sigma)^2."""
    assert chosen.bins is not None
    variances = paired_variance(variance_of(chosen.bins.release)).ravel().tolist()
    squares = [sum(x * x for x in row) for row in change.tolist()]
    return sum((Fraction(s, v) for s, v in zip(squares, variances, strict=True)), Fraction(0))


def without_first(features: FeatureTable) -> FeatureTable:
    """Return the same rows without the fraud's, features held fixed: a neighbour by definition."""
    return FeatureTable(
        schema=features.schema,
        values=features.values[1:],
        labels=features.labels[1:],
        event_time=features.event_time[1:],
        label_time=features.label_time[1:],
        transaction_id=features.transaction_id[1:],
        positions=features.positions[1:],
    )


def test_with_features_held_fixed_a_row_moves_what_is_charged() -> None:
    chosen = plan(PrivacyUnit.ROW)
    whole = build_features(payments())
    change = noised_bins_of(whole, RATE, chosen) - noised_bins_of(
        without_first(whole), RATE, chosen
    )
    assert chosen.bins is not None
    assert 0 < moved(change, chosen) <= chosen.bins.release.moved


def test_a_payment_that_never_happened_moves_more_than_a_row_through_other_customers_features() -> (
    None
):
    """Not covered by unit row: the fraud's trace in the terminal's rate of 200 later payments."""
    chosen = plan(PrivacyUnit.ROW)
    assert chosen.bins is not None
    frame = payments()
    with_it, without_it = build_features(frame), build_features(frame.iloc[1:])
    rates = with_it.values[1:, with_it.names.index(RATE)]
    assert (rates > 0).all()
    change = noised_bins_of(with_it, RATE, chosen) - noised_bins_of(without_it, RATE, chosen)
    fixed = noised_bins_of(with_it, RATE, chosen) - noised_bins_of(
        without_first(with_it), RATE, chosen
    )
    # Clean payments the model is sure of: each moves little, and 200 of them more than a row may.
    assert moved(change, chosen) > 20 * chosen.bins.release.moved
    assert moved(change, chosen) > 20 * moved(fixed, chosen)


def test_unit_customer_does_not_cover_traces_in_other_customers_rows_either() -> None:
    chosen = plan(PrivacyUnit.CUSTOMER)
    assert chosen.bins is not None
    frame = payments()
    codes = np.arange(OTHERS + 1, dtype=np.int64)
    with_it = noised_bins_of(build_features(frame), RATE, chosen, codes)
    without_it = noised_bins_of(build_features(frame.iloc[1:]), RATE, chosen, codes[1:])
    assert moved(with_it - without_it, chosen) > chosen.bins.release.moved


def test_unit_row_does_not_cover_the_customers_own_later_rows_and_unit_customer_does() -> None:
    frame = payments(customer_of_others="victim")
    frame["event_time"] = START + np.arange(OTHERS + 1) * (HOUR // 10)
    frame["is_fraud"] = 1
    frame["label_time"] = frame["event_time"]
    by_row, by_customer = plan(PrivacyUnit.ROW), plan(PrivacyUnit.CUSTOMER)
    assert by_row.bins is not None
    assert by_customer.bins is not None
    # All of the customer's rows leave: for the unit row that is one row after the other.
    all_rows = noised_bins_of(build_features(frame), "customer_count_1d", by_row)
    assert moved(all_rows, by_row) > 1000 * by_row.bins.release.moved
    codes = np.zeros(OTHERS + 1, dtype=np.int64)
    capped = noised_bins_of(build_features(frame), "customer_count_1d", by_customer, codes)
    assert moved(capped, by_customer) <= by_customer.bins.release.moved


@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_control_without_features_that_hold_history_nothing_is_left_uncovered(
    unit: PrivacyUnit,
) -> None:
    """``history = none``: a feature of the payment itself holds no trace of another one."""
    chosen = plan(unit)
    assert chosen.bins is not None
    frame = payments()
    codes = np.arange(OTHERS + 1, dtype=np.int64)
    for name in ("amount", "hour_of_day"):
        change = noised_bins_of(build_features(frame), name, chosen, codes) - noised_bins_of(
            build_features(frame.iloc[1:]), name, chosen, codes[1:]
        )
        assert 0 < moved(change, chosen) <= chosen.bins.release.moved
