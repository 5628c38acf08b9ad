"""Members with real keys for the tests of the consortium."""

import base64
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from fraudfed.consortium.identity import HPKE_SUITE, Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import key_epoch_bytes, sealed_key_bytes
from fraudfed.wire.messages import KeyEpoch, MemberKeys, PublicKeyMessage, SealedKey

NAMES = ("alder", "birch", "cedar")


class Members:
    """Identities by name, and the roster of all of them."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.identities = {name: Identity.generate() for name in sorted(names)}

    def __getitem__(self, name: str) -> Identity:
        return self.identities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.identities)

    @property
    def roster(self) -> tuple[MemberKeys, ...]:
        return tuple(identity.member(name) for name, identity in self.identities.items())

    @property
    def pinned(self) -> dict[str, MemberKeys]:
        return {member.name: member for member in self.roster}

    def seal(self, package: KeyPackage, *, epoch: int = 1, steward: str = "alder") -> KeyEpoch:
        return seal_key_package(
            package,
            epoch=epoch,
            steward=self[steward],
            steward_name=steward,
            roster=self.roster,
        )


def forged_epoch(
    members: Members, package: KeyPackage, *, signer: Identity, steward: str = "alder"
) -> KeyEpoch:
    """Make an epoch that is right in all but its signature, as an aggregator with a key of its own.

    Sealing needs public keys only, so the boxes open.
    """
    public = PublicKeyMessage.model_validate(package.public_key.to_hex())
    sealed = []
    for member in members.roster:
        info = sealed_key_bytes(1, steward, members.roster, public.fingerprint, member.name)
        key = X25519PublicKey.from_public_bytes(bytes.fromhex(member.agreement_key))
        box = HPKE_SUITE.encrypt(package.expose_bytes(), key, info=info)
        sealed.append(SealedKey(name=member.name, box=base64.b64encode(box).decode()))
    unsigned = KeyEpoch(
        epoch=1,
        steward=steward,
        roster=members.roster,
        public_key=public,
        sealed=tuple(sealed),
        signature="0" * 128,
    )
    signature = signer.sign(key_epoch_bytes(unsigned)).hex()
    return unsigned.model_copy(update={"signature": signature})


def flip(text: str, position: int, character: str) -> str:
    """Replace one character."""
    return text[:position] + character + text[position + 1 :]
