"""The consortium's keys, and their acknowledgement by the members."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from fraudfed.wire.messages.base import BankName, EpochNumber, Message, Sha256, SignatureHex
from fraudfed.wire.messages.members import Members


class PublicKeyMessage(Message):
    """A Paillier public key, integers in lower-case hexadecimal."""

    n: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=4096)]
    hs: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=8192)] | None = None
    """h^N mod N^2 of the fast scheme (Ma, Han, Lei, ACSAC 2021); None for a plain Paillier key."""
    alpha_bits: Annotated[int, Field(ge=0, le=8192)] | None = None
    """Bits of the random exponent of the fast scheme; None for a plain Paillier key."""
    fingerprint: Sha256
    """SHA-256 over the key's canonical bytes; recomputed by every reader."""


class SealedKey(Message):
    """The key package of an epoch, sealed to one member (HPKE, RFC 9180)."""

    name: BankName
    box: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=131_072)]
    """Base64 of the encapsulated key and the ciphertext."""


class KeyEpoch(Message):
    """A steward bank's key package for exactly one roster.

    ``signature`` is the steward's over ``fraudfed.consortium.public.documents.key_epoch_bytes``.
    """

    epoch: EpochNumber
    steward: BankName
    roster: Annotated[Members, Field(min_length=1)]
    public_key: PublicKeyMessage
    sealed: tuple[SealedKey, ...]
    """One box for each member, in the order of the roster."""
    signature: SignatureHex

    @model_validator(mode="after")
    def _sealed_to_the_roster(self) -> Self:
        names = [member.name for member in self.roster]
        if [box.name for box in self.sealed] != names:
            raise ValueError("sealed must hold one box for each member, in the roster's order")
        if self.steward not in names:
            raise ValueError("the steward must be a member of the roster")
        return self


class KeyAcknowledgement(Message):
    """A member opened its box of an epoch and found the announced key inside.

    ``signature`` is the bank's over ``fraudfed.consortium.public.documents.acknowledgement_bytes``.
    """

    epoch: EpochNumber
    bank: BankName
    digest: Sha256
    """``fraudfed.consortium.public.documents.key_epoch_digest`` of the epoch."""
    signature: SignatureHex


class KeyEpochState(StrEnum):
    """Life of a key epoch: pending -> active -> superseded."""

    PENDING = "pending"
    """Not all members have acknowledged."""
    ACTIVE = "active"
    """All members have acknowledged: runs may use it."""
    SUPERSEDED = "superseded"
    """A later epoch exists, or the members are no longer its roster: no new run may use it."""


class KeyEpochStatus(Message):
    """A key epoch and its acknowledgements."""

    key_epoch: KeyEpoch
    acknowledged: tuple[KeyAcknowledgement, ...]
    """Sorted by bank."""
    state: KeyEpochState
