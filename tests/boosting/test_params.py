"""Parameters: names, defaults, ranges and the words of every refusal."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.boosting.table import FeatureSchema
from fraudfed.catalogue.presets import PRESETS, find_preset
from fraudfed.errors import ConfigurationError, ParameterError
from fraudfed.parameters import BoosterParams, overridden, parse_assignments

PAGE, PRESETS_PAGE = (
    (Path(__file__).parents[2] / "docs" / "parameters.md").read_text().split("## Presets")
)
SCHEMA = FeatureSchema(names=("amount", "hour", "channel"), n_categories=(0, 0, 4))


def test_defaults_are_xgboosts() -> None:
    params = BoosterParams.parse({})
    assert params.eta == np.float32(0.3)
    assert (params.max_depth, params.max_leaves, params.grow_policy) == (6, 0, "depthwise")
    assert (params.reg_lambda, params.reg_alpha, params.gamma) == (1.0, 0.0, 0.0)
    assert (params.min_child_weight, params.max_bin) == (1.0, 256)
    assert params.base_score is None
    assert params.eval_metric == ("logloss",)


@pytest.mark.parametrize(
    ("alias", "attribute", "value"),
    [
        ("lambda", "reg_lambda", 2.0),
        ("reg_lambda", "reg_lambda", 2.0),
        ("alpha", "reg_alpha", 0.5),
        ("reg_alpha", "reg_alpha", 0.5),
        ("learning_rate", "eta", 0.25),
        ("min_split_loss", "gamma", 1.5),
        ("random_state", "seed", 7),
    ],
)
def test_aliases_reach_their_attribute(alias: str, attribute: str, value: float) -> None:
    assert getattr(BoosterParams.parse({alias: value}), attribute) == value


def test_two_spellings_of_one_parameter_are_refused() -> None:
    with pytest.raises(ParameterError, match="'lambda' and 'reg_lambda' are the same"):
        BoosterParams.parse({"lambda": 1.0, "reg_lambda": 1.0})


def test_unknown_parameter_is_named_with_its_neighbour() -> None:
    with pytest.raises(ParameterError, match=r"unknown parameter 'max_dept'.*'max_depth'"):
        BoosterParams.parse({"max_dept": 3})
    with pytest.raises(ParameterError, match="unknown parameter 'zzz'; known are alpha, "):
        BoosterParams.parse({"zzz": 3})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("eta", -0.1, "[0, 1000]"),
        ("eta", float("nan"), "[0, 1000]"),
        ("eta", "fast", "a number in"),
        ("eta", True, "a number in"),
        ("lambda", -1, "[0, 1000000000]"),
        ("subsample", 0.0, "(0, 1]"),
        ("subsample", 1.5, "(0, 1]"),
        ("colsample_bynode", 0, "(0, 1]"),
        ("base_score", 1.0, "(0, 1)"),
        ("base_score", 1 - 1e-12, "as float32"),
        ("max_bin", 257, "[2, 256]"),
        ("max_bin", 1, "[2, 256]"),
        ("max_bin", 16.0, "[2, 256]"),
        ("max_depth", -1, "[0, 30]"),
        ("num_boost_round", 0, "[1, 100000]"),
        ("early_stopping_rounds", 0, "[1, 100000]"),
        ("seed", -1, "[0, "),
        ("grow_policy", "widthwise", "depthwise or lossguide"),
        ("objective", "reg:squarederror", "binary:logistic"),
        ("tree_method", "exact", "hist"),
        ("xgboost_version", "3.3", "3.2 or 3.4"),
        ("xgboost_version", 3.0, "3.2 or 3.4"),
        ("xgboost_version", None, "3.2 or 3.4"),
        ("eval_metric", "rmse", "logloss, auc, aucpr, error"),
        ("eval_metric", [], "logloss, auc, aucpr, error"),
        ("eval_metric", ["auc", "auc"], "distinct"),
        ("monotone_constraints", [2], "-1, 0 or 1"),
        ("monotone_constraints", "(1,x)", "-1, 0 or 1"),
        ("monotone_constraints", {"amount": True}, "-1, 0 or 1"),
        ("max_leaves", None, "an integer in"),
    ],
)
def test_out_of_range_names_parameter_value_and_range(
    name: str, value: object, expected: str
) -> None:
    with pytest.raises(ParameterError, match=re.escape(expected)) as caught:
        BoosterParams.parse({name: value})
    assert name in str(caught.value)
    assert str(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_limit_of_the_tree_is_required() -> None:
    with pytest.raises(ParameterError, match="max_depth and max_leaves are both 0"):
        BoosterParams.parse({"max_depth": 0})
    assert BoosterParams.parse({"max_depth": 0, "max_leaves": 8}).max_leaves == 8


@pytest.mark.parametrize("version", ["3.2", "3.4"])
def test_the_version_may_be_a_number_as_json_reads_it(version: str) -> None:
    parsed = BoosterParams.parse({"xgboost_version": json.loads(version)})
    assert parsed == BoosterParams.parse({"xgboost_version": version})
    assert parsed.xgboost_version == version


def test_constraints_resolve_by_position_and_name() -> None:
    by_position = BoosterParams.parse({"monotone_constraints": [0, -1]})
    by_text = BoosterParams.parse({"monotone_constraints": "(0,-1)"})
    by_name = BoosterParams.parse({"monotone_constraints": {"hour": -1}})
    assert by_position == by_text
    for params in (by_position, by_name):
        assert params.resolve_monotone_constraints(SCHEMA) == (0, -1, 0)
    assert BoosterParams().resolve_monotone_constraints(SCHEMA) == (0, 0, 0)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"amuont": 1}, "no feature 'amuont'; did you mean 'amount'"),
        ([0, 0, 0, 1], "has 4 entries, the data have 3 features"),
        ({"channel": 1}, "'channel', which is categorical"),
    ],
)
def test_constraints_that_do_not_fit_the_schema(constraints: object, message: str) -> None:
    params = BoosterParams.parse({"monotone_constraints": constraints})
    with pytest.raises(ParameterError, match=message):
        params.resolve_monotone_constraints(SCHEMA)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "eta": st.floats(0.0, 10.0),
            "lambda": st.floats(0.0, 100.0),
            "max_depth": st.integers(1, 30),
            "subsample": st.floats(0.001, 1.0),
            "base_score": st.floats(0.001, 0.999) | st.none(),
            "eval_metric": st.sampled_from(["auc", ["logloss", "aucpr"]]),
            "monotone_constraints": st.lists(st.integers(-1, 1), max_size=4)
            | st.dictionaries(st.sampled_from(["a", "b", "ä b"]), st.integers(-1, 1), max_size=3),
            "seed": st.integers(0, 2**53),
            "xgboost_version": st.sampled_from(["3.2", "3.4"]),
        },
    )
)
def test_to_mapping_is_json_and_parses_back(given_params: dict[str, object]) -> None:
    params = BoosterParams.parse(given_params)
    written = json.loads(json.dumps(params.to_mapping()))
    assert BoosterParams.parse(written) == params
    assert hash(BoosterParams.parse(written)) == hash(params)


def test_every_parameter_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
    defaults = BoosterParams().to_mapping()
    assert [name for name, _ in rows] == list(defaults)
    for name, text in rows:
        value = defaults[name]
        written = "none" if value is None or value == [] else value
        if isinstance(written, list):
            written = ", ".join(written)
        expected = f"{written:g}" if isinstance(written, float) else str(written)
        assert text.strip().strip("`") == expected, name


def test_every_range_in_the_documentation_is_the_range() -> None:
    found = re.findall(r"^\| `([a-z_]+)` \|.*\| ([\[(][^|]+[\])]) \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert len(found) >= 15
    for name, text in found:
        with pytest.raises(ParameterError) as caught:
            BoosterParams.parse({name: -5})
        assert f"in {text}" in str(caught.value), name


def test_every_preset_is_documented_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (.+) \| (.*)\|$", PRESETS_PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(PRESETS)
    for name, purpose, text in rows:
        preset = find_preset(name)
        assert purpose == preset.purpose
        written = " ".join(f"`{key}={value}`" for key, value in preset.parameters.items())
        assert text.strip() == written
        BoosterParams.parse(preset.parameters)
    with pytest.raises(ConfigurationError, match="did you mean 'quick'"):
        find_preset("quik")


@pytest.mark.parametrize(
    ("texts", "parsed"),
    [
        (["gamma=0.5", "max_depth=3"], {"gamma": 0.5, "max_depth": 3}),
        (["grow_policy=lossguide"], {"grow_policy": "lossguide"}),
        (['eval_metric=["auc","aucpr"]'], {"eval_metric": ["auc", "aucpr"]}),
        (["base_score=null"], {"base_score": None}),
        (["monotone_constraints=(1,0,-1)"], {"monotone_constraints": "(1,0,-1)"}),
    ],
)
def test_assignments_are_read_as_json_or_as_text(texts: list[str], parsed: object) -> None:
    assert parse_assignments(texts, option="--param") == parsed


@pytest.mark.parametrize(
    "texts", [["eta"], ["=1"], ["eta="], ["eta=1", "eta=2"], ["lambda=1", "reg_lambda=2"]]
)
def test_assignments_that_say_nothing_or_twice_are_refused(texts: list[str]) -> None:
    with pytest.raises(ParameterError, match="--param") as refused:
        parse_assignments(texts, option="--param")
    assert texts[-1] in str(refused.value)


def test_what_is_given_replaces_a_preset_under_any_spelling() -> None:
    base = {"eta": 0.1, "max_depth": 5}
    assert overridden(base, {"learning_rate": 0.2}) == {"max_depth": 5, "learning_rate": 0.2}
    assert overridden(base, {}) == base
    assert overridden({"lambda": 1}, {"reg_lambda": 3}) == {"reg_lambda": 3}


@given(st.floats(2.0**-90, 1e9, width=32), st.integers(-80, 29))
def test_numbers_are_written_and_rounded_as_numpy_does(value: float, exponent: int) -> None:
    for number in (value, 2.0**exponent, value * 1.000000037):
        if 0 < number <= 1e9:
            params = BoosterParams.parse({"gamma": number})
            assert params.gamma == np.float32(number)
            assert params.to_mapping()["gamma"] == float(str(np.float32(number)))
