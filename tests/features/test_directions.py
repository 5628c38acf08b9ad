"""Payments of both directions in one table: each recipe judges its own."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import random_table
from oracles.shared_risk import KEY, risk_spec

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES, contract_features, find_recipe
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import OnlineFeatures, build_features
from fraudfed.features.builders import build_recipe
from fraudfed.features.payment import payments_of
from fraudfed.features.population import has_payment, in_population
from fraudfed.features.shared_risk import risk_entries
from fraudfed.features.table import feature_schema, rows_of_direction
from fraudfed.wire.messages import Population

seeds = st.integers(0, 2**32 - 1)


def both_directions(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 80)
    kinds = np.array(["inbound", "outbound", None], dtype=object)
    return frame.assign(direction=rng.choice(kinds, 80))


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_inbound_payments_count_for_nothing_in_the_card_recipe(seed: int) -> None:
    frame = both_directions(seed)
    out = np.flatnonzero(frame["direction"] != "inbound")
    alone = build_features(frame.iloc[out].drop(columns="direction"), risk_delay_days=1)
    found = build_features(frame, risk_delay_days=1)
    np.testing.assert_array_equal(found.values, alone.values)
    np.testing.assert_array_equal(found.positions, out)
    np.testing.assert_array_equal(found.transaction_id, frame["transaction_id"].iloc[out])
    np.testing.assert_array_equal(found.take(np.arange(2)).positions, out[:2])


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_inbound_payments_are_not_entered_in_shared_risk(seed: int) -> None:
    frame = both_directions(seed)
    spec = risk_spec(min_customers=2)
    found = risk_entries(frame, spec, hash_key=KEY)
    alone = risk_entries(frame[frame["direction"] != "inbound"], spec, hash_key=KEY)
    for kind in ("transactions", "frauds"):
        ours, theirs = getattr(found, kind), getattr(alone, kind)
        np.testing.assert_array_equal(ours.days, theirs.days)
        np.testing.assert_array_equal(ours.counts, theirs.counts)
        np.testing.assert_array_equal(ours.hashes, theirs.hashes)


def test_one_at_a_time_an_inbound_payment_is_refused_and_not_remembered() -> None:
    frame = both_directions(3).sort_values("event_time")
    online = OnlineFeatures(risk_delay_days=0)
    for payment in payments_of(frame):
        online.observe(payment)
        if payment.is_inbound:
            with pytest.raises(DataError, match="is inbound, expected an outbound payment for rec"):
                online.features(payment)
            assert not online.report(payment, report_time=2**32)


def test_recipes_by_name() -> None:
    assert find_recipe(RECIPE) is RECIPES[RECIPE]
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        for shared in (False, True):
            names = tuple(spec.name for spec in contract_features(name, shared=shared))
            assert len(set(names)) == len(names)
            assert names == feature_schema(name, shared=shared).names
    for call in (
        lambda: find_recipe("fraudfed-card-0"),
        lambda: contract_features("fraudfed-card-0"),
        lambda: build_recipe("fraudfed-card-0", both_directions(1), risk_delay_days=0),
    ):
        with pytest.raises(ConfigurationError, match="recipe 'fraudfed-card-0': this release kno"):
            call()


@pytest.mark.parametrize("dtype", ["string", "object", "category"])
def test_a_population_of_a_direction_takes_the_rows_that_a_recipe_takes(dtype: str) -> None:
    frame = both_directions(5).astype({"direction": dtype})
    inbound = in_population(frame, Population(direction="inbound"), source="x")
    np.testing.assert_array_equal(np.flatnonzero(inbound), rows_of_direction(frame, "inbound"))
    outbound = in_population(frame, Population(direction="outbound"), source="x")
    np.testing.assert_array_equal(outbound, ~inbound)
    assert frame["direction"].isna()[outbound].any()
    for payment, chosen in zip(payments_of(frame), inbound, strict=True):
        assert has_payment(Population(direction="inbound"), payment) == chosen
