"""The aggregator's audit log and its health."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from fraudfed.wire.messages.base import Message, PublicKeyHex, Sha256, SignatureHex


class AuditStatus(StrEnum):
    """The outcome of an audited request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class AuditEntry(Message):
    """One line of the aggregator's audit log.

    ``hash`` is SHA-256 of ``documents.audit_entry_bytes``, which cover every other
    field but the signature; ``signature`` is the audit key's over the same bytes.
    """

    seq: Annotated[int, Field(ge=1, lt=2**63)]
    """1, 2, 3, ... without a gap."""
    time: Annotated[int, Field(ge=0, lt=2**63)]
    kind: Annotated[str, Field(min_length=1, max_length=100)]
    """The request, for example ``contribution`` or ``run-created``."""
    actor: Annotated[str, Field(max_length=200)]
    """``bank:<name>``, ``operator:<token name>``, ``viewer:<token name>``, or ``anonymous``."""
    subject: Annotated[str, Field(max_length=500)]
    """For example ``run/<id>``, ``run/<id>/round/<n>``, ``bank/<name>``, ``epoch/<n>``."""
    status: AuditStatus
    detail: Annotated[str, Field(max_length=4000)]
    body_sha256: Sha256 | None = None
    """Of the request's body; None if it had none."""
    previous_hash: Sha256
    """The hash of the entry before; 64 zeros in the first."""
    hash: Sha256
    signature: SignatureHex


class AuditLog(Message):
    """Entries of the audit log, in order of ``seq``."""

    entries: tuple[AuditEntry, ...]


class AuditKey(Message):
    """The public key that the aggregator signs its audit log with (Ed25519)."""

    audit_key: PublicKeyHex


class Health(Message):
    """The aggregator answers and its store can be read."""

    status: Literal["ok"]
    version: str
