"""Packing against an oracle in plain Python integers, and its law."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError, SumError
from fraudfed.secure_sum.packing import HEADER_BITS, SlotLayout

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

laws = settings(max_examples=150, deadline=None)
# Small bounds, zeros and the extremes of int64 all come up often.
bounds_lists = st.lists(
    st.one_of(
        st.sampled_from([0, 1, 2, 3, 2**31, 2**62 - 1, 2**62, 2**62 + 1, INT64_MAX]),
        st.integers(0, 62).flatmap(lambda bits: st.integers(0, 2**bits)),
    ),
    max_size=60,
)
capacities = st.integers(HEADER_BITS + 64, 900)


def int64(values: list[int]) -> Int64Array:
    return np.array(values, dtype=np.int64)


def plain_offsets(bounds: list[int], plaintext_bits: int) -> list[tuple[int, int] | None]:
    """Plaintext and bit offset of every element: the greedy rule, spelt out."""
    places: list[tuple[int, int] | None] = []
    plaintext, offset = 0, HEADER_BITS
    for bound in bounds:
        if bound == 0:
            places.append(None)
            continue
        width = bound.bit_length() + 1
        if offset + width > plaintext_bits:
            plaintext, offset = plaintext + 1, HEADER_BITS
        places.append((plaintext, offset))
        offset += width
    return places


@laws
@given(bounds=bounds_lists, capacity=capacities, data=st.data())
def test_digits_lie_where_the_greedy_rule_puts_them(
    bounds: list[int], capacity: int, data: st.DataObject
) -> None:
    values = [data.draw(st.integers(-bound, bound)) for bound in bounds]
    layout = SlotLayout.for_bounds(int64(bounds), (len(bounds),), plaintext_bits=capacity)
    places = plain_offsets(bounds, capacity)
    expected = [0] * (max((place[0] for place in places if place), default=-1) + 1)
    for value, place in zip(values, places, strict=True):
        if place:
            expected[place[0]] += value << place[1]
    packed = layout.pack(int64(values))
    assert layout.n_plaintexts == len(packed) == len(expected)
    # Arithmetic shift: what is above the header is the balanced digits alone.
    assert [p >> HEADER_BITS for p in packed] == [e >> HEADER_BITS for e in expected]
    # The bound from which "no wrap-around modulo N" follows.
    assert all(abs(p) < 2 ** (capacity - 1) for p in packed)


@laws
@given(bounds=bounds_lists, capacity=capacities, n_banks=st.integers(1, 7), data=st.data())
def test_unpacked_sum_of_packed_is_the_sum(
    bounds: list[int], capacity: int, n_banks: int, data: st.DataObject
) -> None:
    left = list(bounds)
    banks: list[list[int]] = []
    for _ in range(n_banks):
        sizes = [data.draw(st.integers(0, room)) for room in left]
        left = [room - size for room, size in zip(left, sizes, strict=True)]
        banks.append([data.draw(st.sampled_from([size, -size])) for size in sizes])
    layout = SlotLayout.for_bounds(int64(bounds), (len(bounds),), plaintext_bits=capacity)
    packed = [layout.pack(int64(bank)) for bank in banks]
    total = [sum(column) for column in zip(*packed, strict=True)]
    assert all(abs(p) < 2 ** (capacity - 1) for p in total)
    expected = [sum(column) for column in zip(*banks, strict=True)]
    assert layout.unpack(total).tolist() == expected
    assert layout.n_values == len(bounds)
    assert layout.n_slots == sum(bound > 0 for bound in bounds)


@pytest.mark.parametrize("bound", [1, 2**31, 2**62 - 1, 2**62, INT64_MAX])
@pytest.mark.parametrize("capacity", [HEADER_BITS + 64, 254, 510, 3070])
def test_extreme_values(bound: int, capacity: int) -> None:
    values = int64([bound, -bound, 0, bound, -bound, 1, -1] * 9)
    layout = SlotLayout.for_bounds(bound, values.shape, plaintext_bits=capacity)
    np.testing.assert_array_equal(layout.unpack(layout.pack(values)), values)


def test_large_random_vector() -> None:
    rng = np.random.default_rng(20240611)
    bounds = rng.integers(0, 2**44, 20_000) >> rng.integers(0, 44, 20_000)
    parts = [np.trunc(rng.uniform(-0.2, 0.2, 20_000) * bounds).astype(np.int64) for _ in range(5)]
    layout = SlotLayout.for_bounds(bounds.reshape(200, 100), (200, 100), plaintext_bits=3070)
    packed = [layout.pack(part.reshape(200, 100)) for part in parts]
    total = layout.unpack([sum(column) for column in zip(*packed, strict=True)])
    np.testing.assert_array_equal(total, sum(parts).reshape(200, 100))
    used = int((np.frexp(bounds[bounds > 0].astype(float))[1] + 1).sum())
    # Slots do not straddle plaintexts; at most one slot's width is lost in each.
    assert layout.n_plaintexts <= -(-used // (3070 - HEADER_BITS - 44))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    layout = SlotLayout.for_bounds(5, shape, plaintext_bits=300)
    values = np.full(shape, -5, dtype=np.int64)
    result = layout.unpack(layout.pack(values))
    assert result.dtype == np.int64
    assert result.shape == shape
    np.testing.assert_array_equal(result, values)
    assert layout.n_plaintexts == (1 if values.size else 0)


def test_zero_bounds_take_no_slot() -> None:
    layout = SlotLayout.for_bounds(0, (1000,), plaintext_bits=300)
    assert layout.n_plaintexts == 0
    assert layout.pack(np.zeros(1000, dtype=np.int64)) == []
    np.testing.assert_array_equal(layout.unpack([]), np.zeros(1000, dtype=np.int64))
    with pytest.raises(BoundError, match="bound of \\+-0"):
        layout.pack(np.ones(1000, dtype=np.int64))


def test_bounds_broadcast() -> None:
    layout = SlotLayout.for_bounds(int64([1, 0, 7]), (4, 3), plaintext_bits=300)
    assert layout.bounds.tolist() == [1, 0, 7] * 4
    same = SlotLayout.for_bounds(int64([1, 0, 7] * 4).reshape(4, 3), (4, 3), plaintext_bits=300)
    assert same.digest == layout.digest


def test_packing_has_fixed_bytes() -> None:
    layout = SlotLayout.for_bounds(
        int64([1, 0, 100, 2**40, 2**62, 5]), (6,), plaintext_bits=HEADER_BITS + 100
    )
    packed = layout.pack(int64([-1, 0, 77, -(2**39), 2**61 + 3, 5]))
    assert layout.n_plaintexts == 2
    assert packed == FIXED_PLAINTEXTS
    assert layout.digest == FIXED_DIGEST


FIXED_PLAINTEXTS = [
    -680564733841505786694109493763876987646,
    114291319142469443603997334885990633944632526,
]
FIXED_DIGEST = "d8d541f00fedd4de31610861aaf8b37f65178f97b25a7faadfce04bb431ac057"


def test_digest_tells_layouts_apart() -> None:
    base = SlotLayout.for_bounds(9, (6,), plaintext_bits=300)
    others = [
        SlotLayout.for_bounds(9, (5,), plaintext_bits=300),
        SlotLayout.for_bounds(9, (6, 1), plaintext_bits=300),
        SlotLayout.for_bounds(9, (2, 3), plaintext_bits=300),
        SlotLayout.for_bounds(8, (6,), plaintext_bits=300),  # same widths, other bound
        SlotLayout.for_bounds(int64([9] * 5 + [8]), (6,), plaintext_bits=300),
        SlotLayout.for_bounds(9, (6,), plaintext_bits=301),
    ]
    assert len({layout.digest for layout in (base, *others)}) == 7
    assert SlotLayout.for_bounds(int64([9] * 6), (6,), plaintext_bits=300).digest == base.digest


@pytest.mark.parametrize(
    ("bound", "shape", "message"),
    [
        (-1, (3,), "bound is -1"),
        (2**63, (3,), "2\\^63 - 1"),
        (np.array([1, -2, 3]), (3,), "bound of element 1 is -2"),
        (np.array([1.0, 2.0]), (2,), "dtype float64"),
        (np.array([1, 2], dtype=np.int32), (2,), "dtype int32"),
        (np.array([1, 2]), (3,), "broadcasts to \\(3,\\)"),
    ],
)
def test_bounds_that_cannot_be_are_refused(
    bound: int | Int64Array, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(BoundError, match=message):
        SlotLayout.for_bounds(bound, shape, plaintext_bits=300)


def test_slot_wider_than_a_plaintext_is_refused() -> None:
    with pytest.raises(BoundError, match="needs 41 bits, expected at most 40"):
        SlotLayout.for_bounds(2**39, (1,), plaintext_bits=HEADER_BITS + 40)
    SlotLayout.for_bounds(2**39 - 1, (1,), plaintext_bits=HEADER_BITS + 40)


@pytest.mark.parametrize("bad", [6, -6, INT64_MAX, INT64_MIN])
def test_value_outside_its_bound_is_refused_without_naming_it(bad: int) -> None:
    layout = SlotLayout.for_bounds(5, (2, 2), plaintext_bits=300)
    with pytest.raises(BoundError, match=r"'counts:7'.*\(1, 0\)") as caught:
        layout.pack(int64([1, 2, bad, 4]).reshape(2, 2), label="counts:7")
    assert str(bad) not in str(caught.value)


def test_extreme_bound_does_not_admit_the_int64_minimum() -> None:
    layout = SlotLayout.for_bounds(INT64_MAX, (1,), plaintext_bits=300)
    with pytest.raises(BoundError):
        layout.pack(int64([INT64_MIN]))


def test_wrong_shape_or_dtype_is_refused() -> None:
    layout = SlotLayout.for_bounds(5, (4,), plaintext_bits=300)
    with pytest.raises(BoundError, match="shape \\(3,\\)"):
        layout.pack(int64([1, 2, 3]))
    with pytest.raises(BoundError, match="dtype int32"):
        layout.pack(np.zeros(4, dtype=np.int32))  # type: ignore[arg-type]


def test_bound_broken_by_the_banks_together_is_found() -> None:
    # Each bank keeps to the bound; their sum, two to seven times as large, does not.
    for bound, n_banks in ((5, 2), (7, 2), (7, 7), (2**40 - 1, 3), (INT64_MAX, 2)):
        layout = SlotLayout.for_bounds(bound, (40,), plaintext_bits=500)
        for position in (0, 3, 17, 39):
            values = np.zeros(40, dtype=np.int64)
            for sign in (1, -1):
                values[position] = sign * bound
                total = [n_banks * p for p in layout.pack(values)]
                with pytest.raises(SumError):
                    layout.unpack(total)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_broken_bounds_never_give_a_wrong_number(data: st.DataObject) -> None:
    bounds = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=12))
    banks = [
        [data.draw(st.integers(-bound, bound)) for bound in bounds]
        for _ in range(data.draw(st.integers(1, 6)))
    ]
    layout = SlotLayout.for_bounds(int64(bounds), (len(bounds),), plaintext_bits=160)
    packed = [layout.pack(int64(bank)) for bank in banks]
    total = [sum(column) for column in zip(*packed, strict=True)]
    expected = [sum(column) for column in zip(*banks, strict=True)]
    if all(abs(value) <= bound for value, bound in zip(expected, bounds, strict=True)):
        assert layout.unpack(total).tolist() == expected
    else:
        with pytest.raises(SumError):
            layout.unpack(total)


@settings(max_examples=200, deadline=None)
@given(plaintext=st.integers(-(2**299), 2**299), bound=st.sampled_from([1, 5, 2**30 - 1, 2**40]))
def test_any_other_plaintext_is_refused(plaintext: int, bound: int) -> None:
    layout = SlotLayout.for_bounds(bound, (4,), plaintext_bits=300)
    assert layout.n_plaintexts == 1
    carries_alone = plaintext % 2**64 == 0 and 0 <= plaintext < 2**HEADER_BITS
    if not carries_alone:
        with pytest.raises(SumError):
            layout.unpack([plaintext])


def test_single_bit_changes_are_found() -> None:
    layout = SlotLayout.for_bounds(2**20 - 1, (9,), plaintext_bits=300)
    (plaintext,) = layout.pack(np.arange(9, dtype=np.int64))
    for bit in range(299):
        if HEADER_BITS - 16 <= bit < HEADER_BITS:
            continue  # room for the checksum's carries, which nothing depends on
        with pytest.raises(SumError):
            layout.unpack([plaintext + (1 << bit)])


def test_wrong_number_of_plaintexts_is_refused() -> None:
    layout = SlotLayout.for_bounds(5, (100,), plaintext_bits=300)
    packed = layout.pack(np.zeros(100, dtype=np.int64))
    for wrong in (packed[:-1], [*packed, 0], []):
        with pytest.raises(SumError, match="plaintexts were opened"):
            layout.unpack(wrong)
