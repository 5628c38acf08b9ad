"""What a bank agrees to in a search: limits of trainings hold for each candidate, by name."""

from typing import Any

import pytest
from examples.search import COMMON, SPEC, search_run, with_candidates

from bank_node.approval.search import all_trees, search_facts, weigh_search
from bank_node.approval_rules import ApprovalRules
from bank_node.config import BankConfig
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ConfigurationError, ParameterError
from fraudfed.wire.messages import PublicKeyMessage, RunKind, SearchSpec, SelectBy

PUBLIC_KEY = PublicKeyMessage.model_construct(n="ff", fingerprint="1" * 64)
PARAMETERS = {
    "max_depth": [1, 3],
    "eta": [0, 0.3],
    "lambda": [1, 10],
    "min_child_weight": [0.5, float("inf")],
    "subsample": [0.5, 1],
    "max_bin": [2, 256],
    "num_boost_round": [1, 4],
}
OPEN = {"columns": ["*"], "parameters": "any", "search": "any"}
SMALL = {"max_candidates": 3, "max_trees": 9}


def run(**changes: Any) -> PinnedRun:
    return PinnedRun.model_construct(
        run_id="r", spec=search_run(1, **changes), cohort=("a", "b", "c"), public_key=PUBLIC_KEY
    )


def objections(rules: dict[str, Any], **changes: Any) -> list[str]:
    found = weigh_search(run(**changes), ApprovalRules.model_validate(rules))
    assert found
    return [f"{each.subject} {each.reason}" for each in found if not each.allowed]


@pytest.mark.parametrize(
    ("rules", "against"),
    [
        ({}, ["this search is approved by no rule"]),
        ({**OPEN, "search": None}, ["there is no [approval.search]"]),
        (OPEN, []),
        ({**OPEN, "search": SMALL}, []),
        ({**OPEN, "search": {**SMALL, "max_candidates": 2}}, ["candidates are 3, above the 2 of"]),
        ({**OPEN, "search": {**SMALL, "max_trees": 8}}, ["all candidates are 9, above the 8"]),
        ({**OPEN, "columns": ["a*", "is_*"]}, ["column channel matches no pattern"]),
        ({**OPEN, "parameters": PARAMETERS}, []),
        (
            {**OPEN, "parameters": {**PARAMETERS, "max_depth": [1, 2]}},
            ["max_depth of candidate deep, careful is 3, outside [1, 2]"],
        ),
        (
            {**OPEN, "parameters": {**PARAMETERS, "lambda": [1, 9]}},
            ["lambda of candidate deep is 10.0, outside [1, 9]"],
        ),
        (
            {**OPEN, "parameters": {**PARAMETERS, "num_boost_round": [1, 3]}},
            ["num_boost_round is 4, outside [1, 3]"],
        ),
        (
            {**OPEN, "parameters": {**PARAMETERS, "min_child_weight": [2, float("inf")]}},
            ["candidate shallow, deep is 0.5", "candidate careful is 0.1 of the frauds"],
        ),
        (
            {**OPEN, "parameters": {**PARAMETERS, "min_child_weight": [0, 100]}},
            ["min_child_weight of candidate careful is 0.1 of the frauds trained on, at least 1"],
        ),
        (
            {**OPEN, "parameters": {k: v for k, v in PARAMETERS.items() if k != "subsample"}},
            ["subsample is 0.8, and has no entry"],
        ),
    ],
)
def test_limits_hold_for_each_candidate_and_name_it(
    rules: dict[str, Any], against: list[str]
) -> None:
    found = objections(rules)
    assert len(found) == len(against), found
    assert all(part in text for part, text in zip(against, found, strict=True)), found


def test_a_share_of_none_is_a_weight_of_1() -> None:
    candidates = [{"name": f"c{i}", "min_child_share": 0, "parameters": {"eta": i}} for i in (0, 1)]
    rules = {
        **OPEN,
        "parameters": {"min_child_weight": [1, 1], "eta": "any", "num_boost_round": [2, 2]},
    }
    changes = {"search": with_candidates(*candidates), "parameters": {}}
    assert objections(rules, **changes) == []


def test_rules_for_searches_are_written_back_and_need_those_of_trainings() -> None:
    approval = ApprovalRules.model_validate({**OPEN, "search": SMALL})
    config = BankConfig(
        name="a",
        aggregator="https://a.example",
        signing_key="1" * 64,
        agreement_key="2" * 64,
        approval=approval,
    )
    assert BankConfig.from_toml(config.to_toml(), source="test") == config
    for wrong in (True, {}, {**SMALL, "max_candidates": 1}, {**SMALL, "max_rounds": 3}):
        with pytest.raises(ValueError, match=r"search|max_"):
            ApprovalRules.model_validate({**OPEN, "search": wrong})
    with pytest.raises(ValueError, match="searches are allowed, but no columns"):
        ApprovalRules.model_validate({"search": "any"})


def test_a_training_is_not_approved_as_a_search_nor_the_reverse() -> None:
    from bank_node.approval.training import weigh_training

    rules = ApprovalRules.model_validate({**OPEN, "search": None})
    assert all(each.allowed for each in weigh_training(run(), rules))
    assert not any(each.allowed for each in weigh_search(run(), rules))
    other = run().model_copy(
        update={"spec": search_run(1).model_copy(update={"kind": RunKind.TRAINING, "search": None})}
    )
    with pytest.raises(ConfigurationError, match="of kind training, expected a search"):
        weigh_search(other, rules)


def test_a_person_is_shown_all_candidates_cost_and_what_is_revealed() -> None:
    facts = search_facts(run(), key_bits=3072)
    about = facts.about
    assert about.kind == "search"
    assert [one.name for one in about.candidates] == ["shallow", "deep", "careful"]
    assert about.candidates[2].min_child_share == 0.1
    assert (about.trees, about.select_by) == (2 * 3 + 1 * 2 + 1, "mean_of_banks")
    shared = {one.name: one.value for one in about.shared.parameters or ()}
    assert (shared["eta"], shared["num_boost_round"]) == (COMMON["eta"], 4)
    said = " ".join(facts.reveals)
    for part in ("each of 3 candidates", "9 trees", "No bank's own", "select window"):
        assert part in said
    pooled = SPEC.model_copy(update={"select_by": SelectBy.POOLED, "patience": 5})
    text = search_facts(run(search=pooled), key_bits=3072).about.shared.validation
    assert "as one table" in text
    assert "5 trees" in text


def test_what_cannot_be_is_shown_without_cost() -> None:
    spec = with_candidates({"name": "a"}, {"name": "b", "parameters": {"max_dept": 3}})
    facts = search_facts(run(search=spec), key_bits=3072)
    assert (facts.cost, facts.reveals) == (None, ())
    with pytest.raises(ParameterError, match="max_dept"):
        weigh_search(run(search=spec), ApprovalRules.model_validate(OPEN))


def test_more_candidates_cost_ciphertexts_and_hardly_rounds() -> None:
    def cost(spec: SearchSpec) -> tuple[int, int]:
        found = search_facts(run(search=spec, parameters={}), key_bits=3072).cost
        assert found is not None
        return found.rounds, found.ciphertexts

    def spec(n: int) -> SearchSpec:
        candidates = [{"name": f"c{i}", "parameters": {"lambda": i}} for i in range(n)]
        return with_candidates(*candidates, trees=(20,))

    few, many = cost(spec(2)), cost(spec(16))
    assert few[0] == many[0]
    assert 6 * few[1] < many[1] < 8 * few[1]
    assert all_trees(spec(16)) == 320
