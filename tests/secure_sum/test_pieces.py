"""A wide vector in pieces: their layouts, joined, are the whole's, and none is above its bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.secure_sum.header import HEADER_BITS
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.pieces import PIECE_BYTES, cut, is_surely_one, most_plaintexts

laws = settings(max_examples=150, deadline=None)
bounds_lists = st.lists(
    st.one_of(st.just(0), st.integers(0, 62).flatmap(lambda bits: st.integers(0, 2**bits))),
    min_size=1,
    max_size=80,
)


def layout_of(bounds: Int64Array, plaintext_bits: int, lows: Int64Array | None = None):
    return SlotLayout.for_bounds(bounds, bounds.shape, low=lows, plaintext_bits=plaintext_bits)


@laws
@given(bounds_lists, st.integers(HEADER_BITS + 65, 700), st.integers(1, 9))
def test_pieces_are_the_whole_plaintext_by_plaintext(
    bounds: list[int], plaintext_bits: int, most: int
) -> None:
    highs = np.array(bounds, dtype=np.int64)
    whole = layout_of(highs, plaintext_bits)
    parts = cut(whole, most=most)
    assert [index for part in parts for index in range(part.start, part.stop)] == [
        *range(whole.n_values)
    ]
    own = [layout_of(highs[part], plaintext_bits, whole.lows[part]) for part in parts]
    sizes = [layout.n_plaintexts for layout in own]
    # All but the last are full; none is empty.
    assert sizes[:-1] == [most] * (len(parts) - 1)
    assert 1 <= sizes[-1] <= most
    assert sum(sizes) == whole.n_plaintexts
    joined = np.concatenate([one.firsts + part.start for one, part in zip(own, parts, strict=True)])
    # An element without a slot belongs to the plaintext before it, or to the first of its piece.
    np.testing.assert_array_equal(joined, whole.firsts)
    values = highs // 3
    plaintexts = [
        number
        for layout, part in zip(own, parts, strict=True)
        for number in layout.join(layout.flat(values[part]))
    ]
    assert plaintexts == whole.join(whole.flat(values))


@laws
@given(bounds_lists, st.integers(1, 9))
def test_what_is_surely_one_piece_is_one(bounds: list[int], most: int) -> None:
    key = _KEY
    layout = layout_of(np.array(bounds, dtype=np.int64), key.plaintext_bits)
    if is_surely_one(len(bounds), key, most=most):
        assert len(cut(layout, most=most)) == 1


_KEY = KeyPackage.generate(2048).public_key


@pytest.mark.parametrize("widest", [2**63 - 1, 1])
def test_the_bound_that_costs_nothing_is_close_for_the_widest_slots(widest: int) -> None:
    """A slot of a balanced int64 has 64 bits: one value more than surely fits needs a look."""
    most = 3
    least = next(n for n in range(1, 10_000) if not is_surely_one(n, _KEY, most=most))
    layout = layout_of(np.full(least, widest, dtype=np.int64), _KEY.plaintext_bits)
    assert len(cut(layout, most=most)) == (2 if widest > 1 else 1)


def test_a_piece_has_eight_mebibytes_of_ciphertexts() -> None:
    """Part of the protocol: banks that cut elsewhere cannot sum with each other."""
    assert PIECE_BYTES == 8 * 1024 * 1024
    assert most_plaintexts(_KEY) == PIECE_BYTES // _KEY.ciphertext_bytes == 16384
    assert most_plaintexts(_KEY, piece_bytes=1) == 1
