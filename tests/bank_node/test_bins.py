"""Bins of a payment: XGBoost itself cannot tell the row of the bins from the row."""

from itertools import pairwise

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.decisions.bins import Binning, bins_of, row_of
from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError

MAX = np.finfo(np.float32).max


def trained(
    n_categories: tuple[int, ...], *, seed: int, trees: int, rows: int = 400, depth: int = 5
) -> tuple[xgboost.Booster, Model]:
    """Train stock XGBoost on features of several scales; return it and the model we read."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(0, count, rows).astype(np.float32)
        if count
        else (rng.normal(size=rows) * 10.0 ** rng.integers(-38, 38)).astype(np.float32)
        if feature % 3 == 0
        else rng.integers(-3, 4, rows).astype(np.float32)
        for feature, count in enumerate(n_categories)
    ]
    features = np.column_stack(columns)
    labels = (np.column_stack([np.isnan(c) | (c > np.median(c)) for c in columns]).sum(1) % 2) * 1.0
    labels[:2] = 0, 1
    features[rng.random(features.shape) < 0.1] = np.nan
    types = ["c" if count else "q" for count in n_categories]
    names = [f"f{feature}" for feature in range(len(n_categories))]
    table = xgboost.DMatrix(
        features, labels, feature_names=names, feature_types=types, enable_categorical=True
    )
    params = {
        "objective": "binary:logistic",
        "max_depth": depth,
        "max_cat_to_onehot": int(rng.integers(1, 6)),
        "min_child_weight": 0,
        "max_bin": 1024,
        "seed": seed,
        "nthread": 1,
    }
    booster = xgboost.train(params, table, trees)
    schema = FeatureSchema(tuple(names), n_categories)
    model = read_model(bytes(booster.save_raw("json")), schema=schema, source="model")
    ours = xgboost.Booster({"nthread": 1})
    ours.load_model(bytearray(model.to_json()))
    return ours, model


def outputs(
    booster: xgboost.Booster, model: Model, rows: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return margins, contributions and leaves."""
    types = ["c" if count else "q" for count in model.schema.n_categories]
    table = xgboost.DMatrix(
        rows, feature_names=list(model.schema.names), feature_types=types, enable_categorical=True
    )
    return (
        booster.predict(table, output_margin=True),
        booster.predict(table, pred_contribs=True),
        booster.predict(table, pred_leaf=True),
    )


def hostile_rows(model: Model, rng: np.random.Generator, n_rows: int) -> Float32Array:
    """Draw thresholds and their neighbours, both zeros, the largest numbers, and foreign codes."""
    binning = Binning.of(model)
    columns = []
    for feature, count in enumerate(model.schema.n_categories):
        if count:
            values = np.array([*range(count), count, count + 7, 0.5, np.nan], dtype=np.float32)
        else:
            at = binning.thresholds[binning.features == feature]
            near = [np.nextafter(at, np.float32(-MAX)), at, np.nextafter(at, np.float32(MAX))]
            special = np.array([0.0, -0.0, MAX, -MAX, 1e-45, -1e-45, np.nan], dtype=np.float32)
            values = np.concatenate([*near, special])
        columns.append(rng.choice(values, n_rows))
    return np.column_stack(columns).astype(np.float32)


@settings(max_examples=15)
@given(
    n_categories=st.lists(st.sampled_from((0, 0, 2, 5, 40)), min_size=1, max_size=6),
    seed=st.integers(0, 2**31),
    trees=st.integers(1, 8),
)
def test_xgboost_cannot_tell_the_row_of_the_bins_from_the_row(
    n_categories: list[int], seed: int, trees: int
) -> None:
    booster, model = trained(tuple(n_categories), seed=seed, trees=trees)
    rows = hostile_rows(model, np.random.default_rng(seed), 50)
    kept = [bins_of(row, model) for row in rows]
    rebuilt = np.stack([row_of(bins, model) for bins in kept])
    assert np.isfinite(rebuilt[~np.isnan(rebuilt)]).all()
    assert np.array_equal(np.isnan(rebuilt), np.isnan(rows))
    pairs = zip(outputs(booster, model, rows), outputs(booster, model, rebuilt), strict=True)
    for expected, got in pairs:
        assert expected.tobytes() == got.tobytes()
    assert [bins_of(row, model) for row in rebuilt] == kept
    assert all(len(bins) == len(n_categories) for bins in kept)


def test_a_feature_of_more_than_254_thresholds_takes_two_bytes() -> None:
    booster, model = trained((0, 3, 300), seed=3, trees=40, rows=2500, depth=8)
    binning = Binning.of(model)
    assert np.count_nonzero(binning.features == 0) > 254
    assert binning.n_bytes == 2 + 1 + 2
    rows = hostile_rows(model, np.random.default_rng(3), 300)
    rebuilt = np.stack([row_of(bins_of(row, model), model) for row in rows])
    for expected, got in pairwise(
        (outputs(booster, model, rows), outputs(booster, model, rebuilt))
    ):
        assert all(
            one.tobytes() == other.tobytes() for one, other in zip(expected, got, strict=True)
        )


def test_bins_of_another_model_are_refused() -> None:
    _, model = trained((0, 5), seed=1, trees=3)
    bins = bins_of(np.array([1.0, 2.0], dtype=np.float32), model)
    with pytest.raises(StateError, match="3 bytes, expected 2: they are of another model"):
        row_of(bins + b"\0", model)
    with pytest.raises(StateError, match="a bin that it does not have"):
        row_of(bins[:1] + bytes([6]), model)
    with pytest.raises(ValueError, match="expected \\(2,\\)"):
        bins_of(np.zeros(3, dtype=np.float32), model)
