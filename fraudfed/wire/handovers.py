"""What an entrant of a generation gets: a sealed handover with the signatures over it.

::

    length of the head (4 bytes, big-endian)
    head: ``HandoverSignatures`` as JSON
    the handover, as a bank of the generation has sealed it
"""

from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import HandoverSignatures, parse

_LENGTH_BYTES = 4


def encode(signatures: HandoverSignatures, content: bytes) -> bytes:
    """Put the signatures in front of a sealed handover."""
    head = signatures.model_dump_json().encode()
    return len(head).to_bytes(_LENGTH_BYTES, "big") + head + content


def decode(data: bytes, *, source: str) -> tuple[HandoverSignatures, bytes]:
    """Return the signatures and the sealed handover.

    Parameters
    ----------
    source : str
        Where the bytes are from, for error texts.

    Raises
    ------
    ProtocolError
        If the bytes are cut off, or the head is no ``HandoverSignatures``.
    """
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    if len(data) < max(end, _LENGTH_BYTES):
        raise ProtocolError(
            f"{source}: a handover of {len(data)} bytes, expected at least {end}; it is cut off"
        )
    return parse(HandoverSignatures, data[_LENGTH_BYTES:end], source=source), data[end:]
