"""Local and pooled histograms: exact sums, whatever was derived instead of summed."""

from dataclasses import replace

import numpy as np
import pytest
from cohorts.exact import CohortCommunicator, run_cohort
from cohorts.recording import RecordingCommunicator
from examples.shards import RowSets
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import bounds_of

from fraudfed.boosting.bins import BinnedTable, Cuts
from fraudfed.boosting.bounds.bins import BinBounds
from fraudfed.boosting.bounds.rows import NodeBounds
from fraudfed.boosting.histograms.pooled import ChildDemand, HistogramSummer, PooledHistogram
from fraudfed.boosting.objective import GradientBounds, gradient_bounds, gradients
from fraudfed.boosting.shard.sums import HistogramBuilder, HistogramOrder
from fraudfed.boosting.table import FeatureSchema
from fraudfed.communicator import SoloCommunicator, carry_out
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum.packing import SlotLayout

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
    assert found.histograms.dtype == np.int64
    for order, histogram, total in zip(orders, found.histograms, found.totals, strict=True):
        expected = _expected(binned, gradients, order.rows, order.features.tolist())
        np.testing.assert_array_equal(histogram, expected)
        np.testing.assert_array_equal(total, gradients[order.rows].sum(axis=0))


def test_a_plain_float64_sum_would_be_wrong_where_limbs_are_right() -> None:
    schema = FeatureSchema(names=("a",), n_categories=(0,))
    cuts = Cuts(schema=schema, values=(np.array([1.0], dtype=np.float32),))
    binned = BinnedTable(cuts=cuts, bins=np.zeros((1, 3), dtype=np.uint16))
    values = np.array([2**60 + 1, -(2**60) - 3, 2**53 + 1], dtype=np.int64)
    gradients = np.stack((values, values), axis=1)
    order = HistogramOrder(np.arange(3, dtype=np.uint32), np.array([0]))
    found = HistogramBuilder(binned, gradients).build([order])
    assert found.histograms[0, :, 0].tolist() == [2**53 - 1] * 2
    assert int(values.astype(np.float64).sum()) != 2**53 - 1


def _slots(recorder: RecordingCommunicator) -> list[int]:
    """Return how many slots each sum takes."""
    return [
        SlotLayout.for_bounds(one.bound, one.values.shape, low=one.low, plaintext_bits=3070).n_slots
        for one in recorder.sums
    ]


def _labelled(rng: np.random.Generator, n_rows: int) -> tuple[Int64Array, NodeBounds]:
    """Gradients of the logistic loss, whatever the features are, and what is known of them."""
    labels = (rng.random(n_rows) < 0.4).astype(np.float32)
    margins = rng.normal(size=n_rows).astype(np.float32)
    row = gradient_bounds(max_weight=1.0, scale_pos_weight=1.0)
    return gradients(margins, labels, None, scale_pos_weight=1.0), bounds_of(labels, row)


def _complete(binned: BinnedTable) -> BinnedTable:
    """Put a value in place of each missing one, and count the rows of each bin."""
    bins = np.minimum(binned.bins, np.array(SIZES)[:, None] - 1).astype(np.uint16)
    counts = {f: np.bincount(bins[f], minlength=SIZES[f]).astype(np.int64) for f in range(3)}
    return BinnedTable(cuts=replace(binned.cuts, counts=counts), bins=bins)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), n_families=st.integers(0, 4), is_complete=st.booleans())
def test_wanted_sums_of_children_are_right_however_they_came_about(
    seed: int, n_families: int, is_complete: bool
) -> None:
    rng = np.random.default_rng(seed)
    binned = _complete(_binned(rng, 60)) if is_complete else _binned(rng, 60)
    pairs, bounds = _labelled(rng, 60)
    recorder = RecordingCommunicator()
    sets = RowSets(binned, pairs)
    summer = HistogramSummer(
        sets,
        binned.cuts,
        bounds=bounds,
        bins=BinBounds.before_training(binned.cuts, bounds),
        tree_index=0,
    )
    carry_out(summer.sum_root(rng.random(4) < 0.8), recorder)
    recorder.sums.clear()
    families, contents, n_slots = [], [], 0
    # One bin of each feature without a missing value follows from the others and the total.
    width = np.array(SIZES) - (np.array([1, 1, 1, 0]) if is_complete else 0)
    for rows in np.array_split(rng.permutation(60).astype(np.uint32), max(n_families, 1))[
        :n_families
    ]:
        is_known = rng.random(4) < 0.6
        parent = PooledHistogram(
            _expected(binned, pairs, rows, np.flatnonzero(is_known).tolist()), is_known
        )
        is_left = rng.random(rows.size) < 0.4
        demands = []
        for part in (rows[is_left], rows[~is_left]):
            gradient, hessian = pairs[part].sum(axis=0).tolist()
            wanted = rng.random(4) < 0.5
            node = 1 + len(contents)
            sets.sets[node] = part
            demands.append(ChildDemand(gradient, hessian, node, wanted, np.ones(13, np.bool_)))
            contents.append((part, wanted))
        families.append((parent, demands[0], demands[1]))
        either = demands[0].wanted | demands[1].wanted
        both = demands[0].wanted & demands[1].wanted
        n_slots += 2 * int(width[either].sum() + width[both & ~is_known].sum())
    pairs_of_children = carry_out(summer.sum_children(families), recorder)
    found = [histogram for pair in pairs_of_children for histogram in pair]
    for histogram, (part, wanted) in zip(found, contents, strict=True):
        assert histogram.is_known[wanted].all()
        expected = _expected(binned, pairs, part, np.flatnonzero(histogram.is_known).tolist())
        known_bins = np.repeat(histogram.is_known, SIZES)
        np.testing.assert_array_equal(histogram.sums[:, known_bins], expected[:, known_bins])
    # At most what is needed is summed, in one go; nothing at all if nothing is wanted.
    either_wanted = any(wanted.any() for _, wanted in contents)
    assert len(_slots(recorder)) == int(either_wanted)
    assert sum(_slots(recorder)) <= n_slots


def test_a_bin_that_a_split_has_emptied_takes_no_slot() -> None:
    binned = _complete(_binned(np.random.default_rng(5), 60))
    pairs, bounds = _labelled(np.random.default_rng(6), 60)
    recorder = RecordingCommunicator()
    sets = RowSets(binned, pairs)
    summer = HistogramSummer(
        sets,
        binned.cuts,
        bounds=bounds,
        bins=BinBounds.before_training(binned.cuts, bounds),
        tree_index=0,
    )
    rows = np.arange(60, dtype=np.uint32)
    wanted = np.ones(4, dtype=np.bool_)
    parent, _, _ = carry_out(summer.sum_root(wanted), recorder)
    # Split on the last bin of the third feature, which lies at 4 + 4.
    is_left = binned.bins[2] < 4
    demands = []
    for side, part in enumerate((rows[is_left], rows[~is_left])):
        possible = np.ones(13, dtype=np.bool_)
        possible[4:9] = [side == 0] * 4 + [side == 1]
        gradient, hessian = pairs[part].sum(axis=0).tolist()
        sets.sets[1 + side] = part
        demands.append(ChildDemand(gradient, hessian, 1 + side, wanted, possible))
    recorder.sums.clear()
    asked = summer.sum_children([(parent, demands[0], demands[1])])
    pooled = carry_out(asked, recorder)[0]
    for histogram, demand in zip(pooled, demands, strict=True):
        expected = _expected(binned, pairs, sets.sets[demand.node], [0, 1, 2, 3])
        np.testing.assert_array_equal(histogram.sums, expected)
    # The smaller child is right: of the third feature all but the derived bin are empty.
    assert demands[1].hessian < demands[0].hessian
    assert _slots(recorder) == [2 * (2 + 0 + 0 + 4)]


def test_the_root_is_pooled_with_its_totals_in_one_sum() -> None:
    rng = np.random.default_rng(1)
    binned = _binned(rng, 90)
    pairs, bounds = _labelled(rng, 90)
    wanted = np.array([True, False, True, True])

    def program(bank: int, communicator: CohortCommunicator) -> tuple[PooledHistogram, int, int]:
        rows = np.arange(bank, 90, 3)
        part = BinnedTable(cuts=binned.cuts, bins=np.ascontiguousarray(binned.bins[:, rows]))
        summer = HistogramSummer(
            RowSets(part, pairs[rows]),
            part.cuts,
            bounds=bounds,
            bins=BinBounds.before_training(binned.cuts, bounds),
            tree_index=0,
        )
        asked = summer.sum_root(wanted)
        result = carry_out(asked, communicator)
        assert [call.shape for call in communicator.log] == [(2, 3 + 5 + 4 + 1)]
        return result

    for pooled, gradient, hessian in run_cohort(3, program):
        expected = _expected(binned, pairs, np.arange(90), [0, 2, 3])
        np.testing.assert_array_equal(pooled.sums, expected)
        assert [gradient, hessian] == pairs.sum(axis=0).tolist()


def test_gradients_beyond_their_public_bound_are_refused() -> None:
    binned = _binned(np.random.default_rng(1), 10)
    bounds = NodeBounds(10, 5, 5, row=GradientBounds(1000, 1000, 1000, 1000))
    summer = HistogramSummer(
        RowSets(binned, np.full((10, 2), 1001, dtype=np.int64)),
        binned.cuts,
        bounds=bounds,
        bins=BinBounds.before_training(binned.cuts, bounds),
        tree_index=0,
    )
    asked = summer.sum_root(np.ones(4, dtype=np.bool_))
    with pytest.raises(BoundError, match="outside the public bound"):
        carry_out(asked, SoloCommunicator())
