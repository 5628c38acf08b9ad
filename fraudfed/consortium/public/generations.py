"""What the banks of a generation sign: their ephemeral keys, and what they hand to entrants.

Documents as in ``documents``: the exact bytes, and how each signature over them is checked.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fraudfed.consortium.public.documents import Signer, canonical, is_signed_by, roster_bytes
from fraudfed.errors import AuthError, KeyMaterialError
from fraudfed.wire.messages import MemberKeys

#: Order of the field of Curve25519, 2^255 - 19 (RFC 7748, section 4.1).
_FIELD_PRIME: Final = 2**255 - 19


def ephemeral_key_bytes(*, run_id: str, epoch: int, generation: int, bank: str, key: str) -> bytes:
    """Canonical bytes of a bank's ephemeral X25519 key of one generation of a run."""
    return canonical("ephemeral key", run_id, epoch, generation, bank, key)


def sign_ephemeral_key(
    signer: Signer, *, run_id: str, epoch: int, generation: int, bank: str, key: str
) -> str:
    """Return a bank's signature over its ephemeral key, 64 bytes in hexadecimal."""
    data = ephemeral_key_bytes(
        run_id=run_id, epoch=epoch, generation=generation, bank=bank, key=key
    )
    return signer.sign(data).hex()


def generation_digest(
    members: Iterable[MemberKeys],
    *,
    run_id: str,
    epoch: int,
    generation: int,
    keys: Mapping[str, str],
) -> str:
    """SHA-256 of who takes part in a generation and under which keys, lower-case hexadecimal.

    Law: two banks compute the same only if they were told the same members, long-lived keys,
    ephemeral keys, and number of the generation. It is part of the context of every round.

    Parameters
    ----------
    members : iterable of MemberKeys
        The banks of the generation, in its order.
    keys : mapping of str to str
        Name of each of them -> its ephemeral key.

    Raises
    ------
    KeyError
        If the key of a member is missing.
    """
    listed = list(members)
    return hashlib.sha256(
        canonical(
            "generation",
            run_id,
            epoch,
            generation,
            roster_bytes(listed),
            *(keys[member.name] for member in listed),
        )
    ).hexdigest()


def handover_bytes(*, run_id: str, epoch: int, generation: int, step: int, sha256: str) -> bytes:
    """Canonical bytes that every bank that stays signs for what is handed to the entrants.

    Parameters
    ----------
    generation, step : int
        The generation, and the finished steps that it keeps.
    sha256 : str
        Of the handover as it is sealed. Every member seals the same base to the same bytes
        (``fraudfed.consortium.model_seal``), so this names the base, and to members alone.
    """
    return canonical("handover", run_id, epoch, generation, step, sha256)


def sign_handover(
    signer: Signer, *, run_id: str, epoch: int, generation: int, step: int, sha256: str
) -> str:
    """Return a bank's signature over a handover, 64 bytes in hexadecimal."""
    data = handover_bytes(
        run_id=run_id, epoch=epoch, generation=generation, step=step, sha256=sha256
    )
    return signer.sign(data).hex()


def check_agreement_key(key: str, *, what: str) -> None:
    """Refuse an X25519 public key that agrees on no secret, or has a second spelling.

    Parameters
    ----------
    key : str
        32 bytes in hexadecimal.
    what : str
        What it is, for the error text.

    Raises
    ------
    KeyMaterialError
        If it is a point of small order (the all-zero key among them), or not the canonical encoding
        of its coordinate (RFC 7748, section 5): the same key under two names.
    """
    data = bytes.fromhex(key)
    try:
        # The exchange itself refuses points of small order: their product with any key is zero.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(data))
    except ValueError:
        raise KeyMaterialError(
            f"{what} is {key[:80]}, a point of small order; expected an X25519 public key that was "
            "made at random"
        ) from None
    if int.from_bytes(data, "little") >= _FIELD_PRIME:
        raise KeyMaterialError(
            f"{what} is {key[:80]}, expected the canonical encoding of an X25519 public key"
        )


def verify_ephemeral_key(
    signing_key: str,
    signature: str,
    *,
    run_id: str,
    epoch: int,
    generation: int,
    bank: str,
    key: str,
) -> None:
    """Check a bank's ephemeral key of a generation, and its signature over it.

    Raises
    ------
    KeyMaterialError
        If the key is none, as ``check_agreement_key``.
    AuthError
        If the signature is not the bank's over this key, run and generation.
    """
    check_agreement_key(key, what=f"run {run_id}: ephemeral key of {bank}")
    data = ephemeral_key_bytes(
        run_id=run_id, epoch=epoch, generation=generation, bank=bank, key=key
    )
    if not is_signed_by(signing_key, data, signature):
        raise AuthError(
            f"run {run_id}: the ephemeral key of {bank} for generation {generation} is not signed "
            "by it; the key was exchanged on its way, or is of another generation or run"
        )


def verify_handover_signature(
    signing_key: str,
    signature: str,
    *,
    bank: str,
    run_id: str,
    epoch: int,
    generation: int,
    step: int,
    sha256: str,
) -> None:
    """Check a bank's signature over what is handed to the entrants of a generation.

    Raises
    ------
    AuthError
        If it is not the bank's over these bytes, generation and step.
    """
    data = handover_bytes(
        run_id=run_id, epoch=epoch, generation=generation, step=step, sha256=sha256
    )
    if not is_signed_by(signing_key, data, signature):
        raise AuthError(
            f"run {run_id}: the handover to generation {generation} is not signed by {bank}, which "
            "stays in it; the banks continue from different states, or one of them is at fault"
        )
