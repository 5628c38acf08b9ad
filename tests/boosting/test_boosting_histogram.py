"""Local and pooled histograms: exact sums, whatever was derived instead of summed."""

import numpy as np
import pytest
from cohort import CohortCommunicator, run_cohort
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.bin_bounds import BinBounds
from fraudfed.boosting.bins import BinnedTable, Cuts
from fraudfed.boosting.bounds import NodeBounds
from fraudfed.boosting.histogram import HistogramBuilder, HistogramOrder
from fraudfed.boosting.pooled_histogram import ChildDemand, HistogramSummer, PooledHistogram
from fraudfed.boosting.table import FeatureSchema
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError

SIZES = (3, 1, 5, 4)


def _binned(rng: np.random.Generator, n_rows: int) -> BinnedTable:
    schema = FeatureSchema(names=("a", "b", "c", "d"), n_categories=(0, 0, 0, 4))
    values = tuple(np.arange(1, size + 1, dtype=np.float32) for size in SIZES)
    # One past the last bin is a missing value.
    bins = np.stack([rng.integers(0, size + 1, n_rows) for size in SIZES]).astype(np.uint16)
    return BinnedTable(cuts=Cuts(schema=schema, values=values), bins=bins)


def _expected(
    binned: BinnedTable, gradients: Int64Array, rows: Int64Array, features: list[int]
) -> Int64Array:
    """Add with integers, row by row."""
    offsets = binned.cuts.offsets
    sums = np.zeros((2, int(offsets[-1])), dtype=np.int64)
    for feature in features:
        for row in rows.tolist():
            code = int(binned.bins[feature, row])
            if code < SIZES[feature]:
                sums[:, offsets[feature] + code] += gradients[row]
    return sums


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(0, 40),
    bits=st.integers(1, 56),
    n_orders=st.integers(0, 5),
)
def test_sums_are_exact_at_any_magnitude(seed: int, n_rows: int, bits: int, n_orders: int) -> None:
    """Above about 2^47 for these rows a float64 sum would round; limbs keep it exact."""
    rng = np.random.default_rng(seed)
    binned = _binned(rng, n_rows)
    gradients = rng.integers(-(2**bits), 2**bits + 1, (n_rows, 2), dtype=np.int64)
    orders = [
        HistogramOrder(
            rows=np.flatnonzero(rng.random(n_rows) < rng.choice([0.3, 1.0])).astype(np.uint32),
            features=np.flatnonzero(rng.random(4) < rng.choice([0.0, 0.7, 1.0])),
        )
        for _ in range(n_orders)
    ]
    found = HistogramBuilder(binned, gradients).build(orders)
    assert len(found) == n_orders
    for order, sums in zip(orders, found, strict=True):
        assert sums.histogram.dtype == np.int64
        expected = _expected(binned, gradients, order.rows, order.features.tolist())
        np.testing.assert_array_equal(sums.histogram, expected)
        np.testing.assert_array_equal(sums.total, gradients[order.rows].sum(axis=0))


def test_a_plain_float64_sum_would_be_wrong_where_limbs_are_right() -> None:
    schema = FeatureSchema(names=("a",), n_categories=(0,))
    cuts = Cuts(schema=schema, values=(np.array([1.0], dtype=np.float32),))
    binned = BinnedTable(cuts=cuts, bins=np.zeros((1, 3), dtype=np.uint16))
    values = np.array([2**60 + 1, -(2**60) - 3, 2**53 + 1], dtype=np.int64)
    gradients = np.stack((values, values), axis=1)
    order = HistogramOrder(np.arange(3, dtype=np.uint32), np.array([0]))
    [found] = HistogramBuilder(binned, gradients).build([order])
    assert found.histogram[:, 0].tolist() == [2**53 - 1] * 2
    assert int(values.astype(np.float64).sum()) != 2**53 - 1


class _Counting:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        self.sizes.append(values.size)
        return SoloCommunicator().sum(values, bound=bound, low=low, label=label)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), n_families=st.integers(0, 4))
def test_wanted_sums_of_children_are_right_however_they_came_about(
    seed: int, n_families: int
) -> None:
    rng = np.random.default_rng(seed)
    binned = _binned(rng, 60)
    gradients = np.stack(
        (rng.integers(-1000, 1001, 60), rng.integers(0, 1001, 60)), axis=1, dtype=np.int64
    )
    counting = _Counting()
    bounds = NodeBounds(n_rows=60, max_gradient=1000, max_hessian=1000)
    summer = HistogramSummer(
        binned,
        gradients,
        counting,
        bounds=bounds,
        bins=BinBounds.unknown(int(binned.cuts.offsets[-1])),
        tree_index=0,
    )
    families, contents, n_slots = [], [], 0
    width = np.array(SIZES)
    for rows in np.array_split(rng.permutation(60).astype(np.uint32), max(n_families, 1))[
        :n_families
    ]:
        is_known = rng.random(4) < 0.6
        parent = PooledHistogram(
            _expected(binned, gradients, rows, np.flatnonzero(is_known).tolist()), is_known
        )
        is_left = rng.random(rows.size) < 0.4
        demands = []
        for part in (rows[is_left], rows[~is_left]):
            gradient, hessian = gradients[part].sum(axis=0).tolist()
            demands.append(ChildDemand(gradient, hessian, part, wanted=rng.random(4) < 0.5))
            contents.append((part, demands[-1].wanted))
        families.append((parent, demands[0], demands[1]))
        either = demands[0].wanted | demands[1].wanted
        both = demands[0].wanted & demands[1].wanted
        n_slots += 2 * int(width[either].sum() + width[both & ~is_known].sum())
    pairs = summer.sum_children(families)
    found = [histogram for pair in pairs for histogram in pair]
    for histogram, (part, wanted) in zip(found, contents, strict=True):
        assert histogram.is_known[wanted].all()
        expected = _expected(binned, gradients, part, np.flatnonzero(histogram.is_known).tolist())
        known_bins = np.repeat(histogram.is_known, SIZES)
        np.testing.assert_array_equal(histogram.sums[:, known_bins], expected[:, known_bins])
    # Exactly what is needed is summed, in one go; nothing at all if nothing is wanted.
    assert counting.sizes == ([n_slots] if n_slots else [])


def test_the_root_is_pooled_with_its_totals_in_one_sum() -> None:
    rng = np.random.default_rng(1)
    binned = _binned(rng, 90)
    gradients = np.stack(
        (rng.integers(-1000, 1001, 90), rng.integers(0, 1001, 90)), axis=1, dtype=np.int64
    )
    bounds = NodeBounds(n_rows=90, max_gradient=1000, max_hessian=1000)
    wanted = np.array([True, False, True, True])

    def program(bank: int, communicator: CohortCommunicator) -> tuple[PooledHistogram, int, int]:
        rows = np.arange(bank, 90, 3)
        part = BinnedTable(cuts=binned.cuts, bins=np.ascontiguousarray(binned.bins[:, rows]))
        summer = HistogramSummer(
            part,
            gradients[rows],
            communicator,
            bounds=bounds,
            bins=BinBounds.unknown(int(binned.cuts.offsets[-1])),
            tree_index=0,
        )
        result = summer.sum_root(np.arange(30, dtype=np.uint32), wanted)
        assert [call.shape for call in communicator.log] == [(2 * (3 + 5 + 4) + 2,)]
        return result

    for pooled, gradient, hessian in run_cohort(3, program):
        expected = _expected(binned, gradients, np.arange(90), [0, 2, 3])
        np.testing.assert_array_equal(pooled.sums, expected)
        assert [gradient, hessian] == gradients.sum(axis=0).tolist()


def test_gradients_beyond_their_public_bound_are_refused() -> None:
    binned = _binned(np.random.default_rng(1), 10)
    gradients = np.full((10, 2), 1001, dtype=np.int64)
    bounds = NodeBounds(n_rows=10, max_gradient=1000, max_hessian=1000)
    summer = HistogramSummer(
        binned,
        gradients,
        SoloCommunicator(),
        bounds=bounds,
        bins=BinBounds.unknown(int(binned.cuts.offsets[-1])),
        tree_index=0,
    )
    with pytest.raises(BoundError, match="outside the public bound"):
        summer.sum_root(np.arange(10, dtype=np.uint32), np.ones(4, dtype=np.bool_))
