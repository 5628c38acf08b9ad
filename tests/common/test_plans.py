"""Plans of a search: what they hold, and what they become for the features of a contract."""

import pytest

from fraudfed.catalogue.plans import PLANS, SearchPlan, find_plan, rising_features
from fraudfed.catalogue.recipes import RECIPES, contract_features
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import DataContract, FeatureSpec
from fraudfed.wire.messages.kinds.search import SearchCandidate

PLAN = pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))


def _contract(*names: str, recipe: str | None = None) -> DataContract:
    return DataContract(
        kind="table" if recipe is None else "transactions",
        recipe=recipe,
        features=tuple(FeatureSpec(name=name) for name in names),
    )


def _monotone(plan: SearchPlan, contract: DataContract) -> SearchCandidate:
    (found,) = (one for one in plan.spec_for(contract).candidates if one.name == "monotone")
    return found


def test_plans_have_the_candidates_and_rungs_that_they_are_known_by() -> None:
    sizes = {name: len(plan.spec.candidates) for name, plan in PLANS.items()}
    assert sizes == {"quick": 8, "standard": 16, "wide": 32}
    standard = find_plan("standard")
    assert [(rung.trees, rung.alive) for rung in standard.spec.rungs] == [
        (20, 16),
        (50, 6),
        (100, 3),
        (200, 1),
    ]
    assert standard.spec.patience == 20
    assert "base_score" not in standard.common
    assert standard.common["max_delta_step"] == 4


@PLAN
def test_every_share_survives_the_first_rung_and_only_wide_plans_change_the_step(
    plan: SearchPlan,
) -> None:
    shares = {one.min_child_share for one in plan.spec.candidates}
    assert shares == {0, 0.005, 0.02, 0.08}
    assert plan.spec.rungs[1].alive >= len(shares)
    names = {name for one in plan.spec.candidates if one.name != "stock" for name in one.parameters}
    grid = {"max_depth", "colsample_bytree", "lambda"}
    assert names == (grid | {"eta", "scale_pos_weight"} if plan.name == "wide" else grid)
    for column in grid:
        # Each value as often as the other: no value is favoured by the half that is left out.
        values = [one.parameters[column] for one in plan.spec.candidates]
        counts = sorted(values.count(value) for value in {*values} - {1.0})
        assert counts[-1] - counts[0] <= 2, column


@PLAN
@pytest.mark.parametrize("recipe", RECIPES)
def test_one_candidate_rises_with_each_count_of_reported_fraud_and_nothing_else(
    plan: SearchPlan, recipe: str
) -> None:
    features = contract_features(recipe, shared=True)
    contract = DataContract(kind="transactions", recipe=recipe, features=features)
    constraints = _monotone(plan, contract).parameters["monotone_constraints"]
    assert set(constraints.values()) == {1}
    assert list(constraints) == [
        spec.name
        for spec in features
        if "_fraud_count_" in spec.name or "_fraud_rate_" in spec.name or "_reported_" in spec.name
    ]
    assert "payee_count_7d" not in constraints


@PLAN
def test_a_contract_of_some_features_constrains_those_alone(plan: SearchPlan) -> None:
    recipe = next(iter(RECIPES))
    contract = _contract("amount", "merchant_fraud_rate_7d", "payee_count_7d", recipe=recipe)
    candidate = _monotone(plan, contract)
    assert candidate.parameters["monotone_constraints"] == {"merchant_fraud_rate_7d": 1}
    (plain,) = (one for one in plan.spec.candidates if one.name == plan.monotone)
    assert candidate.min_child_share == plain.min_child_share
    others = [one for one in plan.spec.candidates if one is not plain]
    assert [one for one in plan.spec_for(contract).candidates if one.name != "monotone"] == others


@PLAN
def test_without_counts_of_fraud_the_plan_is_as_large_and_nothing_is_constrained(
    plan: SearchPlan,
) -> None:
    # A column of a table is called what its owner likes: nobody knows what more of it means.
    for contract in (
        _contract("amount", "merchant_fraud_rate_7d"),
        _contract("amount", recipe=next(iter(RECIPES))),
    ):
        assert rising_features(contract) == ()
        assert plan.spec_for(contract) == plan.spec


def test_an_own_column_is_not_constrained() -> None:
    recipe = next(iter(RECIPES))
    own = FeatureSpec(name="payee_fraud_count_90d", unit="1", description="frauds, as we count")
    features = (*contract_features(recipe)[:3], own)
    contract = DataContract(kind="transactions", recipe=recipe, features=features)
    assert rising_features(contract) == ()


def test_an_unknown_plan_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"plan 'standart': .* did you mean 'standard'"):
        find_plan("standart")
