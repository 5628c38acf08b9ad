"""Best splits against a plain scan that compares candidates one by one, in XGBoost's order."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.gain import UNBOUNDED, GainFormula, NodeSums, WeightBounds, to_double
from fraudfed.boosting.shard.tables import goes_left
from fraudfed.boosting.splits.best import SplitFinder
from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import FIXED_POINT_ONE, Int64Array
from fraudfed.parameters import RULE_VERSIONS, BoosterParams

NUMERIC, CATEGORICAL = 0, 1
#: Features as (kind, number of bins).
Features = list[tuple[int, int]]
#: (feature, split bin, right categories, default left, left sums, right sums)
Plain = tuple[int, int, tuple[int, ...], bool, Int64Array, Int64Array]


def _cuts(features: Features) -> Cuts:
    schema = FeatureSchema(
        names=tuple(f"f{i}" for i in range(len(features))),
        n_categories=tuple(n if kind == CATEGORICAL else 0 for kind, n in features),
    )
    values = []
    for kind, n in features:
        edges = np.arange(n, dtype=np.float32)
        if kind == NUMERIC:
            edges[-1] = FLOAT32_MAX
        values.append(edges)
    return Cuts(schema=schema, values=tuple(values))


def _plain_candidates(
    histogram: Int64Array, total: Int64Array, features: Features, params: BoosterParams
) -> Iterator[Plain]:
    """Every candidate, in the order in which XGBoost compares them."""
    start = 0
    for feature, (kind, n) in enumerate(features):
        sums = histogram[:, start : start + n].T
        start += n
        missing = total - sums.sum(axis=0)
        if kind == NUMERIC:
            for last in range(n):
                left = sums[: last + 1].sum(axis=0)
                yield feature, last, (), False, left, total - left
            if missing.any():
                for first in reversed(range(n)):
                    right = sums[first:].sum(axis=0)
                    yield feature, first - 1, (), True, total - right, right
        elif n < params.max_cat_to_onehot:
            for category in range(n):
                for default_left, right in (
                    (True, sums[category]),
                    (False, sums[category] + missing),
                ):
                    yield feature, -1, (category,), default_left, total - right, right
        else:
            order = sorted(range(n), key=lambda c: _plain_weight(sums[c], params))
            n_tried = min(n, params.max_cat_threshold) - 1
            for size in range(1, n_tried + 1):
                right = sums[order[:size]].sum(axis=0)
                chosen = tuple(sorted(order[:size]))
                yield feature, -1, chosen, True, total - right, right
            for size in range(n - 1, n - 1 - n_tried, -1):
                right = sums[order[:size]].sum(axis=0) + missing
                chosen = tuple(sorted(order[:size]))
                yield feature, -1, chosen, False, total - right, right


def _plain_weight(sums: Int64Array, params: BoosterParams) -> np.float32:
    g, h = float(sums[0]) / FIXED_POINT_ONE, float(sums[1]) / FIXED_POINT_ONE
    if h <= 0.0 or (params.xgboost_version == "3.2" and h < params.min_child_weight):
        return np.float32(0.0)
    shrunk = max(abs(g) - params.reg_alpha, 0.0) * (1.0 if g > 0.0 else -1.0)
    weight = -shrunk / (h + params.reg_lambda)
    if params.max_delta_step > 0.0 and abs(weight) > params.max_delta_step:
        weight = params.max_delta_step if weight > 0.0 else -params.max_delta_step
    return np.float32(weight)


def _plain_gain(sums: Int64Array, params: BoosterParams) -> np.float32:
    g, h = float(sums[0]) / FIXED_POINT_ONE, float(sums[1]) / FIXED_POINT_ONE
    if h <= 0.0:
        return np.float32(0.0)
    if params.xgboost_version == "3.2" and params.max_delta_step > 0.0:
        w32, h32 = _plain_weight(sums, params), np.float32(h) + np.float32(params.reg_lambda)
        return -(np.float32(2.0) * np.float32(g) * w32 + h32 * (w32 * w32))
    if params.xgboost_version == "3.2":
        shrunk = max(abs(g) - params.reg_alpha, 0.0)
        return np.float32(shrunk * shrunk) / np.float32(h + params.reg_lambda)
    w = _plain_weight(sums, params)
    loss = 2.0 * g * float(w) + (h + params.reg_lambda) * float(w * w)
    return np.float32(-(loss + 2.0 * params.reg_alpha * abs(float(w))))


def _plain_best(
    histogram: Int64Array, total: Int64Array, features: Features, params: BoosterParams
) -> Split | None:
    best: Split | None = None
    for feature, split_bin, right_categories, default_left, left, right in _plain_candidates(
        histogram, total, features, params
    ):
        lighter = min(left[1], right[1]) / FIXED_POINT_ONE
        if lighter < params.min_child_weight:
            continue
        if lighter <= 0.0 and params.xgboost_version == "3.4":
            continue
        loss_change = _plain_gain(left, params) + _plain_gain(right, params)
        loss_change -= _plain_gain(total, params)
        if loss_change > (0.0 if best is None else best.loss_change):
            best = Split(
                loss_change=loss_change,
                feature=feature,
                split_bin=split_bin,
                right_categories=right_categories,
                is_categorical=features[feature][0] == CATEGORICAL,
                default_left=default_left,
                left=(int(left[0]), int(left[1])),
                right=(int(right[0]), int(right[1])),
            )
    return best


@st.composite
def _nodes(draw: st.DrawFn) -> tuple[Features, Int64Array, Int64Array]:
    """Small whole numbers, so that ties are frequent."""
    features = draw(
        st.lists(
            st.tuples(st.sampled_from([NUMERIC, CATEGORICAL]), st.integers(1, 6)),
            min_size=1,
            max_size=4,
        )
    )
    unit = draw(st.sampled_from([1, FIXED_POINT_ONE // 4]))
    n_rows = draw(st.integers(1, 25))
    sizes = [n for _, n in features]
    histogram = np.zeros((2, sum(sizes)), dtype=np.int64)
    total = np.zeros(2, dtype=np.int64)
    for _ in range(n_rows):
        pair = np.array([draw(st.integers(-2, 2)), draw(st.integers(0, 3))]) * unit
        total += pair
        start = 0
        for size in sizes:
            code = draw(st.integers(0, size))
            if code < size:
                histogram[:, start + code] += pair
            start += size
    return features, histogram, total


@settings(max_examples=200, deadline=None)
@given(
    node=_nodes(),
    min_child_weight=st.sampled_from([0.0, 0.5, 2.0]),
    alpha=st.sampled_from([0.0, 0.5]),
    reg_lambda=st.sampled_from([0.0, 1.0]),
    max_delta_step=st.sampled_from([0.0, 0.25]),
    max_cat_to_onehot=st.sampled_from([1, 4, 7]),
    max_cat_threshold=st.sampled_from([1, 3, 64]),
    xgboost_version=st.sampled_from(RULE_VERSIONS),
)
def test_the_first_best_candidate_is_found(
    node: tuple[Features, Int64Array, Int64Array],
    min_child_weight: float,
    alpha: float,
    reg_lambda: float,
    max_delta_step: float,
    max_cat_to_onehot: int,
    max_cat_threshold: int,
    xgboost_version: str,
) -> None:
    features, histogram, total = node
    params = BoosterParams(
        min_child_weight=min_child_weight,
        reg_alpha=alpha,
        reg_lambda=reg_lambda,
        max_delta_step=max_delta_step,
        max_cat_to_onehot=max_cat_to_onehot,
        max_cat_threshold=max_cat_threshold,
        xgboost_version=xgboost_version,
    )
    expected = _plain_best(histogram, total, features, params)
    assert _find(histogram, total, features, params) == expected


def _find(
    histogram: Int64Array,
    total: Int64Array,
    features: Features,
    params: BoosterParams,
    bounds: WeightBounds = UNBOUNDED,
) -> Split | None:
    cuts = _cuts(features)
    formula = GainFormula(params, cuts.schema)
    gradient, hessian = to_double(total.reshape(2, 1))
    gain = formula.gain(gradient, hessian, bounds)[0]
    node = NodeSums(gradient=int(total[0]), hessian=int(total[1]), gain=gain)
    finder = SplitFinder(params, cuts, formula, load_engine())
    return finder.find(histogram, node, np.arange(len(features)), bounds)


def _sums(*pairs: tuple[float, float]) -> Int64Array:
    return (np.array(pairs).T * FIXED_POINT_ONE).astype(np.int64)


def test_equal_gains_go_to_the_lower_feature_and_the_first_bin() -> None:
    pairs = ((-2.0, 2.0), (0.0, 0.0), (2.0, 2.0))
    histogram = _sums(*pairs, *pairs)
    total = histogram[:, :3].sum(axis=1)
    found = _find(histogram, total, [(NUMERIC, 3), (NUMERIC, 3)], BoosterParams())
    assert found is not None
    assert (found.feature, found.split_bin, found.default_left) == (0, 0, False)


def test_a_categorical_feature_loses_a_tie_to_a_lower_numeric_one_and_wins_as_the_lower() -> None:
    histogram = _sums((-2.0, 2.0), (2.0, 2.0), (-2.0, 2.0), (2.0, 2.0))
    total = histogram[:, :2].sum(axis=1)
    first = _find(histogram, total, [(NUMERIC, 2), (CATEGORICAL, 2)], BoosterParams())
    second = _find(histogram, total, [(CATEGORICAL, 2), (NUMERIC, 2)], BoosterParams())
    assert first is not None
    assert second is not None
    assert (first.feature, second.feature) == (0, 0)
    assert (first.is_categorical, second.is_categorical) == (False, True)


def test_no_feature_and_no_gain_give_no_split() -> None:
    histogram = _sums((1.0, 1.0), (1.0, 1.0))
    total = histogram.sum(axis=1)
    assert _find(histogram, total, [(NUMERIC, 2)], BoosterParams(reg_lambda=0.0)) is None
    cuts = _cuts([(NUMERIC, 2)])
    params = BoosterParams()
    finder = SplitFinder(params, cuts, GainFormula(params, cuts.schema), load_engine())
    node = NodeSums(gradient=0, hessian=0, gain=np.float32(0.0))
    assert finder.find(histogram, node, np.empty(0, dtype=np.int64), UNBOUNDED) is None


@pytest.mark.parametrize(("direction", "expected"), [(1, None), (-1, 0), (0, 0)])
def test_a_monotone_direction_forbids_the_wrong_order(direction: int, expected: int | None) -> None:
    """Gradients rise with the bin, so weights fall: only a falling or no constraint allows it."""
    histogram = _sums((-2.0, 2.0), (2.0, 2.0))
    params = BoosterParams(monotone_constraints=(direction,))
    found = _find(histogram, histogram.sum(axis=1), [(NUMERIC, 2)], params)
    assert (None if found is None else found.split_bin) == expected


def test_weights_stay_within_the_bounds_of_the_node() -> None:
    params = BoosterParams(monotone_constraints=(1,))
    formula = GainFormula(params, _cuts([(NUMERIC, 2)]).schema)
    bounds = WeightBounds(lower=np.float32(-0.25), upper=np.float32(0.25))
    gradient, hessian = np.array([-9.0, 9.0, 0.2]), np.array([2.0, 2.0, 1.0])
    weight = formula.weight(gradient, hessian, bounds)
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, np.float32([0.25, -0.25, -0.1]))


def test_a_table_of_a_split_sends_each_bin_to_its_side() -> None:
    numeric = goes_left(
        4, split_bin=1, right_categories=(), is_categorical=False, default_left=True
    )
    assert numeric.tolist() == [True, True, False, False, True]
    none = goes_left(2, split_bin=-1, right_categories=(), is_categorical=False, default_left=True)
    assert none.tolist() == [False, False, True]
    categories = goes_left(
        4, split_bin=-1, right_categories=(0, 3), is_categorical=True, default_left=False
    )
    assert categories.tolist() == [False, True, True, False, False]
