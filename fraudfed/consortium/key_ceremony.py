"""One key package for one roster: sealed by the steward, opened and acknowledged by every member.

Law: ``open_key_epoch(seal_key_package(package, ...), ...)`` gives every member of the roster the
steward's package, and anybody else, any other roster, any altered byte and any earlier epoch is an
error. A bank that left has no box in later epochs; each epoch has a fresh Paillier key and a fresh
secret, so that nothing of an earlier epoch helps with a later one.

The boxes are HPKE (RFC 9180) in base mode, one for each member, bound to the epoch, its steward,
the whole roster, the public key and the recipient. That the steward made them is said by its
signature over all of them (``public.documents``); the aggregator only carries them.
"""

import base64
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from fraudfed.consortium.identity import HPKE_SUITE, Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import (
    acknowledgement_bytes,
    check_member_keys,
    key_epoch_bytes,
    key_epoch_digest,
    sealed_key_bytes,
    verify_key_epoch,
)
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.errors import ConflictError, FraudFedError, KeyMaterialError
from fraudfed.wire.messages import (
    KeyAcknowledgement,
    KeyEpoch,
    MemberKeys,
    PublicKeyMessage,
    SealedKey,
)

_UNSIGNED = "0" * 128


def seal_key_package(
    package: KeyPackage,
    *,
    epoch: int,
    steward: Identity,
    steward_name: str,
    roster: Sequence[MemberKeys],
) -> KeyEpoch:
    """Seal a package to each member and sign the whole.

    Parameters
    ----------
    package : KeyPackage
        Freshly generated: a package must never serve two rosters.
    epoch : int
        Number of the last epoch plus one.
    steward : Identity
    steward_name : str
    roster : sequence of MemberKeys
        From the steward's pins, sorted by name; the steward is one of them.

    Raises
    ------
    KeyMaterialError
        If the steward is not in the roster with its own keys, a member's keys are unusable, or
        the package holds a plain Paillier key.
    """
    _check_own_keys(epoch, roster, steward, steward_name)
    for member in roster:
        check_member_keys(member)
    public = PublicKeyMessage.model_validate(package.public_key.to_hex())
    data = package.expose_bytes()
    boxes = []
    for member in roster:
        info = sealed_key_bytes(epoch, steward_name, roster, public.fingerprint, member.name)
        recipient = X25519PublicKey.from_public_bytes(bytes.fromhex(member.agreement_key))
        box = HPKE_SUITE.encrypt(data, recipient, info=info)
        boxes.append(SealedKey(name=member.name, box=base64.b64encode(box).decode()))
    unsigned = KeyEpoch(
        epoch=epoch,
        steward=steward_name,
        roster=tuple(roster),
        public_key=public,
        sealed=tuple(boxes),
        signature=_UNSIGNED,
    )
    signature = steward.sign(key_epoch_bytes(unsigned)).hex()
    return unsigned.model_copy(update={"signature": signature})


def check_key_epoch(
    key_epoch: KeyEpoch, *, pinned: Mapping[str, MemberKeys], first_allowed: int = 1
) -> None:
    """Check what an aggregator serves as a key epoch, before anything in it is used.

    Parameters
    ----------
    key_epoch : KeyEpoch
    pinned : mapping of str to MemberKeys
        Every member that this bank has pinned, by name.
    first_allowed : int
        The lowest number that may be served: that of the last epoch this bank accepted.

    Raises
    ------
    KeyMaterialError
        If the epoch is older than ``first_allowed``, has a member that is not pinned, or is not
        signed by its steward.
    ConflictError
        If a member's keys are not the pinned ones.
    """
    number = key_epoch.epoch
    if number < first_allowed:
        raise KeyMaterialError(
            f"key epoch {number} was served, but this bank has accepted epoch {first_allowed}; an "
            "old key package is never taken again: ask the operator which is current"
        )
    for member in key_epoch.roster:
        pin = pinned.get(member.name)
        if pin is None:
            raise KeyMaterialError(
                f"key epoch {number}: {member.name} is in its roster, but this bank has no pin of "
                "it; fetch the roster with `bank-node roster` first"
            )
        if pin != member:
            raise ConflictError(
                f"key epoch {number}: keys of {member.name} have fingerprint {_read_out(member)}, "
                f"this bank has pinned {_read_out(pin)}; somebody is shown another roster: call "
                f"{member.name} before anything else"
            )
    verify_key_epoch(key_epoch)


def open_key_epoch(
    key_epoch: KeyEpoch,
    identity: Identity,
    name: str,
    *,
    pinned: Mapping[str, MemberKeys],
    first_allowed: int = 1,
    insecure_allow_small_key: bool = False,
) -> KeyPackage:
    """Check an epoch, unseal this bank's box, and check the package against the announced key.

    Parameters
    ----------
    key_epoch : KeyEpoch
    identity : Identity
    name : str
        This bank's name.
    pinned, first_allowed
        As in ``check_key_epoch``.
    insecure_allow_small_key : bool
        Only for tests.

    Raises
    ------
    KeyMaterialError, ConflictError
        As ``check_key_epoch``; also if this bank is not in the roster with its own keys, if its box
        does not open, or if what is in it is not the package that was announced.
    """
    number = key_epoch.epoch
    check_key_epoch(key_epoch, pinned=pinned, first_allowed=first_allowed)
    _check_own_keys(number, key_epoch.roster, identity, name)
    text = next(sealed.box for sealed in key_epoch.sealed if sealed.name == name)
    try:
        box = base64.b64decode(text, validate=True)
    except ValueError:
        raise KeyMaterialError(f"key epoch {number}: box of {name} is not base64") from None
    info = sealed_key_bytes(
        number, key_epoch.steward, key_epoch.roster, key_epoch.public_key.fingerprint, name
    )
    try:
        package = KeyPackage.from_bytes(
            identity.unseal(box, info=info),
            source="box of " + name,
            insecure_allow_small_key=insecure_allow_small_key,
        )
    except FraudFedError as error:
        raise KeyMaterialError(f"key epoch {number}: {error}") from None
    announced = key_epoch.public_key
    held = PublicKeyMessage.model_validate(package.public_key.to_hex())
    if held != announced:
        raise KeyMaterialError(
            f"key epoch {number}: box of {name} holds a key with fingerprint {held.fingerprint}, "
            f"announced was {announced.fingerprint}; ask {key_epoch.steward} for a new epoch"
        )
    return package


def acknowledge(key_epoch: KeyEpoch, identity: Identity, name: str) -> KeyAcknowledgement:
    """Say, signed, that this bank has opened and saved exactly this epoch."""
    digest = key_epoch_digest(key_epoch)
    data = acknowledgement_bytes(epoch=key_epoch.epoch, bank=name, digest=digest)
    return KeyAcknowledgement(
        epoch=key_epoch.epoch, bank=name, digest=digest, signature=identity.sign(data).hex()
    )


def _check_own_keys(
    epoch: int, roster: Sequence[MemberKeys], identity: Identity, name: str
) -> None:
    own = next((member for member in roster if member.name == name), None)
    if own is None:
        raise KeyMaterialError(
            f"key epoch {epoch}: {name} is not in its roster, so there is no key package for it; "
            "ask the operator to invite the bank, and the steward for a new epoch"
        )
    if own != identity.member(name):
        raise ConflictError(
            f"key epoch {epoch}: {name} is in its roster with fingerprint {_read_out(own)}, but "
            f"this bank's own is {_read_out(identity.member(name))}; the roster was altered"
        )


def _read_out(member: MemberKeys) -> str:
    return fingerprint(member.name, member.signing_key, member.agreement_key)
