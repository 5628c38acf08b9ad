"""Hashed samples: the same wherever a row lies, and as many as XGBoost takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.boosting.sampling import ColumnSampler, row_keys, sample_rows
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.parameters import BoosterParams


def _table(
    features: Float32Array, labels: Float32Array, weights: Float32Array | None = None
) -> TrainingTable:
    n_features = features.shape[1]
    schema = FeatureSchema(
        names=tuple(f"f{i}" for i in range(n_features)), n_categories=(0,) * n_features
    )
    return TrainingTable(
        schema=schema, features=features, labels=labels, weights=weights, max_weight=8.0
    )


def _random_table(rng: np.random.Generator, n_rows: int) -> TrainingTable:
    features = rng.normal(size=(n_rows, 3)).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    labels = (rng.random(n_rows) < 0.3).astype(np.float32)
    return _table(features, labels, rng.random(n_rows).astype(np.float32))


def test_a_key_depends_on_the_row_alone() -> None:
    rng = np.random.default_rng(0)
    table = _random_table(rng, 500)
    keys = row_keys(table)
    order = rng.permutation(500)[:300]
    assert table.weights is not None
    moved = _table(table.features[order], table.labels[order], table.weights[order])
    np.testing.assert_array_equal(row_keys(moved), keys[order])
    assert np.unique(keys).size == 500


def test_every_part_of_a_row_changes_its_key() -> None:
    base = _table(np.float32([[1.0, 2.0]]), np.float32([0.0]), np.float32([1.0]))
    others = [
        _table(np.float32([[1.5, 2.0]]), np.float32([0.0]), np.float32([1.0])),
        _table(np.float32([[2.0, 1.0]]), np.float32([0.0]), np.float32([1.0])),
        _table(np.float32([[np.nan, 2.0]]), np.float32([0.0]), np.float32([1.0])),
        _table(np.float32([[1.0, 2.0]]), np.float32([1.0]), np.float32([1.0])),
        _table(np.float32([[1.0, 2.0]]), np.float32([0.0]), np.float32([2.0])),
    ]
    keys = [int(row_keys(table)[0]) for table in [base, *others]]
    assert len(set(keys)) == len(keys)


def test_zeros_missing_values_and_unit_weights_have_one_form() -> None:
    # Two quiet NaNs of different sign and payload, and a signalling one.
    nans = np.array([0x7FC00000, 0xFFC00123, 0x7F800001], dtype=np.uint32).view(np.float32)
    keys = row_keys(_table(nans.reshape(3, 1), np.zeros(3, dtype=np.float32)))
    assert np.unique(keys).size == 1
    zeros = _table(np.float32([[0.0], [-0.0]]), np.float32([0.0, -0.0]))
    assert np.unique(row_keys(zeros)).size == 1
    weighted = _table(np.float32([[0.0], [0.0]]), np.float32([0.0, 0.0]), np.float32([1.0, 1.0]))
    np.testing.assert_array_equal(row_keys(weighted), row_keys(zeros))


def test_the_hash_is_splitmix64() -> None:
    """Its first outputs for seed 0, as published with Vigna's reference implementation."""
    empty = _table(np.empty((1, 0), dtype=np.float32), np.float32([0.0]), np.float32([0.0]))
    first, second = 0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4
    # Label and weight of 0 absorb two zero words: the finaliser of the increment, twice.
    keys = row_keys(empty)
    assert int(keys[0]) == _finalise((first + 0x9E3779B97F4A7C15) % 2**64)
    assert _finalise(0x9E3779B97F4A7C15) == first
    assert _finalise(2 * 0x9E3779B97F4A7C15 % 2**64) == second


def _finalise(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


@given(
    seed=st.integers(0, 2**53),
    tree_index=st.integers(0, 10_000),
    fraction=st.floats(0.015625, 1.0, width=32),
)
def test_the_share_drawn_is_the_fraction(seed: int, tree_index: int, fraction: float) -> None:
    keys = np.arange(20_000, dtype=np.uint64)
    drawn = sample_rows(keys, seed=seed, tree_index=tree_index, fraction=fraction)
    deviation = np.sqrt(fraction * (1.0 - fraction) / keys.size)
    assert abs(drawn.mean() - fraction) <= 6.0 * deviation


def test_trees_and_seeds_draw_independently_of_each_other() -> None:
    keys = np.arange(20_000, dtype=np.uint64)
    draws = [
        sample_rows(keys, seed=seed, tree_index=tree, fraction=0.5)
        for seed in (0, 1)
        for tree in (0, 1)
    ]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert abs((one & other).mean() - 0.25) < 0.02


@pytest.mark.parametrize(
    ("fraction", "n_features", "expected"),
    [(0.5, 7, 3), (0.7, 10, 7), (0.1, 5, 1), (0.3, 10, 3), (0.999, 3, 2), (1.0, 4, 4)],
)
def test_as_many_columns_as_xgboost_takes(fraction: float, n_features: int, expected: int) -> None:
    sampler = ColumnSampler(
        BoosterParams(colsample_bytree=fraction), n_features=n_features, tree_index=0
    )
    assert sampler.tree_features.size == expected
    assert sampler.node_features(depth=3, node=9).tolist() == sampler.tree_features.tolist()


@given(
    seed=st.integers(0, 2**53),
    tree_index=st.integers(0, 1000),
    depth=st.integers(0, 30),
    node=st.integers(0, 100_000),
)
def test_each_sample_is_drawn_from_the_one_above(
    seed: int, tree_index: int, depth: int, node: int
) -> None:
    def features(by_node: float) -> list[int]:
        params = BoosterParams(
            colsample_bytree=0.8, colsample_bylevel=0.7, colsample_bynode=by_node, seed=seed
        )
        sampler = ColumnSampler(params, n_features=20, tree_index=tree_index)
        assert set(sampler.node_features(depth=depth, node=node)) <= set(sampler.tree_features)
        drawn: list[int] = sampler.node_features(depth=depth, node=node).tolist()
        return drawn

    level, at_node = features(1.0), features(0.5)
    assert len(level) == 11
    assert len(at_node) == 5
    assert set(at_node) <= set(level)
    assert at_node == sorted(set(at_node))


def test_every_column_is_drawn_about_equally_often() -> None:
    params = BoosterParams(colsample_bynode=0.3)
    sampler = ColumnSampler(params, n_features=10, tree_index=0)
    drawn = [sampler.node_features(depth=1, node=node) for node in range(3000)]
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    # 900 expected, standard deviation about 25.
    assert counts.min() > 750
    assert counts.max() < 1050


def test_a_sample_never_changes_with_a_release() -> None:
    """Recorded draws: another result would make another model from the same seed."""
    params = BoosterParams(colsample_bytree=0.6, colsample_bylevel=0.7, seed=42)
    sampler = ColumnSampler(params, n_features=10, tree_index=3)
    keys = np.arange(24, dtype=np.uint64)
    drawn = sample_rows(keys, seed=42, tree_index=3, fraction=0.5)
    assert sampler.tree_features.tolist() == [0, 4, 5, 6, 8, 9]
    assert sampler.node_features(depth=2, node=5).tolist() == [4, 6, 8, 9]
    assert np.flatnonzero(drawn).tolist() == [
        0,
        1,
        3,
        4,
        5,
        6,
        7,
        9,
        10,
        13,
        15,
        17,
        18,
        21,
        22,
        23,
    ]
