"""Frames of a round: what is checked before it is stored, and the running product.

Only public operations: ciphertexts are multiplied modulo N^2 and cut into shards.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce

from fraudfed.errors import CiphertextError, ForbiddenError, ProtocolError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.messages import PROTOCOL_VERSION, FrameHeader, FrameKind, PublicKeyMessage

_SOURCE = "request body"


@lru_cache(maxsize=64)
def public_key(message: PublicKeyMessage, *, insecure_allow_small_keys: bool = False) -> PublicKey:
    """Return the key of a run.

    Raises
    ------
    KeyMaterialError
        If the key is damaged, too small, or has another fingerprint than announced.
    """
    return PublicKey.from_hex(
        {
            "n": message.n,
            "hs": message.hs,
            "alpha_bits": message.alpha_bits,
            "fingerprint": message.fingerprint,
        },
        insecure_allow_small_key=insecure_allow_small_keys,
    )


def read_contribution(
    body: bytes, *, key: PublicKey, run_id: str, round_number: int, bank: str
) -> tuple[FrameHeader, CiphertextVector]:
    """Split the frame of a contribution; the values of the ciphertexts are checked separately.

    Raises
    ------
    ProtocolError
        If it is no frame, or of another run, round or kind than its address says.
    ForbiddenError
        If it names another bank as its sender.
    CiphertextError
        If the ciphertexts are not as long as the run's key makes them.
    """
    header, payload = frames.decode(body, source=_SOURCE)
    _check_address(
        header, FrameKind.CONTRIBUTION, run_id=run_id, round_number=round_number, bank=bank
    )
    if header.item_bytes != key.ciphertext_bytes:
        raise CiphertextError(
            f"{_SOURCE}: ciphertexts are {header.item_bytes} bytes wide, expected "
            f"{key.ciphertext_bytes} for the run's {key.key_bits}-bit key; they are malformed or "
            "made under another key"
        )
    return header, CiphertextVector(key, bytes(payload))


def read_opening(body: bytes, *, run_id: str, round_number: int, bank: str) -> FrameHeader:
    """Return the header of an opening; its box is sealed and stays so.

    Raises
    ------
    ProtocolError
        If it is no frame, or of another run, round or kind than its address says.
    ForbiddenError
        If it names another bank as its sender.
    """
    header, _ = frames.decode(body, source=_SOURCE)
    _check_address(header, FrameKind.OPENING, run_id=run_id, round_number=round_number, bank=bank)
    if header.item_bytes != 0:
        raise ProtocolError(
            f"{_SOURCE}: an opening with item_bytes {header.item_bytes}, expected 0; openings "
            "travel only as one sealed box"
        )
    return header


class Factors:
    """Contributions that are multiplied into a round together, in one step.

    Their own product is made once, however often the running one has changed meanwhile: what
    several worker processes have in hand is multiplied at the same time, and only that last
    multiplication is done by one after the other.
    """

    def __init__(self) -> None:
        self._made: tuple[tuple[int, ...], CiphertextVector] | None = None

    def into(self, running: bytes | None, factors: Sequence[CiphertextVector]) -> bytes:
        """Return the running product (None before the first) times all factors, at least one."""
        which = tuple(map(id, factors))
        if self._made is None or self._made[0] != which:
            self._made = which, reduce(CiphertextVector.product, factors)
        together = self._made[1]
        if running is None:
            return together.data
        return CiphertextVector(together.public_key, running).product(together).data


def product_frame(
    product: CiphertextVector,
    *,
    run_id: str,
    round_number: int,
    label: str,
    context: str,
    commitments: tuple[str, ...],
    shard: int,
    n_shards: int,
) -> bytes:
    """Return the frame with ciphertexts ``j`` of the product with ``j mod n_shards == shard``.

    Parameters
    ----------
    commitments : tuple of str
        Of all contributions, in the order of the banks.
    """
    part = product.shard(shard, n_shards)
    header = FrameHeader(
        protocol_version=PROTOCOL_VERSION,
        kind=FrameKind.PRODUCT,
        run_id=run_id,
        round_number=round_number,
        label=label,
        context=context,
        count=len(part),
        item_bytes=product.public_key.ciphertext_bytes,
        commitments=commitments,
    )
    return frames.encode(header, part.data)


def _check_address(
    header: FrameHeader, kind: FrameKind, *, run_id: str, round_number: int, bank: str
) -> None:
    got = (header.kind, header.run_id, header.round_number)
    expected = (kind, run_id, round_number)
    if got != expected:
        raise ProtocolError(
            f"{_SOURCE}: frame is a {header.kind} of run {header.run_id!r} round "
            f"{header.round_number}, but it was sent to the {kind}s of run {run_id!r} round "
            f"{round_number}"
        )
    if header.bank != bank:
        raise ForbiddenError(
            f"{_SOURCE}: frame names {header.bank!r} as its sender, but the token is {bank!r}'s"
        )
