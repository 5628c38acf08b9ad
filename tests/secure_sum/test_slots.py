"""Slots, compiled and in NumPy: the same bytes, and refusals of what does not fit."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.machine.native import load_native
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
        n_words=(capacity + 1 + header) // 64 + 2,
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
    # Digits that fit no slot carry into their neighbours, and are added up exactly.
    digits = np.array([data.draw(st.integers(-(2**63), INT64_MAX)) for _ in ranges], dtype=np.int64)
    joined = both("join", digits, places)
    assert equal(*joined)
    expected = [0] * len(firsts)
    ends = [*firsts.tolist()[1:], len(ranges)][: len(firsts)]
    for plaintext, (first, end) in enumerate(zip(firsts.tolist(), ends, strict=True)):
        offset = header
        for slot in range(first, end):
            expected[plaintext] += int(digits[slot]) << offset
            offset += int(widths[slot])
    size = 8 * places.n_words
    found = [
        int.from_bytes(joined[0][start : start + size], "little", signed=True)
        for start in range(0, len(joined[0]), size)
    ]
    assert found == expected


@given(header=st.integers(0, 130))
def test_a_plaintext_without_slots_is_0_and_fits_only_its_header(header: int) -> None:
    none = np.zeros(0, dtype=np.int64)
    places = slots.Places(
        widths=none.astype(np.uint8),
        raises=none.astype(np.uint64),
        firsts=np.zeros(1, dtype=np.int64),
        n_words=header // 64 + 2,
        header=header,
    )
    size = 8 * places.n_words
    assert both("join", none, places) == [bytes(size)] * 2
    for value, fits in ((0, True), ((1 << header) - 1, True), (1 << header, False), (-1, False)):
        answers = both("split", value.to_bytes(size, "little", signed=True), places)
        assert equal(*answers)
        assert answers[0][1].tolist() == [fits]


@laws
@given(
    n_numbers=st.integers(0, 5),
    n_words=st.integers(1, 9),
    n_streams=st.integers(0, 6),
    data=st.data(),
)
def test_streams_add_up_with_their_signs(
    n_numbers: int, n_words: int, n_streams: int, data: st.DataObject
) -> None:
    size = 4 * n_numbers * n_words
    streams = [data.draw(st.binary(min_size=size, max_size=size)) for _ in range(n_streams)]
    signs = [data.draw(st.sampled_from([1, -1])) for _ in range(n_streams)]
    answers = []
    for module in (NATIVE.module, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(slots, "_NATIVE", module)
            sums = np.zeros(n_numbers * n_words, dtype=np.int64)
            for stream, sign in zip(streams, signs, strict=True):
                slots.add_stream(sums, memoryview(stream), sign)
            answers.append(slots.carried(sums.reshape(n_numbers, n_words)))
    assert answers[0] == answers[1]
    width = 4 * n_words
    for number in range(n_numbers):
        place = slice(number * width, (number + 1) * width)
        start = number * (width + 4)
        assert int.from_bytes(answers[0][start : start + width + 4], "little", signed=True) == sum(
            sign * int.from_bytes(stream[place], "little")
            for stream, sign in zip(streams, signs, strict=True)
        )


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
    data = bytes(16) if verb == "join" else bytes(16 * len(firsts))
    with pytest.raises(ValueError, match="layout: slots"):
        getattr(module(), verb)(data, widths, bytes(16), starts, 2, 0)


@pytest.mark.parametrize(
    ("widths", "n_words", "header"),
    [
        ([0], 2, 0),
        ([65], 3, 0),
        ([64, 1], 2, 0),
        ([5], 2, 60),
        ([5], 1, 0),
        ([], 1, 1),
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
        module().join(bytes(9), bytes([5]), bytes(8), starts, 2, 0)
    with pytest.raises(ValueError, match="as many words"):
        module().split(bytes(9), bytes([5]), bytes(8), starts, 2, 0)
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
    for sums, stream, sign in ((8, 5, 1), (8, 8, 1), (8, 4, 0), (8, 4, 2)):
        with pytest.raises(ValueError, match="one int64 for each word"):
            module().add_stream(bytearray(sums), bytes(stream), sign)
    for size, n_words in ((8, 0), (8, 2), (9, 1), (8, -1)):
        with pytest.raises(ValueError, match="whole numbers"):
            module().carry(bytes(size), n_words)
