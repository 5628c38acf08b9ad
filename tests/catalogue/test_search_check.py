"""Candidates that cannot be grown together are refused by name, before anybody is asked."""

from typing import Any

import pytest
from examples.search import COMMON, CONTRACT, SPEC, search_run, with_candidates

from fraudfed.catalogue.plans import PLANS
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.catalogue.run_check import check_candidates, check_run
from fraudfed.catalogue.search_check import check_search
from fraudfed.errors import ParameterError, RunDescriptionError
from fraudfed.wire.messages import DataContract


def test_each_candidate_has_what_all_share_but_for_its_own() -> None:
    shallow, deep, careful = check_search(SPEC, COMMON)
    assert (shallow.max_depth, deep.max_depth, deep.reg_lambda) == (1, 3, 10.0)
    assert (shallow.min_child_weight, careful.min_child_weight) == (0.5, 1.0)
    assert {each.num_boost_round for each in (shallow, deep, careful)} == {4}
    assert {each.max_bin for each in (shallow, deep, careful)} == {8}


A = {"name": "a", "parameters": {"max_depth": 2}}


@pytest.mark.parametrize(
    ("other", "common", "message"),
    [
        ({"parameters": {"max_dept": 3}}, {}, "candidate 'b': unknown parameter 'max_dept'; did"),
        ({"parameters": {"eta": -1}}, {}, "candidate 'b': parameter eta is -1"),
        ({"parameters": {"eta": 0.1, "learning_rate": 0.1}}, {}, "candidate 'b': .*same parameter"),
        ({"parameters": {"min_child_weight": 3}, "min_child_share": 0.1}, {}, "contradict"),
        ({"parameters": {"max_depth": 0}}, {}, "candidate 'b': max_depth and max_leaves are both"),
        ({"parameters": {"num_boost_round": 9}}, {}, "candidate 'b': num_boost_round .*rungs"),
        ({"parameters": {"early_stopping_rounds": 9}}, {}, "candidate 'b': .*patience"),
        ({}, {"eval_metric": ["auc"]}, "eval_metric .*select_by"),
        ({}, {"max_dept": 3}, "of all candidates: unknown parameter 'max_dept'; did"),
        ({}, {"num_boost_round": 9}, "num_boost_round is 9, expected no such parameter"),
        ({"parameters": {"max_depth": 2}}, {}, "candidates 'a' and 'b' are the same"),
        ({}, {"max_depth": 2}, "candidates 'a' and 'b' are the same"),
        ({"parameters": {"monotone_constraints": {"amout": 1}}}, {}, "'b': .*'amout'; did you"),
        ({"parameters": {"monotone_constraints": {"channel": 1}}}, {}, "'b': .*categorical"),
    ],
)
def test_a_refusal_names_the_candidate(
    other: dict[str, Any], common: dict[str, Any], message: str
) -> None:
    spec = with_candidates(A, {"name": "b", **other})
    with pytest.raises(ParameterError, match=message):
        check_candidates(CONTRACT, spec, common)
    with pytest.raises(RunDescriptionError, match=f"parameters: .*{message}"):
        check_run(search_run(1, search=spec, parameters=common))


def test_the_same_parameters_with_another_share_are_another_candidate() -> None:
    shares = [{"name": f"c{i}", "min_child_share": i / 10} for i in range(3)]
    assert len(check_search(with_candidates(*shares), {})) == 3


@pytest.mark.parametrize("plan", PLANS)
def test_each_plan_can_be_run_on_the_features_of_a_recipe(plan: str) -> None:
    found = PLANS[plan]
    contract = DataContract(kind="transactions", recipe=RECIPE, features=contract_features())
    assert len(check_candidates(contract, found.spec_for(contract), found.common)) in {8, 16, 32}
