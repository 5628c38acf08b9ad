"""Binary frame: a checked JSON header, then raw bytes. Ciphertexts are never JSON or base64.

Layout, integers big-endian::

    magic   4 bytes   b"FFED"
    version 1 byte    PROTOCOL_VERSION
    length  4 bytes   length of the header in bytes
    header  length    JSON of FrameHeader, UTF-8
    payload           the rest: count * item_bytes raw bytes, or one AEAD box when item_bytes is 0

Law: ``decode(encode(header, payload)) == (header, payload)``; anything else is an error.
"""

import struct

from fraudfed.errors import CiphertextError, ProtocolError, VersionError
from fraudfed.wire.messages import PROTOCOL_VERSION, FrameHeader, parse

_MAGIC = b"FFED"
_PREFIX = struct.Struct(">4sBI")
_LENGTH = struct.Struct(">Q")
#: A header has a few hundred bytes, that of a product 67 more for each bank, of which there are
#: 1,024 at most; a larger one is refused.
MAX_HEADER_BYTES = 96 * 1024


def encode(header: FrameHeader, payload: bytes | memoryview) -> bytes:
    """Join header and payload into one frame.

    Raises
    ------
    CiphertextError
        If the payload's length differs from what the header says.
    """
    _check_payload_length(header, len(payload), source="frame to send")
    text = header.model_dump_json().encode()
    return b"".join((_PREFIX.pack(_MAGIC, PROTOCOL_VERSION, len(text)), text, payload))


def decode(frame: bytes | memoryview, *, source: str) -> tuple[FrameHeader, memoryview]:
    """Split one frame; the payload is a view, not a copy.

    Raises
    ------
    VersionError
        If the frame has another protocol version.
    CiphertextError
        If the payload's length differs from what the header says.
    ProtocolError
        If the bytes are not a frame, or are cut off.
    """
    view = memoryview(frame)
    if len(view) < _PREFIX.size:
        raise ProtocolError(
            f"{source}: a frame has {len(view)} bytes, expected at least {_PREFIX.size}; "
            "the body was cut off or is not a fraudfed frame"
        )
    magic, version, length = _PREFIX.unpack(view[: _PREFIX.size])
    if magic != _MAGIC:
        raise ProtocolError(
            f"{source}: frame starts with {magic!r}, expected {_MAGIC!r}; not a fraudfed frame"
        )
    if version != PROTOCOL_VERSION:
        raise VersionError(
            f"{source}: frame is of protocol version {version}, this program speaks "
            f"{PROTOCOL_VERSION}; use the same fraudfed release on both sides"
        )
    if length > MAX_HEADER_BYTES or _PREFIX.size + length > len(view):
        raise ProtocolError(
            f"{source}: frame header of {length} bytes does not fit into {len(view)} bytes; "
            "the body was cut off"
        )
    end = _PREFIX.size + length
    header = parse(FrameHeader, bytes(view[_PREFIX.size : end]), source=source)
    payload = view[end:]
    _check_payload_length(header, len(payload), source=source)
    return header, payload


def encode_many(frames: list[bytes]) -> bytes:
    """Join frames, each preceded by its length in 8 bytes."""
    return b"".join(part for frame in frames for part in (_LENGTH.pack(len(frame)), frame))


def decode_many(body: bytes, *, source: str) -> list[tuple[FrameHeader, memoryview]]:
    """Split the bytes that ``encode_many`` joined; raises as ``decode`` does."""
    view = memoryview(body)
    frames: list[tuple[FrameHeader, memoryview]] = []
    while view:
        if len(view) < _LENGTH.size:
            raise ProtocolError(f"{source}: {len(view)} stray bytes behind the last frame")
        (length,) = _LENGTH.unpack(view[: _LENGTH.size])
        view = view[_LENGTH.size :]
        if length > len(view):
            raise ProtocolError(
                f"{source}: a frame of {length} bytes is announced, {len(view)} are left; "
                "the body was cut off"
            )
        frames.append(decode(view[:length], source=source))
        view = view[length:]
    return frames


def _check_payload_length(header: FrameHeader, actual: int, *, source: str) -> None:
    if header.item_bytes == 0:
        return
    expected = header.count * header.item_bytes
    if actual != expected:
        raise CiphertextError(
            f"{source}: {actual} bytes of ciphertexts, expected {header.count} x "
            f"{header.item_bytes} = {expected}; the array is truncated or malformed"
        )
