"""Our own reader of models: what XGBoost or we wrote scores the same, all else is one error."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting import model_reader
from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.parameters import BoosterParams

SCHEMA = FeatureSchema(names=("a", "b", "kind"), n_categories=(0, 0, 6))
ROWS = 400


def _rows() -> tuple[Float32Array, Float32Array]:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(ROWS, 3)).astype(np.float32)
    features[:, 2] = rng.integers(0, 6, ROWS)
    labels = (features[:, 0] + (features[:, 2] % 3 == 1) > 0.5).astype(np.float32)
    features[rng.random((ROWS, 3)) < 0.15] = np.nan
    return features, labels


FEATURES, LABELS = _rows()


def matrix(labels: Float32Array | None = None) -> xgboost.DMatrix:
    return xgboost.DMatrix(
        FEATURES,
        labels,
        feature_names=list(SCHEMA.names),
        feature_types=["q", "q", "c"],
        enable_categorical=True,
    )


def scores(model: bytes) -> Float32Array:
    booster = xgboost.Booster()
    booster.load_model(bytearray(model))
    return booster.predict(matrix())


def xgboost_model(rounds: int = 4, **parameters: Any) -> bytes:
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "seed": 3, **parameters},
        matrix(LABELS),
        rounds,
    )
    return bytes(booster.save_raw("json"))


def our_model(**parameters: Any) -> Model:
    params = BoosterParams.parse({"num_boost_round": 4, "max_depth": 3, "max_bin": 16} | parameters)
    return train(params, TrainingTable(SCHEMA, FEATURES, LABELS), SoloCommunicator()).model


def read(data: bytes) -> Model:
    return read_model(data, schema=SCHEMA, source="file")


PARAMETERS: list[dict[str, Any]] = [
    {},
    {"max_cat_to_onehot": 1},
    {"max_cat_to_onehot": 100},
    {"tree_method": "approx"},
    {"tree_method": "hist", "gamma": 3.0},
    {"grow_policy": "lossguide", "max_leaves": 7, "max_depth": 0},
    {"num_parallel_tree": 3, "subsample": 0.5},
    {"scale_pos_weight": 7.5, "base_score": 0.2},
    {"monotone_constraints": "(1,0,0)"},
    {"eta": 1e-30},
    {"lambda": 0.0, "min_child_weight": 0.0, "eta": 1.0, "max_depth": 9},
    {"min_child_weight": 1e6},
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_what_xgboost_wrote_scores_the_same(parameters: dict[str, Any]) -> None:
    data = xgboost_model(**parameters)
    found = read(data)
    assert scores(found.to_json()).tobytes() == scores(data).tobytes()
    assert read(found.to_json()).to_json() == found.to_json()


def test_trees_that_xgboost_has_pruned_score_the_same() -> None:
    """The exact method leaves pruned nodes in place."""
    features = np.nan_to_num(FEATURES[:, :2])
    schema = FeatureSchema(("a", "b"), (0, 0))
    rows = xgboost.DMatrix(features, LABELS, feature_names=["a", "b"], feature_types=["q", "q"])
    booster = xgboost.train(
        {"objective": "binary:logistic", "tree_method": "exact", "gamma": 4.0, "max_depth": 6},
        rows,
        3,
    )
    data = bytes(booster.save_raw("json"))
    trees = json.loads(data)["learner"]["gradient_booster"]["model"]["trees"]
    assert any(tree["tree_param"]["num_deleted"] != "0" for tree in trees)
    found = read_model(data, schema=schema, source="file")
    again = xgboost.Booster()
    again.load_model(bytearray(found.to_json()))
    assert again.predict(rows).tobytes() == booster.predict(rows).tobytes()


@pytest.mark.parametrize(
    "parameters",
    [{}, {"max_cat_to_onehot": 1}, {"statistics_bits": 24}, {"grow_policy": "lossguide"}],
    ids=str,
)
def test_what_we_wrote_scores_the_same(parameters: dict[str, Any]) -> None:
    model = our_model(**parameters)
    found = read(model.to_json())
    assert scores(found.to_json()).tobytes() == scores(model.to_json()).tobytes()
    assert found.to_json() == model.to_json()


def test_a_split_that_only_parts_missing_values_is_read() -> None:
    """Its threshold is the greatest float32, whose shortest decimal is a little above it."""
    features = np.where(LABELS[:, None] == 1, np.nan, FEATURES).astype(np.float32)
    params = BoosterParams.parse({"num_boost_round": 2, "max_depth": 1, "max_bin": 16})
    data = train(params, TrainingTable(SCHEMA, features, LABELS), SoloCommunicator()).model
    assert b"3.4028235e+38" in data.to_json()
    assert read(data.to_json()).to_json() == data.to_json()


@pytest.mark.parametrize(
    ("threshold", "good"),
    [
        ("3.4028235e+38", True),
        ("3.4028235677973366e+38", False),
        ("-3.4028235677973366e+38", False),
    ],
)
def test_a_threshold_may_be_what_rounds_to_a_float32(threshold: str, good: bool) -> None:
    """The second is 2^128 - 2^103, the least double that rounds to infinity."""
    document = copy.deepcopy(DOCUMENT)
    tree_of(document)["split_conditions"][0] = float(threshold)
    data = json.dumps(document).encode()
    if good:
        assert np.isfinite(np.float32(float(threshold)))
        read(data)
        return
    with pytest.raises(StateError, match="beyond float32"):
        read(data)


def test_what_xgboost_says_of_our_model_is_read_as_well() -> None:
    booster = xgboost.Booster()
    booster.load_model(bytearray(our_model().to_json()))
    data = bytes(booster.save_raw("json"))
    assert scores(read(data).to_json()).tobytes() == scores(data).tobytes()


DOCUMENT: dict[str, Any] = json.loads(xgboost_model(max_cat_to_onehot=1))


def tree_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return a tree that splits, on a category too."""
    trees: list[dict[str, Any]] = document["learner"]["gradient_booster"]["model"]["trees"]
    return next(tree for tree in trees if tree["categories_nodes"])


def _set(name: str, at: int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        tree_of(document)[name][at] = value

    return change


def _both_children(left: int, right: int) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        tree = tree_of(document)
        tree["left_children"][0], tree["right_children"][0] = left, right

    return change


def _at(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner = document
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value

    return change


BOOSTER = ("learner", "gradient_booster")
PARAM = ("learner", "learner_model_param")
FORGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "a child far away": _set("left_children", 0, 2**30),
    "a negative child": _set("left_children", 0, -2),
    "a circle": _both_children(0, 0),
    "a child twice": _both_children(1, 1),
    "a child of its own": _set("left_children", 1, 1),
    "one child": _set("right_children", 0, -1),
    "another parent": _set("parents", 1, 2),
    "a root with a parent": _set("parents", 0, 1),
    "a child that is a fraction": _set("left_children", 0, 1.0),
    "a child that is a flag": _set("left_children", 0, True),
    "a feature far away": _set("split_indices", 0, 2**30),
    "a feature before the first": _set("split_indices", 0, -1),
    "a threshold beyond float32": _set("split_conditions", 0, 1e39),
    "a threshold that is a text": _set("split_conditions", 0, "0"),
    "a threshold that is a huge integer": _set("split_conditions", 0, 10**400),
    "a leaf value beyond float32": _set("split_conditions", -1, -1e39),
    "a type of split": _set("split_type", 0, 2),
    "a direction": _set("default_left", 0, 7),
    "a category far away": _set("categories", 0, 2**30),
    "a negative category": _set("categories", 0, -1),
    "categories of another node": _set("categories_nodes", 0, 2**30),
    "categories of no length": _set("categories_sizes", 0, 0),
    "categories longer than there are": _set("categories_sizes", 0, 2**30),
    "categories elsewhere": _set("categories_segments", 0, 5),
    "more nodes than arrays": lambda d: tree_of(d)["tree_param"].update(num_nodes="2147483647"),
    "nodes in words": lambda d: tree_of(d)["tree_param"].update(num_nodes="many"),
    "nodes said to be pruned": lambda d: tree_of(d)["tree_param"].update(num_deleted="2"),
    "leaves of several values": lambda d: tree_of(d)["tree_param"].update(size_leaf_vector="3"),
    "a tree of other features": lambda d: tree_of(d)["tree_param"].update(num_feature="9"),
    "an unknown field of a tree": lambda d: tree_of(d).update(leaf_weights=[1.0]),
    "a tree that is a list": lambda d: d["learner"]["gradient_booster"]["model"].update(trees=[[]]),
    "no tree": lambda d: d["learner"]["gradient_booster"]["model"].update(trees=[], tree_info=[]),
    "trees of another number": _at(*BOOSTER, "model", "tree_info", value=[0]),
    "trees of two classes": _at(*BOOSTER, "model", "tree_info", value=[0, 1, 0, 1]),
    "iterations beyond the trees": _at(*BOOSTER, "model", "iteration_indptr", value=[0, 99]),
    "iterations that go back": _at(*BOOSTER, "model", "iteration_indptr", value=[0, 3, 1, 4]),
    "its own categories": _at(*BOOSTER, "model", "cats", "enc", value=[{"type": 5}]),
    "another booster": _at(*BOOSTER, "name", value="dart"),
    "another objective": _at("learner", "objective", "name", value="reg:squarederror"),
    "three classes": _at(*PARAM, "num_class", value="3"),
    "two targets": _at(*PARAM, "num_target", value="2"),
    "other features": _at(*PARAM, "num_feature", value="2147483647"),
    "a base score of infinity": _at(*PARAM, "base_score", value="inf"),
    "a base score beyond": _at(*PARAM, "base_score", value="1.5"),
    "two base scores": _at(*PARAM, "base_score", value="[5E-1,5E-1]"),
    "a long base score": _at(*PARAM, "base_score", value="0." + "1" * 10_000),
    "types of other features": _at("learner", "feature_types", value=["c", "q", "c"]),
    "unknown types": _at("learner", "feature_types", value=["x", "q", "c"]),
    "names in another order": _at("learner", "feature_names", value=["b", "a", "kind"]),
    "a future release": _at("version", value=[9, 0, 0]),
    "a release of two numbers": _at("version", value=[3, 2]),
    "an unknown field": _at("config", value={}),
    "attributes that are numbers": _at("learner", "attributes", value={"a": 1}),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_is_no_tree_is_one_clear_error(case: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    FORGED[case](document)
    with pytest.raises(StateError, match=r"^file: is no model that can be used: ") as caught:
        read(json.dumps(document).encode())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


TEXT = json.dumps(DOCUMENT).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"binf" + TEXT,
        TEXT[:-1],
        TEXT + b"}",
        b"[" * 100_000,
        b'{"learner":' * 50_000,
        TEXT.replace(b'"version"', b'"version": [3, 2, 0], "version"'),
        TEXT.replace(b'"parents": [2147483647', b'"parents": [NaN'),
        TEXT.decode().encode("utf-16"),
        b"null",
        b"[]",
    ],
    ids=range(12),
)
def test_what_is_no_model_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(StateError, match=r"^file: is no model that can be used: "):
        read(data)


def test_a_file_larger_than_any_model_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_reader, "MOST_MODEL_BYTES", len(TEXT) - 1)
    with pytest.raises(StateError, match="larger than"):
        read(TEXT)


def _places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for name, inner in value.items():
            found += _places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _places(inner, (*path, index))
    return found


PLACES = _places(DOCUMENT)[1:]
VALUES = st.one_of(
    st.integers(-3, 40),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.sampled_from(["", "0", "1", "-1", "[1]", "x"]),
    st.lists(st.integers(-2, 9), max_size=4),
)
MUTANTS = Path(__file__).parents[1] / "support" / "model_mutants_child.py"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_change_is_one_clear_error_or_a_model(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    document = copy.deepcopy(DOCUMENT)
    for path, value in changes:
        inner: Any = document
        try:
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
        except (TypeError, IndexError, KeyError):
            continue
    try:
        found = read(json.dumps(document).encode())
    except StateError:
        return
    # In this process: what was accepted is a tree, so XGBoost comes to an end with it.
    assert np.isfinite(scores(found.to_json())).all()


def test_xgboost_neither_hangs_nor_crashes_on_what_was_accepted() -> None:
    """Mutants of whole nodes, in a process that may die."""
    ended = subprocess.run(
        [sys.executable, MUTANTS, "400"], input=TEXT, capture_output=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    accepted, refused = map(int, ended.stdout.split())
    assert accepted > 10
    assert refused > 150


def test_control_without_the_reader_a_model_file_kills_the_process() -> None:
    document = copy.deepcopy(DOCUMENT)
    FORGED["a child far away"](document)
    code = (
        "import sys, numpy, xgboost\n"
        "booster = xgboost.Booster()\n"
        "booster.load_model(bytearray(sys.stdin.buffer.read()))\n"
        "rows = xgboost.DMatrix(numpy.zeros((3, 3), dtype='f4'), enable_categorical=True,\n"
        "    feature_names=['a', 'b', 'kind'], feature_types=['q', 'q', 'c'])\n"
        "print(booster.predict(rows))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(document).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode < 0, "killed by a signal"
