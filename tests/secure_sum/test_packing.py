"""Slots against an oracle in plain Python integers, and the law of packing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.secure_sum.packing import SlotLayout

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

laws = settings(max_examples=150, deadline=None)
# Small bounds, zeros and the extremes of int64 all come up often.
limits = st.one_of(
    st.sampled_from([0, 1, 2, 3, 2**31, 2**62 - 1, 2**62, 2**62 + 1, INT64_MAX]),
    st.integers(0, 62).flatmap(lambda bits: st.integers(0, 2**bits)),
)
# Pairs (-low, high): balanced, of one sign, and anything else.
ranges_lists = st.lists(
    st.one_of(
        limits.map(lambda limit: (limit, limit)),
        limits.map(lambda limit: (0, limit)),
        st.tuples(limits, limits),
    ),
    max_size=60,
)
# One bit more than header and widest slot: the sign.
capacities = st.integers(HEADER_BITS + 65, 900)


def layout_of(ranges: list[tuple[int, int]], plaintext_bits: int) -> SlotLayout:
    return SlotLayout.for_bounds(
        int64([high for _, high in ranges]),
        (len(ranges),),
        low=int64([-below for below, _ in ranges]),
        plaintext_bits=plaintext_bits,
    )


def int64(values: list[int]) -> Int64Array:
    return np.array(values, dtype=np.int64)


def pack(layout: SlotLayout, values: Int64Array) -> list[int]:
    return layout.join(layout.flat(values))


def unpack(layout: SlotLayout, plaintexts: list[int]) -> Int64Array:
    flat, fits = layout.split(plaintexts)
    assert fits.all()
    return flat.reshape(layout.shape)


def plain_offsets(
    ranges: list[tuple[int, int]], plaintext_bits: int
) -> list[tuple[int, int] | None]:
    """Plaintext and bit offset of every element: the greedy rule, spelt out."""
    places: list[tuple[int, int] | None] = []
    plaintext, offset = 0, HEADER_BITS
    for below, high in ranges:
        width = (below + high).bit_length()
        if width == 0:
            places.append(None)
            continue
        if offset + width > plaintext_bits - 1:
            plaintext, offset = plaintext + 1, HEADER_BITS
        places.append((plaintext, offset))
        offset += width
    return places


@laws
@given(ranges=ranges_lists, capacity=capacities, data=st.data())
def test_digits_lie_where_the_greedy_rule_puts_them(
    ranges: list[tuple[int, int]], capacity: int, data: st.DataObject
) -> None:
    values = [data.draw(st.integers(-below, high)) for below, high in ranges]
    layout = layout_of(ranges, capacity)
    places = plain_offsets(ranges, capacity)
    # Where there is an element there is a plaintext.
    expected = [0] * (
        max((place[0] for place in places if place), default=min(1, len(ranges)) - 1) + 1
    )
    for value, place in zip(values, places, strict=True):
        if place:
            expected[place[0]] += value << place[1]
    packed = pack(layout, int64(values))
    assert layout.n_plaintexts == len(packed) == len(expected)
    assert packed == expected
    assert all(p % 2**HEADER_BITS == 0 for p in packed)
    # Elements without a slot belong to the plaintext of the slot before them, or to the first.
    plaintexts = [-1 if place is None else place[0] for place in places]
    firsts = [plaintexts.index(p) for p in range(1, layout.n_plaintexts)]
    assert layout.firsts.tolist() == [0, *firsts][: layout.n_plaintexts]
    # The bound from which "no wrap-around modulo N" follows.
    assert all(abs(p) < 2 ** (capacity - 1) for p in packed)


@laws
@given(ranges=ranges_lists, capacity=capacities, n_banks=st.integers(1, 7), data=st.data())
def test_unpacked_sum_of_packed_is_the_sum(
    ranges: list[tuple[int, int]], capacity: int, n_banks: int, data: st.DataObject
) -> None:
    total = [0] * len(ranges)
    banks: list[list[int]] = []
    for _ in range(n_banks):
        # Parts of either sign may cancel, but each, and all together, stay in the range.
        part = [
            data.draw(st.integers(max(-below, -below - so_far), min(high, high - so_far)))
            for (below, high), so_far in zip(ranges, total, strict=True)
        ]
        total = [so_far + value for so_far, value in zip(total, part, strict=True)]
        banks.append(part)
    layout = layout_of(ranges, capacity)
    packed = [pack(layout, int64(bank)) for bank in banks]
    # Whatever the headers add up to does not reach the slots.
    header = data.draw(st.integers(0, 2**HEADER_BITS - 1))
    summed = [sum(column) + header for column in zip(*packed, strict=True)]
    assert all(abs(p) < 2 ** (capacity - 1) for p in summed)
    assert unpack(layout, summed).tolist() == total
    assert layout.n_values == len(ranges)
    assert layout.n_slots == sum(pair != (0, 0) for pair in ranges)


@pytest.mark.parametrize("ends", ["low", "high"])
def test_all_slots_at_one_end_stay_below_a_quarter_of_the_modulus(ends: str) -> None:
    # Slots of one sign reach further than balanced ones of the same width.
    shape, capacity = (400,), 1022
    bound, low = (INT64_MAX, 0) if ends == "high" else (0, -INT64_MAX)
    layout = SlotLayout.for_bounds(bound, shape, low=low, plaintext_bits=capacity)
    packed = pack(layout, np.full(shape, bound + low, dtype=np.int64))
    assert all(abs(p) < 2 ** (capacity - 1) for p in packed)
    assert max(abs(p) for p in packed) > 2 ** (capacity - 2 - 63)


@pytest.mark.parametrize("bound", [1, 2**31, 2**62 - 1, 2**62, INT64_MAX])
@pytest.mark.parametrize("capacity", [HEADER_BITS + 65, 254, 510, 3070])
def test_extreme_values(bound: int, capacity: int) -> None:
    values = int64([bound, -bound, 0, bound, -bound, 1, -1] * 9)
    layout = SlotLayout.for_bounds(bound, values.shape, plaintext_bits=capacity)
    np.testing.assert_array_equal(unpack(layout, pack(layout, values)), values)
    one_sign = SlotLayout.for_bounds(bound, values.shape, low=0, plaintext_bits=capacity)
    np.testing.assert_array_equal(unpack(one_sign, pack(one_sign, abs(values))), abs(values))
    assert one_sign.n_plaintexts <= layout.n_plaintexts


def test_large_random_vector() -> None:
    rng = np.random.default_rng(20240611)
    bounds = rng.integers(0, 2**44, 20_000) >> rng.integers(0, 44, 20_000)
    parts = [np.trunc(rng.uniform(-0.2, 0.2, 20_000) * bounds).astype(np.int64) for _ in range(5)]
    layout = SlotLayout.for_bounds(bounds.reshape(200, 100), (200, 100), plaintext_bits=3070)
    packed = [pack(layout, part.reshape(200, 100)) for part in parts]
    total = unpack(layout, [sum(column) for column in zip(*packed, strict=True)])
    np.testing.assert_array_equal(total, sum(parts).reshape(200, 100))
    used = int((np.frexp(bounds[bounds > 0].astype(float))[1] + 1).sum())
    # Slots do not straddle plaintexts; at most one slot's width is lost in each.
    assert layout.n_plaintexts <= -(-used // (3070 - HEADER_BITS - 44))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    layout = SlotLayout.for_bounds(5, shape, plaintext_bits=300)
    values = np.full(shape, -5, dtype=np.int64)
    result = unpack(layout, pack(layout, values))
    assert result.dtype == np.int64
    assert result.shape == shape
    np.testing.assert_array_equal(result, values)
    assert layout.n_plaintexts == (1 if values.size else 0)


def test_zero_bounds_take_no_slot() -> None:
    layout = SlotLayout.for_bounds(0, (1000,), plaintext_bits=300)
    assert (layout.n_plaintexts, layout.n_slots, layout.n_values) == (1, 0, 1000)
    # What they are all the same shows in the tag alone.
    for values in (np.zeros(1000, dtype=np.int64), np.full(1000, INT64_MIN)):
        assert pack(layout, values) == [0]
    np.testing.assert_array_equal(unpack(layout, [0]), np.zeros(1000, dtype=np.int64))
    assert unpack(layout, [2**HEADER_BITS - 1]).tolist() == [0] * 1000
    for wrong in (1 << HEADER_BITS, -1, -(1 << HEADER_BITS)):
        assert layout.split([wrong])[1].tolist() == [False]


def test_bounds_broadcast() -> None:
    layout = SlotLayout.for_bounds(int64([1, 0, 7]), (4, 3), plaintext_bits=300)
    assert layout.highs.tolist() == [1, 0, 7] * 4
    assert layout.lows.tolist() == [-1, 0, -7] * 4
    same = SlotLayout.for_bounds(int64([1, 0, 7] * 4).reshape(4, 3), (4, 3), plaintext_bits=300)
    assert same.digest == layout.digest
    lows = SlotLayout.for_bounds(7, (4, 3), low=int64([-1, 0, -7]), plaintext_bits=300)
    assert lows.lows.tolist() == [-1, 0, -7] * 4


def test_packing_has_fixed_bytes() -> None:
    layout = SlotLayout.for_bounds(
        int64([1, 0, 100, 2**40, 2**62, 5, 9]),
        (7,),
        low=int64([-1, 0, -100, -(2**40), -(2**62), -2, 0]),
        plaintext_bits=HEADER_BITS + 101,
    )
    packed = pack(layout, int64([-1, 0, 77, -(2**39), 2**61 + 3, 5, 9]))
    assert layout.n_plaintexts == 2
    assert packed == FIXED_PLAINTEXTS
    assert layout.digest == FIXED_DIGEST


FIXED_PLAINTEXTS = [
    (-1 + (77 << 2) - (1 << 49)) << 120,
    ((2**61 + 3) + (5 << 64) + (9 << 67)) << 120,
]
FIXED_DIGEST = "4a062aa7a44468e2f70ef5cceb0374d81a1a82886ed29d729eed98c68553952c"


def test_digest_tells_layouts_apart() -> None:
    base = SlotLayout.for_bounds(9, (6,), plaintext_bits=300)
    others = [
        SlotLayout.for_bounds(9, (5,), plaintext_bits=300),
        SlotLayout.for_bounds(9, (6, 1), plaintext_bits=300),
        SlotLayout.for_bounds(9, (2, 3), plaintext_bits=300),
        SlotLayout.for_bounds(8, (6,), plaintext_bits=300),  # same widths, other bound
        SlotLayout.for_bounds(int64([9] * 5 + [8]), (6,), plaintext_bits=300),
        SlotLayout.for_bounds(9, (6,), plaintext_bits=301),
        SlotLayout.for_bounds(9, (6,), low=0, plaintext_bits=300),
        SlotLayout.for_bounds(9, (6,), low=int64([-9] * 5 + [-8]), plaintext_bits=300),
    ]
    assert len({layout.digest for layout in (base, *others)}) == 9
    assert SlotLayout.for_bounds(9, (6,), low=-9, plaintext_bits=300).digest == base.digest
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


@pytest.mark.parametrize(
    ("low", "message"),
    [
        (1, "-low is -1"),
        (-(2**63), "2\\^63 - 1"),
        (int64([0, 5, 0]), "-low of element 1 is -5"),
        (int64([0, INT64_MIN, 0]), "-low of element 1"),
        (np.array([0, 0, 0], dtype=np.int32), "dtype int32"),
        (int64([0, 0]), "broadcasts to \\(3,\\)"),
    ],
)
def test_lows_that_cannot_be_are_refused(low: int | Int64Array, message: str) -> None:
    with pytest.raises(BoundError, match=message):
        SlotLayout.for_bounds(5, (3,), low=low, plaintext_bits=300)


def test_slot_wider_than_a_plaintext_is_refused() -> None:
    with pytest.raises(BoundError, match="needs 41 bits, expected at most 40"):
        SlotLayout.for_bounds(2**39, (1,), plaintext_bits=HEADER_BITS + 41)
    SlotLayout.for_bounds(2**39 - 1, (1,), plaintext_bits=HEADER_BITS + 41)
    SlotLayout.for_bounds(2**40 - 1, (1,), low=0, plaintext_bits=HEADER_BITS + 41)


any_int64 = st.one_of(
    st.sampled_from([0, 1, -1, INT64_MIN, INT64_MAX]), st.integers(INT64_MIN, INT64_MAX)
)


@laws
@given(ranges=ranges_lists, capacity=capacities, data=st.data())
def test_parts_out_of_range_add_up_to_a_sum_in_range(
    ranges: list[tuple[int, int]], capacity: int, data: st.DataObject
) -> None:
    """Modulo N: what a part carries, borrows or wraps around is gone from the sum."""
    modulus = 2 ** (capacity + 1) + 1
    parts = [[data.draw(any_int64) for _ in ranges] for _ in range(data.draw(st.integers(1, 4)))]
    # What brings the sum back into its range; more than one bank may have to, as it may be large.
    total = [data.draw(st.integers(-below, above)) for below, above in ranges]
    rest = [want - sum(column) for want, *column in zip(total, *parts, strict=True)]
    while any(rest):
        part = [max(INT64_MIN, min(INT64_MAX, left)) for left in rest]
        parts.append(part)
        rest = [left - value for left, value in zip(rest, part, strict=True)]
    layout = layout_of(ranges, capacity)
    packed = [[p % modulus for p in pack(layout, int64(part))] for part in parts]
    header = data.draw(st.integers(0, 2**HEADER_BITS - 1))
    summed = [(sum(column) + header) % modulus for column in zip(*packed, strict=True)]
    centred = [p - modulus if p > modulus // 2 else p for p in summed]
    assert unpack(layout, centred).tolist() == total


@laws
@given(data=st.data())
def test_any_int64_is_encoded_as_it_is(data: st.DataObject) -> None:
    ranges = data.draw(ranges_lists)
    layout = layout_of(ranges, 400)
    values = [data.draw(any_int64) for _ in ranges]
    expected = [0] * layout.n_plaintexts
    for value, place in zip(values, plain_offsets(ranges, 400), strict=True):
        if place:
            expected[place[0]] += value << place[1]
    packed = pack(layout, int64(values))
    assert packed == expected
    assert layout.split([0] * layout.n_plaintexts)[1].all()
    assert len(layout.to_bytes(packed)) % max(1, len(packed)) == 0


def test_wrong_shape_or_dtype_is_refused() -> None:
    layout = SlotLayout.for_bounds(5, (4,), plaintext_bits=300)
    with pytest.raises(BoundError, match="shape \\(3,\\)"):
        pack(layout, int64([1, 2, 3]))
    with pytest.raises(BoundError, match="dtype int32"):
        pack(layout, np.zeros(4, dtype=np.int32))  # type: ignore[arg-type]


@laws
@given(data=st.data())
def test_what_does_not_fit_is_told_apart(data: st.DataObject) -> None:
    layout = SlotLayout.for_bounds(2**20 - 1, (9,), plaintext_bits=HEADER_BITS + 64)
    assert layout.n_plaintexts == 3
    values = int64([data.draw(st.integers(-(2**20) + 1, 2**20 - 1)) for _ in range(9)])
    packed = pack(layout, values)
    spoilt = data.draw(st.integers(0, 2))
    packed[spoilt] += data.draw(st.sampled_from([1, -1, 7])) << (HEADER_BITS + 64)
    flat, fits = layout.split(packed)
    assert fits.tolist() == [index != spoilt for index in range(3)]
    expected = values.copy()
    expected[3 * spoilt : 3 * spoilt + 3] = 0
    assert flat.tolist() == expected.tolist()


@pytest.mark.parametrize(("low", "values"), [(None, [5, -5, 6, 0]), (0, [5, 7, 0, 1])])
def test_a_sum_outside_its_range_but_in_its_slot_does_not_fit(
    low: int | None, values: list[int]
) -> None:
    layout = SlotLayout.for_bounds(5, (4,), low=low, plaintext_bits=300)
    flat, fits = layout.split(pack(layout, int64(values)))
    assert flat.tolist() == values
    assert fits.tolist() == [False]
