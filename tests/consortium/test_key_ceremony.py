"""One package for one roster: every member has it, and nobody else ever does."""

import base64
from typing import Any

import pytest
from cohorts.members import Members, flip, forged_epoch
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import (
    acknowledge,
    check_key_epoch,
    open_key_epoch,
    seal_key_package,
)
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import key_epoch_bytes, verify_acknowledgement
from fraudfed.errors import ConflictError, FraudFedError, KeyMaterialError
from fraudfed.paillier.keys import PublicKey
from fraudfed.wire.messages import KeyEpoch, MemberKeys, PublicKeyMessage, parse


def opened(
    key_epoch: KeyEpoch,
    identity: Identity,
    name: str,
    pinned: dict[str, MemberKeys],
    *,
    first_allowed: int = 1,
) -> KeyPackage:
    return open_key_epoch(
        key_epoch,
        identity,
        name,
        pinned=pinned,
        first_allowed=first_allowed,
        insecure_allow_small_key=True,
    )


def signed_anew(key_epoch: KeyEpoch, members: Members, **changes: Any) -> KeyEpoch:
    """Return what a dishonest steward could announce: altered, and signed all the same."""
    changed = key_epoch.model_copy(update=changes)
    signature = members[changed.steward].sign(key_epoch_bytes(changed)).hex()
    return changed.model_copy(update={"signature": signature})


def test_every_member_opens_the_same_package(
    members: Members, epoch_package: KeyPackage, key_epoch: KeyEpoch
) -> None:
    for name in members:
        package = opened(key_epoch, members[name], name, members.pinned)
        assert package.fingerprint == epoch_package.fingerprint
        assert package.expose_secret() == epoch_package.expose_secret()
        verify_acknowledgement(acknowledge(key_epoch, members[name], name), key_epoch)


def test_it_crosses_the_wire(members: Members, key_epoch: KeyEpoch) -> None:
    read = parse(KeyEpoch, key_epoch.model_dump_json(), source="test")
    assert read == key_epoch
    opened(read, members["cedar"], "cedar", members.pinned)


def test_the_announcement_holds_nothing_of_the_secret(
    epoch_package: KeyPackage, key_epoch: KeyEpoch
) -> None:
    text = key_epoch.model_dump_json().encode()
    text += b"".join(base64.b64decode(sealed.box) for sealed in key_epoch.sealed)
    for number in epoch_package.private_key.expose_secret_parts().values():
        assert format(number, "x").encode() not in text
    assert epoch_package.expose_secret() not in text
    assert epoch_package.expose_secret().hex().encode() not in text


def test_a_box_opens_for_its_own_member_only(members: Members, key_epoch: KeyEpoch) -> None:
    boxes = {sealed.name: sealed.box for sealed in key_epoch.sealed}
    for name in members:
        for other in members:
            if other == name:
                continue
            sealed = tuple(
                s.model_copy(update={"box": boxes[other] if s.name == name else s.box})
                for s in key_epoch.sealed
            )
            swapped = signed_anew(key_epoch, members, sealed=sealed)
            with pytest.raises(KeyMaterialError, match="key epoch 1: sealed box does not open"):
                opened(swapped, members[name], name, members.pinned)


@pytest.mark.parametrize("stranger", ["cedar", "dogwood"])
def test_a_stranger_opens_nothing(members: Members, key_epoch: KeyEpoch, stranger: str) -> None:
    identity = Identity.generate()
    with pytest.raises((KeyMaterialError, ConflictError)):
        opened(key_epoch, identity, stranger, members.pinned)
    for sealed in key_epoch.sealed:
        with pytest.raises(KeyMaterialError, match="does not open"):
            identity.unseal(base64.b64decode(sealed.box), info=b"")


@settings(max_examples=200)
@given(data=st.data())
def test_no_character_of_an_epoch_can_be_changed(
    members: Members, key_epoch: KeyEpoch, data: st.DataObject
) -> None:
    text = key_epoch.model_dump_json()
    characters = st.characters(min_codepoint=32, max_codepoint=126)
    changed = flip(text, data.draw(st.integers(0, len(text) - 1)), data.draw(characters))
    if changed == text:
        return
    with pytest.raises(FraudFedError) as caught:
        opened(parse(KeyEpoch, changed, source="test"), members["birch"], "birch", members.pinned)
    assert "\n" not in str(caught.value)


@settings(max_examples=100)
@given(data=st.data())
def test_no_byte_of_a_box_can_be_changed_even_by_the_steward(
    members: Members, key_epoch: KeyEpoch, data: st.DataObject
) -> None:
    box = bytearray(base64.b64decode(key_epoch.sealed[1].box))
    box[data.draw(st.integers(0, len(box) - 1))] ^= data.draw(st.integers(1, 255))
    sealed = list(key_epoch.sealed)
    sealed[1] = sealed[1].model_copy(update={"box": base64.b64encode(box).decode()})
    altered = signed_anew(key_epoch, members, sealed=tuple(sealed))
    with pytest.raises(KeyMaterialError, match="does not open"):
        opened(altered, members["birch"], "birch", members.pinned)
    opened(altered, members["cedar"], "cedar", members.pinned)


def test_a_box_is_bound_to_all_that_was_announced(members: Members, key_epoch: KeyEpoch) -> None:
    """Boxes of one epoch under another number, steward, roster or key do not open."""
    other_key = KeyPackage.generate(512, insecure_allow_small_key=True).public_key
    larger = Members((*members, "dogwood"))
    for name in members:
        larger.identities[name] = members[name]
    extra = key_epoch.sealed[2].model_copy(update={"name": "dogwood"})
    changes: list[dict[str, Any]] = [
        {"epoch": 2},
        {"steward": "birch"},
        {"roster": larger.roster, "sealed": (*key_epoch.sealed, extra)},
        {"public_key": PublicKeyMessage.model_validate(other_key.to_hex())},
    ]
    for change in changes:
        with pytest.raises(KeyMaterialError, match="sealed box does not open"):
            opened(
                signed_anew(key_epoch, members, **change), members["cedar"], "cedar", larger.pinned
            )


def test_a_bank_that_left_opens_no_later_epoch(members: Members) -> None:
    first = KeyPackage.generate(512, insecure_allow_small_key=True)
    second = KeyPackage.generate(512, insecure_allow_small_key=True)
    remaining = tuple(member for member in members.roster if member.name != "cedar")
    later = seal_key_package(
        second, epoch=2, steward=members["alder"], steward_name="alder", roster=remaining
    )
    with pytest.raises(KeyMaterialError, match="cedar is not in its roster"):
        opened(later, members["cedar"], "cedar", members.pinned)
    for sealed in later.sealed:
        with pytest.raises(KeyMaterialError, match="does not open"):
            members["cedar"].unseal(base64.b64decode(sealed.box), info=b"")
    assert opened(later, members["birch"], "birch", members.pinned).fingerprint == (
        second.fingerprint
    )
    # Nothing is carried over: what cedar holds of the first epoch is of no use with the second.
    assert first.public_key != second.public_key
    assert first.expose_secret() != second.expose_secret()


def test_an_old_epoch_is_never_taken_again(
    members: Members, epoch_package: KeyPackage, key_epoch: KeyEpoch
) -> None:
    later = members.seal(epoch_package, epoch=2)
    opened(later, members["birch"], "birch", members.pinned, first_allowed=2)
    with pytest.raises(KeyMaterialError, match="epoch 1 was served, but this bank has accepted"):
        opened(key_epoch, members["birch"], "birch", members.pinned, first_allowed=2)


def test_a_roster_that_is_not_the_pinned_one_is_refused(
    members: Members, epoch_package: KeyPackage, key_epoch: KeyEpoch
) -> None:
    missing = {name: keys for name, keys in members.pinned.items() if name != "cedar"}
    with pytest.raises(KeyMaterialError, match="cedar is in its roster, but this bank has no pin"):
        check_key_epoch(key_epoch, pinned=missing)
    for name in members:
        changed = members.pinned | {name: Identity.generate().member(name)}
        with pytest.raises(ConflictError, match=rf"keys of {name} have fingerprint .* pinned"):
            check_key_epoch(key_epoch, pinned=changed)
    # Pins of banks that left do no harm.
    gone = {"dogwood": Identity.generate().member("dogwood")}
    check_key_epoch(key_epoch, pinned=members.pinned | gone)


def test_an_aggregator_cannot_make_an_epoch_of_its_own(
    members: Members, epoch_package: KeyPackage
) -> None:
    """It may put any key in the roster, but not into the pins, and it cannot sign as a steward."""
    aggregator = Identity.generate()
    roster = (aggregator.member("alder"), *members.roster[1:])
    forged = seal_key_package(
        epoch_package, epoch=1, steward=aggregator, steward_name="alder", roster=roster
    )
    with pytest.raises(ConflictError, match="keys of alder"):
        opened(forged, members["birch"], "birch", members.pinned)
    forged = forged_epoch(members, epoch_package, signer=aggregator)
    with pytest.raises(KeyMaterialError, match="not that of its steward alder"):
        opened(forged, members["birch"], "birch", members.pinned)


def test_own_keys_that_were_swapped_are_noticed(members: Members, key_epoch: KeyEpoch) -> None:
    with pytest.raises(ConflictError, match="this bank's own is"):
        opened(key_epoch, Identity.generate(), "birch", members.pinned)


def test_a_package_that_is_not_the_announced_one_is_refused(
    members: Members, epoch_package: KeyPackage, key_epoch: KeyEpoch
) -> None:
    """A steward that seals one package and announces another, all bound and signed in order."""
    other = KeyPackage.generate(512, insecure_allow_small_key=True)

    class Lying(KeyPackage):
        @property
        def public_key(self) -> PublicKey:
            return other.public_key

        def expose_bytes(self, *, source: str = "") -> bytes:
            return epoch_package.expose_bytes(source=source)

    lying = Lying(epoch_package.private_key, epoch_package.expose_secret())
    announced = members.seal(lying)
    with pytest.raises(KeyMaterialError, match=r"holds a key with fingerprint .* announced was"):
        opened(announced, members["birch"], "birch", members.pinned)


def test_small_keys_are_refused(members: Members, key_epoch: KeyEpoch) -> None:
    with pytest.raises(KeyMaterialError, match=r"key epoch 1: .*expected at least 2048"):
        open_key_epoch(key_epoch, members["birch"], "birch", pinned=members.pinned)


def test_only_a_member_can_be_steward(members: Members, epoch_package: KeyPackage) -> None:
    for steward, name in ((Identity.generate(), "alder"), (members["birch"], "alder")):
        with pytest.raises(ConflictError, match="this bank's own is"):
            seal_key_package(
                epoch_package, epoch=1, steward=steward, steward_name=name, roster=members.roster
            )
    with pytest.raises(KeyMaterialError, match="dogwood is not in its roster"):
        seal_key_package(
            epoch_package,
            epoch=1,
            steward=members["alder"],
            steward_name="dogwood",
            roster=members.roster,
        )


def test_nothing_is_sealed_to_a_key_that_everybody_has(
    members: Members, epoch_package: KeyPackage
) -> None:
    weak = members.roster[2].model_copy(update={"agreement_key": "00" * 32})
    with pytest.raises(KeyMaterialError, match="agreement key of cedar"):
        seal_key_package(
            epoch_package,
            epoch=1,
            steward=members["alder"],
            steward_name="alder",
            roster=(*members.roster[:2], weak),
        )


def test_sealing_twice_gives_other_boxes(members: Members, epoch_package: KeyPackage) -> None:
    one, two = members.seal(epoch_package), members.seal(epoch_package)
    assert all(a.box != b.box for a, b in zip(one.sealed, two.sealed, strict=True))
