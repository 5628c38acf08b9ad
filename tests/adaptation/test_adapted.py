"""Adapted models: what they score, what they are fitted on, and when there are none."""

from dataclasses import replace

import numpy as np
import pytest
from examples.boosted import OWN_SCHEMA, SCHEMA, Rows, rows, trained, xgboost_margins
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fraudfed.adaptation.adapted import AdaptedModels, adapted_models
from fraudfed.adaptation.blend import blend_model, fit_weight, union_of
from fraudfed.adaptation.continued import continued_model, later_third
from fraudfed.adaptation.logistic_fit import LogisticFit, fit_logistic, log_loss
from fraudfed.adaptation.scaled_model import linear_model
from fraudfed.adaptation.slope import fit_slope, slope_model
from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.objective import base_margin
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.table import FeatureSchema

ELSEWHERE = rows(1, 1500)
AT_HOME = rows(2, 800, shift=-1.0, local=1.5)
SELECT = rows(3, 1500, shift=-1.0, local=1.5)
JUDGE = rows(4, 3000, shift=-1.0, local=1.5)
SHARED = trained(SCHEMA, ELSEWHERE.features, ELSEWHERE.labels)
OWN = trained(OWN_SCHEMA, AT_HOME.own_features, AT_HOME.labels)


def adapted(own: Model | None = OWN, select: Rows = SELECT) -> AdaptedModels:
    return adapted_models(SHARED, own, select.judged())


ALL = {each.name: each for each in adapted().models}


def margins_of(model: Model, new: Rows) -> np.ndarray:
    """Return our own margins, after looking that XGBoost finds the same in the file."""
    ours = predict_margins(model, new.features)
    content = model.to_json()
    np.testing.assert_array_equal(ours, xgboost_margins(content, model.schema, new.features))
    read = read_model(content, schema=model.schema, source="test")
    np.testing.assert_array_equal(ours, predict_margins(read, new.features))
    assert read.to_json() == content
    return ours


def test_every_kind_is_made_and_is_better_for_the_bank_than_the_shared_model() -> None:
    assert list(ALL) == ["slope", "blend", "continued"]
    assert not adapted().left_out
    before = log_loss(predict_margins(SHARED, JUDGE.features), JUDGE.labels)
    for each in ALL.values():
        assert log_loss(margins_of(each.model, JUDGE), JUDGE.labels) < before
        assert (each.n_rows, each.n_frauds) == (1500, int(SELECT.labels.sum()))
        assert each.n_cases == each.n_frauds, "of no customer, each fraud is a case of its own"
        assert each.model.attributes["adapted"]
        assert "best_iteration" not in each.model.attributes


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), intercept=st.floats(-30, 30), slope=st.floats(2**-10, 20))
def test_a_slope_model_scores_as_the_formula_says(
    seed: int, intercept: float, slope: float
) -> None:
    new = rows(seed, 100)
    found = margins_of(slope_model(SHARED, LogisticFit(intercept, (slope,))), new)
    expected = intercept + slope * predict_margins(SHARED, new.features).astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-5)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), weight=st.floats(0, 1))
def test_a_blend_scores_as_the_formula_says(seed: int, weight: float) -> None:
    new = rows(seed, 100)
    found = margins_of(blend_model(OWN, SHARED, weight), new)
    own = predict_margins(OWN, new.own_features).astype(np.float64)
    expected = weight * own + (1 - weight) * predict_margins(SHARED, new.features)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("base_score", [1e-6, 1 - 2.0**-24])
@pytest.mark.parametrize("intercept", [-40.0, 0.0, 13.0])
def test_nothing_is_lost_where_a_base_score_cannot_hold_the_base_margin(
    base_score: float, intercept: float
) -> None:
    shared = replace(SHARED, base_score=float(np.float32(base_score)))
    model = linear_model([(shared, 2.0)], intercept=intercept, schema=SCHEMA, attributes={})
    expected = intercept + 2.0 * predict_margins(shared, JUDGE.features).astype(np.float64)
    np.testing.assert_allclose(margins_of(model, JUDGE), expected, rtol=1e-6, atol=1e-5)


def test_splits_beyond_all_values_stay_where_they_are() -> None:
    tree = SHARED.trees[0]
    edge = np.float32(np.finfo(np.float32).max)
    is_numeric = (tree.left_children >= 0) & ~tree.is_categorical
    conditions = np.where(is_numeric, -edge, tree.split_conditions)
    shared = replace(SHARED, trees=(replace(tree, split_conditions=conditions),))
    found = margins_of(slope_model(shared, LogisticFit(1.0, (3.0,))), JUDGE)
    expected = 1.0 + 3.0 * predict_margins(shared, JUDGE.features).astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_blend_has_the_columns_of_both_models() -> None:
    home = FeatureSchema(("till", "channel"), (2, 3), (("a", "b"), SCHEMA.categories[1]))
    assert union_of(SCHEMA, home).names == (*SCHEMA.names, "till")
    assert union_of(SCHEMA, home).categories == (*SCHEMA.categories, ("a", "b"))
    unnamed = FeatureSchema(("till",), (2,))
    assert union_of(SCHEMA, unnamed) == FeatureSchema((*SCHEMA.names, "till"), (0, 3, 0, 0, 2))
    assert union_of(SCHEMA, OWN_SCHEMA) == SCHEMA
    other = replace(SCHEMA, categories=((), ("card", "other", "transfer"), (), ()))
    with pytest.raises(ValueError, match="'channel' has other categories"):
        blend_model(replace(OWN, schema=other), SHARED, 0.5)


def test_a_continued_model_begins_with_the_shared_one() -> None:
    model = ALL["continued"].model
    n_shared = len(SHARED.trees)
    assert n_shared < len(model.trees) <= n_shared + 50
    assert model.base_score == SHARED.base_score
    assert all(kept is tree for kept, tree in zip(model.trees, SHARED.trees, strict=False))


def test_rows_in_any_order_and_any_number_of_threads_give_the_same_bytes() -> None:
    order = np.random.default_rng(0).permutation(SELECT.labels.size)
    shuffled = Rows(SELECT.features[order], SELECT.labels[order])
    for threads in (1, 3):
        again = adapted_models(SHARED, OWN, shuffled.judged(), threads=threads)
        assert [each.model_json for each in again.models] == [
            each.model_json for each in ALL.values()
        ]


def test_the_number_of_trees_is_chosen_on_later_payments() -> None:
    # What early payments teach is wrong later; by content, both are in either part.
    is_high = SELECT.features[:, 2] > 0
    event_time = np.arange(is_high.size, dtype=np.int64)
    labels = (is_high == (event_time < 1000)).astype(np.float32)
    start = trained(SCHEMA, SELECT.features, labels, num_boost_round=1, max_depth=1, eta=0.0)
    assert continued_model(start, SELECT.features, labels, event_time) is None
    drawn = continued_model(start, SELECT.features, labels, None)
    assert drawn is not None
    assert len(drawn.trees) > 1


def test_the_later_third_is_that_of_the_frauds() -> None:
    times = np.array([9, 1, 5, 5, 7, 3, 2, 8], dtype=np.uint64)
    labels = np.array([0, 1, 0, 1, 1, 0, 0, 0], dtype=np.float32)
    assert later_third(times, labels).tolist() == (times >= 7).tolist()
    all_at_once = later_third(np.full(8, 3, dtype=np.uint64), labels)
    assert all_at_once.all()
    at_once = np.full(SELECT.labels.size, 3, dtype=np.int64)
    assert continued_model(SHARED, SELECT.features, SELECT.labels, at_once) is None


def test_too_few_frauds_give_no_model_and_the_reason() -> None:
    frauds = np.flatnonzero(SELECT.labels == 1)
    labels = SELECT.labels.copy()
    labels[frauds[60:]] = np.nan
    few = adapted(select=Rows(SELECT.features, labels))
    assert [each.name for each in few.models] == ["slope", "blend"]
    assert "60 cases" in few.left_out["continued"]
    assert few.models[0].n_rows == 1500 - frauds.size + 60
    labels[frauds[49:]] = np.nan
    none = adapted(select=Rows(SELECT.features, labels))
    assert not none.models
    assert list(none.left_out) == ["slope", "blend", "continued"]


def test_many_frauds_of_few_customers_are_few_cases() -> None:
    judged = SELECT.judged()
    of_few = np.arange(judged.n_rows) % 49
    outcomes = replace(
        judged.outcomes, customers=of_few, event_time=np.full(judged.n_rows, 7, dtype=np.int64)
    )
    assert (
        "49 cases"
        in adapted_models(SHARED, OWN, replace(judged, outcomes=outcomes)).left_out["slope"]
    )


def test_a_model_that_says_nothing_new_is_left_out_with_the_reason() -> None:
    few = Rows(SELECT.features[:400], SELECT.labels[:400])
    assert adapted(own=None, select=few).left_out["blend"] == "there is no own model"
    assert fit_slope(predict_margins(SHARED, SELECT.features), 1 - SELECT.labels) is None
    turned = trained(OWN_SCHEMA, AT_HOME.own_features, 1 - AT_HOME.labels)
    weight = fit_weight(
        predict_margins(turned, SELECT.own_features),
        predict_margins(SHARED, SELECT.features),
        SELECT.labels,
    )
    assert weight == 0.0


def test_a_column_that_the_rows_lack_is_refused() -> None:
    judged = SELECT.judged()
    lacking = replace(judged, schema=OWN_SCHEMA, features=SELECT.own_features)
    with pytest.raises(ValueError, match="'shared_rate' is not among"):
        adapted_models(SHARED, OWN, lacking)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.01, 8), centre=st.floats(-8, 4))
def test_the_fit_is_never_less_likely_and_is_that_of_scikit_learn(
    seed: int, spread: float, centre: float
) -> None:
    rng = np.random.default_rng(seed)
    margins = rng.normal(centre, spread, 400).astype(np.float32)
    labels = (rng.random(400) < 1 / (1 + np.exp(1.5 - 0.5 * margins))).astype(np.float32)
    fit = fit_logistic((margins,), labels)
    found = fit.intercept + fit.slopes[0] * margins.astype(np.float64)
    assert log_loss(found, labels) <= log_loss(margins, labels) + 1e-12
    # The oracle's penalty is on weights around 0: 1.0 of the slope stands in an offset, which it
    # has not, so only what hardly any penalty touches is compared.
    if 2 < labels.sum() < 398:
        plain = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(
            margins.reshape(-1, 1).astype(np.float64), labels
        )
        scores = plain.decision_function(margins.reshape(-1, 1).astype(np.float64))
        assert log_loss(found, labels) <= log_loss(scores, labels) + 0.02


def test_a_base_margin_in_the_shared_file_is_read_as_xgboost_reads_it() -> None:
    model = slope_model(SHARED, LogisticFit(0.0, (1.0,)))
    assert base_margin(model.base_score) == pytest.approx(base_margin(SHARED.base_score), abs=1e-6)
