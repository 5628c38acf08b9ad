"""The frame of everything kept or handed over: the same bytes again, or a fault that is named."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.container import Container
from fraudfed.errors import StateError

CONTAINER = Container(magic=b"MAGIC", version=3, what="an example", advice="make another")
CONTENTS = st.binary(max_size=60)


@given(parts=st.lists(CONTENTS, max_size=3))
def test_what_was_packed_is_unpacked(parts: list[bytes]) -> None:
    data = CONTAINER.pack(*parts)
    assert CONTAINER.unpack(data, source="file") == b"".join(parts)
    assert CONTAINER.pack(b"".join(parts)) == data


def test_these_bytes() -> None:
    """Fixed once and for all versions of a content: magic, version, length, checksums."""
    assert CONTAINER.pack(b"content").hex() == (
        "4d41474943"
        "0300"
        "0700000000000000"
        "5756b6fe016a7681"
        "636f6e74656e74"
        "067b13038688fec63e1b05537550c1611ce3cce1513d9449e2b385057a97468a"
    )


WHOLE = CONTAINER.pack(b"content")
NEWER = dataclasses.replace(CONTAINER, version=4).pack(b"content")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged or foreign: it does not begin as an example; make another"),
        (b"MAGI", "damaged or foreign: it does not begin as an example"),
        (b"X" + WHOLE[1:], "damaged or foreign: it does not begin as an example"),
        (WHOLE[:22], "damaged: cut off after 22 bytes; make another"),
        (WHOLE[:-1], f"damaged: cut off after {len(WHOLE) - 1} of {len(WHOLE)} bytes"),
        (WHOLE + b"\0\0", "damaged: 2 bytes too many; make another"),
        (WHOLE[:7] + b"\xff" + WHOLE[8:], "damaged: wrong checksum of its head; make another"),
        (WHOLE.replace(b"content", b"Content"), "damaged: wrong checksum; make another"),
        (NEWER, r"another release \(format version 4, this release reads 3\); use that release"),
        # Whatever a newer release puts behind its head.
        (NEWER[:23], r"another release \(format version 4"),
    ],
)
def test_every_fault_has_a_name(data: bytes, message: str) -> None:
    with pytest.raises(StateError, match=f"^file: {message}|^file: written by {message}"):
        CONTAINER.unpack(data, source="file")


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    for position in range(len(WHOLE)):
        for bit in range(8):
            spoilt = bytearray(WHOLE)
            spoilt[position] ^= 1 << bit
            with pytest.raises(StateError, match="damaged"):
                CONTAINER.unpack(bytes(spoilt), source="file")
            with pytest.raises(StateError, match="damaged"):
                list(CONTAINER.unpack_row(WHOLE + bytes(spoilt) + WHOLE, source="file"))
        with pytest.raises(StateError, match="damaged"):
            CONTAINER.unpack(WHOLE[:position], source="file")


@settings(max_examples=100)
@given(contents=st.lists(CONTENTS, min_size=1, max_size=4), data=st.data())
def test_a_row_ends_where_a_crash_cut_it_off(contents: list[bytes], data: st.DataObject) -> None:
    rows = [CONTAINER.pack(content) for content in contents]
    whole, last = b"".join(rows), len(b"".join(rows[:-1]))
    found = list(CONTAINER.unpack_row(whole, source="file"))
    assert [bytes(each.content) for each in found] == contents
    assert [whole[each.start : each.end] for each in found] == rows
    size = data.draw(st.integers(last, len(whole) - 1))
    zeros = data.draw(st.integers(0, 50)) if size == last else 0
    cut = list(CONTAINER.unpack_row(whole[:size] + bytes(zeros), source="file"))
    assert [bytes(each.content) for each in cut] == contents[:-1]
    unwritten = whole[: last + 23] + bytes(len(whole) - last - 23)
    assert len(list(CONTAINER.unpack_row(unwritten, source="file"))) == len(contents) - 1


@pytest.mark.parametrize("rest", [b"x", b"MAGX", b"MAGI" + b"\0x", b"\0MAGIC", NEWER, b"y" * 99])
def test_a_row_with_something_else_behind_it_is_refused(rest: bytes) -> None:
    with pytest.raises(StateError, match=f"^file: byte {len(WHOLE)}: (damaged|written by another)"):
        list(CONTAINER.unpack_row(WHOLE + rest, source="file"))
