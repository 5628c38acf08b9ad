"""Law: decode(encode(header, payload)) == (header, payload); anything else is a clear error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fraudfed.errors import CiphertextError, ProtocolError, VersionError
from fraudfed.secure_sum.header import MAXIMUM_BANKS
from fraudfed.wire import frames
from fraudfed.wire.messages import FrameHeader, FrameKind
from fraudfed.wire.messages.rounds import MOST_COMMITMENTS

DIGEST = "0" * 64


@st.composite
def framed(draw: st.DrawFn) -> tuple[FrameHeader, bytes]:
    kind = draw(st.sampled_from(FrameKind))
    item_bytes = draw(st.integers(0, 40))
    count = draw(st.integers(0, 20))
    digests = st.text("0123456789abcdef", min_size=64, max_size=64)
    size = count * item_bytes if item_bytes else draw(st.integers(0, 100))
    header = FrameHeader(
        kind=kind,
        run_id=draw(st.text(max_size=30)),
        round_number=draw(st.integers(0, 10**9)),
        label=draw(st.text(min_size=1, max_size=50)),
        context=draw(digests),
        bank=draw(st.none() | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)),
        shard=draw(st.none() | st.integers(0, 50)),
        count=count,
        item_bytes=item_bytes,
        commitment=draw(digests) if kind is FrameKind.CONTRIBUTION else None,
        commitments=draw(st.lists(digests, max_size=4).map(tuple))
        if kind is FrameKind.PRODUCT
        else None,
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
        commitment=DIGEST,
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
    with pytest.raises(VersionError, match="version 9, this program speaks 2"):
        frames.decode(bytes(frame), source="test")


def test_a_payload_that_contradicts_its_header_cannot_be_encoded() -> None:
    header, payload = frames.decode(example(), source="test")
    with pytest.raises(CiphertextError):
        frames.encode(header, bytes(payload)[:-1])


def of_kind(kind: FrameKind, **fields: object) -> FrameHeader:
    return FrameHeader.model_validate(
        {
            "kind": kind,
            "run_id": "r" * 16,
            "round_number": 10**9,
            "label": "l" * 200,
            "context": DIGEST,
            "count": 0,
            "item_bytes": 1,
            **fields,
        }
    )


def test_a_header_holds_the_commitments_of_the_largest_consortium() -> None:
    assert MOST_COMMITMENTS == MAXIMUM_BANKS
    header = of_kind(FrameKind.PRODUCT, commitments=[DIGEST] * MOST_COMMITMENTS)
    frame = frames.encode(header, b"")
    assert frames.decode(frame, source="test")[0] == header
    with pytest.raises(ValidationError, match="at most 1024 items"):
        of_kind(FrameKind.PRODUCT, commitments=[DIGEST] * (MOST_COMMITMENTS + 1))


@pytest.mark.parametrize("kind", FrameKind)
def test_commitments_are_where_they_belong_and_nowhere_else(kind: FrameKind) -> None:
    needed = {
        FrameKind.CONTRIBUTION: {"commitment": DIGEST},
        FrameKind.PRODUCT: {"commitments": [DIGEST, DIGEST]},
        FrameKind.OPENING: {},
    }
    of_kind(kind, **needed[kind])
    every: dict[str, object] = {key: value for one in needed.values() for key, value in one.items()}
    for name, value in every.items():
        wrong = {**needed[kind], name: None if name in needed[kind] else value}
        with pytest.raises(ValidationError, match="no other frame has"):
            of_kind(kind, **wrong)
    for damaged in ("A" * 64, "0" * 63, "", 7):
        if needed[kind]:
            (name,) = needed[kind]
            with pytest.raises(ValidationError):
                of_kind(kind, **{name: damaged if name == "commitment" else [DIGEST, damaged]})
