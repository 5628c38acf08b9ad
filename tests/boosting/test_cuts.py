"""Rank-search cuts: laws over partitions and ranks, XGBoost's cuts, and awkward columns."""

import numpy as np
import pytest
import xgboost
from cohorts.exact import CohortCommunicator, run_cohort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fraudfed.boosting.bins import FLOAT32_MAX, Cuts, bin_table
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.engine.keys import keys_from_values, values_from_keys
from fraudfed.boosting.shard.local import LocalShard
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
    return find_cuts(LocalShard(table), SoloCommunicator(), n_rows_total=table.n_rows, **options)


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
        return find_cuts(
            LocalShard(mine), communicator, max_bin=max_bin, n_rows_total=len(features)
        )

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
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([12, 20, 32]), st.integers(0, 3)
)
def test_bins_share_out_the_rows_that_heavy_buckets_leave(
    seed: int, max_bin: int, bits: int, n_heavy: int
) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-5, 5)
    values = (rng.standard_t(2, 700) * scale).astype(np.float32)
    for heavy in rng.choice(values, n_heavy):
        values[rng.random(700) < 0.4 * rng.random()] = heavy
    table = table_of(values[:, None])
    cuts = solo_cuts(values[:, None], max_bin=max_bin, resolution_bits=bits)
    in_bin = np.bincount(bin_table(table, cuts).bins[0])
    keys = keys_from_values(values) >> np.uint32(32 - bits)
    buckets, sizes = np.unique(keys, return_counts=True)
    if buckets.size <= max_bin:
        np.testing.assert_array_equal(in_bin, sizes)
        return
    # By the definition: take the largest buckets away while they hold an average bin's rows.
    rest, bins_left, heavy_sizes = 700, max_bin, []
    for size in sorted(sizes.tolist(), reverse=True)[: max_bin - 1]:
        if size * bins_left < rest:
            break
        heavy_sizes.append(size)
        rest, bins_left = rest - size, bins_left - 1
    largest_light = sorted(sizes.tolist(), reverse=True)[len(heavy_sizes)]
    if 2 * len(heavy_sizes) < max_bin:
        for size in heavy_sizes:
            assert size in in_bin.tolist()
    # Two edges for each heavy bucket at most; the other bins differ by the buckets at their ends.
    n_targets = max(max_bin - 1 - 2 * len(heavy_sizes), 0)
    limit = rest / (n_targets + 1) + largest_light + 1
    light_bins = sorted(in_bin.tolist(), reverse=True)[len(heavy_sizes) :]
    if 2 * len(heavy_sizes) < max_bin:
        assert max(light_bins) <= limit


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


def test_a_heavy_value_gets_its_own_bin_and_leaves_the_others_to_the_tail() -> None:
    rng = np.random.default_rng(4)
    positive = rng.lognormal(0, 2, 400)
    values = np.concatenate((np.zeros(9600), positive)).astype(np.float32)[:, None]
    cuts = solo_cuts(values, max_bin=16)
    in_bin = np.bincount(bin_table(table_of(values), cuts).bins[0])
    assert in_bin[0] == 9600
    # Plain quantiles would give the 4 % above zero one bin or none.
    assert len(in_bin) == 16
    assert in_bin[1:].max() <= 400 / 15 + 3


def test_a_heavy_value_in_the_middle_stands_alone() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate((np.full(5000, 7.0), rng.normal(7, 3, 5000))).astype(np.float32)
    cuts = solo_cuts(values[:, None], max_bin=16)
    binned = bin_table(table_of(values[:, None]), cuts).bins[0]
    of_heavy = binned[values == 7.0][0]
    assert 5000 <= np.count_nonzero(binned == of_heavy) <= 5010
    assert np.bincount(binned).size == 16


def test_rare_values_are_cut_as_finely_as_xgboost_cuts_them() -> None:
    """A fraud rate: 98 % zeros, and what matters in the rest."""
    rng = np.random.default_rng(9)
    rate = np.where(rng.random(20_000) < 0.02, rng.integers(1, 90, 20_000) / 90, 0.0)
    values = rate.astype(np.float32)[:, None]
    data = xgboost.QuantileDMatrix(values, label=np.zeros(20_000), max_bin=64)
    theirs = len(data.get_quantile_cut()[1]) - 1
    assert len(solo_cuts(values, max_bin=64).values[0]) >= 0.8 * theirs > 32


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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(columns, st.integers(2, 9), st.sampled_from([8, 20, 32]))
def test_the_rows_of_every_bin_are_known(
    features: np.ndarray, max_bin: int, resolution_bits: int
) -> None:
    cuts = solo_cuts(features, max_bin=max_bin, resolution_bits=resolution_bits)
    binned = bin_table(table_of(features), cuts)
    n_rows = len(features)
    for feature, codes in enumerate(binned.bins):
        n_bins = len(cuts.values[feature])
        counts = np.bincount(codes, minlength=n_bins + 1)
        assert cuts.counts[feature].tolist() == counts[:n_bins].tolist()
        assert cuts.is_complete(n_rows)[feature] == (counts[n_bins] == 0)
    assert cuts.rows_of_bins(n_rows).tolist() == [n for f in cuts.counts for n in cuts.counts[f]]


def test_nothing_is_known_of_the_rows_of_a_category() -> None:
    table = table_of(np.array([[0.0, 1.0], [2.0, 5.0], [0.0, 1.0]]), n_categories=(3, 0))
    cuts = find_cuts(LocalShard(table), SoloCommunicator(), max_bin=4, n_rows_total=3)
    assert list(cuts.counts) == [1]
    assert cuts.is_complete(3).tolist() == [False, True]
    assert cuts.is_complete(4).tolist() == [False, False]
    assert cuts.rows_of_bins(3).tolist() == [3, 3, 3, 2, 1]


def test_categories_need_no_search() -> None:
    table = table_of(np.array([[2.0], [0.0]], dtype=np.float32), n_categories=(4,))
    cuts = find_cuts(LocalShard(table), SoloCommunicator(), max_bin=2, n_rows_total=2)
    np.testing.assert_array_equal(cuts.values[0], [0.0, 1.0, 2.0, 3.0])


def test_one_sum_per_pass_with_bounds_from_public_counts() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(300, 4)).astype(np.float32)

    def program(bank: int, communicator: CohortCommunicator) -> list[tuple[str, int]]:
        mine = table_of(features[bank::3])
        find_cuts(LocalShard(mine), communicator, max_bin=8, n_rows_total=300)
        calls = list(communicator.log)
        communicator.sum(np.zeros(1, dtype=np.int64), bound=0, label="end")
        return [(call.label, int(np.prod(call.shape))) for call in calls]

    calls = run_cohort(3, program)[0]
    assert [label for label, _ in calls] == [f"cuts:pass {n}" for n in range(1, len(calls) + 1)]
    assert 4 <= len(calls) <= 7
    assert calls[0][1] == 4 * 256
    # At most 7 buckets hold a target and 7 are heavy, each with 15 unknown parts.
    assert max(size for _, size in calls[1:]) <= 4 * 14 * 15


def test_resolution_is_one_of_the_steps() -> None:
    with pytest.raises(ValueError, match="resolution_bits is 19"):
        solo_cuts(np.zeros((1, 1), dtype=np.float32), max_bin=4, resolution_bits=19)
