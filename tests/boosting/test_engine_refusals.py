"""Arguments that do not fit raise: a kernel never reads or writes outside of an array."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernels import compiled, needs_engine, numpy_only

from fraudfed.boosting.bins import BinnedTable, Cuts, bin_table
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.elementary import FRACTIONAL_POWERS
from fraudfed.boosting.shard.partition import RowPartition, RowRange, RowSplit
from fraudfed.boosting.shard.sums import HistogramBuilder, HistogramOrder
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.machine.threads import MAX_THREADS

N_ROWS = 9
#: Three features of 4, 2 and 3 bins.
OFFSETS = np.array([0, 4, 6, 9])
SIZES = np.diff(OFFSETS)

Arguments = dict[str, Any]


def _bins(dtype: type = np.uint8) -> np.ndarray:
    """Every code that there is, that of a missing value among them."""
    return (np.arange(N_ROWS) % (SIZES[:, None] + 1)).astype(dtype)


def _pack(**changed: Any) -> object:
    a: Arguments = {
        "bins": _bins(),
        "offsets": OFFSETS,
        "workers": compiled().new_workers(1),
    } | changed
    return compiled().pack_bins(a["bins"], a["offsets"], a["workers"])


def _sum(**changed: Any) -> None:
    a: Arguments = {
        "packed": None,
        "gradients": np.ones((N_ROWS, 2), dtype=np.int64),
        "rows": [np.arange(N_ROWS, dtype=np.uint32)],
        "features": [np.arange(3)],
        "sums": np.zeros((1, 2, 9), dtype=np.int64),
        "totals": np.zeros((1, 2), dtype=np.int64),
        "workers": compiled().new_workers(2),
    } | changed
    packed = a.pop("packed")
    compiled().sum_histograms(_pack() if packed is None else packed, *a.values())


def _part(**changed: Any) -> None:
    tables = [np.ones(size + 1, dtype=np.bool_) for size in SIZES[:2]]
    a: Arguments = {
        "bins": _bins(),
        "order": np.arange(N_ROWS, dtype=np.uint32),
        "scratch": np.empty(N_ROWS, dtype=np.uint32),
        "ranges": np.array([[0, 2, 4], [4, 9, 9]]),
        "features": np.array([0, 1]),
        "tables": np.concatenate(tables),
        "table_offsets": np.array([0, 5, 8]),
        "counts": np.zeros((2, 2), dtype=np.int64),
        "workers": compiled().new_workers(1),
    } | changed
    compiled().partition_rows(*a.values())


def _add(**changed: Any) -> None:
    a: Arguments = {
        "order": np.arange(N_ROWS, dtype=np.uint32),
        "ranges": np.array([[0, 4], [4, 9]]),
        "values": np.ones(2, dtype=np.float32),
        "margins": np.zeros(N_ROWS, dtype=np.float32),
    } | changed
    compiled().add_leaf_values(*a.values())


def _gradients(**changed: Any) -> None:
    a: Arguments = {
        "margins": np.zeros(N_ROWS, dtype=np.float32),
        "labels": np.zeros(N_ROWS, dtype=np.float32),
        "weights": np.ones(N_ROWS, dtype=np.float32),
        "scale_pos_weight": 1.0,
        "powers": FRACTIONAL_POWERS,
        "pairs": np.zeros((N_ROWS, 2), dtype=np.int64),
        "workers": compiled().new_workers(1),
        "simd": 2,
    } | changed
    compiled().logistic_gradients(*a.values())


def _split(**changed: Any) -> None:
    a: Arguments = {
        "histogram": np.ones((2, 9), dtype=np.int64),
        "offsets": OFFSETS,
        "features": np.arange(3),
        "directions": np.zeros(3, dtype=np.int8),
        "sums": (4, 4),
        "gain": 0.0,
        "bounds": (-1.0, 1.0),
        "penalties": (1.0, 0.0, 1.0, 0.0),
        "rules": (True, False, True, True, False),
    } | changed
    compiled().best_numeric_split(*a.values())


def _bin(**changed: Any) -> None:
    a: Arguments = {
        "values": np.zeros((N_ROWS, 3), dtype=np.float32),
        "edges": np.ones(9, dtype=np.float32),
        "offsets": OFFSETS,
        "is_categorical": np.array([False, True, False]),
        "bins": np.zeros((3, N_ROWS), dtype=np.uint8),
        "workers": compiled().new_workers(1),
    } | changed
    compiled().bin_values(*a.values())


def _prefixes(**changed: Any) -> None:
    a: Arguments = {
        "values": np.zeros((N_ROWS, 3), dtype=np.float32),
        "columns": np.array([0, 2]),
        "counts": np.zeros((2, 1 << 16), dtype=np.int64),
        "workers": compiled().new_workers(1),
    } | changed
    compiled().count_prefixes(*a.values())


def _parts(**changed: Any) -> None:
    a: Arguments = {
        "values": np.zeros((N_ROWS, 3), dtype=np.float32),
        "columns": np.array([0, 2]),
        "starts": np.array([0, 2, 3]),
        "lows": np.array([0, 1 << 20, 1 << 31], dtype=np.uint32),
        "bits": np.array([12, 20, 1]),
        "parts": np.zeros((3, 16), dtype=np.int64),
        "workers": compiled().new_workers(1),
    } | changed
    compiled().count_parts(*a.values())


F32, I64, U32 = np.float32, np.int64, np.uint32

REFUSED: list[tuple[Callable[..., object], Arguments]] = [
    (_pack, {"bins": _bins(np.int8)}),
    (_pack, {"bins": _bins(np.uint32)}),
    (_pack, {"bins": _bins()[0]}),
    (_pack, {"bins": _bins()[:, ::2]}),
    (_pack, {"bins": _bins() + np.uint8(1)}),
    (_pack, {"bins": _bins(np.uint16) + np.uint16(256)}),
    (_pack, {"offsets": OFFSETS[:-1].copy()}),
    (_pack, {"offsets": OFFSETS + 1}),
    (_pack, {"offsets": np.array([0, 6, 4, 9])}),
    (_pack, {"offsets": np.array([0, 4, 6, 2**31])}),
    (_pack, {"offsets": OFFSETS.astype(np.int32)}),
    (_pack, {"workers": object()}),
    (_sum, {"packed": object()}),
    (_sum, {"gradients": np.ones((N_ROWS - 1, 2), dtype=I64)}),
    (_sum, {"gradients": np.ones((N_ROWS, 3), dtype=I64)}),
    (_sum, {"gradients": np.ones((N_ROWS, 2), dtype=np.float64)}),
    (_sum, {"rows": [np.array([0, N_ROWS], dtype=U32)]}),
    (_sum, {"rows": [np.array([2**32 - 1], dtype=U32)]}),
    (_sum, {"rows": [np.arange(N_ROWS)]}),
    (_sum, {"rows": [np.arange(N_ROWS, dtype=U32)] * 2}),
    (_sum, {"rows": 5}),
    (_sum, {"features": [np.array([1, 0])]}),
    (_sum, {"features": [np.array([1, 1])]}),
    (_sum, {"features": [np.array([-1])]}),
    (_sum, {"features": [np.array([3])]}),
    (_sum, {"sums": np.zeros((1, 2, 8), dtype=I64)}),
    (_sum, {"sums": np.zeros((2, 2, 9), dtype=I64)}),
    (_sum, {"totals": np.zeros((1, 1), dtype=I64)}),
    (_sum, {"sums": np.broadcast_to(np.zeros(1, dtype=I64), (1, 2, 9))}),
    (_sum, {"workers": None}),
    (_part, {"order": np.array([0, 1, 2, N_ROWS, 4, 5, 6, 7, 8], dtype=U32)}),
    (_part, {"order": np.arange(N_ROWS - 1, dtype=U32)}),
    (_part, {"scratch": np.empty(N_ROWS - 1, dtype=U32)}),
    (_part, {"ranges": np.array([[0, 2, 5], [4, 9, 9]])}),
    (_part, {"ranges": np.array([[2, 0, 4], [4, 9, 9]])}),
    (_part, {"ranges": np.array([[0, 2, 4], [4, 9, 10]])}),
    (_part, {"ranges": np.array([[-1, 2, 4], [4, 9, 9]])}),
    (_part, {"features": np.array([0, 3])}),
    (_part, {"features": np.array([-1, 1])}),
    (_part, {"tables": np.ones(7, dtype=np.bool_)}),
    (_part, {"table_offsets": np.array([0, 3, 8])}),
    (_part, {"table_offsets": np.array([0, 0, 8])}),
    (_part, {"table_offsets": np.array([-1, 5, 8])}),
    (_part, {"bins": _bins() + np.uint8(1)}),
    (_part, {"counts": np.zeros((1, 2), dtype=I64)}),
    (_add, {"order": np.array([0, 1, 2, N_ROWS, 4, 5, 6, 7, 8], dtype=U32)}),
    (_add, {"ranges": np.array([[0, 5], [4, 9]])}),
    (_add, {"ranges": np.array([[0, 4], [4, 10]])}),
    (_add, {"values": np.ones(3, dtype=F32)}),
    (_add, {"margins": np.zeros(N_ROWS + 1, dtype=F32)}),
    (_add, {"margins": np.zeros(N_ROWS, dtype=np.float64)}),
    (_gradients, {"labels": np.zeros(N_ROWS - 1, dtype=F32)}),
    (_gradients, {"weights": np.zeros(N_ROWS - 1, dtype=F32)}),
    (_gradients, {"powers": FRACTIONAL_POWERS[:-1].copy()}),
    (_gradients, {"pairs": np.zeros((N_ROWS - 1, 2), dtype=I64)}),
    (_gradients, {"margins": np.zeros(N_ROWS, dtype=np.dtype(np.float32).newbyteorder())}),
    (_gradients, {"margins": np.zeros(4 * N_ROWS + 1, dtype=np.uint8)[1:].view(F32)}),
    (_split, {"histogram": np.ones((2, 8), dtype=I64)}),
    (_split, {"histogram": np.ones((3, 9), dtype=I64)}),
    (_split, {"directions": np.zeros(2, dtype=np.int8)}),
    (_split, {"features": np.array([0, 3])}),
    (_split, {"offsets": np.array([0, 4, 6, 10])}),
    (_bin, {"edges": np.ones(8, dtype=F32)}),
    (_bin, {"bins": np.zeros((3, N_ROWS - 1), dtype=np.uint8)}),
    (_bin, {"bins": np.zeros((2, N_ROWS), dtype=np.uint8)}),
    (_bin, {"is_categorical": np.array([False, True])}),
    (_bin, {"values": np.full((N_ROWS, 3), 2.0, dtype=F32)}),
    (_bin, {"values": np.full((N_ROWS, 3), -1.0, dtype=F32)}),
    (_bin, {"offsets": np.array([0, 4, 4, 9])}),
    (_bin, {"offsets": np.array([0, 256, 258, 261]), "edges": np.ones(261, dtype=F32)}),
    (_prefixes, {"columns": np.array([0, 3])}),
    (_prefixes, {"columns": np.array([2, 0])}),
    (_prefixes, {"counts": np.zeros((1, 1 << 16), dtype=I64)}),
    (_prefixes, {"counts": np.zeros((2, 1 << 15), dtype=I64)}),
    (_parts, {"columns": np.array([0, 3])}),
    (_parts, {"starts": np.array([0, 2, 4])}),
    (_parts, {"starts": np.array([0, 3])}),
    (_parts, {"lows": np.array([0, 1, 1 << 31], dtype=U32)}),
    (_parts, {"lows": np.array([1 << 20, 1 << 20, 1 << 31], dtype=U32)}),
    (_parts, {"bits": np.array([12, 29, 1])}),
    (_parts, {"bits": np.array([12, 20, -1])}),
    (_parts, {"bits": np.array([8, 20, 1])}),
    (_parts, {"parts": np.zeros((2, 16), dtype=I64)}),
    (_parts, {"parts": np.zeros((3, 15), dtype=I64)}),
]


@needs_engine
@pytest.mark.parametrize("call", [_pack, _sum, _part, _add, _gradients, _split, _bin, _prefixes])
def test_what_the_refusals_start_from_is_accepted(call: Callable[..., object]) -> None:
    call()


@needs_engine
@pytest.mark.parametrize(
    ("call", "changed"),
    REFUSED,
    ids=[
        f"{call.__name__[1:]}-{'-'.join(changed)}-{i}" for i, (call, changed) in enumerate(REFUSED)
    ],
)
def test_arguments_that_do_not_fit_raise(call: Callable[..., object], changed: Arguments) -> None:
    with pytest.raises((TypeError, ValueError, BufferError)):
        call(**changed)


@needs_engine
def test_one_capsule_is_not_taken_for_another() -> None:
    with pytest.raises(ValueError, match="incorrect name"):
        _sum(packed=compiled().new_workers(1))
    with pytest.raises(ValueError, match="incorrect name"):
        _pack(workers=_pack())


@pytest.mark.parametrize("threads", [0, -1, MAX_THREADS + 1])
@pytest.mark.parametrize("in_numpy", [False, True])
def test_a_number_of_threads_out_of_range_is_refused(threads: int, in_numpy: bool) -> None:
    with contextlib.ExitStack() as stack:
        if in_numpy:
            stack.enter_context(numpy_only())
        with pytest.raises(ValueError, match=f"threads is {threads}, expected 1 to {MAX_THREADS}"):
            load_engine(threads)


@needs_engine
@pytest.mark.parametrize("threads", [0, MAX_THREADS + 1])
def test_a_pool_of_a_wrong_size_is_refused(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads: got {threads}, expected 1 to {MAX_THREADS}"):
        compiled().new_workers(threads)


@needs_engine
def test_a_refused_partition_moves_no_row() -> None:
    order = np.arange(N_ROWS, dtype=np.uint32)[::-1].copy()
    expected = order.copy()
    table_offsets = np.array([0, 3, 8])
    with pytest.raises(ValueError, match="does not exist"):
        _part(order=order, table_offsets=table_offsets)
    np.testing.assert_array_equal(order, expected)


@needs_engine
def test_scratch_must_be_another_array() -> None:
    order = np.arange(N_ROWS, dtype=np.uint32)
    with pytest.raises(ValueError, match="another array"):
        _part(order=order, scratch=order)


def _table(bins: np.ndarray) -> BinnedTable:
    schema = FeatureSchema(names=("a",), n_categories=(0,))
    return BinnedTable(Cuts(schema, (np.arange(1, 4, dtype=np.float32),)), bins)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("in_numpy", [False, True])
def test_a_wrong_bin_code_is_refused_with_and_without_kernels(dtype: type, in_numpy: bool) -> None:
    def run() -> None:
        binned = _table(np.array([[0, 1, 2, 3, 4]], dtype=dtype))
        with pytest.raises(ValueError, match=r"bins of feature 0: a code above 3"):
            HistogramBuilder(binned, np.ones((5, 2), dtype=np.int64)).build(
                [HistogramOrder(np.arange(5, dtype=np.uint32), np.array([0]))]
            )
        partition = RowPartition(binned)
        split = RowSplit(RowRange(0, 5, 5), 0, np.ones(4, dtype=np.bool_))
        with pytest.raises(ValueError, match="does not exist"):
            partition.split([split])

    if in_numpy:
        with numpy_only():
            run()
    else:
        run()


@pytest.mark.parametrize("value", [-1.0, 3.0, np.inf, -np.inf])
@pytest.mark.parametrize("in_numpy", [False, True])
def test_a_value_that_is_no_category_is_refused(value: float, in_numpy: bool) -> None:
    schema = FeatureSchema(names=("a",), n_categories=(3,))
    cuts = Cuts(schema, (np.arange(3, dtype=np.float32),))
    features = np.array([[0.0], [np.nan], [value]], dtype=np.float32)
    table = TrainingTable(schema, features, np.zeros(3, dtype=np.float32))

    def run() -> None:
        with pytest.raises(ValueError, match="feature 0: a value that is no category code"):
            bin_table(table, cuts)

    if in_numpy:
        with numpy_only():
            run()
    else:
        run()
