"""What each difference between XGBoost's releases does to weights, gains and children."""

import dataclasses
import json

import numpy as np
import pytest
import xgboost
from oracles.trees import oracle_params

from fraudfed.boosting.gain import UNBOUNDED, GainFormula, WeightBounds
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.boosting.xgboost_rules import rules_for, version_of_release
from fraudfed.communicator import SoloCommunicator
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.lab.oracle.same_trees import (
    compare_trees,
    installed_rules,
    table_of_bins,
    train_on_bins,
    xgboost_parameters,
)
from fraudfed.parameters import NEWEST_RULES, RULE_VERSIONS, BoosterParams

SCHEMA = FeatureSchema(names=("a", "b"), n_categories=(0, 0))
#: Two nodes: one below the default ``min_child_weight``, one above.
GRADIENT, HESSIAN = np.array([-0.7, 3.1]), np.array([0.3, 7.9])


def formula(version: str, **settings: object) -> GainFormula:
    return GainFormula(BoosterParams.parse({"xgboost_version": version, **settings}), SCHEMA)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("3.2.0", "3.2"),
        ("3.3.0", "3.2"),
        ("3.4.0", "3.4"),
        ("3.4.1", "3.4"),
        ("3.4.0-dev", "3.4"),
        ("3.10.2", "3.4"),
        ("4.0.0rc1", "3.4"),
    ],
)
def test_every_release_has_rules(release: str, version: str) -> None:
    assert version_of_release(release) == version


def test_the_default_is_the_newest() -> None:
    assert BoosterParams().xgboost_version == NEWEST_RULES == RULE_VERSIONS[-1] == "3.4"
    assert installed_rules() == version_of_release(xgboost.__version__)


def test_the_rules_differ_in_every_field() -> None:
    old, new = (dataclasses.asdict(rules_for(version)) for version in RULE_VERSIONS)
    assert all(old[name] != new[name] for name in old)


def test_light_nodes_weigh_nothing() -> None:
    weights = {
        version: formula(version).free_weight(GRADIENT, HESSIAN) for version in RULE_VERSIONS
    }
    expected = (-GRADIENT / (HESSIAN + 1.0)).astype(np.float32)
    assert weights["3.2"].tolist() == [0.0, expected[1]]
    assert weights["3.4"].tolist() == expected.tolist()


def test_children_need_hessian() -> None:
    hessian = np.array([0.0, 0.5, 1.0])
    for version, expected in (("3.2", [True] * 3), ("3.4", [False, True, True])):
        assert formula(version, min_child_weight=0.0).is_valid_child(hessian).tolist() == expected
        assert formula(version).is_valid_child(hessian).tolist() == [False, False, True]


def test_free_gain_in_closed_form() -> None:
    g, h = np.arange(1.0, 200.0) / 7.0, np.arange(1.0, 200.0) / 3.0
    closed = np.square(g).astype(np.float32) / (h + 1.0).astype(np.float32)
    w = (-g / (h + 1.0)).astype(np.float32)
    squared = (w * w).astype(np.float64)
    of_weight = (-(2.0 * g * w.astype(np.float64) + (h + 1.0) * squared)).astype(np.float32)
    assert (closed != of_weight).any()
    np.testing.assert_allclose(closed, of_weight, rtol=1e-6)
    np.testing.assert_array_equal(formula("3.2").gain(g, h, UNBOUNDED), closed)
    np.testing.assert_array_equal(formula("3.4").gain(g, h, UNBOUNDED), of_weight)


def test_bounded_gain_in_float_and_without_the_l1_penalty() -> None:
    bounds = WeightBounds(lower=np.float32(-0.2), upper=np.float32(0.2))
    settings = {"alpha": 0.5, "monotone_constraints": [1]}
    w = np.clip(formula("3.4", **settings).free_weight(GRADIENT, HESSIAN), -0.2, 0.2)
    w = w.astype(np.float32).astype(np.float64)
    without = -(2.0 * GRADIENT * w + (HESSIAN + 1.0) * w * w)
    new = formula("3.4", **settings).gain(GRADIENT, HESSIAN, bounds)
    np.testing.assert_allclose(new, without - 2.0 * 0.5 * np.abs(w), rtol=1e-6)
    old = formula("3.2", min_child_weight=0.0, **settings).gain(GRADIENT, HESSIAN, bounds)
    np.testing.assert_allclose(old, without, rtol=1e-6)
    assert old.dtype == new.dtype == np.float32


@pytest.mark.parametrize("zeros", [(), (0,), (0, 0)])
def test_zeros_constrain(zeros: tuple[int, ...]) -> None:
    assert formula("3.2", monotone_constraints=zeros).is_constrained == bool(zeros)
    assert not formula("3.4", monotone_constraints=zeros).is_constrained
    for version in RULE_VERSIONS:
        assert formula(version, monotone_constraints=(0, -1)).is_constrained


def test_the_rules_of_another_release_grow_other_trees() -> None:
    table = synthetic_table(3000, 8, np.random.default_rng(6), missing=0.1, categorical=4)
    settings = {"max_bin": 32, "num_boost_round": 6}
    identical = {}
    for version in RULE_VERSIONS:
        params = oracle_params({**settings, "xgboost_version": version})
        ours = train(params, table, SoloCommunicator())
        codes = table_of_bins(table, ours.cuts)
        booster = train_on_bins(codes, params, settings, threads=1)
        compared = compare_trees(ours.model.to_json(), booster, ours.cuts, codes)
        identical[version] = compared.identical
    assert identical.pop(installed_rules()) == 6
    assert max(identical.values()) < 6


def test_categories_that_no_row_has_make_no_difference() -> None:
    """XGBoost counts categories up to the highest that occurs, a data contract names them all."""
    rng = np.random.default_rng(7)
    category = rng.integers(0, 9, 4000).astype(np.float32)
    labels = (rng.random(4000) < 0.05 + 0.3 * (category % 3 == 1)).astype(np.float32)
    features = np.column_stack([category, rng.normal(size=4000).astype(np.float32)])
    table = TrainingTable(
        FeatureSchema(names=("category", "noise"), n_categories=(14, 0)), features, labels
    )
    settings = {"max_bin": 32, "num_boost_round": 6, "max_depth": 3}
    ours = train(oracle_params(settings), table, SoloCommunicator())
    codes = table_of_bins(table, ours.cuts)
    booster = train_on_bins(codes, oracle_params(settings), settings, threads=1)
    compared = compare_trees(ours.model.to_json(), booster, ours.cuts, codes)
    assert compared.identical == compared.trees == 6
    # Control: the highest category, moved to the other side, is noticed.
    document = json.loads(ours.model.to_json())
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    right = set(tree["categories"][: tree["categories_sizes"][0]]) ^ {8}
    rest = tree["categories"][tree["categories_sizes"][0] :]
    tree["categories"] = sorted(right) + rest
    shift = len(right) - tree["categories_sizes"][0]
    tree["categories_sizes"][0] += shift
    tree["categories_segments"] = [
        start + (shift if position else 0)
        for position, start in enumerate(tree["categories_segments"])
    ]
    moved = compare_trees(json.dumps(document).encode(), booster, ours.cuts, codes)
    assert moved.identical == 5


def test_xgboost_is_not_told_of_parameters_that_are_ours() -> None:
    told = xgboost_parameters(
        {"eta": 0.1, "num_boost_round": 3, "xgboost_version": "3.2"}, threads=2
    )
    assert told == {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": 2,
        "eta": 0.1,
    }
