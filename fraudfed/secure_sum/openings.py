"""What a bank reveals: its opened shard and its seed, signed, to the other members alone.

A box is ``nonce || ChaCha20-Poly1305(key, nonce, values || seed || signature, context || shard)``
(RFC 8439): values as residues modulo N of fixed width, still under the self masks; a key derived
from the consortium secret and the context; an Ed25519 signature (RFC 8032) of the opener over
context, commitments, shard, values and seed. Law: ``unbox(box(x)) = x``; of another context, shard
or secret nothing opens, and no member can make the box of another.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fraudfed.errors import KeyMaterialError
from fraudfed.paillier.keys import PublicKey
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.derivation import derive_key
from fraudfed.secure_sum.faults import SumFault, sum_error
from fraudfed.secure_sum.masks.self_masks import (
    SEED_BYTES,
    commitment_to,
    commitments_digest,
    is_committed,
)

#: RFC 8439: a 96-bit nonce in front and a 128-bit tag behind.
_NONCE_BYTES = 12
_TAG_BYTES = 16
#: RFC 8032.
_SIGNATURE_BYTES = 64
BOX_OVERHEAD_BYTES = _NONCE_BYTES + SEED_BYTES + _SIGNATURE_BYTES + _TAG_BYTES
_SIGNED_DOMAIN = b"fraudfed opened shard v1\0"


class Signer(Protocol):
    """What signs as a bank: ``fraudfed.consortium.identity.Identity``."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of ``data``."""
        ...


@dataclass(frozen=True, slots=True)
class Revealed:
    """What one bank revealed; authentic as of *a* member until its signature is checked.

    Attributes
    ----------
    shard : int
    values : list of int
        Plaintexts of the shard, in [0, N); all self masks are on them.
    seed : bytes
    values_digest, signature : bytes
        SHA-256 of the values as they stand in the box, and what the box says is the signature.
    """

    shard: int
    values: list[int] = field(repr=False)
    seed: bytes = field(repr=False)
    values_digest: bytes
    signature: bytes = field(repr=False)


def box(
    opened: Sequence[int],
    seed: bytes,
    signer: Signer,
    secret: bytes,
    public_key: PublicKey,
    context: RoundContext,
    *,
    shard: int,
    commitments: Sequence[str],
) -> bytes:
    """Sign and seal the plaintexts of one shard and the opener's seed."""
    width, n = public_key.plaintext_bytes, public_key.n
    values = b"".join([(plaintext % n).to_bytes(width, "big") for plaintext in opened])
    listed = commitments_digest(context, commitments)
    digest = hashlib.sha256(values).digest()
    signature = signer.sign(signed_bytes(context, listed, shard, digest, seed))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    aead = ChaCha20Poly1305(opening_key(secret, context))
    return nonce + aead.encrypt(nonce, values + seed + signature, _associated_data(context, shard))


def unbox(
    sealed: bytes | memoryview,
    secret: bytes,
    public_key: PublicKey,
    context: RoundContext,
    *,
    shard: int,
    count: int,
) -> Revealed:
    """Return what is in the box of one shard of ``count`` plaintexts; ``check`` follows.

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
    end = count * width
    values = [int.from_bytes(data[start : start + width], "big") for start in range(0, end, width)]
    if any(value >= n for value in values):
        raise sum_error(
            SumFault.OPENER,
            context.label,
            f"{bank} holds a number above the modulus; that bank runs other software",
        )
    return Revealed(
        shard=shard,
        values=values,
        seed=data[end : end + SEED_BYTES],
        values_digest=hashlib.sha256(data[:end]).digest(),
        signature=data[end + SEED_BYTES :],
    )


def check(
    revealed: Sequence[Revealed],
    signing_keys: Mapping[str, Ed25519PublicKey],
    context: RoundContext,
    commitments: Sequence[str] | None,
) -> None:
    """Check all signatures, then all seeds against their commitments.

    Parameters
    ----------
    revealed : sequence of Revealed
        Of all banks, in the roster's order.
    signing_keys : mapping of str to Ed25519PublicKey
    commitments : sequence of str or None
        In the roster's order; None: those that the revealed seeds have, which the signatures bind
        all the same.

    Raises
    ------
    SumError
        Of kind SIGNATURE or SEED; names the banks. Without the list a bank that exchanged its seed
        cannot be told from those that signed for the one before: then all whose signature is wrong
        are named.
    """
    roster, label = context.roster, context.label
    known = commitments is not None
    if commitments is None:
        commitments = [commitment_to(one.seed, context, bank=roster[one.shard]) for one in revealed]
    listed = commitments_digest(context, commitments)
    forged = [
        repr(roster[one.shard])
        for one in revealed
        if not _is_signed(one, signing_keys[roster[one.shard]], context, listed)
    ]
    if forged:
        raise sum_error(
            SumFault.SIGNATURE,
            label,
            f"opening of bank {', '.join(forged)}: expected its signature over these values, this "
            "seed and the round's commitments; another member forged it, or banks were told "
            "different commitments"
            + ("" if known else ", or one of the others revealed another seed than it sealed with"),
        )
    exchanged = [
        repr(roster[one.shard])
        for one, commitment in zip(revealed, commitments, strict=True)
        if not is_committed(one.seed, context, commitment, bank=roster[one.shard])
    ]
    if exchanged:
        raise sum_error(
            SumFault.SEED,
            label,
            f"bank {', '.join(exchanged)} signed another seed than it committed to when it "
            "contributed; it runs other software, or means harm",
        )


def signed_bytes(
    context: RoundContext, listed: bytes, shard: int, values_digest: bytes, seed: bytes
) -> bytes:
    """Return what an opener signs; every part has a fixed length."""
    place = shard.to_bytes(4, "big")
    return _SIGNED_DOMAIN + bytes.fromhex(context.digest) + listed + place + values_digest + seed


def load_signing_keys(
    signing_keys: Mapping[str, str], roster: Sequence[str]
) -> dict[str, Ed25519PublicKey]:
    """Return the keys that boxes are checked with.

    Raises
    ------
    KeyMaterialError
        If they are not of exactly the roster's banks, or one is no Ed25519 public key.
    """
    if set(signing_keys) != set(roster):
        raise KeyMaterialError(
            f"signing keys are of {', '.join(sorted(signing_keys)) or 'nobody'}, expected of "
            f"{', '.join(sorted(roster))}: all banks of the roster"
        )
    keys = {}
    for name, key in signing_keys.items():
        try:
            keys[name] = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        except ValueError as error:
            raise KeyMaterialError(
                f"signing key of {name!r} is {key!r}, expected an Ed25519 public key, 32 bytes in "
                "hexadecimal"
            ) from error
    return keys


def opening_key(secret: bytes, context: RoundContext) -> bytes:
    """Derive the key of one context's openings."""
    return derive_key(secret, "opening", bytes.fromhex(context.digest))


def centred(residue: int, n: int) -> int:
    """Return the representative modulo an odd ``n`` in ``-(n - 1) / 2 .. (n - 1) / 2``."""
    residue %= n
    return residue - n if residue > n // 2 else residue


def _is_signed(one: Revealed, key: Ed25519PublicKey, context: RoundContext, listed: bytes) -> bool:
    data = signed_bytes(context, listed, one.shard, one.values_digest, one.seed)
    try:
        key.verify(one.signature, data)
    except InvalidSignature:
        return False
    return True


def _associated_data(context: RoundContext, shard: int) -> bytes:
    return bytes.fromhex(context.digest) + shard.to_bytes(4, "big")
