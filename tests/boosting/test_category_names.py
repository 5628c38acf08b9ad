"""Names of categories in the model: XGBoost scores a frame of names as it scores codes."""

import json
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import treelite
import xgboost
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fraudfed.boosting.model import Model, without_category_names
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.parameters import BoosterParams

ROWS = 600


@cache
def trained_on_codes(n_countries: int, n_shops: int) -> tuple[Model, Float32Array]:
    """Return a model of two categorical features with a number between them, and its rows."""
    rng = np.random.default_rng(8)
    features = np.empty((ROWS, 3), dtype=np.float32)
    features[:, 0] = rng.integers(0, n_countries, ROWS)
    features[:, 1] = rng.normal(size=ROWS)
    features[:, 2] = rng.integers(0, n_shops, ROWS)
    odds = 0.1 + 0.5 * (features[:, 0] % 2) + 0.3 * (features[:, 2] % 3 == 1)
    labels = rng.random(ROWS) < odds
    features[rng.random((ROWS, 3)) < 0.1] = np.nan
    schema = FeatureSchema(("country", "amount", "shop"), (n_countries, 0, n_shops))
    table = TrainingTable(schema, features, labels.astype(np.float32))
    params = BoosterParams.parse({"num_boost_round": 4, "max_depth": 4, "max_cat_to_onehot": 2})
    return train(params, table, SoloCommunicator()).model, features


def trained(countries: tuple[str, ...], shops: tuple[str, ...]) -> tuple[Model, Float32Array]:
    """Return the same with names; training does not look at them."""
    model, features = trained_on_codes(len(countries), len(shops))
    return replace(model, schema=replace(model.schema, categories=(countries, (), shops))), features


def load(content: bytes) -> xgboost.Booster:
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


def by_codes(booster: xgboost.Booster, features: Float32Array) -> Float32Array:
    rows = xgboost.DMatrix(
        features,
        feature_names=["country", "amount", "shop"],
        feature_types=["c", "float", "c"],
        enable_categorical=True,
    )
    return booster.predict(rows)


def named(codes: Float32Array, names: tuple[str, ...]) -> list[str | None]:
    return [None if np.isnan(code) else names[int(code)] for code in codes]


def frame_of(
    features: Float32Array, countries: tuple[str, ...], shops: tuple[str, ...], chosen: list[str]
) -> pd.DataFrame:
    """Return the rows as a frame whose countries have the categories ``chosen``, in this order."""
    country = pd.Categorical(named(features[:, 0], countries), categories=chosen)
    shop = pd.Series(named(features[:, 2], shops), dtype=object).astype("category")
    return pd.DataFrame({"country": country, "amount": features[:, 1], "shop": shop})


ASCII_NAMES = st.lists(
    st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=6),
    min_size=2,
    max_size=7,
    unique=True,
)
ANY_NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    min_size=2,
    max_size=6,
    unique=True,
)


@settings(max_examples=25)
@given(names=ASCII_NAMES, data=st.data())
def test_a_frame_of_any_names_in_any_order_scores_as_codes(
    names: list[str], data: st.DataObject
) -> None:
    countries, shops = tuple(names), ("Grocer", "fuel", "a,b", "NA")
    model, features = trained(countries, shops)
    booster = load(model.to_json())
    expected = by_codes(booster, features)
    chosen = data.draw(st.permutations(names))[: data.draw(st.integers(1, len(names)))]
    codes = [float(countries.index(name)) for name in chosen]
    there = np.isin(features[:, 0], codes) | np.isnan(features[:, 0])
    frame = frame_of(features[there], countries, shops, list(chosen))
    found = booster.predict(xgboost.DMatrix(frame, enable_categorical=True))
    np.testing.assert_array_equal(found, expected[there])


@settings(max_examples=25)
@given(names=ANY_NAMES, data=st.data())
def test_an_arrow_table_scores_as_codes_in_every_script(
    names: list[str], data: st.DataObject
) -> None:
    countries, shops = tuple(names), ("Ärzte", "Банк", "ñandú", "銀行")
    model, features = trained(countries, shops)
    booster = load(model.to_json())
    table = pa.table(
        {
            "country": arrow_names(features[:, 0], countries, data.draw(st.permutations(names))),
            "amount": pa.array(features[:, 1]),
            "shop": arrow_names(features[:, 2], shops, data.draw(st.permutations(shops))),
        }
    )
    found = booster.predict(xgboost.DMatrix(table, enable_categorical=True))
    np.testing.assert_array_equal(found, by_codes(booster, features))


def arrow_names(codes: Float32Array, names: tuple[str, ...], order: list[str]) -> pa.Array:
    where = pa.array([None if name is None else order.index(name) for name in named(codes, names)])
    return pa.DictionaryArray.from_arrays(where.cast(pa.int32()), pa.array(order, pa.string()))


@pytest.mark.parametrize("form", ["to_json", "to_ubj"])
def test_every_order_of_three_countries(form: str) -> None:
    countries, shops = ("ZA", "AO", "NA"), ("a", "b", "c")
    model, features = trained(countries, shops)
    booster = load(getattr(model, form)())
    expected = by_codes(booster, features)
    for order in permutations(countries):
        frame = frame_of(features, countries, shops, list(order))
        found = booster.predict(xgboost.DMatrix(frame, enable_categorical=True))
        np.testing.assert_array_equal(found, expected)


def test_without_names_the_order_of_a_frame_decides() -> None:
    countries, shops = ("ZA", "AO", "NA"), ("a", "b", "c")
    model, features = trained(countries, shops)
    booster = load(without_category_names(model.to_json()))
    frame = frame_of(features, countries, shops, ["AO", "NA", "ZA"])
    found = booster.predict(xgboost.DMatrix(frame, enable_categorical=True))
    assert (found != by_codes(booster, features)).any()


def test_names_change_no_tree_and_can_be_taken_out() -> None:
    countries, shops = ("ZA", "AO", "NA"), ("x", "é", "y")
    model, _ = trained(countries, shops)
    without, _ = trained_on_codes(3, 3)
    assert without_category_names(model.to_json()) == without.to_json()
    assert without_category_names(without.to_json()) == without.to_json()
    for content in (b"{}", b"[]", b"3", b'{"learner": 3}'):
        with pytest.raises(ValueError, match="no model"):
            without_category_names(content)
    with pytest.raises(ValueError, match="line 1"):
        without_category_names(b"{")


def test_treelite_reads_the_model_without_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    model, features = trained(("ZA", "AO", "NA"), ("a", "b", "c"))
    folder = tmp_path_factory.mktemp("treelite")
    (folder / "names.json").write_bytes(model.to_json())
    (folder / "codes.json").write_bytes(without_category_names(model.to_json()))
    found = treelite.gtil.predict(
        treelite.frontend.load_xgboost_model(folder / "codes.json"), features
    )
    expected = by_codes(load(model.to_json()), features)
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-6)
    # When this fails, Treelite has learnt to read names, and the library page can say so.
    with pytest.raises(treelite.TreeliteError, match="categorical encoder"):
        treelite.frontend.load_xgboost_model(folder / "names.json")


def test_contributions_of_a_frame_add_up_to_its_margin() -> None:
    countries, shops = ("ZA", "AO", "NA"), ("a", "b", "c")
    model, features = trained(countries, shops)
    booster = load(model.to_json())
    rows = xgboost.DMatrix(
        frame_of(features, countries, shops, ["NA", "ZA", "AO"]), enable_categorical=True
    )
    contributions = booster.predict(rows, pred_contribs=True)
    margins = booster.predict(rows, output_margin=True)
    np.testing.assert_allclose(contributions.sum(axis=1), margins, rtol=1e-4, atol=1e-6)


@settings(max_examples=40)
@given(names=ANY_NAMES)
def test_what_we_write_is_what_xgboost_writes_again(names: list[str]) -> None:
    model, _ = trained(tuple(names), ("a", "b"))
    ours = json.loads(model.to_json())["learner"]["gradient_booster"]["model"]["cats"]
    theirs = json.loads(load(model.to_json()).save_raw("json"))
    assert theirs["learner"]["gradient_booster"]["model"]["cats"] == ours


@settings(max_examples=25)
@given(names=ASCII_NAMES)
def test_names_are_encoded_as_xgboost_encodes_a_frame(names: list[str]) -> None:
    assume(len(names) > 2)
    frame = pd.DataFrame({"country": pd.Categorical(names * 40, categories=names)})
    labels = np.arange(len(frame)) % len(names) % 2
    booster = xgboost.train(
        {"max_depth": 1}, xgboost.DMatrix(frame, labels, enable_categorical=True), 1
    )
    theirs = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["cats"]
    schema = FeatureSchema(("country",), (len(names),), (tuple(names),))
    model, _ = trained(tuple(names), ("a", "b"))
    ours = json.loads(Model(model.trees, 0.5, schema).to_json())
    assert ours["learner"]["gradient_booster"]["model"]["cats"] == theirs


def test_our_reader_takes_these_names_in_this_order_or_none() -> None:
    model, _ = trained(("ZA", "AO", "NA"), ("a", "b", "c"))
    content = model.to_json()
    again = read_model(content, schema=model.schema, source="model")
    assert again.to_json() == content
    named_anew = read_model(without_category_names(content), schema=model.schema, source="model")
    assert named_anew.to_json() == content
    for countries in (("AO", "ZA", "NA"), ("ZA", "AO", "NAM"), ("ZA", "AO", "N")):
        other = FeatureSchema(
            model.schema.names, model.schema.n_categories, (countries, (), ("a", "b", "c"))
        )
        with pytest.raises(StateError, match="other names of categories"):
            read_model(content, schema=other, source="model")
    bare = FeatureSchema(model.schema.names, model.schema.n_categories)
    with pytest.raises(StateError, match="other names of categories"):
        read_model(content, schema=bare, source="model")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("sorted_idx", [0, 1, 2, 0, 1, 2]),
        ("feature_segments", [0, 3, 3]),
        ("enc", [{"offsets": [], "values": []}] * 3),
        ("enc", [{"type": 15, "values": [1, 2, 3]}] * 3),
        ("enc", [[], [], []]),
        ("enc", 3),
    ],
)
def test_names_that_do_not_fit_together_are_refused(part: str, value: object) -> None:
    model, _ = trained(("ZA", "AO", "NA"), ("a", "b", "c"))
    document = json.loads(model.to_json())
    document["learner"]["gradient_booster"]["model"]["cats"][part] = value
    with pytest.raises(StateError, match="is no model that can be used"):
        read_model(json.dumps(document).encode(), schema=model.schema, source="model")


@pytest.mark.parametrize("categories", [((), ("a",)), (("a",), ()), ((), ("a", "a"))])
def test_a_schema_names_every_category_once(categories: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ValueError, match="names of categories"):
        FeatureSchema(("amount", "country"), (0, 2), categories)
