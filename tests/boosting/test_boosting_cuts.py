"""Rank-search cuts: laws over partitions and ranks, XGBoost's cuts, and awkward columns."""

import numpy as np
import pytest
import xgboost
from cohort import CohortCommunicator, run_cohort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts, bin_table
from fraudfed.boosting.cuts import find_cuts, keys_from_values, values_from_keys
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.communicator import SoloCommunicator

TINY = float(np.finfo(np.float32).smallest_subnormal)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
ordinary = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 3.0, TINY, -TINY, 1e-30, 3e38])
columns = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 60), st.integers(1, 3)),
    elements=finite | ordinary | st.just(np.nan),
)


def table_of(features: np.ndarray, n_categories: tuple[int, ...] | None = None) -> TrainingTable:
    n_rows, n_features = features.shape
    return TrainingTable(
        schema=FeatureSchema(
            names=tuple(f"x{f}" for f in range(n_features)),
            n_categories=n_categories or (0,) * n_features,
        ),
        features=features.astype(np.float32),
        labels=np.zeros(n_rows, dtype=np.float32),
    )


def solo_cuts(features: np.ndarray, **options: int) -> Cuts:
    table = table_of(features)
    return find_cuts(table, SoloCommunicator(), n_rows_total=table.n_rows, **options)


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=finite | ordinary))
def test_keys_keep_the_order_and_come_back(values: np.ndarray) -> None:
    keys = keys_from_values(values)
    np.testing.assert_array_equal(values_from_keys(keys), values)
    np.testing.assert_array_equal(keys[:, None] < keys[None], values[:, None] < values[None])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns, st.integers(2, 9), st.sampled_from([2, 5]), st.randoms(use_true_random=False))
def test_cuts_do_not_depend_on_the_partition(
    features: np.ndarray, max_bin: int, n_banks: int, random: object
) -> None:
    bank_of_row = np.array([random.randrange(n_banks) for _ in range(len(features))], dtype=int)

    def program(bank: int, communicator: CohortCommunicator) -> Cuts:
        mine = table_of(features[bank_of_row == bank])
        return find_cuts(mine, communicator, max_bin=max_bin, n_rows_total=len(features))

    expected = solo_cuts(features, max_bin=max_bin)
    for found in run_cohort(n_banks, program):
        for left, right in zip(found.values, expected.values, strict=True):
            assert left.tobytes() == right.tobytes()


@settings(deadline=None)
@given(columns, st.integers(2, 9), st.sampled_from([8, 20, 32]))
def test_edges_ascend_fill_their_bins_and_stay_in_number(
    features: np.ndarray, max_bin: int, bits: int
) -> None:
    cuts = solo_cuts(features, max_bin=max_bin, resolution_bits=bits)
    binned = bin_table(table_of(features), cuts)
    for feature, edges in enumerate(cuts.values):
        assert edges.dtype == np.float32
        assert edges[-1] == np.float32(FLOAT32_MAX)
        assert 1 <= len(edges) <= max_bin
        inner = edges[:-1]
        assert np.isfinite(inner).all()
        assert (np.diff(inner) > 0).all()
        present = ~np.isnan(features[:, feature])
        if present.any():
            used = np.unique(binned.bins[feature][present])
            np.testing.assert_array_equal(used, np.arange(len(edges)))
        else:
            assert len(edges) == 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([12, 20, 32]))
def test_each_ideal_quantile_has_a_cut_within_half_a_bucket(
    seed: int, max_bin: int, bits: int
) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-5, 5)
    values = (rng.standard_t(2, 700) * scale).astype(np.float32)
    values[rng.random(700) < rng.random()] = np.float32(0.0)
    edges = solo_cuts(values[:, None], max_bin=max_bin, resolution_bits=bits).values[0]
    buckets, sizes = np.unique(keys_from_values(values) >> np.uint32(32 - bits), return_counts=True)
    starts = np.cumsum(sizes) - sizes
    # Ranks of our edges, with the trivial ones below and above everything.
    ranks = np.concatenate(([0], (values[None] < edges[:-1, None]).sum(axis=1), [700]))
    if buckets.size <= max_bin:
        np.testing.assert_array_equal(ranks[:-1], starts)
        return
    for j in range(1, max_bin):
        target = j * 700 // max_bin
        holder = np.searchsorted(starts, target, side="right") - 1
        assert 2 * np.abs(ranks - target).min() <= sizes[holder]


def test_few_distinct_values_are_cut_as_xgboost_cuts_them() -> None:
    rng = np.random.default_rng(3)
    features = np.column_stack(
        [
            rng.integers(0, 2, 5000),
            rng.integers(0, 50, 5000),
            rng.integers(100, 164, 5000),
            rng.choice([0, 1, 1000, 1024, 2048], 5000),
        ]
    ).astype(np.float32)
    data = xgboost.QuantileDMatrix(features, label=np.zeros(5000), max_bin=64)
    pointers, expected = data.get_quantile_cut()
    for feature, edges in enumerate(solo_cuts(features, max_bin=64).values):
        theirs = expected[int(pointers[feature]) : int(pointers[feature + 1])]
        # XGBoost's first number is below all values, its last above; the others are edges.
        np.testing.assert_array_equal(edges[:-1], theirs[-len(edges) : -1])
        assert len(edges) == len(np.unique(features[:, feature]))


def test_a_heavy_value_gets_its_own_bin() -> None:
    rng = np.random.default_rng(4)
    positive = rng.lognormal(0, 2, 4000)
    values = np.concatenate((np.zeros(6000), positive)).astype(np.float32)[:, None]
    cuts = solo_cuts(values, max_bin=16)
    binned = bin_table(table_of(values), cuts).bins[0]
    assert np.count_nonzero(binned == 0) == 6000


@pytest.mark.parametrize(
    ("column", "n_bins"),
    [
        ([np.nan, np.nan, np.nan], 1),
        ([7.25, 7.25, 7.25], 1),
        ([-0.0, 0.0, -0.0], 1),
        ([-1.0, 0.0, 1.0], 3),
        ([-TINY, 0.0, 4000 * TINY], 2),
        ([-3.4e38, 0.0, 3.4e38], 3),
        ([FLOAT32_MAX, -FLOAT32_MAX, np.nan], 2),
        ([-5.0, -4.0, -3.0, -2.0, -1.0], 5),
    ],
)
def test_awkward_columns(column: list[float], n_bins: int) -> None:
    values = np.array(column, dtype=np.float32)[:, None]
    edges = solo_cuts(values, max_bin=16).values[0]
    assert len(edges) == n_bins


def test_no_rows_anywhere() -> None:
    cuts = solo_cuts(np.empty((0, 2), dtype=np.float32), max_bin=4)
    assert [len(edges) for edges in cuts.values] == [1, 1]


def test_categories_need_no_search() -> None:
    table = table_of(np.array([[2.0], [0.0]], dtype=np.float32), n_categories=(4,))
    cuts = find_cuts(table, SoloCommunicator(), max_bin=2, n_rows_total=2)
    np.testing.assert_array_equal(cuts.values[0], [0.0, 1.0, 2.0, 3.0])


def test_one_sum_per_pass_with_bounds_from_public_counts() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(300, 4)).astype(np.float32)

    def program(bank: int, communicator: CohortCommunicator) -> list[tuple[str, int]]:
        mine = table_of(features[bank::3])
        find_cuts(mine, communicator, max_bin=8, n_rows_total=300)
        calls = list(communicator.log)
        communicator.sum(np.zeros(1, dtype=np.int64), bound=0, label="end")
        return [(call.label, int(np.prod(call.shape))) for call in calls]

    calls = run_cohort(3, program)[0]
    assert [label for label, _ in calls] == [f"cuts:{bits}-bits" for bits in (8, 12, 16, 20)]
    assert calls[0][1] == 4 * 256
    # At most 7 buckets hold a target in the last passes, each with 15 unknown parts.
    assert calls[3][1] <= 4 * 7 * 15


def test_resolution_is_one_of_the_steps() -> None:
    with pytest.raises(ValueError, match="resolution_bits is 19"):
        solo_cuts(np.zeros((1, 1), dtype=np.float32), max_bin=4, resolution_bits=19)
