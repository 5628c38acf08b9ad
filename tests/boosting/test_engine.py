"""The compiled kernels give the bytes of NumPy: on awkward and on large input, in any threads."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from cohorts.recording import RecordingCommunicator
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import compiled, needs_engine, numpy_only
from oracles.trees import random_rows

from fraudfed.boosting.bins import FLOAT32_MAX, BinnedTable, Cuts, bin_table
from fraudfed.boosting.cuts import find_cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.elementary import FRACTIONAL_POWERS
from fraudfed.boosting.gain import UNBOUNDED, GainFormula, NodeSums, WeightBounds, to_double
from fraudfed.boosting.objective import gradients
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.shard.partition import RowPartition, RowRange, RowSplit
from fraudfed.boosting.shard.protocol import SumsOfNodes
from fraudfed.boosting.shard.sums import HistogramBuilder, HistogramOrder
from fraudfed.boosting.splits.best import SplitFinder
from fraudfed.boosting.splits.candidate import Split
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import FIXED_POINT_ONE, Float32Array, Int64Array
from fraudfed.parameters import RULE_VERSIONS, BoosterParams

pytestmark = needs_engine

THREADS = (1, 2, 3, 7)
INFINITY = np.float32(np.inf)


def both(function: Callable[[], object]) -> tuple[object, object]:
    """Return what the compiled kernels give, and what NumPy gives."""
    assert load_engine().name == "compiled"
    found = function()
    with numpy_only():
        return found, function()


def test_without_kernels_the_reason_is_given() -> None:
    with numpy_only():
        assert load_engine().name == "numpy (FRAUDFED_NO_EXT=1 is set)"
    assert load_engine().name == "compiled"


# ---- gradients ----


def _interesting_margins() -> Float32Array:
    """Every exponent with many significands, and the neighbourhood of each step of the code."""
    bits = np.arange(0, 2**32, 40_009, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 88.7, -88.7, 120.0, 103.97], dtype=np.float32)
    # exp changes its table entry half way between multiples of ln 2 / 32.
    steps = np.arange(-8000, 8001) * (np.log(2.0) / 64)
    around = np.concatenate((special, steps.astype(np.float32)))
    near = [around]
    for direction in (-INFINITY, INFINITY):
        neighbour = around
        for _ in range(2):
            neighbour = np.nextafter(neighbour, direction)
            near.append(neighbour)
    margins = np.concatenate((bits.view(np.float32), *near))
    return margins[~np.isnan(margins)]


@pytest.mark.parametrize("scale_pos_weight", [1.0, 0.3, 37.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_have_the_same_bits(weighted: bool, scale_pos_weight: float) -> None:
    margins = _interesting_margins()
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, margins.size).astype(np.float32)
    weights = None
    if weighted:
        weights = np.exp(rng.normal(0.0, 3.0, margins.size)).astype(np.float32)
        weights[:3] = (np.finfo(np.float32).smallest_subnormal, 6000.0, 1e-30)

    def run(threads: int) -> Int64Array:
        return gradients(
            margins, labels, weights, scale_pos_weight=scale_pos_weight, engine=load_engine(threads)
        )

    found, expected = both(lambda: run(1))
    np.testing.assert_array_equal(found, expected)
    for threads in THREADS[1:]:
        np.testing.assert_array_equal(run(threads), expected)


@pytest.mark.parametrize("simd", [0, 1, 2])
def test_gradients_do_not_depend_on_the_width_of_simd(simd: int) -> None:
    margins = _interesting_margins()
    labels = (np.arange(margins.size) % 3 == 0).astype(np.float32)
    weights = np.linspace(0.01, 9.0, margins.size, dtype=np.float32)
    pairs = np.empty((margins.size, 2), dtype=np.int64)
    assert compiled().logistic_gradients(
        margins, labels, weights, 3.0, FRACTIONAL_POWERS, pairs, compiled().new_workers(2), simd
    )
    with numpy_only():
        expected = gradients(margins, labels, weights, scale_pos_weight=3.0)
    np.testing.assert_array_equal(pairs, expected)


@pytest.mark.parametrize("weight", [2.0**18, 1e9])
def test_weights_beyond_the_kernel_are_left_to_numpy(weight: float) -> None:
    margins = np.linspace(-5.0, 5.0, 5000, dtype=np.float32)
    labels = (margins > 1.0).astype(np.float32)
    weights = np.ones_like(margins)
    weights[4321] = weight
    pairs = np.empty((margins.size, 2), dtype=np.int64)
    covered = compiled().logistic_gradients(
        margins, labels, weights, 1.0, FRACTIONAL_POWERS, pairs, compiled().new_workers(1), 2
    )
    assert not covered
    found, expected = both(lambda: gradients(margins, labels, weights, scale_pos_weight=1.0))
    np.testing.assert_array_equal(found, expected)


def test_a_margin_that_is_no_number_is_not_covered() -> None:
    margins = np.array([0.0, np.nan], dtype=np.float32)
    pairs = np.empty((2, 2), dtype=np.int64)
    labels = np.zeros(2, dtype=np.float32)
    assert not compiled().logistic_gradients(
        margins, labels, None, 1.0, FRACTIONAL_POWERS, pairs, compiled().new_workers(1), 2
    )


# ---- histograms ----


def _codes(rng: np.random.Generator, sizes: tuple[int, ...], n_rows: int) -> BinnedTable:
    schema = FeatureSchema(
        names=tuple(f"f{i}" for i in range(len(sizes))), n_categories=(0,) * len(sizes)
    )
    values = tuple(np.arange(1, size + 1, dtype=np.float32) for size in sizes)
    dtype = np.uint8 if max(sizes) < 256 else np.uint16
    bins = np.stack([rng.integers(0, size + 1, n_rows) for size in sizes]).astype(dtype)
    return BinnedTable(cuts=Cuts(schema=schema, values=values), bins=bins)


@pytest.mark.parametrize("has_missing", [True, False])
@pytest.mark.parametrize("sizes", [(3, 64, 255, 1, 17), (300, 2, 256), (256, 5)])
@pytest.mark.parametrize("bits", [31, 62])
def test_histograms_of_many_blocks_are_equal(
    sizes: tuple[int, ...], bits: int, has_missing: bool
) -> None:
    """Sums may wrap on the way, and with 62 bits they do; what fits in the end is exact."""
    rng = np.random.default_rng(3)
    n_rows = 30_000
    binned = _codes(rng, sizes, n_rows)
    if not has_missing:
        # Of 256 bins, codes that fit a byte after all.
        bins = np.minimum(binned.bins, np.array(sizes)[:, None] - 1).astype(binned.bins.dtype)
        binned = dataclasses.replace(binned, bins=bins)
    pairs = rng.integers(-(2**bits), 2**bits, (n_rows, 2), dtype=np.int64)
    pairs[n_rows // 2 :] = -pairs[: n_rows // 2] + rng.integers(0, 9, (n_rows // 2, 2))
    chosen = [
        np.arange(n_rows),
        np.empty(0),
        *(np.sort(part) for part in np.array_split(rng.permutation(n_rows), 3)),
        np.array([n_rows - 1]),
    ]
    every = np.arange(len(sizes))
    features = [every, every, every[1:], every[:0], every, every[::2].copy()]
    orders = [
        HistogramOrder(rows.astype(np.uint32), wanted)
        for rows, wanted in zip(chosen, features, strict=True)
    ]

    def run(threads: int) -> SumsOfNodes:
        table = dataclasses.replace(binned, engine=load_engine(threads))
        return HistogramBuilder(table, pairs).build(orders)

    with numpy_only():
        expected = run(1)
    for threads in THREADS:
        found = run(threads)
        np.testing.assert_array_equal(found.histograms, expected.histograms)
        np.testing.assert_array_equal(found.totals, expected.totals)


# ---- partition ----


@pytest.mark.parametrize("sizes", [(64, 9), (400, 9)])
def test_partitions_are_equal_and_keep_order(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    n_rows = 20_000
    binned = _codes(rng, sizes, n_rows)
    is_sampled = rng.random(n_rows) < 0.7
    tables = [rng.random(size + 1) < 0.4 for size in sizes]

    def run(threads: int) -> tuple[list[RowRange], list[list[int]]]:
        partition = RowPartition(
            dataclasses.replace(binned, engine=load_engine(threads)), is_sampled
        )
        level = [partition.root]
        for depth in range(4):
            table = tables[depth % 2]
            splits = [RowSplit(rows, depth % 2, table) for rows in level]
            level = [child for pair in partition.split(splits) for child in pair]
        leaves = partition.leaves(range(len(level)), level).of_rows()
        members = [partition.sampled(rows).tolist() for rows in level]
        for number, (rows, sampled) in enumerate(zip(level, members, strict=True)):
            assert sampled == np.flatnonzero(is_sampled & (leaves == number)).tolist()
            assert rows.stop - rows.begin == np.count_nonzero(leaves == number)
        return level, members

    with numpy_only():
        expected = run(1)
    for threads in THREADS:
        assert run(threads) == expected


def test_leaf_values_are_added_to_every_row_in_any_threads() -> None:
    rng = np.random.default_rng(5)
    binned = _codes(rng, (7,), 100_000)
    values = rng.normal(size=5).astype(np.float32)
    margins = rng.normal(size=100_000).astype(np.float32)

    def run(threads: int) -> bytes:
        partition = RowPartition(dataclasses.replace(binned, engine=load_engine(threads)))
        table = np.arange(8) < 3
        [(left, right)] = partition.split([RowSplit(partition.root, 0, table)])
        # Node 3 is a leaf that no row of this bank reaches.
        empty = RowRange(left.stop, left.stop, left.stop)
        leaves = partition.leaves([4, 3, 1], [right, empty, left])
        reached = margins.copy()
        leaves.add_values(values, reached)
        np.testing.assert_array_equal(reached, margins + values[leaves.of_rows()])
        return reached.tobytes()

    with numpy_only():
        expected = run(1)
    assert {run(threads) for threads in THREADS} == {expected}


# ---- splits ----

#: Values that meet a rule: nothing, exactly min_child_weight (1 or 0.5), one unit less, ties.
EDGES = (
    0,
    1,
    FIXED_POINT_ONE - 1,
    FIXED_POINT_ONE,
    FIXED_POINT_ONE // 2,
    FIXED_POINT_ONE // 2 - 1,
    3 * FIXED_POINT_ONE,
    2**52 + 1,
    2**60,
)


@st.composite
def _split_problems(draw: st.DrawFn) -> tuple[Int64Array, NodeSums, Cuts, BoosterParams, bool]:
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    seed = draw(st.integers(0, 2**32 - 1))
    scale = draw(st.sampled_from([1, FIXED_POINT_ONE // 7, FIXED_POINT_ONE, 2**45, None]))
    rng = np.random.default_rng(seed)
    shape = (2, sum(sizes))
    if scale is None:
        sums = rng.choice(np.array(EDGES, dtype=np.int64), shape)
        sums[0] *= rng.choice([-1, 1], shape[1])
    else:
        sums = rng.integers(-3, 4, shape) * scale
        sums[1] = abs(sums[1])
    first = sums[:, : sizes[0]].sum(axis=1)
    missing = draw(st.booleans())
    extra = rng.integers(0, 3, 2) * (scale or FIXED_POINT_ONE) if missing else np.zeros(2, int)
    total = first + extra
    params = BoosterParams(
        reg_lambda=draw(st.sampled_from([0.0, 1.0, 0.3])),
        reg_alpha=draw(st.sampled_from([0.0, 0.5])),
        min_child_weight=draw(st.sampled_from([0.0, 0.5, 1.0])),
        max_delta_step=draw(st.sampled_from([0.0, 0.125, 0.7])),
        monotone_constraints=draw(
            st.sampled_from([(), tuple(rng.integers(-1, 2, len(sizes)).tolist()), (0,)])
        ),
        xgboost_version=draw(st.sampled_from(RULE_VERSIONS)),
    )
    values = tuple(np.arange(1, size + 1, dtype=np.float32) for size in sizes)
    schema = FeatureSchema(
        names=tuple(f"f{i}" for i in range(len(sizes))), n_categories=(0,) * len(sizes)
    )
    formula = GainFormula(params, schema)
    gradient, hessian = to_double(total.reshape(2, 1))
    gain = formula.gain(gradient, hessian, UNBOUNDED)[0]
    node = NodeSums(gradient=int(total[0]), hessian=int(total[1]), gain=gain)
    return sums, node, Cuts(schema, values), params, draw(st.booleans())


@settings(max_examples=400, deadline=None)
@given(problem=_split_problems(), low=st.floats(-2.0, 0.1), high=st.floats(0.2, 2.0))
def test_splits_are_equal_in_every_field(
    problem: tuple[Int64Array, NodeSums, Cuts, BoosterParams, bool], low: float, high: float
) -> None:
    sums, node, cuts, params, is_bounded = problem
    bounds = WeightBounds(np.float32(low), np.float32(high)) if is_bounded else UNBOUNDED
    features = np.arange(len(cuts.values))

    def run() -> Split | None:
        finder = SplitFinder(params, cuts, GainFormula(params, cuts.schema), load_engine())
        return finder.find(sums, node, features, bounds)

    with np.errstate(all="ignore"):
        found, expected = both(run)
    assert found == expected
    if found is not None:
        assert type(found.loss_change) is np.float32


@pytest.mark.parametrize("version", RULE_VERSIONS)
def test_splits_of_real_histograms_are_equal(version: str) -> None:
    """Close races between gains of many rows, at every node of some hundred."""
    rng = np.random.default_rng(6)
    rows = random_rows(rng, n_rows=4000, n_bins=(30, 64, 9, 50), missing=0.1)
    binned = rows.binned()
    pairs = gradients(
        np.zeros(rows.n_rows, dtype=np.float32), rows.labels, None, scale_pos_weight=1.0
    )
    params = BoosterParams(xgboost_version=version)
    formula = GainFormula(params, binned.cuts.schema)
    builder = HistogramBuilder(binned, pairs)
    features = np.arange(4)
    n_found = 0
    for _ in range(150):
        chosen = np.flatnonzero(rng.random(rows.n_rows) < rng.uniform(0.01, 1.0))
        sums = builder.build([HistogramOrder(chosen.astype(np.uint32), features)])
        gradient, hessian = to_double(sums.totals.reshape(2, 1))
        gain = formula.gain(gradient, hessian, UNBOUNDED)[0]
        node = NodeSums(int(sums.totals[0, 0]), int(sums.totals[0, 1]), gain)

        def run(node: NodeSums = node, sums: SumsOfNodes = sums) -> Split | None:
            finder = SplitFinder(params, binned.cuts, formula, load_engine())
            return finder.find(sums.histograms[0], node, features, UNBOUNDED)

        found, expected = both(run)
        assert found == expected
        n_found += found is not None
    assert n_found > 100


@pytest.mark.parametrize("gain", [-np.inf, np.nan, np.inf])
def test_a_gain_that_is_not_finite_never_wins(gain: float) -> None:
    """Sums in fixed point give none; the gain of a node within absurd bounds can be -inf."""
    schema = FeatureSchema(names=("f0",), n_categories=(0,))
    cuts = Cuts(schema, (np.arange(1, 4, dtype=np.float32),))
    params = BoosterParams(reg_lambda=0.0, min_child_weight=0.0)
    sums = np.array([[2**33, -(2**33), 5], [2**32, 2**32, 2**32]], dtype=np.int64)
    node = NodeSums(5, 3 * 2**32, np.float32(gain))

    def run() -> Split | None:
        finder = SplitFinder(params, cuts, GainFormula(params, schema), load_engine())
        return finder.find(sums, node, np.arange(1), UNBOUNDED)

    with np.errstate(all="ignore"):
        assert both(run) == (None, None)


# ---- bins and cuts ----


def _values(rng: np.random.Generator, n_rows: int) -> Float32Array:
    """Columns with heavy values, a narrow range, signs, missing values, and one without any."""
    columns = [
        rng.normal(size=n_rows),
        np.where(rng.random(n_rows) < 0.9, 0.0, rng.lognormal(size=n_rows)),
        rng.integers(0, 5, n_rows),
        1.0 + rng.random(n_rows) * 1e-6,
        rng.normal(size=n_rows) * 10.0 ** rng.integers(-40, 38, n_rows),
        np.full(n_rows, np.nan),
        rng.choice([0.0, -0.0, FLOAT32_MAX, -FLOAT32_MAX, 1e-45], n_rows),
        rng.integers(0, 4, n_rows),
    ]
    values = np.stack(columns, axis=1).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    return values


SCHEMA = FeatureSchema(names=tuple("abcdefgh"), n_categories=(0, 0, 0, 0, 0, 0, 0, 4))


def _table(features: Float32Array) -> TrainingTable:
    return TrainingTable(SCHEMA, features, np.zeros(len(features), dtype=np.float32))


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize(("max_bin", "resolution_bits"), [(2, 8), (64, 20), (256, 32), (33, 24)])
def test_cuts_bins_and_calls_are_equal(layout: str, max_bin: int, resolution_bits: int) -> None:
    features = _values(np.random.default_rng(7), 9000)
    if layout == "F":
        features = np.asfortranarray(features)
    if layout == "strided":
        features = np.repeat(features, 2, axis=0)[::-2]
    table = _table(features)

    def run(threads: int) -> tuple[list[bytes], list[tuple[str, bytes, bytes]], bytes, str]:
        recorder = RecordingCommunicator()
        shard = LocalShard(table, load_engine(threads))
        cuts = find_cuts(
            shard,
            recorder,
            max_bin=max_bin,
            n_rows_total=table.n_rows,
            resolution_bits=resolution_bits,
        )
        bins = shard.bin(cuts).table.bins
        edges = [values.tobytes() for values in cuts.values]
        return edges, recorder.calls, bins.tobytes(), bins.dtype.name

    with numpy_only():
        expected = run(1)
    assert len(expected[1]) > 1 or resolution_bits == 8
    for threads in THREADS:
        assert run(threads) == expected


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(0, 70),
    max_bin=st.sampled_from([2, 5, 16, 256]),
    resolution_bits=st.sampled_from([8, 12, 16, 20, 24, 28, 32]),
)
def test_cuts_of_small_tables_are_equal(
    seed: int, n_rows: int, max_bin: int, resolution_bits: int
) -> None:
    table = _table(_values(np.random.default_rng(seed), n_rows))

    def run() -> tuple[list[bytes], list[tuple[str, bytes, bytes]]]:
        recorder = RecordingCommunicator()
        cuts = find_cuts(
            LocalShard(table),
            recorder,
            max_bin=max_bin,
            n_rows_total=max(n_rows, 1),
            resolution_bits=resolution_bits,
        )
        return [values.tobytes() for values in cuts.values], recorder.calls

    found, expected = both(run)
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(
    edges=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False, max_value=2.0**126),
        max_size=40,
        unique=True,
    ),
    values=st.lists(st.floats(width=32), max_size=40),
)
def test_bins_are_equal_at_edges_and_beyond(edges: list[float], values: list[float]) -> None:
    schema = FeatureSchema(names=("a",), n_categories=(0,))
    ladder = np.array([*sorted(edges), FLOAT32_MAX], dtype=np.float32)
    cuts = Cuts(schema, (np.unique(ladder),))
    column = np.concatenate((np.array(values, dtype=np.float32), ladder))
    table = TrainingTable(schema, column[:, None], np.zeros(column.size, dtype=np.float32))
    found, expected = both(lambda: bin_table(table, cuts).bins)
    np.testing.assert_array_equal(found, expected)
