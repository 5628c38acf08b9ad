"""Opened plaintexts on their way to the other members, through an aggregator that cannot read them.

An opening is ``nonce || ChaCha20-Poly1305(key, nonce, plaintexts, context digest || shard)``
(RFC 8439) with the plaintexts as residues modulo N of fixed width, and a key derived from the
consortium secret and the context. Law: ``unbox(box(x, s), s) = x``; of another context, shard or
secret nothing opens.
"""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fraudfed.paillier.keys import PublicKey
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.derivation import derive_key
from fraudfed.secure_sum.faults import SumFault, sum_error

#: RFC 8439: a 96-bit nonce in front and a 128-bit tag behind.
_NONCE_BYTES = 12
_TAG_BYTES = 16
BOX_OVERHEAD_BYTES = _NONCE_BYTES + _TAG_BYTES


def box(
    opened: Sequence[int],
    secret: bytes,
    public_key: PublicKey,
    context: RoundContext,
    *,
    shard: int,
) -> bytes:
    """Seal the plaintexts of one shard."""
    width, n = public_key.plaintext_bytes, public_key.n
    data = b"".join((plaintext % n).to_bytes(width, "big") for plaintext in opened)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    aead = ChaCha20Poly1305(opening_key(secret, context))
    return nonce + aead.encrypt(nonce, data, _associated_data(context, shard))


def unbox(
    sealed: bytes | memoryview,
    secret: bytes,
    public_key: PublicKey,
    context: RoundContext,
    *,
    shard: int,
    count: int,
) -> list[int]:
    """Return the ``count`` signed plaintexts of one shard.

    Raises
    ------
    SumError
        Of kind BOX or OPENER; names the bank.
    """
    bank = f"opening of bank {context.roster[shard]!r}"
    width, n = public_key.plaintext_bytes, public_key.n
    expected = count * width + BOX_OVERHEAD_BYTES
    if len(sealed) != expected:
        raise sum_error(
            SumFault.OPENER,
            context.label,
            f"{bank} has {len(sealed)} bytes, expected {expected}; it is truncated or of another "
            "round",
        )
    aead = ChaCha20Poly1305(opening_key(secret, context))
    try:
        data = aead.decrypt(
            sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(context, shard)
        )
    except InvalidTag:
        raise sum_error(
            SumFault.BOX,
            context.label,
            f"{bank} was altered, is of another round or shard, or that bank holds another key "
            "package; expected what it sealed for this round",
        ) from None
    opened = []
    for start in range(0, len(data), width):
        residue = int.from_bytes(data[start : start + width], "big")
        if residue >= n:
            raise sum_error(
                SumFault.OPENER,
                context.label,
                f"{bank} holds a number above the modulus; that bank runs other software",
            )
        opened.append(centred(residue, n))
    return opened


def opening_key(secret: bytes, context: RoundContext) -> bytes:
    """Derive the key of one context's openings."""
    return derive_key(secret, "opening", bytes.fromhex(context.digest))


def centred(residue: int, n: int) -> int:
    """Return the representative modulo an odd ``n`` in ``-(n - 1) / 2 .. (n - 1) / 2``."""
    residue %= n
    return residue - n if residue > n // 2 else residue


def _associated_data(context: RoundContext, shard: int) -> bytes:
    return bytes.fromhex(context.digest) + shard.to_bytes(4, "big")
