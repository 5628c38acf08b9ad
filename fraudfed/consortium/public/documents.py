"""What members sign: the exact bytes of every document, and how each signature is checked.

All of it is public: the aggregator checks with it, the banks check with it, and the module imports
no private key. A document is a domain (so that no signature of one kind is one of another kind),
followed by its fields, each behind its length in eight bytes. Law: two documents of a kind have the
same bytes exactly when all their fields are equal; no JSON text is ever signed.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Protocol, TypedDict, Unpack, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fraudfed.errors import AuthError, KeyMaterialError, ProtocolError
from fraudfed.wire.messages import (
    AuditEntry,
    AuditStatus,
    KeyAcknowledgement,
    KeyEpoch,
    MemberKeys,
    MemberRemoval,
    PublicKeyMessage,
)

#: ``previous_hash`` of the first entry of an audit log.
FIRST_PREVIOUS_HASH: Final = "0" * 64

#: Order of the Edwards curve's base field, 2^255 - 19 (RFC 8032, section 5.1).
_FIELD_PRIME: Final = 2**255 - 19
#: y-coordinates of the eight points of small order. A public key of small order accepts
#: signatures that nobody made; Curve25519 has cofactor 8 (RFC 7748, section 4.1).
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    }
)
#: Bits of y; the highest bit of the encoding is the sign of x.
_Y_MASK: Final = 2**255 - 1

_HEX_DIGITS: Final = frozenset("0123456789abcdef")


class Signer(Protocol):
    """A holder of an Ed25519 key: an ``Identity``, or the aggregator's audit key."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64-byte signature over ``data``."""


class AuditFields(TypedDict):
    """What an audit entry says, as ``AuditEntry``: all but its hash and its signature."""

    seq: int
    time: int
    kind: str
    actor: str
    subject: str
    status: AuditStatus
    detail: str
    body_sha256: str | None
    previous_hash: str


def _document(domain: str, *fields: bytes | str | int) -> bytes:
    parts = [f"fraudfed {domain} v1".encode() + b"\0"]
    for field in fields:
        if isinstance(field, int):
            data = field.to_bytes(8, "big", signed=True)
        else:
            data = field.encode() if isinstance(field, str) else field
        parts.append(len(data).to_bytes(8, "big"))
        parts.append(data)
    return b"".join(parts)


def canonical(domain: str, *fields: bytes | str | int) -> bytes:
    """Return a document of a domain of its own, with these fields."""
    return _document(domain, *fields)


def roster_bytes(members: Iterable[MemberKeys]) -> bytes:
    """Canonical bytes of names and keys, in the order given."""
    listed = list(members)
    return _document(
        "roster",
        len(listed),
        *(part for m in listed for part in (m.name, m.signing_key, m.agreement_key)),
    )


def roster_digest(members: Iterable[MemberKeys]) -> str:
    """SHA-256 of ``roster_bytes``, lower-case hexadecimal."""
    return hashlib.sha256(roster_bytes(members)).hexdigest()


def sealed_key_bytes(
    epoch: int, steward: str, roster: Iterable[MemberKeys], key_fingerprint: str, recipient: str
) -> bytes:
    """Canonical bytes that a sealed key package is bound to (``info`` of HPKE)."""
    return _document(
        "sealed key package", epoch, steward, roster_bytes(roster), key_fingerprint, recipient
    )


def _public_key_bytes(key: PublicKeyMessage) -> bytes:
    hs = "" if key.hs is None else key.hs
    alpha_bits = -1 if key.alpha_bits is None else key.alpha_bits
    return _document("public key", key.n, hs, alpha_bits, key.fingerprint)


def key_epoch_bytes(key_epoch: KeyEpoch) -> bytes:
    """Canonical bytes of a key epoch: everything but its signature."""
    return _document(
        "key epoch",
        key_epoch.epoch,
        key_epoch.steward,
        roster_bytes(key_epoch.roster),
        _public_key_bytes(key_epoch.public_key),
        len(key_epoch.sealed),
        # The text and not what it decodes to: base64 has more than one text for the same bytes.
        *(part for box in key_epoch.sealed for part in (box.name, box.box)),
    )


def key_epoch_digest(key_epoch: KeyEpoch) -> str:
    """SHA-256 of ``key_epoch_bytes``, lower-case hexadecimal."""
    return hashlib.sha256(key_epoch_bytes(key_epoch)).hexdigest()


def acknowledgement_bytes(*, epoch: int, bank: str, digest: str) -> bytes:
    """Canonical bytes of a bank's acknowledgement of a key epoch."""
    return _document("key acknowledgement", epoch, bank, digest)


def removal_bytes(*, removed: MemberKeys, signer: str) -> bytes:
    """Canonical bytes that a member signs to say that another one has left."""
    return _document(
        "member removal", removed.name, removed.signing_key, removed.agreement_key, signer
    )


def sign_removal(identity: Signer, *, removed: MemberKeys, signer: str) -> MemberRemoval:
    """Say, as member ``signer``, that ``removed`` has left."""
    data = removal_bytes(removed=removed, signer=signer)
    return MemberRemoval(removed=removed, signer=signer, signature=identity.sign(data).hex())


def model_bytes(*, run_id: str, plain_sha256: str) -> bytes:
    """Bytes that every bank signs for the model that a run ended with.

    Raises
    ------
    ProtocolError
        If the hash is not 64 hexadecimal digits or the run has a zero byte in its name: the bytes
        are unambiguous only because neither occurs.
    """
    if "\0" in run_id or len(plain_sha256) != 64 or not set(plain_sha256) <= _HEX_DIGITS:
        raise ProtocolError(
            f"model of run {run_id!r} has hash {plain_sha256[:80]!r}, expected SHA-256 in "
            "lower-case hexadecimal"
        )
    return b"fraudfed model v1\0" + run_id.encode() + b"\0" + plain_sha256.encode()


def audit_entry_bytes(entry: AuditEntry) -> bytes:
    """Canonical bytes of an audit entry: everything but its hash and its signature."""
    return _audit_document(
        seq=entry.seq,
        time=entry.time,
        kind=entry.kind,
        actor=entry.actor,
        subject=entry.subject,
        status=entry.status,
        detail=entry.detail,
        body_sha256=entry.body_sha256,
        previous_hash=entry.previous_hash,
    )


def _audit_document(**fields: Unpack[AuditFields]) -> bytes:
    return _document(
        "audit entry",
        fields["seq"],
        fields["time"],
        fields["kind"],
        fields["actor"],
        fields["subject"],
        fields["status"].value,
        fields["detail"],
        fields["body_sha256"] or "",
        fields["previous_hash"],
    )


def signed_audit_fields(
    signer: Signer, **fields: Unpack[AuditFields]
) -> dict[str, str | int | None]:
    """Return the fields of the entry that follows the one with hash ``previous_hash``.

    For the one that writes the log, who knows that they are within the bounds of ``AuditEntry``.
    """
    data = _audit_document(**fields)
    said = cast("dict[str, str | int | None]", fields)
    return said | {
        "status": fields["status"].value,
        "hash": hashlib.sha256(data).hexdigest(),
        "signature": signer.sign(data).hex(),
    }


def sign_audit_entry(signer: Signer, **fields: Unpack[AuditFields]) -> AuditEntry:
    """Make the entry that follows the one with hash ``previous_hash``."""
    return AuditEntry.model_validate(signed_audit_fields(signer, **fields))


def is_signed_by(signing_key: str, data: bytes, signature: str) -> bool:
    """Whether ``signature`` is that of ``signing_key`` over ``data``; both in hexadecimal.

    Raises
    ------
    KeyMaterialError
        If ``signing_key`` is no usable Ed25519 public key.
    """
    key = load_signing_key(signing_key)
    try:
        key.verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def check_member_keys(member: MemberKeys) -> None:
    """Refuse public keys that cannot identify anybody.

    Raises
    ------
    KeyMaterialError
        If the signing key is not a canonically encoded point, or if one of the keys is a point of
        small order: such a signing key accepts signatures that nobody made, and such an agreement
        key agrees on a number that everybody knows.
    """
    load_signing_key(member.signing_key)
    try:
        # The exchange itself refuses points of small order: their product with any key is zero.
        X25519PrivateKey.generate().exchange(
            X25519PublicKey.from_public_bytes(bytes.fromhex(member.agreement_key))
        )
    except ValueError:
        raise KeyMaterialError(
            f"agreement key of {member.name} is {member.agreement_key}, a point of small order; "
            "expected an X25519 public key that was made at random"
        ) from None


@lru_cache(maxsize=1024)
def load_signing_key(text: str) -> Ed25519PublicKey:
    """Read an Ed25519 public key from hexadecimal.

    Raises
    ------
    KeyMaterialError
        If it is no point, not canonically encoded, or a point of small order.
    """
    try:
        data = bytes.fromhex(text)
        key = Ed25519PublicKey.from_public_bytes(data)
    except ValueError:
        raise KeyMaterialError(
            f"signing key is {text[:80]!r}, expected an Ed25519 public key, 32 bytes in hexadecimal"
        ) from None
    y = int.from_bytes(data, "little") & _Y_MASK
    if y >= _FIELD_PRIME or y in _SMALL_ORDER_Y:
        raise KeyMaterialError(
            f"signing key is {text}, a point of small order or not canonically encoded; expected "
            "an Ed25519 public key that was made at random"
        )
    return key


def verify_key_epoch(key_epoch: KeyEpoch) -> None:
    """Check the steward's signature with the steward's key in the epoch's own roster.

    That the roster is the right one is the caller's to check: against its pins (a bank, see
    ``fraudfed.consortium.key_ceremony``) or against its members (the aggregator).

    Raises
    ------
    KeyMaterialError
        If the signature is not the steward's over exactly this epoch.
    """
    steward = next(member for member in key_epoch.roster if member.name == key_epoch.steward)
    if not is_signed_by(steward.signing_key, key_epoch_bytes(key_epoch), key_epoch.signature):
        raise KeyMaterialError(
            f"key epoch {key_epoch.epoch}: signature is not that of its steward "
            f"{key_epoch.steward} over this epoch; it was altered or made by somebody else"
        )


def verify_acknowledgement(acknowledgement: KeyAcknowledgement, key_epoch: KeyEpoch) -> None:
    """Check that a member of the epoch's roster acknowledged exactly this epoch.

    Raises
    ------
    KeyMaterialError
        If it names another epoch or digest, its bank is no member, or the signature is not the
        bank's.
    """
    bank, number = acknowledgement.bank, key_epoch.epoch
    member = next((m for m in key_epoch.roster if m.name == bank), None)
    if member is None:
        raise KeyMaterialError(
            f"key epoch {number}: acknowledged by {bank}, which is not in its roster; expected "
            f"one of {', '.join(m.name for m in key_epoch.roster)}"
        )
    digest = key_epoch_digest(key_epoch)
    if (acknowledgement.epoch, acknowledgement.digest) != (number, digest):
        raise KeyMaterialError(
            f"key epoch {number} with digest {digest}: {bank} acknowledged epoch "
            f"{acknowledgement.epoch} with digest {acknowledgement.digest}; it was shown another"
        )
    data = acknowledgement_bytes(epoch=number, bank=bank, digest=digest)
    if not is_signed_by(member.signing_key, data, acknowledgement.signature):
        raise KeyMaterialError(
            f"key epoch {number}: signature of the acknowledgement is not that of {bank}; it was "
            "altered or made by somebody else"
        )


def verify_removal(removal: MemberRemoval, signing_key: str) -> None:
    """Check that the signer of a removal made it.

    Raises
    ------
    KeyMaterialError
        If a member would remove itself, or the signature is not the signer's over this removal.
    """
    name, signer = removal.removed.name, removal.signer
    if name == signer:
        raise KeyMaterialError(
            f"removal of {name}: is signed by {name} itself; expected the signature of another "
            "member, as its own does not count"
        )
    data = removal_bytes(removed=removal.removed, signer=signer)
    if not is_signed_by(signing_key, data, removal.signature):
        raise KeyMaterialError(
            f"removal of {name}: signature is not that of {signer}; it was altered or made by "
            "somebody else"
        )


def verify_model_signature(
    signing_key: str, signature: str, *, bank: str, run_id: str, plain_sha256: str
) -> None:
    """Check a bank's signature over the model of a run.

    Raises
    ------
    AuthError
        If the signature is not the bank's over this run and model.
    """
    if not is_signed_by(
        signing_key, model_bytes(run_id=run_id, plain_sha256=plain_sha256), signature
    ):
        raise AuthError(
            f"run {run_id}: model signature is not that of {bank} over model {plain_sha256}; sign "
            "the plain model's hash with the key that the bank enrolled with"
        )


def verify_audit_entry(
    entry: AuditEntry, audit_key: str, *, previous: AuditEntry | None = None
) -> None:
    """Check one entry of an audit log, and that it follows ``previous`` if that is given.

    An entry with number 1 is always checked to be the first. A reader who is shown only some
    entries gives ``previous`` where the numbers are consecutive.

    Raises
    ------
    ProtocolError
        If the entry was altered, was not signed with the audit key, or does not follow.
    """
    where = f"audit entry {entry.seq}"
    data = audit_entry_bytes(entry)
    if entry.hash != hashlib.sha256(data).hexdigest():
        raise ProtocolError(f"{where}: its hash is not that of its content; it was altered")
    if not is_signed_by(audit_key, data, entry.signature):
        raise ProtocolError(
            f"{where}: its signature is not that of audit key {audit_key}; it was altered or "
            "written by another aggregator"
        )
    if entry.seq == 1 and entry.previous_hash != FIRST_PREVIOUS_HASH:
        raise ProtocolError(f"{where}: names an entry before the first; the log was cut")
    if previous is None:
        return
    if entry.seq != previous.seq + 1:
        raise ProtocolError(
            f"{where}: follows entry {previous.seq}, expected entry {previous.seq + 1}; entries "
            "were taken out or put in"
        )
    if entry.previous_hash != previous.hash:
        raise ProtocolError(
            f"{where}: does not continue entry {previous.seq}, which has hash {previous.hash}; "
            "the log was rewritten"
        )
