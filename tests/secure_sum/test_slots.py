"""Slots, compiled and in NumPy: the same bytes, and refusals of what does not fit."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.native import load_native
from fraudfed.secure_sum import slots

NATIVE = load_native("fraudfed.secure_sum._packing")
pytestmark = pytest.mark.skipif(NATIVE.module is None, reason=NATIVE.reason or "it is there")
INT64_MAX = 2**63 - 1
laws = settings(max_examples=150, deadline=None)
#: Pairs (-low, high), not both 0.
ends = st.integers(0, 3) | st.integers(0, INT64_MAX)
ranges_lists = st.lists(st.tuples(ends, ends).filter(any), max_size=60)


def both(name: str, *arguments: Any, **named: Any) -> list[Any]:
    """Return what the compiled and the NumPy version answer."""
    answers = []
    for module in (NATIVE.module, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(slots, "_NATIVE", module)
            answers.append(getattr(slots, name)(*arguments, **named))
    return answers


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    return bool(first == second)


@laws
@given(
    ranges=ranges_lists, capacity=st.integers(64, 300), header=st.integers(0, 130), data=st.data()
)
def test_compiled_and_numpy_agree(
    ranges: list[tuple[int, int]], capacity: int, header: int, data: st.DataObject
) -> None:
    spans = np.array([below + above for below, above in ranges], dtype=np.uint64)
    laid = both("lay_out", spans, capacity=capacity)
    assert equal(*laid)
    widths, firsts = laid[0]
    assert widths.tolist() == [(below + above).bit_length() for below, above in ranges]
    places = slots.Places(
        widths=widths,
        raises=np.array([below for below, _ in ranges], dtype=np.uint64),
        firsts=firsts,
        n_words=(capacity + 1 + header) // 64 + 1,
        header=header,
    )
    digits = np.array(
        [
            data.draw(st.sampled_from([-below, above, 0]) | st.integers(-below, above))
            for below, above in ranges
        ],
        dtype=np.int64,
    )
    joined = both("join", digits, places)
    assert equal(*joined)
    found = both("split", joined[0], places)
    assert equal(*found)
    assert np.array_equal(found[0][0], digits)
    assert found[0][1].all()
    # Anything else, too: noise, and plaintexts just out of range.
    noise = data.draw(st.binary(min_size=len(joined[0]), max_size=len(joined[0])))
    assert equal(*both("split", noise, places))
    words = np.frombuffer(noise, dtype="<u4")
    coefficients = np.resize(words, (len(ranges), 3)) if words.size else np.ones((len(ranges), 3))
    assert equal(*both("tag_sums", digits, coefficients.astype(np.uint32), firsts))


def test_extreme_digits_do_not_overflow_their_tag_sums() -> None:
    for extreme in (-(2**63), INT64_MAX, -1):
        digits = np.full(5000, extreme, dtype=np.int64)
        ones = np.full((5000, 3), 2**32 - 1, dtype=np.uint32)
        firsts = np.array([0, 4999], dtype=np.int64)
        coefficient = 2**89 - 1
        expected = [4999 * extreme * coefficient, extreme * coefficient]
        assert both("tag_sums", digits, ones, firsts) == [expected, expected]


def module() -> ModuleType:
    assert NATIVE.module is not None
    return NATIVE.module


@pytest.mark.parametrize(
    ("spans", "capacity"),
    [(b"\0" * 7, 64), (b"\0" * 8, 64), (b"\xff" * 8, 63), (b"", 0)],
    ids=["no-int64", "zero", "too-wide", "no-room"],
)
def test_layouts_that_cannot_be_are_refused(spans: bytes, capacity: int) -> None:
    with pytest.raises(ValueError, match="span"):
        module().lay_out(spans, capacity)


@pytest.mark.parametrize("firsts", [[1], [0, 2], [0, 0], [0, -1], [0, 9], []])
@pytest.mark.parametrize("verb", ["join", "split"])
def test_slots_outside_the_arrays_are_refused(firsts: list[int], verb: str) -> None:
    starts, widths = np.array(firsts, dtype=np.int64), bytes([5, 5])
    data = bytes(16) if verb == "join" else bytes(8 * len(firsts))
    with pytest.raises(ValueError, match="layout: slots"):
        getattr(module(), verb)(data, widths, bytes(16), starts, 1, 0)


@pytest.mark.parametrize(
    ("widths", "n_words", "header"),
    [
        ([0], 1, 0),
        ([65], 2, 0),
        ([64, 1], 1, 0),
        ([5], 1, 60),
        ([5], 0, 0),
        ([5], 1, 65),
        ([5], 1, -1),
    ],
)
def test_slots_outside_the_words_are_refused(widths: list[int], n_words: int, header: int) -> None:
    starts = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="layout"):
        module().join(
            bytes(8 * len(widths)), bytes(widths), bytes(8 * len(widths)), starts, n_words, header
        )


def test_other_lengths_are_refused() -> None:
    starts = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="one int64 for each slot"):
        module().join(bytes(9), bytes([5]), bytes(8), starts, 1, 0)
    with pytest.raises(ValueError, match="as many words"):
        module().split(bytes(9), bytes([5]), bytes(8), starts, 1, 0)
    with pytest.raises(ValueError, match="firsts"):
        module().join(bytes(8), bytes([5]), bytes(8), bytes(7), 1, 0)
    with pytest.raises(ValueError, match="raises"):
        module().join(bytes(8), bytes([5]), bytes(7), bytes(8), 1, 0)
    for digits, coefficients, firsts in (
        (bytes(9), bytes(12), bytes(8)),
        (bytes(8), bytes(11), bytes(8)),
        (bytes(8), bytes(12), bytes(9)),
        (bytes(8), bytes(12), b""),
        (bytes(8), bytes(12), np.array([2], dtype=np.int64)),
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            module().tag_sums(digits, coefficients, firsts)
