"""Margins of any model on rows, as XGBoost itself finds them."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost
from examples.boosted import SCHEMA, rows, trained, xgboost_margins
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.predict import predict, predict_margins


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), threads=st.integers(1, 3))
def test_margins_are_those_of_xgboost(seed: int, threads: int) -> None:
    given_rows = rows(seed, 300)
    model = trained(SCHEMA, given_rows.features, given_rows.labels)
    new = rows(seed + 1, 200).features
    found = predict_margins(model, new, threads=threads)
    np.testing.assert_array_equal(found, xgboost_margins(model.to_json(), SCHEMA, new))
    read = read_model(model.to_json(), schema=SCHEMA, source="test")
    np.testing.assert_array_equal(found, predict_margins(read, new))
    np.testing.assert_array_equal(predict(model, new), sigmoid(found))


@pytest.mark.parametrize("max_bin", [4, 256])
def test_models_of_xgboost_score_as_there(max_bin: int) -> None:
    given_rows = rows(5, 2000)
    data = xgboost.DMatrix(
        given_rows.features,
        given_rows.labels,
        feature_names=list(SCHEMA.names),
        feature_types=["float", "c", "float", "float"],
        enable_categorical=True,
    )
    settings = {"objective": "binary:logistic", "max_depth": 5, "max_bin": max_bin}
    content = bytes(xgboost.train(settings, data, 20).save_raw("json"))
    model = read_model(content, schema=replace(SCHEMA, categories=()), source="test")
    # Values on the split points themselves are where "below" and "at most" differ.
    points = np.concatenate([tree.split_conditions for tree in model.trees])
    new = rows(6, points.size).features
    new[:, 0] = points
    np.testing.assert_array_equal(
        predict_margins(model, new), xgboost_margins(content, SCHEMA, new)
    )


def test_no_rows_and_a_tree_without_a_split() -> None:
    given_rows = rows(1, 200)
    model = trained(SCHEMA, given_rows.features, given_rows.labels, min_child_weight=1e6)
    assert all(tree.n_nodes == 1 for tree in model.trees)
    assert predict(model, given_rows.features[:0]).shape == (0,)
    np.testing.assert_array_equal(
        predict_margins(model, given_rows.features),
        xgboost_margins(model.to_json(), SCHEMA, given_rows.features),
    )


def test_rows_of_another_shape_are_refused() -> None:
    given_rows = rows(1, 200)
    model = trained(SCHEMA, given_rows.features, given_rows.labels)
    with pytest.raises(ValueError, match="shape"):
        predict_margins(model, given_rows.own_features)
