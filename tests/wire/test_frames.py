"""Law: decode(encode(header, payload)) == (header, payload); anything else is a clear error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import CiphertextError, ProtocolError, VersionError
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameHeader, FrameKind

DIGEST = "0" * 64


@st.composite
def framed(draw: st.DrawFn) -> tuple[FrameHeader, bytes]:
    kind = draw(st.sampled_from(FrameKind))
    item_bytes = draw(st.integers(0, 40))
    count = draw(st.integers(0, 20))
    size = count * item_bytes if item_bytes else draw(st.integers(0, 100))
    header = FrameHeader(
        kind=kind,
        run_id=draw(st.text(max_size=30)),
        round_number=draw(st.integers(0, 10**9)),
        label=draw(st.text(min_size=1, max_size=50)),
        context=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        bank=draw(st.none() | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)),
        shard=draw(st.none() | st.integers(0, 50)),
        count=count,
        item_bytes=item_bytes,
    )
    return header, draw(st.binary(min_size=size, max_size=size))


def example(*, count: int = 3, item_bytes: int = 4) -> bytes:
    header = FrameHeader(
        kind=FrameKind.CONTRIBUTION,
        run_id="r",
        round_number=0,
        label="histogram:0",
        context=DIGEST,
        bank="a",
        count=count,
        item_bytes=item_bytes,
    )
    return frames.encode(header, bytes(range(count * item_bytes)))


@given(framed())
def test_decode_inverts_encode(case: tuple[FrameHeader, bytes]) -> None:
    header, payload = case
    read, view = frames.decode(frames.encode(header, payload), source="test")
    assert read == header
    assert bytes(view) == payload


@given(st.lists(framed(), max_size=5))
def test_decode_many_inverts_encode_many(cases: list[tuple[FrameHeader, bytes]]) -> None:
    body = frames.encode_many([frames.encode(*case) for case in cases])
    read = [(header, bytes(view)) for header, view in frames.decode_many(body, source="test")]
    assert read == cases


@given(st.integers(0, len(example()) - 1))
def test_a_cut_frame_is_an_error_at_every_length(length: int) -> None:
    with pytest.raises(ProtocolError):
        frames.decode(example()[:length], source="test")


@given(st.integers(1, 1000), st.binary(min_size=1, max_size=50))
def test_stray_bytes_are_an_error(repeat: int, extra: bytes) -> None:
    with pytest.raises(CiphertextError, match="truncated or malformed"):
        frames.decode(example() + extra * repeat, source="test")


@given(st.binary(max_size=200))
def test_noise_is_never_accepted(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        frames.decode(noise, source="test")


@given(st.binary(min_size=1, max_size=200))
def test_noise_is_no_list_of_frames(noise: bytes) -> None:
    with pytest.raises(ProtocolError):
        frames.decode_many(noise, source="test")


def test_another_version_is_named() -> None:
    frame = bytearray(example())
    frame[4] = 9
    with pytest.raises(VersionError, match="version 9, this program speaks 1"):
        frames.decode(bytes(frame), source="test")


def test_a_payload_that_contradicts_its_header_cannot_be_encoded() -> None:
    header, payload = frames.decode(example(), source="test")
    with pytest.raises(CiphertextError):
        frames.encode(header, bytes(payload)[:-1])
