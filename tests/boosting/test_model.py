"""Model files, read by XGBoost itself."""

import json

import numpy as np
import pytest
import xgboost

from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import base_margin
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, Tree

SCHEMA = FeatureSchema(names=("amount", "hour", 'Gerät "x"'), n_categories=(0, 0, 5))
BAD = np.float32(np.finfo(np.float32).smallest_subnormal)


def hand_made_tree(scale: float = 1.0) -> Tree:
    """Root on amount, left child on the category, right child on hour."""
    return Tree(
        left_children=np.array([1, 3, 5, -1, -1, -1, -1], dtype=np.int32),
        right_children=np.array([2, 4, 6, -1, -1, -1, -1], dtype=np.int32),
        parents=np.array([2147483647, 0, 0, 1, 1, 2, 2], dtype=np.int32),
        split_features=np.array([0, 2, 1, 0, 0, 0, 0], dtype=np.int32),
        split_conditions=np.array(
            [0.1, BAD, -3.25, *(scale * np.array([0.3, -1e-9, 0.0, 2 / 3]))], dtype=np.float32
        ),
        split_bins=np.array([4, -1, 0, -1, -1, -1, -1], dtype=np.int32),
        default_left=np.array([True, False, True, False, False, False, False]),
        right_categories=((), (1, 4), (), (), (), (), ()),
        is_categorical=np.array([False, True, False, False, False, False, False]),
        loss_changes=np.array([10.1, 5.5, 1.25, 0, 0, 0, 0], dtype=np.float32),
        sum_hessians=np.array([100.3, 60.2, 40.1, 30.1, 30.1, 20.05, 20.05], dtype=np.float32),
        base_weights=np.array([0.01, 0.2, -0.7, 0.3, 0, 0, 2 / 3], dtype=np.float32),
    )


def single_leaf() -> Tree:
    return Tree(
        left_children=np.array([NO_CHILD], dtype=np.int32),
        right_children=np.array([NO_CHILD], dtype=np.int32),
        parents=np.array([2147483647], dtype=np.int32),
        split_features=np.zeros(1, dtype=np.int32),
        split_conditions=np.array([0.125], dtype=np.float32),
        split_bins=np.array([-1], dtype=np.int32),
        default_left=np.zeros(1, dtype=np.bool_),
        right_categories=((),),
        is_categorical=np.zeros(1, dtype=np.bool_),
        loss_changes=np.zeros(1, dtype=np.float32),
        sum_hessians=np.ones(1, dtype=np.float32),
        base_weights=np.zeros(1, dtype=np.float32),
    )


def hand_made_model(**options: object) -> Model:
    trees = (hand_made_tree(), single_leaf(), hand_made_tree(-0.5))
    return Model(trees=trees, base_score=0.0312345, schema=SCHEMA, **options)


FEATURES = np.array(
    [
        [0.0, 1.0, 1.0],
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 4.0],
        [np.nan, 1.0, np.nan],
        [0.1, -3.25, 2.0],
        [0.1, -4.0, 2.0],
        [5.0, np.nan, np.nan],
    ],
    dtype=np.float32,
)
#: Leaf of the hand-made tree in which each row ends.
LEAVES = [4, 3, 4, 4, 6, 5, 5]


def data_of(features: np.ndarray, **options: object) -> xgboost.DMatrix:
    return xgboost.DMatrix(
        features,
        feature_names=list(SCHEMA.names),
        feature_types=["float", "float", "c"],
        enable_categorical=True,
        **options,
    )


def load(content: bytes) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


@pytest.mark.parametrize("form", ["to_json", "to_ubj"])
def test_xgboost_predicts_what_the_trees_say(form: str) -> None:
    model = hand_made_model()
    booster = load(getattr(model, form)())
    margin = np.full(len(LEAVES), base_margin(model.base_score), dtype=np.float32)
    for tree in model.trees:
        leaves = LEAVES if tree.n_nodes > 1 else [0] * len(LEAVES)
        margin += tree.split_conditions[leaves]
    data = data_of(FEATURES)
    np.testing.assert_allclose(booster.predict(data, output_margin=True), margin, rtol=1e-6)
    np.testing.assert_allclose(booster.predict(data), sigmoid(margin), rtol=1e-6)
    leaves = booster.predict(data, pred_leaf=True)
    np.testing.assert_array_equal(leaves[:, 0], LEAVES)
    contributions = booster.predict(data, pred_contribs=True)
    np.testing.assert_allclose(contributions.sum(axis=1), margin, rtol=1e-4)
    assert booster.feature_names == list(SCHEMA.names)
    assert booster.feature_types == ["float", "float", "c"]
    assert booster.num_boosted_rounds() == 3


@pytest.mark.parametrize("form", ["to_json", "to_ubj"])
def test_training_can_be_continued(form: str) -> None:
    booster = load(getattr(hand_made_model(), form)())
    rng = np.random.default_rng(0)
    features = np.column_stack(
        (rng.normal(size=200), rng.normal(size=200), rng.integers(0, 5, 200))
    )
    labels = (features[:, 0] + (features[:, 2] == 3) > 0.5).astype(np.float32)
    data = data_of(features, label=labels)
    longer = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 2}, data, num_boost_round=4, xgb_model=booster
    )
    assert longer.num_boosted_rounds() == 7
    ours = json.loads(hand_made_model().to_json())["learner"]["gradient_booster"]["model"]
    theirs = json.loads(longer.save_raw("json"))["learner"]["gradient_booster"]["model"]
    for mine, kept in zip(ours["trees"], theirs["trees"][:3], strict=True):
        np.testing.assert_array_equal(
            np.float32(mine["split_conditions"]), np.float32(kept["split_conditions"])
        )


def test_xgboost_writes_back_the_same_document() -> None:
    model = hand_made_model(attributes={"best_iteration": "2"}, scale_pos_weight=2.5)
    again = json.loads(load(model.to_json()).save_raw("json"))["learner"]
    ours = json.loads(model.to_json())["learner"]
    base_score = ours["learner_model_param"].pop("base_score")
    theirs = json.loads(again["learner_model_param"].pop("base_score"))
    # A list since 3.1, a number before.
    stored = theirs[0] if isinstance(theirs, list) else theirs
    assert np.float32(base_score) == np.float32(stored) == np.float32(model.base_score)
    ours["objective"]["reg_loss_param"]["scale_pos_weight"] = "2.5"
    assert again == ours


def test_json_and_ubj_hold_the_same_model() -> None:
    model = hand_made_model(attributes={"note": "größer"})
    assert load(model.to_json()).save_raw("json") == load(model.to_ubj()).save_raw("json")


def test_float32_survive_the_text() -> None:
    values = np.array(
        [np.float32(0.1), 1e-45, 3.4028235e38, -0.0, 1 / 3, 16777216.0, 1e-7], dtype=np.float32
    )
    tree = hand_made_tree()
    tree.sum_hessians[:] = values
    text = Model(trees=(tree,), base_score=0.5, schema=SCHEMA).to_json()
    for document in (text, load(text).save_raw("json")):
        found = json.loads(document)["learner"]["gradient_booster"]["model"]["trees"][0]
        np.testing.assert_array_equal(np.float32(found["sum_hessian"]), values)


def test_same_trees_same_bytes_and_hash() -> None:
    first, second = hand_made_model(), hand_made_model()
    assert first.to_json() == second.to_json()
    assert first.to_ubj() == second.to_ubj()
    assert first.sha256 == second.sha256
    other = Model(trees=(hand_made_tree(1.0000001),), base_score=0.5, schema=SCHEMA)
    one = Model(trees=(hand_made_tree(),), base_score=0.5, schema=SCHEMA)
    assert one.sha256 != other.sha256


def test_fewer_bits_of_statistics_leave_predictions_alone() -> None:
    exact, coarse = hand_made_model(), hand_made_model(statistics_bits=3)
    tree = json.loads(coarse.to_json())["learner"]["gradient_booster"]["model"]["trees"][0]
    assert tree["sum_hessian"] == [96.0, 64.0, 40.0, 32.0, 32.0, 20.0, 20.0]
    assert tree["loss_changes"][:3] == [10.0, 6.0, 1.25]
    data = data_of(FEATURES)
    np.testing.assert_array_equal(
        load(exact.to_json()).predict(data), load(coarse.to_json()).predict(data)
    )


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tree"):
        Model(trees=(), base_score=0.5, schema=SCHEMA)
    with pytest.raises(ValueError, match="statistics_bits is 0"):
        hand_made_model(statistics_bits=0)
