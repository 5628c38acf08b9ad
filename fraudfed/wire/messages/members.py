"""The members of the consortium, and how a bank joins."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from fraudfed.wire.messages.base import BankName, Message, PublicKeyHex, SignatureHex


class MemberKeys(Message):
    """The public keys of one member of the consortium."""

    name: BankName
    signing_key: PublicKeyHex
    """Ed25519: requests, key epochs, acknowledgements and models are signed with it."""
    agreement_key: PublicKeyHex
    """X25519: key packages are sealed to it, pairwise masks are agreed with it."""


def _sorted_members(members: tuple[MemberKeys, ...]) -> tuple[MemberKeys, ...]:
    names = [member.name for member in members]
    if names != sorted(set(names)):
        raise ValueError("members must be distinct and sorted by name")
    for what in ("signing_key", "agreement_key"):
        keys = [getattr(member, what) for member in members]
        if len(set(keys)) != len(keys):
            raise ValueError(f"members must have distinct keys, but two have one {what}")
    return members


#: Distinct members with distinct keys, sorted by name.
Members: TypeAlias = Annotated[
    tuple[MemberKeys, ...], Field(max_length=1000), AfterValidator(_sorted_members)
]


class InviteRequest(Message):
    """The operator invites one bank, by name."""

    name: BankName
    valid_seconds: Annotated[int, Field(ge=1, le=90 * 86_400)] = 7 * 86_400


class Invite(Message):
    """Answer to an invite request; the code is shown once, works once, and is stored hashed."""

    name: BankName
    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,128}$")]
    expires_at: int


class BankRegistration(Message):
    """An invited bank announces its keys, in a request signed with the signing key it announces."""

    name: BankName
    invite: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,128}$")]
    signing_key: PublicKeyHex
    agreement_key: PublicKeyHex


class MemberRemoval(Message):
    """One member says, signed, that another one has left the consortium.

    How many of them make it so is each bank's to decide, see ``fraudfed.consortium.trust``.
    """

    removed: MemberKeys
    signer: BankName
    signature: SignatureHex
    """Ed25519 by the signer over ``fraudfed.consortium.public.documents.removal_bytes``."""


class Roster(Message):
    """The current members as the aggregator reports them; banks compare them with their pins."""

    members: Members
    removals: Annotated[tuple[MemberRemoval, ...], Field(max_length=100_000)] = ()
    """Every removal that a member has signed here, sorted by removed bank and signer."""
