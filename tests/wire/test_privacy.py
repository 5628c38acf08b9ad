"""The privacy terms of a run: strict ranges, trainings only, and what else they ask for."""

from dataclasses import fields
from typing import Any

import pytest

from fraudfed.catalogue.run_check import check_run
from fraudfed.errors import FraudFedError, ProtocolError
from fraudfed.privacy.terms import PrivacyTerms, PrivacyUnit, TrainingWay
from fraudfed.wire.messages import PrivacySpec, RunSpec, parse

PRIVACY: dict[str, Any] = {"epsilon": 3.0, "tolerated_colluders": 1, "declared_rows": 1000}
CONTRACT: dict[str, Any] = {"kind": "table", "features": [{"name": "amount"}]}
RUN: dict[str, Any] = {"name": "r", "key_epoch": 1, "contract": CONTRACT, "privacy": PRIVACY}


def test_a_private_training_is_read_back_and_its_terms_are_the_same() -> None:
    spec = parse(RunSpec, RUN, source="test")
    assert parse(RunSpec, spec.model_dump_json(), source="test") == spec
    assert spec.privacy is not None
    terms = spec.privacy.terms()
    for each in fields(PrivacyTerms):
        assert getattr(terms, each.name) == getattr(spec.privacy, each.name)
    assert (terms.unit, terms.way) == (PrivacyUnit.ROW, TrainingWay.CYCLIC)


def test_message_and_terms_have_the_same_fields_and_defaults() -> None:
    message = PrivacySpec(**PRIVACY)
    own = PrivacyTerms(epsilon=3.0, tolerated_colluders=1, declared_rows=1000)
    assert message.terms() == own
    assert set(PrivacySpec.model_fields) - {"protocol_version"} == {
        each.name for each in fields(PrivacyTerms)
    }


def test_no_terms_is_the_default() -> None:
    assert parse(RunSpec, {**RUN, "privacy": None}, source="test").privacy is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": 21}, "epsilon"),
        ({"epsilon": "inf"}, "epsilon"),
        ({"delta": 0}, "delta"),
        ({"delta": 0.01}, "delta"),
        ({"unit": "family"}, "unit"),
        ({"way": "luck"}, "way"),
        ({"history": "all"}, "history"),
        ({"cuts": "exact"}, "cuts"),
        ({"tolerated_colluders": -1}, "tolerated_colluders"),
        ({"declared_rows": 0}, "declared_rows"),
        ({"declared_rows": 2**31 + 1}, "declared_rows"),
        ({"gradient_cap": 0}, "gradient_cap"),
        ({"row_cap": 0}, "row_cap"),
        ({"features_per_tree": 0}, "features_per_tree"),
        ({"cuts_share": 0}, "noised cuts cost"),
        ({"cuts_share": 0.3, "metric_share": 0.3}, "at most 0.5"),
        ({"exact": True}, "exact"),
        ({"tolerated_colluders": 2}, "min_cohort is 3, expected at least 4"),
    ],
)
def test_what_is_out_of_range_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(RunSpec, {**RUN, "privacy": {**PRIVACY, **changes}}, source="test")


def test_cuts_of_the_contract_need_no_share() -> None:
    PrivacySpec(**PRIVACY, cuts="contract", cuts_share=0, counts_share=0.25, metric_share=0.25)


@pytest.mark.parametrize(
    "other",
    [
        {
            "kind": "risk",
            "contract": None,
            "risk": {"first_day": 1, "last_day": 2, "delay_days": 1},
            "model_visibility": "members",
        },
        {"kind": "statistics", "statistics": {}, "model_visibility": "members"},
        {
            "kind": "search",
            "search": {
                "candidates": [{"name": "a"}, {"name": "b"}],
                "rungs": [{"trees": 5, "alive": 2}],
            },
        },
    ],
)
def test_no_other_kind_of_run_has_privacy_terms(other: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="has no privacy terms, only a training has"):
        parse(RunSpec, {**RUN, **other}, source="test")


@pytest.mark.parametrize(
    ("privacy", "parameters", "contract", "message"),
    [
        ({"epsilon": 20, "delta": 1e-12}, {}, {}, "the tails of 1 runs take more"),
        ({}, {"subsample": 0.5}, {}, "a public draw, so it hides nobody"),
        ({}, {"early_stopping_rounds": 5}, {}, "each look at the validation rows would cost"),
        ({}, {"min_child_banks": 2}, {}, "an exact count of rows"),
        ({"counts_share": 0}, {}, {}, "declared or noised, never exact"),
        ({"unit": "customer"}, {}, {}, "names no customers"),
    ],
)
def test_what_does_not_fit_the_terms_is_refused(
    privacy: dict[str, Any], parameters: dict[str, Any], contract: dict[str, Any], message: str
) -> None:
    run = {
        **RUN,
        "privacy": {**PRIVACY, **privacy},
        "parameters": parameters,
        "contract": {**CONTRACT, **contract},
    }
    with pytest.raises(FraudFedError, match=message):
        check_run(parse(RunSpec, run, source="test"))
    check_run(parse(RunSpec, {**run, "privacy": PRIVACY, "parameters": {}}, source="test"))


def test_without_terms_the_same_parameters_are_taken() -> None:
    run = {**RUN, "privacy": None, "parameters": {"subsample": 0.5, "early_stopping_rounds": 5}}
    check_run(parse(RunSpec, run, source="test"))


def test_a_declared_base_score_needs_no_counts() -> None:
    privacy = {**PRIVACY, "counts_share": 0}
    run = {**RUN, "privacy": privacy, "parameters": {"base_score": 0.01}}
    check_run(parse(RunSpec, run, source="test"))
